"""Which models a provider offers: the request that asks, and the reading of its answer.

Providers specification, section 10. Pure: who sends it and guards the address is the
channels' matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from attrs import frozen

from knight_tw.errors import BadUpstreamBody
from knight_tw.providers import find
from knight_tw.providers.addresses import OPENAI_PATHS, PLANS, channel_root, join
from knight_tw.providers.credentials import ANTHROPIC_VERSION
from knight_tw.providers.identity import identify
from knight_tw.providers.provider import Headers, Target
from knight_tw.records import Channel, Dialect, Head, Mode
from knight_tw.wire.answers import decode_object, refuse_errors

OLLAMA, ANTHROPIC, GEMINI, COHERE = 4, 14, 24, 34
MOST_MODELS = 10_000
PAGE_SIZE = 100
COHERE_PAGE_SIZE = 1000

_NOBODY = Head("GET", "", "", (), "", "")


@frozen
class Listing:
    """A GET request for a model list."""

    url: str
    headers: Headers


def listing(channel: Channel, key: str, page: str = "") -> Listing | None:
    """The request for the models of a channel; None when its type has no list.

    Args:
        key: The credential to use.
        page: Where a list of several pages goes on (`next_page`).

    Raises:
        ChannelFault: the channel has no address.
    """
    plan = PLANS.get(channel.base_url)
    if plan is not None:
        return Listing(f"{plan.openai}/models", _bearer(key))
    if channel.type in _OTHERS:
        path, headers = _OTHERS[channel.type](key, page)
        return Listing(_root(channel) + path, headers)
    provider = find(channel.type)
    if provider is None or not provider.models_path:
        return None
    target = _target(channel, key)
    url = join(_root(channel), provider.models_path, target)
    return Listing(url, provider.authorize(target))


def read_models(type_id: int, body: bytes) -> list[str]:
    """The model names in the answer of a listing, each once, in the provider's order.

    Raises:
        UpstreamRefused: the answer is an error.
        BadUpstreamBody: it holds no list.
    """
    answer = decode_object(body)
    refuse_errors(answer)
    named = type_id in (OLLAMA, GEMINI, COHERE)
    place, name = ("models", "name") if named else ("data", "id")
    entries = answer.get(place)
    if not isinstance(entries, list):
        raise BadUpstreamBody("the provider's answer is no model list")
    names = [_name(entry, name) for entry in entries[:MOST_MODELS]]
    return list(dict.fromkeys(n for n in names if n))


def next_page(type_id: int, body: bytes) -> str:
    """Where the list goes on, empty text when it is complete."""
    name = _NEXT.get(type_id)
    if name is None:
        return ""
    answer = decode_object(body)
    if type_id == ANTHROPIC and answer.get("has_more") is not True:
        return ""
    token = answer.get(name)
    return token if isinstance(token, str) else ""


_NEXT: Mapping[int, str] = {
    ANTHROPIC: "last_id",
    GEMINI: "nextPageToken",
    COHERE: "next_page_token",
}
"""Where a type's list says how it goes on."""


def _name(entry: Any, name: str) -> str:
    value = entry.get(name) if isinstance(entry, Mapping) else entry
    return value.removeprefix("models/") if isinstance(value, str) else ""


def _root(channel: Channel) -> str:
    identity = identify(channel.type)
    return channel_root(channel, identity.base_url if identity else "")


def _target(channel: Channel, key: str) -> Target:
    return Target(
        channel=channel,
        key=key,
        mode=Mode.CHAT,
        dialect=Dialect.CHAT,
        model="",
        stream=False,
        head=_NOBODY,
        path=OPENAI_PATHS[Mode.CHAT],
    )


def _bearer(key: str) -> Headers:
    return [("Authorization", f"Bearer {key}")]


def _ollama(key: str, _: str) -> tuple[str, Headers]:
    return "/api/tags", _bearer(key)


def _anthropic(key: str, page: str) -> tuple[str, Headers]:
    query = f"?after_id={quote(page, safe='')}" if page else ""
    headers = [("x-api-key", key), ("anthropic-version", ANTHROPIC_VERSION)]
    return f"/v1/models{query}", headers


def _gemini(key: str, page: str) -> tuple[str, Headers]:
    query = f"?pageSize={PAGE_SIZE}"
    if page:
        query += f"&pageToken={quote(page, safe='')}"
    return f"/v1beta/models{query}", [("x-goog-api-key", key)]


def _cohere(key: str, page: str) -> tuple[str, Headers]:
    query = f"?page_size={COHERE_PAGE_SIZE}"
    if page:
        query += f"&page_token={quote(page, safe='')}"
    return f"/v1/models{query}", _bearer(key)


_OTHERS = {
    OLLAMA: _ollama,
    ANTHROPIC: _anthropic,
    GEMINI: _gemini,
    COHERE: _cohere,
}
