"""`countTokens`, answered by the gateway itself (conversion specification, 14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert.gemini.names import camel


def counted_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request whose prompt is to be counted: contents alone, or a whole one."""
    named: dict[str, Any] = camel(dict(body))
    inner = named.pop("generateContentRequest", None)
    return {**named, **inner} if isinstance(inner, Mapping) else named


def count_answer(tokens: int) -> dict[str, Any]:
    """The answer to `countTokens`."""
    return {"totalTokens": tokens}
