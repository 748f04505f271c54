"""`countTokens`, answered by the gateway itself (conversion specification, 14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from knight_tw.convert.gemini.names import camel
from knight_tw.wire import top


def counted_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request whose prompt is to be counted: contents alone, or a whole one."""
    named: dict[str, Any] = camel(dict(body))
    inner = named.pop("generateContentRequest", None)
    return {**named, **inner} if isinstance(inner, Mapping) else named


def with_model(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The body of a native `countTokens` whose whole request, if there is one, names
    the provider's model; the members that need no change stay as they are.

    Args:
        body: Members may be `msgspec.Raw`.

    Raises:
        InvalidRequest: the whole request is no object.
    """
    for name in ("generateContentRequest", "generate_content_request"):
        given = body.get(name)
        if isinstance(given, Raw):
            members: dict[str, Any] = dict(top.members(given, name))
            named = top.plain(members, "model")
            if named is not None and named != f"models/{model}":
                return {**body, name: {**members, "model": f"models/{model}"}}
    return dict(body)


def count_answer(tokens: int) -> dict[str, Any]:
    """The answer to `countTokens`."""
    return {"totalTokens": tokens}
