"""The relay's routes as data (relay specification, section 1): which dialect and kind
of work a method and path mean. Pure, served alike by both lanes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from knight_tw.records import Dialect, Mode


@frozen
class Route:
    """One relay route.

    Attributes:
        dialect: Errors are rendered in it.
        mode: The kind of work, None for what the gateway answers by itself.
        path: The path that providers know.
        answer: Name of the gateway's own answer (`models`, `model`, `unserved`,
            `websocket`).
        argument: The variable part of the path, a model's name.
        action: What Gemini's paths name behind the colon.
    """

    dialect: Dialect
    mode: Mode | None = None
    path: str = ""
    answer: str = ""
    argument: str = ""
    action: str = ""
    methods: tuple[str, ...] = ("POST",)


def _work(path: str, dialect: Dialect, mode: Mode) -> Route:
    return Route(dialect, mode, path)


_FIXED: Mapping[str, tuple[Route, ...]] = {
    route_path: (route,)
    for route_path, route in {
        "/v1/chat/completions": _work("/v1/chat/completions", Dialect.CHAT, Mode.CHAT),
        "/v1/completions": _work("/v1/completions", Dialect.CHAT, Mode.COMPLETIONS),
        "/v1/embeddings": _work("/v1/embeddings", Dialect.CHAT, Mode.EMBEDDINGS),
        "/v1/moderations": _work("/v1/moderations", Dialect.CHAT, Mode.MODERATIONS),
        "/v1/messages": _work("/v1/messages", Dialect.CLAUDE, Mode.MESSAGES),
        "/v1/messages/count_tokens": _work(
            "/v1/messages/count_tokens", Dialect.CLAUDE, Mode.COUNT_TOKENS
        ),
        "/v1/responses": _work("/v1/responses", Dialect.RESPONSES, Mode.RESPONSES),
        "/v1/responses/compact": _work(
            "/v1/responses/compact", Dialect.RESPONSES, Mode.COMPACT
        ),
        "/v1beta/openai/chat/completions": _work(
            "/v1/chat/completions", Dialect.CHAT, Mode.CHAT
        ),
        "/v1beta/openai/embeddings": _work(
            "/v1/embeddings", Dialect.CHAT, Mode.EMBEDDINGS
        ),
        "/v1beta/openai/images/generations": _work(
            "/v1/images/generations", Dialect.CHAT, Mode.IMAGES
        ),
        "/v1/images/generations": _work(
            "/v1/images/generations", Dialect.CHAT, Mode.IMAGES
        ),
        "/v1/images/edits": _work("/v1/images/edits", Dialect.CHAT, Mode.IMAGE_EDITS),
        "/v1/edits": _work("/v1/images/edits", Dialect.CHAT, Mode.IMAGE_EDITS),
        "/v1/audio/speech": _work("/v1/audio/speech", Dialect.CHAT, Mode.SPEECH),
        "/v1/audio/transcriptions": _work(
            "/v1/audio/transcriptions", Dialect.CHAT, Mode.TRANSCRIPTIONS
        ),
        "/v1/audio/translations": _work(
            "/v1/audio/translations", Dialect.CHAT, Mode.TRANSLATIONS
        ),
        "/v1/rerank": _work("/v1/rerank", Dialect.CHAT, Mode.RERANK),
        "/v2/rerank": _work("/v1/rerank", Dialect.CHAT, Mode.RERANK),
        "/rerank": _work("/v1/rerank", Dialect.CHAT, Mode.RERANK),
        "/v1/alpha/search": _work("/v1/alpha/search", Dialect.CHAT, Mode.ALPHA_SEARCH),
    }.items()
}

ACTIONS = frozenset(
    {
        "generateContent",
        "streamGenerateContent",
        "countTokens",
        "embedContent",
        "batchEmbedContents",
        "predict",
    }
)
"""What can be done with a model on Gemini's paths."""

_ACTION = re.compile(r"/v1(?:beta)?/models/(?P<model>.+):(?P<action>[A-Za-z]+)\Z")
_ENGINE = re.compile(r"/v1/engines/(?P<model>.+)/embeddings\Z")
_GET = ("GET", "HEAD")
_LISTS: tuple[tuple[re.Pattern[str], str, Dialect], ...] = (
    (re.compile(r"/v1/models/?\Z"), "models", Dialect.CHAT),
    (re.compile(r"/v1/models/(?P<model>[^:]+)\Z"), "model", Dialect.CHAT),
    (re.compile(r"/v1beta/openai/models/?\Z"), "models", Dialect.CHAT),
    (re.compile(r"/v1beta/openai/models/(?P<model>[^:]+)\Z"), "model", Dialect.CHAT),
    (re.compile(r"/v1beta/models/?\Z"), "models", Dialect.GEMINI),
    (re.compile(r"/v1beta/models/(?P<model>[^:]+)\Z"), "model", Dialect.GEMINI),
)

_UNSERVED: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"/v1/files\Z"), ("GET", "POST")),
    (re.compile(r"/v1/files/[^/]+\Z"), ("GET", "DELETE")),
    (re.compile(r"/v1/files/[^/]+/content\Z"), ("GET",)),
    (re.compile(r"/v1/fine[-_]tun(?:es|ing)(?:/.*)?\Z"), ("GET", "POST", "DELETE")),
    (re.compile(r"/v1/models/[^/]+\Z"), ("DELETE",)),
    (re.compile(r"/v1/images/variations\Z"), ("POST",)),
    (re.compile(r"/v1/responses/.+\Z"), ("GET", "DELETE")),
    (
        re.compile(
            r"/v1/realtime/"
            r"(?:client_secrets|sessions|transcription_sessions|calls|translations)\Z"
        ),
        ("POST",),
    ),
)

_SOCKETS = frozenset({"/v1/realtime"})
"""Paths of websockets: what comes here asks for none."""

_OURS = re.compile(
    r"/(?:v1(?!/dashboard/)|v1beta|mj|suno|pg)(?:/|\Z)|/(?!api/)[^/]+/mj/"
)
"""Paths that answer 404 in the OpenAI shape when nothing serves them; the billing
pages below `/v1/dashboard/` belong to the management side."""


def claimed(path: str) -> bool:
    """True for every path that the relay answers, be it with 404."""
    return path in _FIXED or _OURS.match(path) is not None


def find(path: str) -> tuple[Route, ...]:
    """All routes of a path, one per set of methods; empty when there is none."""
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    action = _ACTION.match(path)
    if action is not None:
        return _acted(path, action["model"], action["action"])
    engine = _ENGINE.match(path)
    if engine is not None:
        named = engine["model"]
        kind = Mode.EMBEDDINGS
        return (Route(Dialect.CHAT, kind, "/v1/embeddings", argument=named),)
    if path in _SOCKETS:
        return (Route(Dialect.CHAT, None, path, "websocket", methods=_GET),)
    return (*_lists(path), *_unserved(path))


def _acted(path: str, model: str, action: str) -> tuple[Route, ...]:
    """Gemini's actions on a model; an unknown one has no route."""
    if action not in ACTIONS:
        return ()
    mode = Mode.COUNT_TOKENS if action == "countTokens" else Mode.GEMINI
    return (Route(Dialect.GEMINI, mode, path, argument=model, action=action),)


def dialect_of(path: str) -> Dialect:
    """The dialect in which a path without a route answers."""
    if path.startswith("/v1/messages"):
        return Dialect.CLAUDE
    if path.startswith("/v1/responses"):
        return Dialect.RESPONSES
    if path.startswith("/v1beta/") and not path.startswith("/v1beta/openai"):
        return Dialect.GEMINI
    if _ACTION.match(path):
        return Dialect.GEMINI
    return Dialect.CHAT


def _lists(path: str) -> list[Route]:
    for pattern, answer, dialect in _LISTS:
        match = pattern.match(path)
        if match:
            model = match.groupdict().get("model", "")
            return [Route(dialect, None, path, answer, argument=model, methods=_GET)]
    return []


def _unserved(path: str) -> list[Route]:
    return [
        Route(Dialect.CHAT, None, path, "unserved", methods=methods)
        for pattern, methods in _UNSERVED
        if pattern.match(path)
    ]
