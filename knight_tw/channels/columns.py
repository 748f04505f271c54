"""The columns of a channel, as administrators write them: reading and checking each.

`columns` turns the members of a request body into values of the table's columns. A
member that is absent or null is left out, so that an update changes only what it names.
What is wrong raises `InvalidRequest` with the member's name as `param`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from knight_tw import overrides
from knight_tw.channels.keys import compact, stored
from knight_tw.errors import InvalidRequest
from knight_tw.providers.addresses import PLANS
from knight_tw.providers.identity import identify

VERTEX, CODEX, ADVANCED, SUB2API, NEW_API = 41, 57, 58, 59, 60

PROXY_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")
_INTERRUPT_POLICIES = ("", "delivered", "drain", "free")
_COUNTS = ("first_token_timeout_seconds", "max_concurrency", "hedge_after_ms")


def invalid(name: str, rule: str) -> InvalidRequest:
    """The error for a member that breaks `rule`."""
    return InvalidRequest(f"{name} is not valid: {rule}", param=name)


def columns(body: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that the members of `body` set; `key` and `status` are not read here.

    Raises:
        InvalidRequest: a member is not valid.
    """
    found: dict[str, Any] = {}
    for name, read in _READERS.items():
        value = body.get(name)
        if value is not None:
            found[_COLUMN_NAMES.get(name, name)] = read(name, value)
    return found


def check_whole(row: Mapping[str, Any]) -> None:
    """What only the finished row can show: the type and what it needs.

    Raises:
        InvalidRequest: the row would not be a usable channel.
    """
    kind = row.get("type") or 0
    if identify(kind) is None:
        raise invalid("type", "a known channel type")
    settings = stored(row.get("settings"))
    if kind == ADVANCED and not settings.get("advanced_custom"):
        raise invalid("settings", "advanced_custom is required for this type")
    if kind in (SUB2API, NEW_API) and not row.get("base_url"):
        raise invalid("base_url", "required for this type")
    if kind == VERTEX:
        _check_region(row.get("other") or "")


def number(name: str, value: Any, least: int | None = None) -> int:
    """A whole number; text that looks like one is taken too."""
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and _INTEGER.match(value.strip()):
        value = int(value)
    if not isinstance(value, int):
        raise invalid(name, "an integer")
    if not -(2**63) <= value < 2**63:
        raise invalid(name, "an integer of 64 bits")
    if least is not None and value < least:
        raise invalid(name, f"at least {least}")
    return value


def _whole(least: int | None = None) -> Callable[[str, Any], int]:
    return lambda name, value: number(name, value, least)


def _flag_number(name: str, value: Any) -> int:
    if number(name, value) not in (0, 1):
        raise invalid(name, "0 or 1")
    return number(name, value)


def _text(longest: int | None = None) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise invalid(name, "text")
        if longest is not None and len(value) > longest:
            raise invalid(name, f"at most {longest} characters")
        if "\0" in value:
            raise invalid(name, "text without NUL")
        return value

    return read


def _tag(name: str, value: Any) -> str | None:
    """A tag; an empty one is none."""
    return _text(191)(name, value).strip() or None


def _list(longest: int, whole: int | None = None) -> Callable[[str, Any], str]:
    """A comma-separated list, or a JSON array of its entries."""

    def read(name: str, value: Any) -> str:
        if isinstance(value, list):
            value = ",".join(_text()(name, one) for one in value)
        entries = [one.strip() for one in _text()(name, value).split(",")]
        entries = list(dict.fromkeys(one for one in entries if one))
        if any(len(one) > longest for one in entries):
            raise invalid(name, f"entries of at most {longest} characters")
        joined = ",".join(entries)
        if whole is not None and len(joined) > whole:
            raise invalid(name, f"at most {whole} characters together")
        return joined

    return read


def _groups(name: str, value: Any) -> str:
    """The groups; without one, `default`."""
    return _list(64, 64)(name, value) or "default"


def _address(name: str, value: Any) -> str:
    """A base URL without a slash at the end, the name of a plan, or nothing."""
    text = _text(191)(name, value).strip().rstrip("/")
    if not text or text in PLANS:
        return text
    _check_url(name, text, frozenset({"http", "https"}))
    return text


def _check_url(name: str, text: str, schemes: frozenset[str]) -> None:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise invalid(name, "a URL") from None
    if parts.scheme.lower() not in schemes or not host:
        raise invalid(name, f"a URL of {', '.join(sorted(schemes))}")
    if any(c.isspace() or ord(c) < 32 for c in text):
        raise invalid(name, "a URL without blanks")


def _object(
    check: Callable[[str, dict[str, Any]], None], longest: int | None = None
) -> Callable[[str, Any], str]:
    """A JSON object as text; an empty text clears it."""

    def read(name: str, value: Any) -> str:
        if isinstance(value, str) and not value.strip():
            return ""
        found = parse_object(name, value)
        check(name, found)
        text = value if isinstance(value, str) else compact(value)
        if longest is not None and len(text) > longest:
            raise invalid(name, f"at most {longest} characters")
        return text

    return read


def parse_object(name: str, value: Any) -> dict[str, Any]:
    """A JSON object, given as such or as text.

    Raises:
        InvalidRequest: it is none.
    """
    found = value
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            raise invalid(name, "a JSON object") from None
    if not isinstance(found, dict):
        raise invalid(name, "a JSON object")
    return found


def _mapping(name: str, found: dict[str, Any]) -> None:
    if not all(isinstance(model, str) and model for model in found.values()):
        raise invalid(name, "a JSON object of model names")


def _status_mapping(name: str, found: dict[str, Any]) -> None:
    for before, after in found.items():
        for code in (before, after):
            if isinstance(code, bool) or not 100 <= _code(code) <= 599:
                raise invalid(name, "a JSON object of status codes, 100 to 599")


def _code(value: Any) -> int:
    text = str(value).strip()
    return int(text) if text.isdecimal() and len(text) == 3 else 0


def _param_override(name: str, found: dict[str, Any]) -> None:
    try:
        overrides.validate(found)
    except ValueError as error:
        raise invalid(name, str(error)) from None


def _header_override(name: str, found: dict[str, Any]) -> None:
    try:
        overrides.validate_headers(found)
    except ValueError as error:
        raise invalid(name, str(error)) from None


def _setting(name: str, found: dict[str, Any]) -> None:
    proxy = found.get("proxy") or ""
    if not isinstance(proxy, str):
        raise invalid(name, "proxy is a URL")
    if proxy:
        _check_url("proxy", proxy, PROXY_SCHEMES)
        if urlsplit(proxy).path.strip("/"):
            raise invalid("proxy", "a URL without a path")
    protocol = found.get("http_protocol") or "auto"
    shards = found.get("http2_connection_shards") or 0
    if protocol not in ("auto", "http1"):
        raise invalid(name, "http_protocol is auto or http1")
    most = 1 if protocol == "http1" else 8
    if not isinstance(shards, int) or not 0 <= shards <= most:
        raise invalid(name, f"http2_connection_shards is 0 to {most}")
    if not isinstance(found.get("system_prompt") or "", str):
        raise invalid(name, "system_prompt is text")


def _settings(name: str, found: dict[str, Any]) -> None:
    if (found.get("interrupt_policy") or "") not in _INTERRUPT_POLICIES:
        raise invalid(name, "interrupt_policy is delivered, drain or free")
    for count in _COUNTS:
        value = found.get(count) or 0
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise invalid(name, f"{count} is a whole number, 0 or more")
    endpoints = found.get("supported_endpoints") or []
    if not isinstance(endpoints, list) or not all(
        isinstance(one, str) for one in endpoints
    ):
        raise invalid(name, "supported_endpoints is a list of names")
    for member in ("accepts", "advanced_custom"):
        if not isinstance(found.get(member) or {}, dict):
            raise invalid(name, f"{member} is an object")


def _check_region(other: str) -> None:
    """Vertex: a region, or a JSON object of regions per model with a `default`."""
    if not other.strip().startswith("{"):
        return
    if not parse_object("other", other).get("default"):
        raise invalid("other", "a JSON object of regions with a default")


_COLUMN_NAMES = {"openai_organization": "open_ai_organization", "groups": "group"}

_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "type": _whole(0),
    "openai_organization": _text(255),
    "test_model": _text(255),
    "name": _text(191),
    "weight": _whole(0),
    "base_url": _address,
    "other": _text(),
    "models": _list(255),
    "groups": _groups,
    "group": _groups,
    "model_mapping": _object(_mapping, 60_000),
    "status_code_mapping": _object(_status_mapping, 1024),
    "priority": _whole(),
    "auto_ban": _flag_number,
    "tag": _tag,
    "setting": _object(_setting, 60_000),
    "param_override": _object(_param_override, 60_000),
    "header_override": _object(_header_override, 60_000),
    "remark": _text(255),
    "settings": _object(_settings),
}
