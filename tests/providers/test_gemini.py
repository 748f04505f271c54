"""Google Gemini: addresses, and its own forms of embeddings and pictures."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw import providers
from knight_tw.errors import (
    BadUpstreamBody,
    EmptyAnswer,
    InvalidRequest,
    KnightError,
    UnsupportedEndpoint,
    UpstreamRefused,
)
from knight_tw.providers.gemini import GEMINI
from knight_tw.records import Dialect, Mode
from knight_tw.wire.answers import read_plain
from tests.providers.attempts import prepared, target

ROOT = "https://generativelanguage.googleapis.com/v1beta/models"


def aim(mode: Mode = Mode.GEMINI, model: str = "gemini-2.5-flash", **more: Any) -> Any:
    """An attempt on a Gemini channel."""
    dialect = Dialect.CHAT if mode in GEMINI.rewrites else Dialect.GEMINI
    return target(mode, model, dialect=dialect, type_id=24, **more)


def answered(attempt: Any, **answer: Any) -> Any:
    """The client's answer and the usage in it."""
    body = json.dumps(answer).encode()
    read = read_plain(body, reading=providers.reading(GEMINI, attempt))
    return json.loads(read.body), read.usage


class Addresses(SynchronousTestCase):
    """Where requests go."""

    def test_chats(self) -> None:
        """What other clients ask becomes one of two actions."""
        for stream, action in (
            (False, "generateContent"),
            (True, "streamGenerateContent?alt=sse"),
        ):
            for mode in (Mode.CHAT, Mode.RESPONSES, Mode.MESSAGES):
                found = GEMINI.url(aim(mode, stream=stream))
                self.assertEqual(found, f"{ROOT}/gemini-2.5-flash:{action}")

    def test_native(self) -> None:
        """A Gemini client's action is kept, whatever its version and query."""
        for action, sent in (
            ("streamGenerateContent", "streamGenerateContent?alt=sse"),
            ("generateContent", "generateContent"),
            ("embedContent", "embedContent"),
        ):
            attempt = aim(path=f"/v1/models/mine/x:{action}", query="key=secret")
            self.assertEqual(GEMINI.url(attempt), f"{ROOT}/gemini-2.5-flash:{sent}")
        aimless = aim(path="/v1/other", model="models/a b@1")
        self.assertEqual(GEMINI.url(aimless), f"{ROOT}/a%20b@1:generateContent")

    def test_counting(self) -> None:
        """A Gemini client's prompt is counted by its own action."""
        attempt = aim(Mode.COUNT_TOKENS, path="/v1beta/models/mine:countTokens")
        self.assertEqual(GEMINI.url(attempt), f"{ROOT}/gemini-2.5-flash:countTokens")

    def test_versions(self) -> None:
        """The option says the version, by the model or for all."""
        table = {"default": "v2", "old": "v1"}
        for options, model, version in (
            ({"gemini.version_settings": table}, "old", "v1"),
            ({"gemini.version_settings": table}, "new", "v2"),
            ({"gemini.version_settings": {}}, "new", "v1beta"),
            ({"gemini.version_settings": 1}, "new", "v1beta"),
        ):
            found = GEMINI.url(aim(model=model, options=options))
            self.assertIn(f"googleapis.com/{version}/models/{model}:", found)

    def test_forms_of_its_own(self) -> None:
        """Embeddings are batches, pictures predictions of the models that paint."""
        found = GEMINI.url(aim(Mode.EMBEDDINGS, "gemini-embedding-001"))
        self.assertEqual(found, f"{ROOT}/gemini-embedding-001:batchEmbedContents")
        found = GEMINI.url(aim(Mode.IMAGES, "imagen-4.0-generate-001"))
        self.assertEqual(found, f"{ROOT}/imagen-4.0-generate-001:predict")

    def test_other_work(self) -> None:
        """What a model does not do may be tried elsewhere."""
        for mode in (Mode.IMAGES, Mode.SPEECH, Mode.MODERATIONS):
            with self.assertRaises(UnsupportedEndpoint) as caught:
                GEMINI.url(aim(mode))
            self.assertTrue(caught.exception.retryable)

    def test_key(self) -> None:
        """The key goes in a header."""
        self.assertEqual(GEMINI.authorize(aim()), [("x-goog-api-key", "key")])


class Bodies(SynchronousTestCase):
    """What goes out."""

    def test_chat(self) -> None:
        """The model and the stream stand in the URL."""
        found = prepared(GEMINI, aim(), model="m", stream=True, contents=[1.50])
        self.assertEqual(found, {"contents": [1.5]})

    def test_native_embeddings(self) -> None:
        """Each request of a native batch names the upstream's model."""
        sent = [{"model": "models/client", "content": {}}, 5]
        found = prepared(GEMINI, aim(), requests=sent)
        expected = {"model": "models/gemini-2.5-flash", "content": {}}
        self.assertEqual(found, {"requests": [expected, 5]})
        self.assertEqual(prepared(GEMINI, aim(), requests=1), {"requests": 1})

    def test_embeddings(self) -> None:
        """One request for each input; dimensions for the models that take them."""
        attempt = aim(Mode.EMBEDDINGS, "gemini-embedding-001")
        found = prepared(GEMINI, attempt, model="c", input=["a", "b"], dimensions=8)
        expected = [
            {
                "model": "models/gemini-embedding-001",
                "content": {"parts": [{"text": text}]},
                "outputDimensionality": 8,
            }
            for text in ("a", "b")
        ]
        self.assertEqual(found, {"requests": expected})
        attempt = aim(Mode.EMBEDDINGS, "embedding-001")
        found = prepared(GEMINI, attempt, input="a", dimensions=8)
        self.assertNotIn("outputDimensionality", found["requests"][0])
        self.assertEqual(attempt.dropped, ["dimensions"])

    def test_token_numbers(self) -> None:
        """Only OpenAI reads token numbers."""
        attempt = aim(Mode.EMBEDDINGS, "gemini-embedding-001")
        with self.assertRaises(InvalidRequest) as caught:
            prepared(GEMINI, attempt, input=[[1, 2]])
        self.assertEqual(caught.exception.param, "input")

    def test_pictures(self) -> None:
        """The prompt, the number and the shape."""
        attempt = aim(Mode.IMAGES, "imagen-4.0-generate-001")
        found = prepared(GEMINI, attempt, prompt="p", n=2, size="1792x1024", user="u")
        self.assertEqual(found["instances"], [{"prompt": "p"}])
        self.assertEqual(found["parameters"]["sampleCount"], 2)
        self.assertEqual(found["parameters"]["aspectRatio"], "16:9")
        self.assertEqual(attempt.dropped, ["user"])


class Answers(SynchronousTestCase):
    """What comes back."""

    def test_embeddings(self) -> None:
        """Vectors in OpenAI's answer, with the tokens that Google counted."""
        attempt = aim(Mode.EMBEDDINGS, "e")
        answer, usage = answered(
            attempt,
            embeddings=[{"values": [0.5, 1]}, {"values": [2]}],
            usageMetadata={"promptTokenCount": 3},
        )
        self.assertEqual([row["embedding"] for row in answer["data"]], [[0.5, 1], [2]])
        self.assertEqual((answer["model"], usage.prompt, usage.total), ("e", 3, 3))
        answer, usage = answered(attempt, embedding={"values": [1]})
        self.assertEqual((len(answer["data"]), usage), (1, None))

    def test_base64(self) -> None:
        """A client that asks for base64 gets it."""
        attempt = aim(Mode.EMBEDDINGS, asked={"encoding_format": "base64"})
        answer, _ = answered(attempt, embeddings=[{"values": [0.5]}])
        data = base64.b64decode(answer["data"][0]["embedding"])
        self.assertEqual(struct.unpack("<f", data), (0.5,))

    def test_pictures(self) -> None:
        """Pictures in OpenAI's answer; each counts as 258 tokens."""
        attempt = aim(Mode.IMAGES, "imagen")
        attempt.created = 5
        answer, usage = answered(
            attempt,
            predictions=[
                {"bytesBase64Encoded": "AA", "mimeType": "image/png"},
                {"raiFilteredReason": "no"},
            ],
        )
        self.assertEqual(answer["data"], [{"b64_json": "AA"}])
        self.assertEqual((answer["created"], usage.completion), (5, 258))

    def test_no_pictures(self) -> None:
        """Held back, missing or something else: each has its own error."""
        for answer, error in (
            ({"predictions": [{"raiFilteredReason": "no"}]}, UpstreamRefused),
            ({"predictions": []}, EmptyAnswer),
            ({}, EmptyAnswer),
            ({"predictions": 5}, BadUpstreamBody),
            ({"error": {"message": "m", "code": 429}}, UpstreamRefused),
        ):
            with self.subTest(answer=answer), self.assertRaises(error):
                answered(aim(Mode.IMAGES, "imagen"), **answer)

    def test_no_embeddings(self) -> None:
        """An answer without vectors cannot be read."""
        for answer in ({}, {"embeddings": []}, {"embeddings": [{"values": ["x"]}]}):
            with self.subTest(answer=answer), self.assertRaises(KnightError):
                answered(aim(Mode.EMBEDDINGS), **answer)
