"""Small changes of request members and usage objects that several providers need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from knight_tw.providers.provider import Body
from knight_tw.wire import top
from knight_tw.wire.usage import count


def rename(body: Body, old: str, new: str) -> None:
    """Move a member to another name, unless that one is there already."""
    if old in body:
        value = body.pop(old)
        body.setdefault(new, value)


def limit_top_p(body: Body, most: float, least: float | None = None) -> None:
    """Bring `top_p` below 1 and, with `least`, above 0; absent stays absent."""
    value = top.plain(body, "top_p")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if value >= 1:
        body["top_p"] = most
    elif least is not None and value <= 0:
        body["top_p"] = least


def cached_from(*places: str) -> Callable[[dict[str, Any]], None]:
    """A usage reading: cached tokens stand in the first of `places` that is not zero.

    Args:
        places: Member names, `a.b` for a member of a member.
    """

    def complete(usage: dict[str, Any]) -> None:
        details = usage.get("prompt_tokens_details")
        known = details if isinstance(details, Mapping) else {}
        if count(known.get("cached_tokens")):
            return
        for place in places:
            cached = count(_at(usage, place))
            if cached:
                usage["prompt_tokens_details"] = {**known, "cached_tokens": cached}
                return

    return complete


def _at(usage: Mapping[str, Any], place: str) -> Any:
    value: Any = usage
    for name in place.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
