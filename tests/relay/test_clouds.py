"""Calls through the whole relay to providers with a form or credential of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.protocols.answer import Answer
from tests.convert.converse import ANSWER
from tests.convert.test_cohere import STREAM, WHOLE
from tests.relay.gateway import Gateway, Provider, Response, Source, whole
from tests.wire.test_eventstream import chunk, frame

HI = [{"role": "user", "content": "hi"}]
PAIR = "AKID|SECRET|us-east-1"
CLAUDE, NOVA = "claude-sonnet-4-5-20250929", "nova-pro-v1:0"
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "up",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 5},
}
EVENTS: tuple[dict[str, Any], ...] = (
    {"type": "message_start", "message": {**MESSAGE, "content": []}},
    {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    },
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "hello"},
    },
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 5},
    },
    {"type": "message_stop"},
)


def flowing(kind: str) -> Callable[[Provider], Answer]:
    """A stream of a content type, to be fed."""

    def make(provider: Provider) -> Answer:
        told = [("content-type", kind)]
        return Answer(Source(), provider.clock, 200, told, [])

    return make


AMAZON = flowing("application/vnd.amazon.eventstream")
"""A stream as Bedrock frames it."""


def texts(body: bytes) -> str:
    """The content of a chat stream."""
    found = ""
    for line in body.splitlines():
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                found += choice["delta"].get("content") or ""
    return found


class Clouds(SynchronousTestCase):
    """One gateway each."""

    def gateway(self, script: Any, models: str, **channel: Any) -> Gateway:
        """A gateway with one channel that serves any model without a price."""
        gateway = Gateway(self)
        gateway.option("SelfUseModeEnabled", "true")
        gateway.channel(script, models=models, base_url="", **channel)
        return gateway

    def ask(self, gateway: Gateway, model: str, path: str = "", **body: Any) -> Any:
        """A call, which must succeed."""
        path = path or "/v1/chat/completions"
        body = {"model": model, **body}
        answer = gateway.request(path, body)
        self.assertEqual(answer.status, 200, answer.raw)
        return answer

    def stream(
        self, gateway: Gateway, pieces: Iterable[bytes], path: str = "", **body: Any
    ) -> Response:
        """A streamed call whose provider sends these pieces."""
        path = path or "/v1/chat/completions"
        answer = gateway.request(path, {"messages": HI, "stream": True, **body})
        for piece in pieces:
            gateway.provider.answers[-1].arrived(piece)
        gateway.provider.answers[-1].finished(None)
        return answer

    def tokens(self, gateway: Gateway) -> tuple[int, int, str]:
        """What the one call was charged by."""
        (row,) = gateway.logs()
        other = row["other"]
        return row["prompt_tokens"], row["completion_tokens"], other["evidence"]

    def test_bedrock_claude(self) -> None:
        """A chat client talks to Claude on Bedrock; the request is signed."""
        gateway = self.gateway(whole(MESSAGE), CLAUDE, type=33, key=PAIR)
        answer = self.ask(gateway, CLAUDE, messages=HI, max_tokens=50)
        self.assertEqual(answer.json["choices"][0]["message"]["content"], "hello")
        (sent,) = gateway.provider.sent
        root = "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic."
        self.assertEqual(sent.url, f"{root}{CLAUDE}-v1%3A0/invoke")
        self.assertIn("Credential=AKID/", sent.headers["authorization"])
        self.assertNotIn("SECRET", str(sent.headers))
        self.assertEqual(sent.json["anthropic_version"], "bedrock-2023-05-31")
        self.assertEqual(self.tokens(gateway), (10, 5, "provider"))

    def test_bedrock_claude_stream(self) -> None:
        """A Claude client gets the events that come in Amazon's frames."""
        gateway = self.gateway(AMAZON, CLAUDE, type=33, key=PAIR)
        frames = [chunk(event) for event in EVENTS]
        answer = self.stream(
            gateway, frames, "/v1/messages", model=CLAUDE, max_tokens=9
        )
        names = [line for line in answer.body.splitlines() if line[:7] == b"event: "]
        self.assertEqual(names[0], b"event: message_start")
        self.assertEqual(names[-1], b"event: message_stop")
        (sent,) = gateway.provider.sent
        self.assertTrue(sent.url.endswith("/invoke-with-response-stream"))
        self.assertNotIn("stream", sent.json)
        self.assertEqual(self.tokens(gateway), (10, 5, "provider"))

    def test_bedrock_nova(self) -> None:
        """Other models are conversed with."""
        gateway = self.gateway(whole(ANSWER), NOVA, type=33, key=PAIR)
        answer = self.ask(gateway, NOVA, messages=HI)
        message = answer.json["choices"][0]["message"]
        self.assertEqual(message["content"], "Hello you")
        (sent,) = gateway.provider.sent
        self.assertTrue(sent.url.endswith("/us.amazon.nova-pro-v1%3A0/converse"))
        turn = {"role": "user", "content": [{"text": "hi"}]}
        self.assertEqual(sent.json, {"messages": [turn]})
        self.assertEqual(self.tokens(gateway), (15, 4, "provider"))

    def test_bedrock_nova_stream(self) -> None:
        """The same in a stream, by an API key, for a Claude client."""
        usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
        frames = (
            frame(b'{"role":"assistant"}', event_type="messageStart"),
            frame(
                b'{"contentBlockIndex":0,"delta":{"text":"hello"}}',
                event_type="contentBlockDelta",
            ),
            frame(b'{"stopReason":"end_turn"}', event_type="messageStop"),
            frame(json.dumps({"usage": usage}).encode(), event_type="metadata"),
        )
        settings = json.dumps({"aws_key_type": "api_key"})
        key = "apikey|eu-west-1"
        gateway = self.gateway(AMAZON, NOVA, type=33, key=key, settings=settings)
        answer = self.stream(gateway, frames, "/v1/messages", model=NOVA, max_tokens=9)
        self.assertIn(b'"text":"hello"', answer.body)
        self.assertIn(b"event: message_stop", answer.body)
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.headers["authorization"], "Bearer apikey")
        self.assertIn("/eu.amazon.nova-pro", sent.url)
        self.assertEqual(self.tokens(gateway), (3, 2, "provider"))

    def test_bedrock_refuses_in_the_stream(self) -> None:
        """An exception before any content is a failed attempt with its status."""
        refusal = frame(
            b'{"message":"slow down"}',
            message_type="exception",
            exception_type="throttlingException",
        )
        gateway = self.gateway(AMAZON, NOVA, type=33, key=PAIR)
        gateway.option("RetryTimes", "0")
        answer = self.stream(gateway, [refusal], model=NOVA)
        self.assertEqual(answer.status, 429)
        self.assertIn("slow down", answer.error["message"])

    def vertex(self) -> Gateway:
        """A gateway with a channel whose key is a service account."""
        pem = rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        account = {"project_id": "p1", "client_email": "a@p1"}
        key = json.dumps({**account, "private_key": pem.decode()})
        token = whole({"access_token": "tok", "expires_in": 3599})
        return self.gateway(token, CLAUDE, type=41, key=key, other="us-east5")

    def test_refused_token(self) -> None:
        """A token that the provider refuses is not used again."""
        gateway = self.vertex()
        gateway.option("RetryTimes", "0")
        token = gateway.provider.script[0]
        refused = whole({"error": {"code": 401, "message": "expired"}}, 401)
        gateway.provider.script = [token, refused, token, whole(MESSAGE)]
        body = {"model": CLAUDE, "messages": HI, "max_tokens": 50}
        self.assertEqual(gateway.request(body=body).status, 401)
        self.assertEqual(gateway.request(body=body).status, 200)
        urls = [sent.url for sent in gateway.provider.sent]
        self.assertEqual(urls[0], urls[2])

    def test_vertex(self) -> None:
        """A service account gets a token once; calls are authorized by it."""
        gateway = self.vertex()
        gateway.provider.script.append(whole(MESSAGE))
        for _ in range(2):
            self.ask(gateway, CLAUDE, messages=HI, max_tokens=50)
        exchange, first, second = gateway.provider.sent
        self.assertEqual(exchange.url, "https://www.googleapis.com/oauth2/v4/token")
        form = parse_qs(exchange.body.decode())
        self.assertEqual(len(form["assertion"][0].split(".")), 3)
        for sent in (first, second):
            self.assertEqual(sent.headers["authorization"], "Bearer tok")
            self.assertEqual(sent.headers["x-goog-user-project"], "p1")
            self.assertEqual(
                sent.url,
                "https://us-east5-aiplatform.googleapis.com/v1/projects/p1/locations/"
                "us-east5/publishers/anthropic/models/claude-sonnet-4-5@20250929:"
                "rawPredict",
            )
            self.assertEqual(sent.json["anthropic_version"], "vertex-2023-10-16")

    def test_cohere(self) -> None:
        """Cohere's chat, whole and streamed."""
        gateway = self.gateway(whole(WHOLE), "command-a", type=34)
        answer = self.ask(gateway, "command-a", messages=HI)
        self.assertEqual(answer.json["choices"][0]["message"]["content"], "Hello you")
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.url, "https://api.cohere.ai/v2/chat")
        self.assertEqual(sent.json, {"model": "command-a", "messages": HI})
        self.assertEqual(self.tokens(gateway), (5, 3, "provider"))
        pieces = [b"data: " + json.dumps(e).encode() + b"\n\n" for e in STREAM]
        gateway.provider.script = [flowing("text/event-stream")]
        answer = self.stream(gateway, pieces, model="command-a")
        self.assertEqual(texts(answer.body), "Hello you")

    def test_cohere_version_1(self) -> None:
        """Its stream is one JSON a line."""
        lines = (
            {"event_type": "stream-start", "generation_id": "g"},
            {"event_type": "text-generation", "text": "hello"},
            {"event_type": "stream-end", "finish_reason": "COMPLETE"},
        )
        settings = json.dumps({"cohere_api": "v1"})
        script = flowing("application/stream+json")
        gateway = self.gateway(script, "command", type=34, settings=settings)
        pieces = [json.dumps(line).encode() + b"\n" for line in lines]
        answer = self.stream(gateway, pieces, model="command")
        self.assertEqual(texts(answer.body), "hello")
        (sent,) = gateway.provider.sent
        self.assertEqual((sent.url[-8:], sent.json["message"]), ("/v1/chat", "hi"))

    def test_gemini_embeddings(self) -> None:
        """OpenAI's embeddings by a batch of Gemini's, passing through or not."""
        gateway = self.gateway(
            whole(
                {
                    "embeddings": [{"values": [0.5]}, {"values": [1]}],
                    "usageMetadata": {"promptTokenCount": 4},
                }
            ),
            "gemini-embedding-001",
            type=24,
            setting=json.dumps({"pass_through_body_enabled": True}),
        )
        answer = self.ask(
            gateway, "gemini-embedding-001", "/v1/embeddings", input=["a", "b"]
        )
        vectors = [row["embedding"] for row in answer.json["data"]]
        self.assertEqual(vectors, [[0.5], [1]])
        (sent,) = gateway.provider.sent
        self.assertTrue(sent.url.endswith("gemini-embedding-001:batchEmbedContents"))
        self.assertEqual(len(sent.json["requests"]), 2)
        self.assertEqual(self.tokens(gateway), (4, 0, "provider"))
