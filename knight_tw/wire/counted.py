"""Answers whose provider reported no usage, with the gateway's own count in them."""

from __future__ import annotations

from knight_tw.records import Usage
from knight_tw.wire.answers import decode_object, read_members, replaced
from knight_tw.wire.usage import read_usage


def with_usage(body: bytes, usage: Usage) -> bytes:
    """The answer of an embedding or a reranking with this usage, if it has none.

    Clients of both read `usage` without asking whether it is there.
    """
    if usage.empty:
        return body
    raw = read_members(body).get("usage")
    if raw is not None and bytes(raw)[:1] == b"{":
        if read_usage(decode_object(bytes(raw))) is not None:
            return body
    tokens = {"prompt_tokens": usage.prompt, "total_tokens": usage.total}
    return replaced(body, {"usage": tokens})
