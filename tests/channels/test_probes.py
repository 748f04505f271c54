"""The request that tests a channel."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.channels import probes
from knight_tw.errors import InvalidRequest
from knight_tw.records import Channel, Dialect, Mode

CHAT, RESPONSES, COMPACT = Dialect.CHAT, Dialect.RESPONSES, Mode.COMPACT


def channel(**fields: Any) -> Channel:
    """A channel record."""
    told = {"id": 1, "type": 1, "name": "c", "status": 1, "keys": ("sk",), **fields}
    return Channel(**told)


def body(model: str, **asked: Any) -> dict[str, Any]:
    """The body of a test of `model`."""
    return probes.test_request(channel(), model, **asked).body


class Probes(SynchronousTestCase):
    """Model, endpoint and body."""

    def test_choice_of_model(self) -> None:
        """The argument, else the test model, else the first model, else a known one."""
        full = channel(models=("m-1", "m-2"), test_model="t")
        self.assertEqual(probes.test_request(full, "asked").model, "asked")
        self.assertEqual(probes.test_request(full).model, "t")
        self.assertEqual(probes.test_request(channel(models=("m-1",))).model, "m-1")
        self.assertEqual(probes.test_request(channel()).model, "gpt-4o-mini")

    def test_guessed_endpoints(self) -> None:
        """The model's name, or the channel's type, tells the endpoint."""
        table = (
            (1, "gpt-4o", "openai"),
            (1, "jina-reranker-v2", "jina-rerank"),
            (1, "text-embedding-3-small", "embeddings"),
            (1, "m3e-base", "embeddings"),
            (1, "BAAI/bge-m3", "embeddings"),
            (44, "anything", "embeddings"),
            (45, "doubao-seedream-3", "image-generation"),
            (1, "doubao-seedream-3", "openai"),
            (1, "gpt-5-codex", "openai-response"),
            (1, "gpt-5-openai-compact", "openai-response-compact"),
            (57, "gpt-5", "openai-response"),
        )
        for kind, model, endpoint in table:
            self.assertEqual(probes.guess(kind, model), endpoint, model)

    def test_output_limits(self) -> None:
        """Thinking models get room to think."""
        self.assertEqual(body("gpt-4o")["max_tokens"], 16)
        self.assertEqual(body("o3-mini")["max_completion_tokens"], 16)
        self.assertEqual(body("gpt-5")["max_completion_tokens"], 16)
        self.assertEqual(body("qwen3-thinking")["max_tokens"], 50)
        self.assertEqual(body("claude-opus-4-thinking")["max_tokens"], 16)
        self.assertEqual(body("gemini-2.5-pro")["max_tokens"], 3000)

    def test_named_endpoints(self) -> None:
        """Each endpoint has its path, dialect and kind of body."""
        table: tuple[tuple[str, str, Mode, Dialect, str], ...] = (
            ("openai", "chat/completions", Mode.CHAT, CHAT, "messages"),
            ("openai-response", "responses", Mode.RESPONSES, RESPONSES, "input"),
            (
                "openai-response-compact",
                "responses/compact",
                COMPACT,
                RESPONSES,
                "input",
            ),
            ("anthropic", "messages", Mode.MESSAGES, Dialect.CLAUDE, "messages"),
            ("embeddings", "embeddings", Mode.EMBEDDINGS, CHAT, "input"),
            ("jina-rerank", "rerank", Mode.RERANK, CHAT, "documents"),
            ("image-generation", "images/generations", Mode.IMAGES, CHAT, "prompt"),
        )
        for endpoint, path, mode, dialect, member in table:
            request = probes.test_request(channel(), "m", endpoint)
            found = (request.path, request.mode, request.dialect)
            self.assertEqual(found, (f"/v1/{path}", mode, dialect))
            self.assertIn(member, request.body)

    def test_gemini(self) -> None:
        """Gemini's path has the model in it."""
        request = probes.test_request(channel(), "m", "gemini")
        self.assertEqual(request.path, "/v1beta/models/m:generateContent")
        self.assertEqual(request.body["generationConfig"], {"maxOutputTokens": 16})

    def test_streams(self) -> None:
        """A stream is asked for where there is one."""
        self.assertIs(body("gpt-4o", stream=True)["stream"], True)
        self.assertNotIn("stream", body("text-embedding-3-small", stream=True))
        gemini = probes.test_request(channel(), "m", "gemini", True)
        self.assertEqual(gemini.path, "/v1beta/models/m:streamGenerateContent")
        self.assertTrue(probes.test_request(channel(type=57), "gpt-5").stream)

    def test_types_that_only_have_tasks(self) -> None:
        """Nothing cheap can be asked of them."""
        for kind in probes.UNTESTABLE:
            self.assertRaises(InvalidRequest, probes.test_request, channel(type=kind))

    def test_unknown_endpoint(self) -> None:
        """An endpoint that nobody has is refused."""
        self.assertRaises(
            InvalidRequest, probes.test_request, channel(), "m", "nonsense"
        )
