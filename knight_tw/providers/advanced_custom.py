"""Advanced Custom (58): a table of routes decides path, dialect and credential.

`settings.advanced_custom.advanced_routes` (providers specification, 7.28). A channel
without a route for a request's path and model is no candidate for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from knight_tw.errors import UnsupportedEndpoint
from knight_tw.providers.addresses import channel_root
from knight_tw.providers.openai_family import OPENAI_MODES, openai_provider
from knight_tw.providers.provider import Headers, Target, bearer
from knight_tw.records import Channel, Dialect, Mode

Route = Mapping[str, Any]

_CONVERTED: Mapping[str, Dialect] = {
    "anthropic_messages_to_openai_chat_completions": Dialect.CHAT,
    "openai_chat_completions_to_anthropic_messages": Dialect.CLAUDE,
    "openai_chat_completions_to_openai_responses": Dialect.RESPONSES,
    "openai_responses_to_openai_chat_completions": Dialect.CHAT,
    "gemini_generate_content_to_openai_chat_completions": Dialect.CHAT,
    "openai_chat_completions_to_gemini_generate_content": Dialect.GEMINI,
}


def find_route(channel: Channel, path: str, *models: str) -> Route | None:
    """The route for a request path and a model under any of these names.

    The longest `incoming_path` wins; a route of `:generateContent` serves streams too.
    """
    path = path.replace(":streamGenerateContent", ":generateContent")
    found = [
        route
        for route in _routes(channel)
        if _serves_path(str(route.get("incoming_path") or ""), path)
        and _serves_model(route.get("models"), models)
    ]
    return max(found, key=lambda r: len(str(r["incoming_path"])), default=None)


def _routes(channel: Channel) -> list[Route]:
    table = channel.settings.get("advanced_custom")
    routes = table.get("advanced_routes") if isinstance(table, Mapping) else None
    return (
        [r for r in routes if isinstance(r, Mapping)]
        if isinstance(routes, list)
        else []
    )


def _serves_path(pattern: str, path: str) -> bool:
    start, placeholder, end = pattern.partition("{model}")
    if not placeholder:
        return pattern == path
    inside = len(path) > len(start) + len(end)
    return inside and path.startswith(start) and path.endswith(end)


def _serves_model(patterns: Any, models: Iterable[str]) -> bool:
    if not patterns or not isinstance(patterns, list):
        return True
    return any(_matches(str(p), model) for p in patterns for model in models)


def _matches(pattern: str, model: str) -> bool:
    if not pattern.startswith("re:"):
        return pattern == model
    try:
        return re.search(pattern[3:], model) is not None
    except re.error:
        return False


def spoken(route: Route) -> Dialect:
    """The dialect that a route's upstream is spoken to in."""
    converted = _CONVERTED.get(str(route.get("converter")))
    if converted is not None:
        return converted
    path = str(route.get("incoming_path"))
    if path.endswith("/messages"):
        return Dialect.CLAUDE
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return Dialect.GEMINI
    return Dialect.RESPONSES if "/responses" in path else Dialect.CHAT


def speaks_for(
    channel: Channel, model: str, path: str, options: Mapping[str, Any]
) -> tuple[Dialect, ...]:
    """What the route says; nothing without a route."""
    route = find_route(channel, path, *_names(channel, model))
    return () if route is None else (spoken(route),)


def _names(channel: Channel, model: str) -> list[str]:
    """The upstream's name of a model and the names that are mapped to it."""
    mapped = (name for name, real in channel.model_mapping.items() if real == model)
    return [model, *mapped]


def _route_of(target: Target) -> Route:
    names = _names(target.channel, target.model)
    route = find_route(target.channel, target.path, *names)
    if route is None:
        raise UnsupportedEndpoint("the channel has no route for this request")
    return route


def url(target: Target) -> str:
    """The route's address, with a key in the query where the route wants it there."""
    route = _route_of(target)
    path = str(route.get("upstream_path") or target.path)
    path = path.replace("{model}", quote(target.model, safe="/@:"))
    if target.stream:
        path = path.replace(":generateContent", ":streamGenerateContent")
    if not path.startswith(("http://", "https://")):
        path = channel_root(target.channel, "") + "/" + path.lstrip("/")
    auth = _auth(route)
    pairs = []
    if ":streamGenerateContent" in path and "alt=" not in path:
        pairs.append("alt=sse")
    if auth.get("type") == "query":
        pairs.append(
            f"{quote(str(auth.get('name') or 'key'))}={quote(_value(auth, target))}"
        )
    if not pairs:
        return path
    return path + ("&" if "?" in path else "?") + "&".join(pairs)


def authorize(target: Target) -> Headers:
    """The route's header; a Bearer when the route says nothing."""
    auth = _auth(_route_of(target))
    kind = auth.get("type")
    if kind == "header":
        return [(str(auth.get("name") or "Authorization"), _value(auth, target))]
    return bearer(target) if not kind else []


def _auth(route: Route) -> Mapping[str, Any]:
    auth = route.get("auth")
    return auth if isinstance(auth, Mapping) else {}


def _value(auth: Mapping[str, Any], target: Target) -> str:
    pattern = str(auth.get("value") or "{api_key}")
    return pattern.replace("{api_key}", target.key)


ADVANCED_CUSTOM = openai_provider(
    58,
    "Advanced Custom",
    "",
    url=url,
    speaks_for=speaks_for,
    modes=OPENAI_MODES | {Mode.ALPHA_SEARCH},
    authorize=authorize,
    stream_options=True,
    models_path="",
)
