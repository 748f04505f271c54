"""A Gemini client's request to a Gemini channel: bytes stay, foreign reasoning goes.

A client that talked to another provider through the gateway gives back thoughts whose
signature is wrapped; Gemini would refuse them. Google's own signatures that come back
wrapped are unwrapped. Vertex refuses the ids of calls that the Gemini API needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from msgspec import Raw

from knight_tw.convert import media
from knight_tw.convert.context import Context
from knight_tw.convert.gemini import models, signing
from knight_tw.convert.gemini.outgoing_parts import at_google, inline
from knight_tw.wire import top

Part = dict[str, Any]

_MARK = b'"a28xL'
"""How the base64 text of a wrapped signature (`ko1.`) begins in JSON."""

_PLAIN = b"http:"
_FILES = ("fileData", "file_data")
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


def unfetchable_urls(body: Mapping[str, Any]) -> list[str]:
    """The URLs in a request that the API does not fetch: those without encryption.

    What they lead to can be put in their place (`with_media`).
    """
    contents = body.get("contents")
    if isinstance(contents, Raw) and _PLAIN not in bytes(contents):
        return []
    found: dict[str, None] = {}

    def note(parts: list[Any]) -> list[Any]:
        found.update(dict.fromkeys(url for part in parts if (url := _plain_url(part))))
        return parts

    _change_parts(dict(body), note)
    return list(found)


def with_media(body: MutableMapping[str, Any], context: Context) -> None:
    """Put what was downloaded (`Context.media`) in the place of its URL, in place.

    Raises:
        UnsupportedContent: Gemini does not take what the URL led to.
    """
    if not context.media:
        return

    def filled(parts: list[Any]) -> list[Any]:
        return [_filled(part, context) for part in parts]

    _change_parts(body, filled)


def _filled(part: Any, context: Context) -> Any:
    url = _plain_url(part)
    if not url or url not in context.media:
        return part
    rest = {name: value for name, value in part.items() if name not in _FILES}
    return {**rest, **inline(media.downloaded(url, context), "contents")}


def _plain_url(part: Any) -> str:
    """The URL of a part's file, empty when the API fetches it or there is none."""
    if not isinstance(part, dict):
        return ""
    file = next((part[name] for name in _FILES if name in part), None)
    if not isinstance(file, Mapping):
        return ""
    url = file.get("fileUri", file.get("file_uri"))
    plain = isinstance(url, str) and url.startswith("http://") and not at_google(url)
    return str(url) if plain else ""


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
