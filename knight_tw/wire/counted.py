"""Answers whose provider reported no usage, with the gateway's own count in them."""

from __future__ import annotations

import msgspec

from knight_tw.records import Usage
from knight_tw.wire.answers import read_members, replaced
from knight_tw.wire.usage import read_usage


def with_usage(body: bytes, usage: Usage) -> bytes:
    """The answer of an embedding or a reranking with this usage, if it has none.

    Clients of both read `usage` without asking whether it is there.

    Raises:
        BadUpstreamBody: it is no JSON object.
    """
    raw = read_members(body).get("usage")
    known = None if raw is None else msgspec.json.decode(raw)
    if usage.empty or read_usage(known) is not None:
        return body
    tokens = {"prompt_tokens": usage.prompt, "total_tokens": usage.total}
    return replaced(body, {"usage": tokens})
