"""URLs of attempts: the address of a channel joined with the path of a kind of request.

The rules are those of the providers specification, section 1.2. A path is chosen by
what is sent, not by what the client sent: a Claude request converted to chat goes to
the chat path. The client's query string goes along only when its path does, without
the places in which credentials stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from knight_tw.errors import ChannelFault, UnsupportedEndpoint
from knight_tw.providers.provider import Target
from knight_tw.records import Channel, Dialect, Mode

Paths = Mapping[Mode, str]
"""The path of each kind of request; `{model}` stands for the upstream's model name."""

OPENAI_PATHS: Paths = {
    Mode.CHAT: "/v1/chat/completions",
    Mode.COMPLETIONS: "/v1/completions",
    Mode.RESPONSES: "/v1/responses",
    Mode.COMPACT: "/v1/responses/compact",
    Mode.ALPHA_SEARCH: "/v1/alpha/search",
    Mode.EMBEDDINGS: "/v1/embeddings",
    Mode.MODERATIONS: "/v1/moderations",
    Mode.IMAGES: "/v1/images/generations",
    Mode.IMAGE_EDITS: "/v1/images/edits",
    Mode.SPEECH: "/v1/audio/speech",
    Mode.TRANSCRIPTIONS: "/v1/audio/transcriptions",
    Mode.TRANSLATIONS: "/v1/audio/translations",
    Mode.RERANK: "/v1/rerank",
    Mode.REALTIME: "/v1/realtime",
}
CLAUDE_PATHS: Paths = {
    Mode.MESSAGES: "/v1/messages",
    Mode.COUNT_TOKENS: "/v1/messages/count_tokens",
}

CHATTING = frozenset(
    {Mode.CHAT, Mode.RESPONSES, Mode.MESSAGES, Mode.COUNT_TOKENS, Mode.GEMINI}
)
"""Kinds of work that every provider with a chat has, by conversion if need be."""

CLOUDFLARE = "https://gateway.ai.cloudflare.com"
"""An address of this gateway already names the API's version."""

_SENT = {
    Dialect.CHAT: Mode.CHAT,
    Dialect.RESPONSES: Mode.RESPONSES,
    Dialect.CLAUDE: Mode.MESSAGES,
    Dialect.GEMINI: Mode.GEMINI,
}
_VERSIONED = re.compile(r"/v\d+(?:\.\d+)?(?:(?:alpha|beta)\d*)?(?:/openai)?$")
_CREDENTIALS = frozenset({"key", "api_key", "api-key", "access_token", "token"})
_GEMINI_PATH = re.compile(r"^(/v[^/]+)/models/.+:([A-Za-z]+)$")


class Plan(NamedTuple):
    """The two addresses of a coding plan."""

    claude: str
    openai: str


PLANS: Mapping[str, Plan] = {
    "glm-coding-plan": Plan(
        "https://open.bigmodel.cn/api/anthropic",
        "https://open.bigmodel.cn/api/coding/paas/v4",
    ),
    "glm-coding-plan-international": Plan(
        "https://api.z.ai/api/anthropic", "https://api.z.ai/api/coding/paas/v4"
    ),
    "kimi-coding-plan": Plan(
        "https://api.kimi.com/coding", "https://api.kimi.com/coding/v1"
    ),
    "doubao-coding-plan": Plan(
        "https://ark.cn-beijing.volces.com/api/coding",
        "https://ark.cn-beijing.volces.com/api/coding/v3",
    ),
}
"""Names that may stand for the address of a channel of types 25, 26 and 45."""


def sent_kind(target: Target) -> Mode:
    """The kind of request that goes to the provider, after conversion."""
    if target.mode in CHATTING and target.mode is not Mode.COUNT_TOKENS:
        return _SENT.get(target.dialect, target.mode)
    return target.mode


def addresses(base_url: str, paths: Paths) -> Callable[[Target], str]:
    """The `url` of a provider whose paths depend only on the kind of request."""

    def url(target: Target) -> str:
        return join(
            channel_root(target.channel, base_url), path_of(target, paths), target
        )

    return url


def planned(base_url: str, paths: Paths) -> Callable[[Target], str]:
    """The same for a provider whose channels may name a coding plan as address."""
    usual = addresses(base_url, paths)

    def url(target: Target) -> str:
        plan = PLANS.get(target.channel.base_url)
        if plan is None:
            return usual(target)
        kind = sent_kind(target)
        if kind in CLAUDE_PATHS:
            return join(plan.claude, CLAUDE_PATHS[kind], target)
        if kind not in paths:
            raise unsupported(target)
        return plan.openai + _after_version(OPENAI_PATHS[kind])

    return url


def channel_root(channel: Channel, base_url: str) -> str:
    """The address of a channel, its own or the type's, without a slash at its end.

    Raises:
        ChannelFault: it has none, and its type has no default.
    """
    root = (channel.base_url or base_url).rstrip("/")
    if not root:
        raise ChannelFault("the channel has no address")
    return root


def path_of(target: Target, paths: Paths) -> str:
    """The path for what is sent.

    Raises:
        UnsupportedEndpoint: the provider has no such kind of request.
    """
    path = paths.get(sent_kind(target))
    if path is None:
        raise unsupported(target)
    if "{" in path:
        path = path.replace("{model}", quote(target.model, safe="/@:"))
    return path


def unsupported(target: Target) -> UnsupportedEndpoint:
    """The error for a kind of request that the provider does not have."""
    kind = target.mode.value
    return UnsupportedEndpoint(f"the provider of this model has no {kind} endpoint")


def join(root: str, path: str, target: Target) -> str:
    """The URL of an OpenAI-like path, with the client's query where it applies."""
    short = bool(target.channel.settings.get("join_without_v1"))
    return with_query(_joined(root, path, short), target)


@lru_cache(2048)
def _joined(root: str, path: str, short: bool) -> str:
    """The two without what they have in common; the same for every call."""
    if short or _names_version(root, path):
        path = _after_version(path)
    return root + _beyond(root, path)


def with_query(url: str, target: Target) -> str:
    """The URL with the scheme and the query of what is asked."""
    if target.mode is Mode.REALTIME:
        url = re.sub("^http", "ws", url)
        return f"{url}?model={quote(target.model, safe='')}"
    if target.query and url.endswith(target.path):
        parts = [p for p in target.query.split("&") if _harmless(p)]
        if parts:
            return f"{url}?{'&'.join(parts)}"
    return url


def gemini_path(target: Target) -> str:
    """The Gemini path and query of an attempt: the client's action when it has one."""
    version, action = "/v1beta", "generateContent"
    if target.stream:
        action = "streamGenerateContent"
    asked = _GEMINI_PATH.match(target.path)
    if asked is not None:
        version, action = asked.groups()
        version = "/v1beta" if version == "/v1" else version
    query = "?alt=sse" if action == "streamGenerateContent" else ""
    return f"{version}/models/{quote(target.model, safe='/@')}:{action}{query}"


def _names_version(root: str, path: str) -> bool:
    if not path.startswith("/v1/"):
        return False
    return root.startswith(CLOUDFLARE) or _VERSIONED.search(root) is not None


def _after_version(path: str) -> str:
    return path.removeprefix("/v1")


def _beyond(root: str, path: str) -> str:
    """The path without the first segments that the address ends in already."""
    segments = path.split("/")
    for size in range(len(segments) - 1, 1, -1):
        start = "/".join(segments[:size])
        if root.endswith(start):
            return path[len(start) :]
    return path


def _harmless(part: str) -> bool:
    return bool(part) and part.partition("=")[0].lower() not in _CREDENTIALS
