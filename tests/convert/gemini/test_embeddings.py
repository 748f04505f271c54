"""Embeddings and the counting of tokens."""

from __future__ import annotations

import base64
import struct
from typing import Any

from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.context import Context
from knight_tw.convert.gemini import (
    count_answer,
    counted_request,
    embeddings_from_gemini,
    embeddings_from_openai,
    embeddings_to_gemini,
    embeddings_to_openai,
)
from knight_tw.errors import (
    BadUpstreamBody,
    InvalidRequest,
    UnsupportedContent,
    UnsupportedParameter,
    UpstreamRefused,
)

M = Context(model="e", estimate=3)


class ToGemini(SynchronousTestCase):
    """OpenAI clients on Gemini channels."""

    def test_one_request_for_each_input(self) -> None:
        """Always the batch form, with the dimensions in each."""
        context = Context(model="models/e")
        body = embeddings_to_gemini(
            {"input": ["a", "b"], "dimensions": 5, "user": "u"}, context
        )
        self.assertEqual(
            body["requests"],
            [
                {
                    "model": "models/e",
                    "content": {"parts": [{"text": t}]},
                    "outputDimensionality": 5,
                }
                for t in "ab"
            ],
        )
        self.assertEqual(context.dropped, ["user"])
        single = embeddings_to_gemini({"input": "a", "dimensions": True}, M)["requests"]
        self.assertEqual(
            single, [{"model": "models/e", "content": {"parts": [{"text": "a"}]}}]
        )

    def test_what_cannot_be_embedded(self) -> None:
        """Tokens, other things and nothing."""
        for value, kind in (
            ([1, 2], UnsupportedParameter),
            ([[1]], UnsupportedParameter),
            ([{}], InvalidRequest),
            ([], InvalidRequest),
            (None, InvalidRequest),
        ):
            self.assertRaises(kind, embeddings_to_gemini, {"input": value}, M)

    @given(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=8)
    )
    @settings(max_examples=30, deadline=None)
    def test_answers(self, row: list[float]) -> None:
        """Numbers, or 32-bit floats in base64; the usage is reported or estimated."""
        answer = {
            "embeddings": [{"values": row}],
            "usageMetadata": {"promptTokenCount": 9},
        }
        found = embeddings_from_gemini(answer, M)
        CreateEmbeddingResponse.model_validate(found)
        self.assertEqual(found["data"][0]["embedding"], row)
        self.assertEqual(found["usage"], {"prompt_tokens": 9, "total_tokens": 9})
        packed = embeddings_from_gemini(
            {"embedding": {"values": row}}, M, as_base64=True
        )
        data = base64.b64decode(packed["data"][0]["embedding"])
        self.assertEqual(list(struct.unpack(f"<{len(row)}f", data)), row)
        self.assertEqual(packed["usage"]["prompt_tokens"], 3)

    def test_what_is_no_answer(self) -> None:
        """Errors and bodies without numbers."""
        for answer, kind in (
            ({"error": {"code": 400, "message": "m"}}, UpstreamRefused),
            ({}, BadUpstreamBody),
            ({"embeddings": [{"values": "x"}]}, BadUpstreamBody),
            ({"embeddings": [{"values": [True]}]}, BadUpstreamBody),
            ({"embeddings": [{"values": [1e300]}]}, BadUpstreamBody),
        ):

            def read(value: Any = answer) -> None:
                embeddings_from_gemini(value, M, as_base64=True)

            self.assertRaises(kind, read)


class ToOpenAI(SynchronousTestCase):
    """Gemini clients on OpenAI channels."""

    def test_requests(self) -> None:
        """Texts of a content line by line, in both spellings."""
        context = Context(model="e")
        one = {"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "taskType": "X"}
        found = embeddings_to_openai({**one, "output_dimensionality": 5}, context)
        self.assertEqual(found, {"model": "e", "input": ["a\nb"], "dimensions": 5})
        self.assertEqual(context.dropped, ["taskType"])
        batch = {"requests": [one, {"content": "c"}]}
        self.assertEqual(embeddings_to_openai(batch, context)["input"], ["a\nb", "c"])

    def test_what_is_refused(self) -> None:
        """Pictures, missing contents, and different numbers of dimensions."""
        text = {"parts": [{"text": "a"}]}
        for body, kind, param in (
            (
                {"content": {"parts": [{"inlineData": {}}]}},
                UnsupportedContent,
                "content.parts.0",
            ),
            ({"requests": [{}]}, InvalidRequest, "requests.0.content"),
            (
                {
                    "requests": [
                        {"content": text, "outputDimensionality": 1},
                        {"content": text},
                    ]
                },
                InvalidRequest,
                "requests.0.outputDimensionality",
            ),
        ):
            error = self.assertRaises(kind, embeddings_to_openai, body, M)
            self.assertEqual(error.param, param)

    def test_answers(self) -> None:
        """One or many, in the order of their indexes; base64 is read, too."""
        packed = base64.b64encode(struct.pack("<2f", 1, 2)).decode()
        answer = {
            "data": [
                {"index": 1, "embedding": [3.0]},
                {"index": 0, "embedding": packed},
            ],
            "usage": {"prompt_tokens": 4},
        }
        found = embeddings_from_openai(answer, batch=True)
        types.EmbedContentResponse.model_validate(found)
        self.assertEqual(
            found["embeddings"], [{"values": [1.0, 2.0]}, {"values": [3.0]}]
        )
        self.assertEqual(found["usageMetadata"]["promptTokenCount"], 4)
        del answer["usage"]
        single = embeddings_from_openai(answer, batch=False)
        self.assertEqual(single, {"embedding": {"values": [1.0, 2.0]}})

    def test_what_is_no_answer(self) -> None:
        """Errors and bodies without numbers."""
        for answer, kind in (
            ({"error": {"message": "m"}}, UpstreamRefused),
            ({"data": []}, BadUpstreamBody),
            ({"data": [{"embedding": "!"}]}, BadUpstreamBody),
            ({"data": [{"embedding": "AAAAAAAA"}]}, BadUpstreamBody),
            ({"data": [{"embedding": 5}]}, BadUpstreamBody),
        ):

            def read(value: Any = answer) -> None:
                embeddings_from_openai(value, batch=True)

            self.assertRaises(kind, read)


class Counting(SynchronousTestCase):
    """`countTokens`."""

    def test_either_form(self) -> None:
        """Contents alone, or a whole request."""
        contents = [{"parts": [{"text": "a"}]}]
        whole = {
            "generate_content_request": {
                "contents": contents,
                "system_instruction": {"parts": []},
            }
        }
        self.assertEqual(
            counted_request({"contents": contents}), {"contents": contents}
        )
        self.assertEqual(
            counted_request(whole),
            {"contents": contents, "systemInstruction": {"parts": []}},
        )
        types.CountTokensResponse.model_validate(count_answer(5))
        self.assertEqual(count_answer(5)["totalTokens"], 5)
