"""Where a relay call's credential stands, and what it says (relay specification, 3).

Pure: the head in, a `Credential` out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qsl

from attrs import frozen

from knight_tw.errors import InvalidKey
from knight_tw.records import Head

_KEY = re.compile(r"[A-Za-z0-9_]{1,128}\Z")
_USUAL = re.compile(r"Bearer sk-([A-Za-z0-9_]{1,128})\Z")
_BEARER = re.compile(r"\s*bearer\s+", re.IGNORECASE)
_SUBPROTOCOL = "openai-insecure-api-key."
_CHAT = "/v1/chat/"
"""What stands before the usual path, on which `Authorization` comes first."""

_MJ = re.compile(r"/(?:[^/]+/)?mj(?:/|\Z)")

Source = Callable[[Head], str]


@frozen
class Credential:
    """A relay key without its `sk-`, and the channel pin behind it (may be empty)."""

    key: str
    pin: str = ""


def credential(head: Head, *, websocket: bool = False) -> Credential:
    """The first credential that the path's order of sources gives.

    Raises:
        InvalidKey: there is none, or it cannot be a key of ours.
    """
    usual = _USUAL.match(head.get("authorization"))
    if usual and not websocket and head.path.startswith(_CHAT):
        return Credential(usual[1])
    found = _first(head, websocket)
    if not found:
        raise InvalidKey("no API key was provided")
    key, _, pin = found.removeprefix("sk-").partition("-")
    if not _KEY.match(key):
        raise InvalidKey("invalid API key")
    return Credential(key, pin)


def _first(head: Head, websocket: bool) -> str:
    """The text of the credential, wherever it stands, or an empty string."""
    for source in _sources(head.path, websocket):
        found = source(head)
        if found:
            return found
    return ""


def _authorization(head: Head) -> str:
    text = head.get("authorization").strip()
    match = _BEARER.match(text)
    if match:
        return text[match.end() :].strip()
    return "" if text.lower() == "bearer" else text


def _header(name: str) -> Source:
    return lambda head: head.get(name).strip()


def _query_key(head: Head) -> str:
    return next((v for k, v in parse_qsl(head.query) if k == "key" and v), "")


def _subprotocol(head: Head) -> str:
    for item in head.get("sec-websocket-protocol").split(","):
        if item.strip().startswith(_SUBPROTOCOL):
            return item.strip()[len(_SUBPROTOCOL) :]
    return ""


def _midjourney(head: Head) -> str:
    found = _authorization(head)
    return "" if found == "midjourney-proxy" else found


_API_KEY = _header("api-key")
_X_API_KEY = _header("x-api-key")
_GOOG = _header("x-goog-api-key")

_WEBSOCKET: tuple[Source, ...] = (_subprotocol, _authorization, _API_KEY)
_CLAUDE: tuple[Source, ...] = (_X_API_KEY, _authorization)
_MODELS: tuple[Source, ...] = (_X_API_KEY, _GOOG, _query_key, _authorization)
_GEMINI: tuple[Source, ...] = (_GOOG, _query_key, _authorization)
_MIDJOURNEY: tuple[Source, ...] = (_midjourney, _header("mj-api-secret"))
_OTHERS: tuple[Source, ...] = (_authorization, _API_KEY, _X_API_KEY)


def _sources(path: str, websocket: bool) -> tuple[Source, ...]:
    """The order of sources for a path (relay specification, table of section 3)."""
    if websocket:
        return _WEBSOCKET
    if path.startswith(_CHAT):  # the usual path, decided first
        return _OTHERS
    if path.startswith("/v1/messages"):
        return _CLAUDE
    if path.startswith("/v1beta/") or (path.startswith("/v1/models/") and ":" in path):
        return _GEMINI
    if path.startswith("/v1/models"):
        return _MODELS
    return _MIDJOURNEY if _MJ.match(path) else _OTHERS
