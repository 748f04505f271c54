"""Gemini clients on Gemini channels: what has to go from a request."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.context import Context, Media
from knight_tw.convert.gemini import (
    keep_own_reasoning,
    unfetchable_urls,
    with_media,
    without_call_ids,
)
from knight_tw.convert.gemini.signing import PLACEHOLDER, from_field, to_field
from knight_tw.errors import UnsupportedContent

OWN = {"text": "x", "thoughtSignature": "QUJD"}
FOREIGN = base64.urlsafe_b64encode(b"ko1.a.SIG\xff").decode()
WRAPPED = base64.b64encode(b"ko1.g.QUJD").decode()


def raw(value: Any) -> Any:
    """An undecoded body."""
    return {name: msgspec.Raw(msgspec.json.encode(v)) for name, v in value.items()}


def body_of(*parts: Any) -> Any:
    """An undecoded body with one content."""
    return raw({"contents": [{"role": "model", "parts": list(parts)}]})


def parts_in(body: Any) -> Any:
    """The parts of the only content."""
    (content,) = body["contents"]
    return content["parts"]


class Reasoning(SynchronousTestCase):
    """Signatures of others."""

    def test_nothing_foreign_nothing_changed(self) -> None:
        """Bytes stay when no signature is wrapped."""
        body = body_of(OWN, {"text": "ko1.a.b"})
        kept = dict(body)
        keep_own_reasoning(body, Context(model="gemini-3-pro"))
        self.assertIs(body["contents"], kept["contents"])
        empty: dict[str, Any] = {"contents": None}
        keep_own_reasoning(empty, Context(model="m"))
        self.assertEqual(empty, {"contents": None})

    def test_foreign_reasoning_goes(self) -> None:
        """Thoughts go, texts and calls stay without, Google's own is unwrapped."""
        call = {"functionCall": {"name": "f"}}
        parts = [
            {"text": "t", "thought": True, "thoughtSignature": FOREIGN},
            {"text": "", "thoughtSignature": FOREIGN},
            {"text": "x", "thought_signature": FOREIGN},
            {"text": "y", "thoughtSignature": WRAPPED},
            {**call, "thoughtSignature": FOREIGN},
            {**call, "thoughtSignature": FOREIGN},
            OWN,
            5,
        ]
        for model, signed in (
            ("gemini-3-pro", {"thoughtSignature": PLACEHOLDER}),
            ("gemini-2.5-pro", {}),
        ):
            body = body_of(*parts)
            keep_own_reasoning(body, Context(model=model))
            self.assertEqual(
                parts_in(body),
                [
                    {"text": "x"},
                    {"text": "y", "thoughtSignature": "QUJD"},
                    {**call, **signed},
                    call,
                    OWN,
                    5,
                ],
            )

    def test_contents_that_become_empty_go(self) -> None:
        """A content of foreign thoughts alone is left out, odd ones stay."""
        thought = {"thought": True, "thoughtSignature": FOREIGN}
        body = raw({"contents": [{"parts": [thought]}, {"parts": "x"}, 5]})
        keep_own_reasoning(body, Context(model="m"))
        self.assertEqual(body["contents"], [{"parts": "x"}, 5])

    def test_fields_of_signatures(self) -> None:
        """Google's own goes as it is, others encoded once more."""
        for signature, wanted in (
            ("QUJD", "QUJD"),
            ("ko1.g.QUJD", "QUJD"),
            ("ko1.o.E", base64.b64encode(b"ko1.o.E").decode()),
        ):
            self.assertEqual(to_field(signature), wanted)
        for field, found in (
            (None, ""),
            ("context_engineering_is_the_way_to_go", ""),
            ("context/engineering/is/the/way/to/go", ""),
            ("!", "ko1.g.!"),
            (base64.b64encode(b"ko1.z.X").decode(), "ko1.g.a28xLnouWA=="),
        ):
            self.assertEqual(from_field(field), found)


class Ids(SynchronousTestCase):
    """Ids of calls on Vertex."""

    def test_both_ids_go(self) -> None:
        """Calls and responses lose theirs together, and only for Vertex."""
        parts = [
            {"functionCall": {"id": "1", "name": "f"}},
            {"function_response": {"id": "1", "name": "f"}},
            {"text": "id"},
            5,
        ]
        body = body_of(*parts)
        without_call_ids(body, Context(model="m", provider_type=41))
        self.assertEqual(
            parts_in(body),
            [
                {"functionCall": {"name": "f"}},
                {"function_response": {"name": "f"}},
                {"text": "id"},
                5,
            ],
        )
        off = {"gemini.remove_function_response_id_enabled": False}
        for context in (
            Context(model="m", provider_type=24),
            Context(model="m", provider_type=41, options=off),
        ):
            body = body_of(*parts)
            without_call_ids(body, context)
            self.assertIsInstance(body["contents"], msgspec.Raw)
        body = body_of({"text": "x"})
        without_call_ids(body, Context(model="m", provider_type=41))
        self.assertIsInstance(body["contents"], msgspec.Raw)


class Media_(SynchronousTestCase):
    """Addresses that the API does not fetch."""

    def test_plain_http(self) -> None:
        """They are named and replaced by what they led to; others stay."""
        plain = {"fileData": {"fileUri": "http://a/x"}, "videoMetadata": {}}
        parts = [
            plain,
            {"file_data": {"file_uri": "https://a/y"}},
            {"fileData": 5},
            {"text": "http:"},
            5,
            {"fileData": {"fileUri": "http://youtu.be/x"}},
        ]
        body = body_of(*parts)
        self.assertEqual(unfetchable_urls(body), ["http://a/x"])
        self.assertIsInstance(body["contents"], msgspec.Raw)
        self.assertEqual(unfetchable_urls(body_of(*parts[1:3])), [])
        with_media(body, Context(model="m"))
        self.assertIsInstance(body["contents"], msgspec.Raw)
        media = {"http://a/x": Media(b"GIF89a", "")}
        with_media(body, Context(model="m", media=media))
        inline = {"mimeType": "image/gif", "data": "R0lGODlh"}
        self.assertEqual(
            parts_in(body), [{"videoMetadata": {}, "inlineData": inline}, *parts[1:]]
        )
        odd = {"http://a/x": Media(b"BM", "image/bmp")}
        self.assertRaises(
            UnsupportedContent,
            with_media,
            body_of(plain),
            Context(model="m", media=odd),
        )
