"""Headers that a channel sets on its upstream requests.

Source: relay specification, section 9.2. Names are lower-case throughout.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from knight_tw import patterns
from knight_tw.errors import ChannelFault

NEVER_PASSED = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "cookie",
        "host",
        "content-length",
        "accept-encoding",
        "authorization",
        "x-api-key",
        "x-goog-api-key",
        "api-key",
    }
)
"""Client headers that wildcards leave out, beside all of `sec-websocket-*`."""

FRAMING = frozenset(
    {
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "host",
    }
)
"""Client headers that belong to its connection and are never handed on."""

MAX_VALUE = 16_384

_KEY = "{api_key}"
_CLIENT = re.compile(r"\{client_header:([^}]+)\}", re.I)
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_WILD = re.compile(r"(?:re|regex):(.*)", re.S)
_BREAK = re.compile(r"[\r\n\0]")


def headers(
    override: Mapping[str, Any] | None,
    api_key: str,
    client: Iterable[tuple[str, str]],
    *,
    channel_test: bool = False,
) -> dict[str, str]:
    """The headers of a channel's override for one request.

    Args:
        client: The client's headers, names in lower case.
        channel_test: There is no client: entries that need one are left out.

    Raises:
        ChannelFault: an entry is not valid (`channel:header_override_invalid`).
    """
    if not override:
        return {}
    sent = joined(client)
    passed: dict[str, str] = {}
    own: dict[str, str] = {}
    for name, value in override.items():
        try:
            if name == "*" or _WILD.fullmatch(name):
                passed |= {} if channel_test else _passed(name, sent)
            else:
                own |= _entry(name, value, api_key, {} if channel_test else sent)
        except ValueError as error:
            raise ChannelFault(
                "the channel's header override is not valid",
                code="channel:header_override_invalid",
                detail=f"{name[:100]}: {error}",
            ) from None
    return passed | own


def validate(override: Mapping[str, Any]) -> None:
    """Passes when every entry can be applied.

    Raises:
        ValueError: what is wrong, for the administrator.
    """
    for name, value in override.items():
        if match := _WILD.fullmatch(name):
            patterns.compiled(match[1], ignore_case=True)
        elif name != "*":
            check_name(name)
            check_value(value)


def check_name(name: Any) -> str:
    """The name in lower case.

    Raises:
        ValueError: no header can be called so.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("not a header name")
    return name.lower()


def check_value(value: Any) -> str:
    """The value.

    Raises:
        ValueError: it is no text, too long, or would break the header.
    """
    if not isinstance(value, str):
        raise ValueError("the value must be a text")
    if len(value) > MAX_VALUE or _BREAK.search(value):
        raise ValueError("the value is too long, or has a line break")
    return value


def joined(client: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name; repeated ones joined with a comma, as HTTP means them."""
    found: dict[str, str] = {}
    for name, value in client:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _passed(name: str, sent: Mapping[str, str]) -> dict[str, str]:
    match = _WILD.fullmatch(name)
    wanted = patterns.compiled(match[1] if match else "", ignore_case=True)
    return {
        header: value
        for header, value in sent.items()
        if header not in NEVER_PASSED
        and not header.startswith("sec-websocket-")
        and wanted.found_in(header)
    }


def _entry(
    name: str, value: Any, api_key: str, sent: Mapping[str, str]
) -> dict[str, str]:
    """One header; none when the client's header that it copies is absent."""
    header, text = check_name(name), check_value(value)
    if match := _CLIENT.fullmatch(text.strip()):
        source = sent.get(match[1].strip().lower())
        return {} if source is None else {header: check_value(source)}
    return {header: check_value(text.replace(_KEY, api_key))}
