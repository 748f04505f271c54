"""What is read of a request body, and when it is refused (relay specification, 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from attrs import frozen

from knight_tw.errors import InvalidRequest
from knight_tw.providers.provider import Body
from knight_tw.records import Dialect, Mode
from knight_tw.relay.call import Call
from knight_tw.relay.knobs import Knobs
from knight_tw.wire import (
    chat,
    completions,
    embeddings,
    gemini,
    moderations,
    responses,
    top,
)


@frozen
class Kind:
    """How a kind of work is read.

    Attributes:
        validate: Raises InvalidRequest for a body that no provider can answer.
        model: The model when the body names none; empty = it must.
        streams: `stream` is looked at.
        output_limit, choices: Read from the body for admission.
    """

    validate: Callable[[Body], None]
    model: str = ""
    streams: bool = False
    output_limit: Callable[[Body], int | None] | None = None
    choices: Callable[[Body], int] | None = None


def _validate_messages(body: Body) -> None:
    """A Claude request (relay specification, 6)."""
    if not top.filled(body, "messages"):
        raise InvalidRequest("messages is required", param="messages")
    if not top.is_list(body, "messages"):
        raise InvalidRequest("messages must be a list", param="messages")
    _claude_limit(body)


def _claude_limit(body: Body) -> int | None:
    return top.read_whole(body, "max_tokens", 0, chat.MOST_TOKENS)


def _validate_count(body: Body) -> None:
    """A request to count tokens, in Claude's or Gemini's dialect."""
    names = ("messages", "contents", "generateContentRequest")
    if not any(top.filled(body, name) for name in names):
        raise InvalidRequest("messages is required", param="messages")


KINDS: Mapping[Mode, Kind] = {
    Mode.CHAT: Kind(
        chat.validate,
        streams=True,
        output_limit=chat.output_limit,
        choices=chat.choice_count,
    ),
    Mode.COMPLETIONS: Kind(
        completions.validate,
        streams=True,
        output_limit=chat.output_limit,
        choices=chat.choice_count,
    ),
    Mode.RESPONSES: Kind(
        responses.validate, streams=True, output_limit=responses.output_limit
    ),
    Mode.COMPACT: Kind(responses.validate_compact),
    Mode.MESSAGES: Kind(_validate_messages, streams=True, output_limit=_claude_limit),
    Mode.COUNT_TOKENS: Kind(_validate_count),
    Mode.EMBEDDINGS: Kind(embeddings.validate),
    Mode.MODERATIONS: Kind(moderations.validate, moderations.DEFAULT_MODEL),
}

_GENERATING = frozenset({"generateContent", "streamGenerateContent"})


def read_model(call: Call) -> None:
    """Fills `top`, `model` and `stream` of a call whose body is decoded.

    Raises:
        InvalidRequest: the body is no JSON object or names no model.
    """
    call.top = top.read_top(call.body)
    if call.dialect is Dialect.GEMINI:
        call.stream = call.action == "streamGenerateContent"
        call.generates = call.action in _GENERATING
        query = parse_qs(call.head.query)
        call.array = call.stream and query.get("alt", [""])[0] != "sse"
        return
    kind = KINDS[call.mode]
    call.model = top.read_model(call.top, kind.model)
    call.stream = kind.streams and top.read_stream(call.top)


def validate(call: Call, knobs: Knobs) -> None:
    """Checks the rest of the body and fills what admission needs.

    Raises:
        InvalidRequest: `param` names the field at fault.
    """
    if call.mode is Mode.GEMINI:
        gemini.validate(call.top, call.action)
        call.output_limit = gemini.output_limit(call.top)
        call.choices = gemini.choice_count(call.top)
        return
    kind = KINDS[call.mode]
    kind.validate(call.top)
    if kind.output_limit is not None:
        call.output_limit = kind.output_limit(call.top)
    if kind.choices is not None:
        call.choices = kind.choices(call.top)
    if kind.streams and call.dialect is Dialect.CHAT:
        asked = chat.include_usage(call.top)
        call.include_usage = knobs.usage_by_default if asked is None else asked
