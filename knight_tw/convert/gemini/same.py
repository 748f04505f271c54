"""A Gemini client's request to a Gemini channel: bytes stay, foreign reasoning goes.

A client that talked to another provider through the gateway gives back thoughts whose
signature is wrapped; Gemini would refuse them. Google's own signatures that come back
wrapped are unwrapped. Vertex refuses the ids of calls that the Gemini API needs.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from msgspec import Raw

from knight_tw.convert.context import Context
from knight_tw.convert.gemini import models, signing
from knight_tw.wire import top

Part = dict[str, Any]

_MARK = b'"a28xL'
"""How the base64 text of a wrapped signature (`ko1.`) begins in JSON."""

_SIGNED = ("thoughtSignature", "thought_signature")
_CALLED = ("functionCall", "function_call", "functionResponse", "function_response")


def keep_own_reasoning(body: MutableMapping[str, Any], context: Context) -> None:
    """Drop reasoning that another provider signed, in place; other bytes stay.

    A call keeps its place without a foreign signature; where the model insists on one,
    the first call of a turn gets the documented placeholder.

    Args:
        body: A request's top level, members undecoded.

    Raises:
        InvalidRequest: `contents` cannot be read.
    """
    contents = body.get("contents")
    if isinstance(contents, Raw) and _MARK not in bytes(contents):
        return
    placeholder = models.wants_placeholder(context)
    _change_parts(body, lambda parts: _own_parts(parts, placeholder))


def without_call_ids(body: MutableMapping[str, Any], context: Context) -> None:
    """Take the ids of calls and responses out for Vertex, in place, always both.

    Raises:
        InvalidRequest: `contents` cannot be read.
    """
    removed = context.options.get("gemini.remove_function_response_id_enabled")
    contents = body.get("contents")
    if removed is False or models.takes_ids(context):
        return
    if isinstance(contents, Raw) and b'"id"' not in bytes(contents):
        return
    _change_parts(body, lambda parts: [_without_id(part) for part in parts])


def _change_parts(
    body: MutableMapping[str, Any], change: Callable[[list[Any]], list[Any]]
) -> None:
    """Change the parts of each content; contents that have none left go."""
    contents = top.plain(body, "contents")
    if not isinstance(contents, list):
        return
    changed: list[Any] = []
    for content in contents:
        parts = content.get("parts") if isinstance(content, dict) else None
        if not isinstance(parts, list):
            changed.append(content)
        elif kept := change(parts):
            changed.append({**content, "parts": kept})
    body["contents"] = changed


def _own_parts(parts: list[Any], placeholder: bool) -> list[Any]:
    kept = []
    first = True
    for part in parts:
        called = isinstance(part, dict) and not part.keys().isdisjoint(_CALLED[:2])
        found = _own(part, placeholder and called and first)
        first = first and not called
        if found is not None:
            kept.append(found)
    return kept


def _own(part: Any, placeholder: bool) -> Any:
    """The part as Gemini takes it; None when nothing of it is Google's."""
    name = next((n for n in _SIGNED if isinstance(part, dict) and n in part), "")
    foreign = signing.wrapped(part[name]) if name else ""
    if not foreign:
        return part
    original = signing.own(foreign)
    if original is not None:
        return {**part, name: original}
    rest = {member: value for member, value in part.items() if member != name}
    if placeholder:
        return {**rest, name: signing.PLACEHOLDER}
    if rest.get("thought") is True or rest.get("text") == "":
        return None
    return rest


def _without_id(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    return {
        name: {k: v for k, v in value.items() if k != "id"}
        if name in _CALLED and isinstance(value, dict)
        else value
        for name, value in part.items()
    }
