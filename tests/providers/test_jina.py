"""Jina: embeddings and reranking."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw import providers
from knight_tw.providers.jina import JINA
from knight_tw.records import Mode
from knight_tw.wire.answers import read_plain
from tests.providers.attempts import prepared, target

ROWS = [{"object": "embedding", "index": 0, "embedding": [0.5]}]


def aim(mode: Mode = Mode.EMBEDDINGS, **more: Any) -> Any:
    """An attempt on a Jina channel."""
    return target(mode, type_id=38, **more)


def answered(attempt: Any, answer: Any) -> Any:
    """The client's answer and the usage in it."""
    body = json.dumps(answer).encode()
    read = read_plain(body, reading=providers.reading(JINA, attempt))
    return json.loads(read.body), read.usage


class Jina(SynchronousTestCase):
    """Both kinds of work."""

    def test_addresses(self) -> None:
        """OpenAI's paths."""
        root = "https://api.jina.ai/v1"
        self.assertEqual(JINA.url(aim()), f"{root}/embeddings")
        self.assertEqual(JINA.url(aim(Mode.RERANK)), f"{root}/rerank")

    def test_requests(self) -> None:
        """The encoding is not asked for, everything else passes."""
        sent = {"model": "c", "input": ["a"], "task": "t", "late_chunking": True}
        found = prepared(JINA, aim(), **sent, encoding_format="base64")
        self.assertEqual(found, {**sent, "model": "m"})
        sent = {"model": "c", "query": "q", "documents": ["a"], "top_n": 1}
        found = prepared(JINA, aim(Mode.RERANK), **sent)
        self.assertEqual(found, {**sent, "model": "m"})

    def test_usage(self) -> None:
        """All tokens are the prompt's."""
        answer = {"data": ROWS, "usage": {"total_tokens": 7}}
        found, usage = answered(aim(), answer)
        self.assertEqual(found, answer)
        self.assertEqual((usage.prompt, usage.completion), (7, 0))

    def test_base64(self) -> None:
        """Vectors are encoded here; other kinds of them stay."""
        attempt = aim(asked={"encoding_format": "base64"})
        found, _ = answered(attempt, {"data": ROWS, "model": "j"})
        row = {"object": "embedding", "index": 0, "embedding": "AAAAPw=="}
        self.assertEqual(found, {"data": [row], "model": "j"})
        other = {"data": [{"embedding": "AAAA"}]}
        self.assertEqual(answered(attempt, other)[0], other)

    def test_reranking(self) -> None:
        """The layout is the client's already; documents come as asked for."""
        row = {"index": 0, "relevance_score": 0.5, "document": {"text": "a"}}
        answer = {"model": "j", "results": [row], "usage": {"total_tokens": 7}}
        asked = {"documents": ["a"], "return_documents": False}
        found, usage = answered(aim(Mode.RERANK, asked=asked), answer)
        self.assertEqual(found["results"], [{"index": 0, "relevance_score": 0.5}])
        self.assertEqual((usage.prompt, usage.total), (7, 7))
        found, _ = answered(aim(Mode.RERANK), answer)
        self.assertEqual(found["results"], [row])
