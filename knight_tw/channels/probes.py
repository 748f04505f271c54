"""The tiny request that tests a channel: which endpoint, which path, which body.

Pure. The rules and texts are those of the providers specification, section 8.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen

from knight_tw.errors import InvalidRequest
from knight_tw.providers.identity import COMPACT_SUFFIX
from knight_tw.records import Channel, Dialect, Mode

UNTESTABLE = frozenset({2, 5, 36, 50, 51, 52, 54, 55})
"""Types that only have tasks: nothing cheap can be asked of them."""

FALLBACK_MODEL = "gpt-4o-mini"

_MOKA, _ARK, _CODEX = 44, 45, 57
_REASONING = re.compile(r"o\d|gpt-5")


@frozen
class TestRequest:
    """A request as a client would have sent it to the gateway."""

    __test__ = False  # for test runners: not a test case

    endpoint: str
    mode: Mode
    dialect: Dialect
    path: str
    model: str
    body: dict[str, Any]
    stream: bool = False


@frozen
class _Endpoint:
    mode: Mode
    dialect: Dialect
    path: str
    streams: bool = True


_ENDPOINTS = {
    "openai": _Endpoint(Mode.CHAT, Dialect.CHAT, "/v1/chat/completions"),
    "openai-response": _Endpoint(Mode.RESPONSES, Dialect.RESPONSES, "/v1/responses"),
    "openai-response-compact": _Endpoint(
        Mode.COMPACT, Dialect.RESPONSES, "/v1/responses/compact", streams=False
    ),
    "anthropic": _Endpoint(Mode.MESSAGES, Dialect.CLAUDE, "/v1/messages"),
    "gemini": _Endpoint(Mode.GEMINI, Dialect.GEMINI, "/v1beta/models/{model}"),
    "embeddings": _Endpoint(
        Mode.EMBEDDINGS, Dialect.CHAT, "/v1/embeddings", streams=False
    ),
    "jina-rerank": _Endpoint(Mode.RERANK, Dialect.CHAT, "/v1/rerank", streams=False),
    "image-generation": _Endpoint(
        Mode.IMAGES, Dialect.CHAT, "/v1/images/generations", streams=False
    ),
}

ENDPOINT_TYPES = tuple(_ENDPOINTS)
"""What `endpoint_type` of a channel test may be."""


def test_request(
    channel: Channel, model: str = "", endpoint: str = "", stream: bool = False
) -> TestRequest:
    """The request that tests `channel`.

    Args:
        model: The client's model name; else the channel's test model or first model.
        endpoint: One of `ENDPOINT_TYPES`; guessed by the model's name when empty.

    Raises:
        InvalidRequest: the type cannot be tested, or there is no such endpoint.
    """
    if channel.type in UNTESTABLE:
        raise InvalidRequest("channel test is not supported for this type")
    name = model or channel.test_model or next(iter(channel.models), FALLBACK_MODEL)
    chosen = endpoint or guess(channel.type, name)
    if chosen not in _ENDPOINTS:
        raise InvalidRequest("unknown endpoint type", param="endpoint_type")
    found = _ENDPOINTS[chosen]
    streamed = found.streams and (stream or channel.type == _CODEX)
    return TestRequest(
        endpoint=chosen,
        mode=found.mode,
        dialect=found.dialect,
        path=_path(found, name, streamed),
        model=name,
        body=_body(found.mode, name, streamed),
        stream=streamed,
    )


def guess(kind: int, model: str) -> str:
    """The endpoint that a model's name suggests, on a channel of type `kind`."""
    name = model.lower()
    if "rerank" in name:
        return "jina-rerank"
    if "embed" in name or name.startswith("m3e") or "bge-" in name or kind == _MOKA:
        return "embeddings"
    if kind == _ARK and "seedream" in name:
        return "image-generation"
    if name.endswith(COMPACT_SUFFIX):
        return "openai-response-compact"
    if "codex" in name or kind == _CODEX:
        return "openai-response"
    return "openai"


def _path(endpoint: _Endpoint, model: str, stream: bool) -> str:
    path = endpoint.path.replace("{model}", model)
    if endpoint.mode is not Mode.GEMINI:
        return path
    return path + (":streamGenerateContent" if stream else ":generateContent")


def _body(mode: Mode, model: str, stream: bool) -> dict[str, Any]:
    """The JSON body of the smallest sensible request of a kind."""
    hello = [{"role": "user", "content": "hi"}]
    if mode is Mode.EMBEDDINGS:
        return {"model": model, "input": ["hello world"]}
    if mode is Mode.RERANK:
        documents = ["Deep learning is a field.", "The weather is fine."]
        query = "What is deep learning?"
        return {"model": model, "query": query, "documents": documents, "top_n": 2}
    if mode is Mode.IMAGES:
        return {"model": model, "prompt": "a cute cat", "n": 1, "size": "1024x1024"}
    if mode is Mode.COMPACT:
        return {"model": model, "input": hello}
    if mode is Mode.GEMINI:
        limit = {"maxOutputTokens": _output_limit(model)}
        parts = [{"role": "user", "parts": [{"text": "hi"}]}]
        return {"contents": parts, "generationConfig": limit}
    body: dict[str, Any] = {"model": model}
    if mode is Mode.RESPONSES:
        body |= {"input": hello, "max_output_tokens": 16}
    else:
        body |= {"messages": hello, _limit_name(mode, model): _output_limit(model)}
    if stream:
        body["stream"] = True
    return body


def _limit_name(mode: Mode, model: str) -> str:
    reasoning = mode is Mode.CHAT and _REASONING.match(model.lower())
    return "max_completion_tokens" if reasoning else "max_tokens"


def _output_limit(model: str) -> int:
    """Output tokens that suffice for a first word, thinking included."""
    name = model.lower()
    if _REASONING.match(name):
        return 16
    if "thinking" in name and "claude" not in name:
        return 50
    return 3000 if "gemini" in name else 16
