"""Channels and targets for tests of providers."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from knight_tw.providers.provider import Provider, Target
from knight_tw.records import Channel, Dialect, Head, Mode
from knight_tw.wire import top

PATHS = {
    Mode.CHAT: "/v1/chat/completions",
    Mode.COMPLETIONS: "/v1/completions",
    Mode.RESPONSES: "/v1/responses",
    Mode.COMPACT: "/v1/responses/compact",
    Mode.MESSAGES: "/v1/messages",
    Mode.COUNT_TOKENS: "/v1/messages/count_tokens",
    Mode.GEMINI: "/v1beta/models/client:generateContent",
    Mode.EMBEDDINGS: "/v1/embeddings",
    Mode.REALTIME: "/v1/realtime",
}
"""Where clients ask for these kinds of work."""

_DIALECTS = {
    Mode.RESPONSES: Dialect.RESPONSES,
    Mode.COMPACT: Dialect.RESPONSES,
    Mode.MESSAGES: Dialect.CLAUDE,
    Mode.COUNT_TOKENS: Dialect.CLAUDE,
    Mode.GEMINI: Dialect.GEMINI,
}


def channel(type_id: int = 1, **more: Any) -> Channel:
    """An enabled channel."""
    usual: dict[str, Any] = {"id": 1, "name": "c", "status": 1, "keys": ("key",)}
    return Channel(type=type_id, **{**usual, **more})


def target(
    mode: Mode = Mode.CHAT,
    model: str = "m",
    *,
    dialect: Dialect | None = None,
    stream: bool = False,
    key: str = "key",
    path: str = "",
    query: str = "",
    headers: dict[str, str] | None = None,
    options: dict[str, Any] | None = None,
    client_model: str = "",
    token: str = "",
    asked: dict[str, Any] | None = None,
    **of_channel: Any,
) -> Target:
    """An attempt; `of_channel` describes its channel."""
    path = path or PATHS.get(mode, "/v1/other")
    head = Head("POST", path, query, tuple((headers or {}).items()), "", "")
    return Target(
        channel=channel(**of_channel),
        key=key,
        mode=mode,
        dialect=dialect or _DIALECTS.get(mode, Dialect.CHAT),
        model=model,
        stream=stream,
        head=head,
        path=path,
        query=query,
        options=options or {},
        client_model=client_model,
        token=token,
        asked=asked or {},
    )


def prepared(provider: Provider, aim: Target, **members: Any) -> Any:
    """The body that goes out, read from a client's bytes and written again."""
    body: dict[str, Any] = dict(top.read_top(json.dumps(members).encode()))
    provider.prepare(body, aim)
    return msgspec.json.decode(top.encode(body))
