"""Embeddings between OpenAI's and Gemini's API."""

from __future__ import annotations

import base64
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import embeddings
from knight_tw.convert.context import Context
from knight_tw.errors import (
    BadUpstreamBody,
    EmptyAnswer,
    InvalidRequest,
    UnsupportedContent,
    UpstreamRefused,
)

FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=8)


class OnGemini(SynchronousTestCase):
    """OpenAI's clients on a Gemini channel."""

    def test_requests(self) -> None:
        """Each text is a request of a batch."""
        context = Context("e")
        content = {"model": "models/e", "content": {"parts": [{"text": "a"}]}}
        found = embeddings.request_to_gemini({"input": "a", "user": "u"}, context)
        self.assertEqual((found, context.dropped), ({"requests": [content]}, ["user"]))
        body = {"input": ["a", "b"], "dimensions": 8}
        first, second = embeddings.request_to_gemini(body, context)["requests"]
        self.assertEqual(first, {**content, "outputDimensionality": 8})
        self.assertEqual(second["content"], {"parts": [{"text": "b"}]})

    def test_token_ids(self) -> None:
        """Token ids mean nothing to another model."""
        for texts in ([1, 2], [[1, 2]]):
            error = self.assertRaises(
                UnsupportedContent,
                embeddings.request_to_gemini,
                {"input": texts},
                Context("e"),
            )
            self.assertEqual(error.param, "input.0")
        self.assertRaises(
            InvalidRequest, embeddings.request_to_gemini, {}, Context("e")
        )

    def test_answers(self) -> None:
        """A batch, or a single vector, with the usage if there is one."""
        batch = {"embeddings": [{"values": [0.5]}, {"values": None}]}
        found = embeddings.answer_from_gemini(batch, {}, Context("e", estimate=7))
        self.assertEqual([one["embedding"] for one in found["data"]], [[0.5], []])
        self.assertEqual([one["index"] for one in found["data"]], [0, 1])
        self.assertEqual(found["usage"], {"prompt_tokens": 7, "total_tokens": 7})
        CreateEmbeddingResponse.model_validate(found)
        single = {
            "embedding": {"values": [1]},
            "usageMetadata": {"promptTokenCount": 3},
        }
        found = embeddings.answer_from_gemini(single, {}, Context("e", estimate=7))
        self.assertEqual(found["usage"]["prompt_tokens"], 3)

    def test_packed_answers(self) -> None:
        """Clients that ask for base64 get 32 bit floats, little end first."""
        answer = {"embedding": {"values": [0.5, -2]}}
        request = {"encoding_format": "base64"}
        found = embeddings.answer_from_gemini(answer, request, Context("e"))
        packed = base64.b64decode(found["data"][0]["embedding"])
        self.assertEqual(packed, struct.pack("<2f", 0.5, -2.0))

    def test_failures(self) -> None:
        """Errors, nothing, and vectors that are none."""
        context = Context("e")
        for answer, kind in (
            ({"error": {"code": 400, "message": "m"}}, UpstreamRefused),
            ({"embeddings": []}, EmptyAnswer),
        ):
            self.assertRaises(kind, embeddings.answer_from_gemini, answer, {}, context)
        for vector in (["x"], [1e300]):
            self.assertRaises(BadUpstreamBody, embeddings.pack, vector)


class OnOpenAi(SynchronousTestCase):
    """Gemini's clients on an OpenAI channel."""

    def test_single_requests(self) -> None:
        """The texts of a content are lines; either spelling is read."""
        parts = [{"text": "a"}, {"text": "b"}]
        context = Context("e")
        body = {
            "content": {"parts": parts},
            "output_dimensionality": 8,
            "taskType": "X",
        }
        found = embeddings.request_from_gemini(body, context)
        self.assertEqual(found, {"model": "e", "input": ["a\nb"], "dimensions": 8})
        self.assertEqual(context.dropped, ["taskType"])
        answer = {"data": [{"embedding": [0.5]}]}
        found = embeddings.answer_to_gemini(answer, context)
        self.assertEqual(found, {"embedding": {"values": [0.5]}})

    def test_batches(self) -> None:
        """A batch is answered as one, in its order."""
        context = Context("e")
        body = {"requests": [{"content": "a"}, {"content": {"parts": []}}]}
        found = embeddings.request_from_gemini(body, context)
        self.assertEqual(found["input"], ["a", ""])
        data = [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}]
        found = embeddings.answer_to_gemini({"data": data}, context)
        self.assertEqual(found, {"embeddings": [{"values": [1]}, {"values": [2]}]})

    def test_refused_requests(self) -> None:
        """Each fault names its place."""
        image = {"inlineData": {}}
        cases: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
            ({"requests": []}, InvalidRequest, "requests"),
            ({}, InvalidRequest, "content"),
            ({"content": {"parts": [image]}}, UnsupportedContent, "content.parts.0"),
            ({"requests": [{"content": 7}]}, InvalidRequest, "requests.0.content"),
        )
        for body, kind, param in cases:
            error: Any = self.assertRaises(
                kind, embeddings.request_from_gemini, body, Context("e")
            )
            self.assertEqual(error.param, param)

    def test_failures(self) -> None:
        """Errors, nothing, and vectors that cannot be read."""
        context = Context("e")
        for answer, kind in (
            ({"error": {"message": "m"}}, UpstreamRefused),
            ({"data": []}, EmptyAnswer),
            ({"data": [{"embedding": None}]}, BadUpstreamBody),
            ({"data": [{"embedding": "AAA="}]}, BadUpstreamBody),
            ({"data": [{"embedding": "?"}]}, BadUpstreamBody),
        ):
            self.assertRaises(kind, embeddings.answer_to_gemini, answer, context)

    @given(FLOATS)
    @settings(max_examples=30, deadline=None)
    def test_packing(self, vector: list[float]) -> None:
        """A packed vector is unpacked to itself."""
        self.assertEqual(embeddings.unpack(embeddings.pack(vector)), vector)
