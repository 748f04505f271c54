"""Reasoning of other providers in a history that goes on in its own dialect (2.1).

A Responses client may have got its reasoning from a Claude or a Gemini channel,
wrapped. A Responses provider must not see it, and OpenAI's own, wrapped on its way
through another dialect, must be unwrapped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert.signatures import OPENAI, foreign, owner, unwrap

MARK = b"ko1."
"""A body without these bytes has nothing of the kind."""


def without_foreign(items: Any) -> Any:
    """The `input` without reasoning that other providers have signed.

    The very same value when there is nothing to change.
    """
    if not isinstance(items, list) or not any(map(_wrapped, items)):
        return items
    kept = [item for item in items if not foreign(OPENAI, _secret(item))]
    return [_unwrapped(item) if _wrapped(item) else item for item in kept]


def _secret(item: Any) -> Any:
    if isinstance(item, Mapping) and item.get("type") == "reasoning":
        return item.get("encrypted_content")
    return None


def _wrapped(item: Any) -> bool:
    secret = _secret(item)
    return isinstance(secret, str) and bool(owner(secret))


def _unwrapped(item: Mapping[str, Any]) -> dict[str, Any]:
    return {**item, "encrypted_content": unwrap(item["encrypted_content"])[1]}
