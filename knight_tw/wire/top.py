"""The top level of a JSON body, each member left as the bytes it came in.

A gateway looks at few members of a request and must not disturb the others, numbers'
spelling included. So a body is read one level deep: member name to `msgspec.Raw`. A
member that has to change is replaced by a plain value and the whole is encoded again;
everything else is copied byte for byte.

What a client can do wrong is answered here with `errors.InvalidRequest` that names the
member: not JSON, not an object, not UTF-8, nested too deeply, a member given twice
(providers disagree about which one counts, so neither the price nor the permission
could be checked).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from knight_tw.errors import InvalidRequest

Top = dict[str, Raw]
"""A body's members, undecoded."""

T = TypeVar("T")

_TOP = msgspec.json.Decoder(dict[str, Raw])
_ANY = msgspec.json.Decoder()
encode = msgspec.json.Encoder().encode
"""JSON bytes of a body whose members are `Raw` or plain values."""

_MEMBER = re.compile(rb'[ \t\r\n,]*("(?:[^"\\]|\\.)*")[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_NOTHING = re.compile(rb'\s*(?:null|""|\[\s*\]|\{\s*\})\s*')

TOO_DEEP = "the body is nested too deeply"


def read_top(body: bytes) -> Top:
    """The members of a JSON object.

    Raises:
        InvalidRequest: `body` is no JSON object, is not UTF-8, is nested more deeply
            than can be read, or names a member twice.
    """
    try:
        top = _TOP.decode(body)
        if not body.isascii():
            body.decode()
    except RecursionError:
        raise InvalidRequest(TOO_DEEP) from None
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8") from None
    except msgspec.ValidationError:
        raise InvalidRequest("the body must be a JSON object") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    if not _compact(body, top):
        _refuse_repeats(body, top)
    return top


def _compact(body: bytes, top: Top) -> bool:
    """True when `body` is just these members without blanks, hence none of them twice.

    A name that is written with escapes, or a second member of a name, can only make the
    text longer than this sum.
    """
    values: map[memoryview[int]] = map(memoryview, top.values())
    length = 1 + sum(map(len, top)) + sum(map(len, values)) + 4 * len(top)
    return len(body) == max(length, 2)


def _refuse_repeats(body: bytes, top: Top) -> None:
    """Walk over the members in the order they were met; a repeated one breaks the walk.

    A dictionary keeps the first place of a name with its last value, so either the
    value or the next name is not the one that stands in the text.
    """
    at = body.index(b"{") + 1
    for name, raw in top.items():
        member = _MEMBER.match(body, at)
        if member is None or _ANY.decode(member[1]) != name:
            raise InvalidRequest("the body names a member twice")
        value = bytes(raw)
        if not body.startswith(value, member.end()):
            raise InvalidRequest("the body names a member twice", param=name)
        at = member.end() + len(value)
    if body[at:].strip() != b"}":
        raise InvalidRequest("the body names a member twice")


def plain(body: MutableMapping[str, Any], name: str) -> Any:
    """The decoded member, None when absent; the body itself keeps its bytes.

    Raises:
        InvalidRequest: the member cannot be read (too deep, numbers out of range).
    """
    value = body.get(name)
    if not isinstance(value, Raw):
        return value
    return decoded(value, name)


def decoded(raw: Raw | bytes, param: str) -> Any:
    """The value of undecoded JSON; `param` names it in the error."""
    try:
        return _ANY.decode(raw)
    except RecursionError:
        raise InvalidRequest(TOO_DEEP, param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest(f"{param} cannot be read", param=param) from None


def members(raw: Raw, param: str) -> Top:
    """The members of an undecoded object; `param` names it in the error."""
    try:
        return _TOP.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest(f"{param} must be an object", param=param) from None


def filled(top: Mapping[str, Any], name: str) -> bool:
    """True when the member is there and not null, nor an empty text, list or object."""
    value = top.get(name)
    if isinstance(value, Raw):
        return _NOTHING.fullmatch(memoryview(value)) is None
    return value not in (None, "", [], {})


def require(top: Mapping[str, Any], name: str) -> None:
    """Refuse a body in which this member is missing or empty.

    Raises:
        InvalidRequest: `param` is `name`.
    """
    if not filled(top, name):
        raise InvalidRequest(f"{name} is required", param=name)


def is_list(top: Mapping[str, Any], name: str) -> bool:
    """True when the member is a list; its entries are not looked at."""
    value = top.get(name)
    if isinstance(value, Raw):
        return bytes(memoryview(value)[:1]) == b"["
    return isinstance(value, list)


def begins(top: Mapping[str, Any], name: str, text: bytes) -> bool:
    """True when the member is undecoded and its bytes begin so."""
    value = top.get(name)
    return isinstance(value, Raw) and memoryview(value)[: len(text)] == text


def read_text(top: MutableMapping[str, Any], name: str) -> str | None:
    """A text member; None when absent or null."""
    value = plain(top, name)
    if value is None or isinstance(value, str):
        return value
    raise InvalidRequest(f"{name} must be a string", param=name)


def read_flag(top: MutableMapping[str, Any], name: str) -> bool | None:
    """A yes-or-no member; None when absent or null."""
    value = plain(top, name)
    if value is None or isinstance(value, bool):
        return value
    raise InvalidRequest(f"{name} must be true or false", param=name)


def read_whole(
    top: MutableMapping[str, Any], name: str, least: int, most: int
) -> int | None:
    """A whole number within bounds (`3.0` counts as one); None when absent or null."""
    if name not in top:
        return None
    value = plain(top, name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{name} must be a whole number", param=name)
    if not least <= value <= most:
        raise InvalidRequest(f"{name} must be from {least} to {most}", param=name)
    return value


def read_object(top: MutableMapping[str, Any], name: str) -> dict[str, Any] | None:
    """An object member; None when absent or null."""
    if name not in top:
        return None
    value = plain(top, name)
    if value is None or isinstance(value, dict):
        return value
    raise InvalidRequest(f"{name} must be an object", param=name)


def read_model(top: MutableMapping[str, Any], default: str = "") -> str:
    """The model's name as the client wrote it, `default` when it names none.

    Raises:
        InvalidRequest: no name and no default, or not a string (relay specification 6).
    """
    name = read_text(top, "model") or default
    if not name:
        raise InvalidRequest("model is required", param="model")
    return name


def read_stream(top: MutableMapping[str, Any]) -> bool:
    """Whether the client asks for a stream."""
    return "stream" in top and bool(read_flag(top, "stream"))
