"""Messages of the middle form, read without trust.

Clients write a message's content as a text, as a list of parts, or leave it out. What
is neither is refused with the path of the field, so that the client finds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from knight_tw.errors import InvalidRequest

Part = dict[str, Any]

MARKERS = ("cache_control", "prompt_cache_breakpoint")
"""Members of a part that mark what shall be cached."""


def read_objects(value: Any, param: str) -> list[dict[str, Any]]:
    """The entries of a list of objects; absent is empty.

    Raises:
        InvalidRequest: it is no list, or an entry is no object; `param` says which.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidRequest(f"{param} must be a list", param=param)
    for index, entry in enumerate(value):
        if not isinstance(entry, dict):
            where = f"{param}.{index}"
            raise InvalidRequest(f"{where} must be an object", param=where)
    return value


def read_parts(content: Any, param: str) -> list[Part]:
    """The parts of a message's content: of a text one, of nothing none.

    Raises:
        InvalidRequest: it is neither a text nor a list of objects with a `type`.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [text_part(content)]
    if not isinstance(content, list):
        raise InvalidRequest(f"{param} must be a string or a list", param=param)
    for index, part in enumerate(read_objects(content, param)):
        if not isinstance(part.get("type"), str):
            where = f"{param}.{index}.type"
            raise InvalidRequest(f"{where} must be a string", param=where)
        if part["type"] == "text":
            read_text(part, "text", f"{param}.{index}")
    return content


def read_text(obj: Mapping[str, Any], name: str, param: str) -> str:
    """A text member that must be there.

    Raises:
        InvalidRequest: it is missing, or no text.
    """
    value = obj.get(name)
    if isinstance(value, str):
        return value
    where = f"{param}.{name}"
    raise InvalidRequest(f"{where} must be a string", param=where)


def text_part(text: str) -> Part:
    """A part with this text."""
    return {"type": "text", "text": text}


def marked(part: Mapping[str, Any]) -> bool:
    """True when the part carries a cache marker."""
    return any(part.get(name) for name in MARKERS)


def only_text(parts: Sequence[Mapping[str, Any]]) -> bool:
    """True when there are no parts but texts."""
    return all(part.get("type") == "text" for part in parts)


def joined(parts: Sequence[Mapping[str, Any]], glue: str = "") -> str:
    """The texts of the parts, put together."""
    return glue.join(
        text for part in parts if isinstance(text := part.get("text"), str)
    )


def text_of(content: Any) -> str:
    """The text of a message's content, without what is no text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return joined([part for part in content if isinstance(part, Mapping)])


def collapsed(parts: Sequence[Part]) -> str | list[Part]:
    """The parts as content: a single text without a marker is just that text."""
    if len(parts) == 1 and parts[0].get("type") == "text" and not marked(parts[0]):
        return str(parts[0]["text"])
    return list(parts)
