"""What is read of a request body, and when it is refused (relay specification, 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from attrs import frozen

from knight_tw.errors import InvalidRequest
from knight_tw.pricing import IMAGE_OUTPUT_TOKENS, image_ratios
from knight_tw.providers.provider import Body
from knight_tw.records import Dialect, Mode
from knight_tw.relay.call import Call
from knight_tw.relay.knobs import Knobs
from knight_tw.relay.media import PICTURES, TRANSCRIPTS
from knight_tw.wire import (
    audio,
    chat,
    completions,
    embeddings,
    gemini,
    images,
    moderations,
    rerank,
    responses,
    top,
)


@frozen
class Kind:
    """How a kind of work is read.

    Attributes:
        validate: Raises InvalidRequest for a body that no provider can answer.
        model: The model when the body names none; empty = it must.
        streams: Tells whether a stream is asked for; None = never.
        output_limit, choices: Read from the body for admission.
    """

    validate: Callable[[Body], None]
    model: str = ""
    streams: Callable[[Body], bool] | None = None
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


_COUNTED = (
    *("messages", "contents"),
    *("generateContentRequest", "generate_content_request"),
)
"""One of these holds what is to be counted."""


def _validate_count(body: Body) -> None:
    """A request to count tokens, in Claude's or Gemini's dialect."""
    if not any(top.filled(body, name) for name in _COUNTED):
        raise InvalidRequest("messages is required", param="messages")


_PICTURES = Kind(
    images.validate,
    images.DEFAULT_MODEL,
    streams=top.read_stream,
    output_limit=lambda body: IMAGE_OUTPUT_TOKENS,
    choices=images.picture_count,
)
_TRANSCRIPTS = Kind(
    audio.validate_transcript, audio.TRANSCRIPT_MODEL, streams=top.read_stream
)

KINDS: Mapping[Mode, Kind] = {
    Mode.CHAT: Kind(
        chat.validate,
        streams=top.read_stream,
        output_limit=chat.output_limit,
        choices=chat.choice_count,
    ),
    Mode.COMPLETIONS: Kind(
        completions.validate,
        streams=top.read_stream,
        output_limit=chat.output_limit,
        choices=chat.choice_count,
    ),
    Mode.RESPONSES: Kind(
        responses.validate,
        streams=top.read_stream,
        output_limit=responses.output_limit,
    ),
    Mode.COMPACT: Kind(responses.validate_compact),
    Mode.MESSAGES: Kind(
        _validate_messages, streams=top.read_stream, output_limit=_claude_limit
    ),
    Mode.COUNT_TOKENS: Kind(_validate_count),
    Mode.EMBEDDINGS: Kind(embeddings.validate),
    Mode.MODERATIONS: Kind(moderations.validate, moderations.DEFAULT_MODEL),
    Mode.RERANK: Kind(rerank.validate),
    Mode.ALPHA_SEARCH: Kind(lambda body: None, streams=top.read_stream),
    Mode.IMAGES: _PICTURES,
    Mode.IMAGE_EDITS: _PICTURES,
    Mode.SPEECH: Kind(
        audio.validate_speech, audio.SPEECH_MODEL, streams=audio.asks_events
    ),
    Mode.TRANSCRIPTIONS: _TRANSCRIPTS,
    Mode.TRANSLATIONS: _TRANSCRIPTS,
}

_GENERATING = frozenset({"generateContent", "streamGenerateContent"})


def read_model(call: Call) -> None:
    """Fills `top`, `model` and `stream` of a call whose body is decoded.

    Raises:
        InvalidRequest: the body is no JSON object or names no model.
    """
    if call.mode in TRANSCRIPTS and call.form is None:
        raise InvalidRequest("the body must be multipart/form-data")
    if call.mode is Mode.IMAGE_EDITS and call.form is not None:
        call.form = images.uploaded(call.form)
    fields = None if call.form is None else call.form.fields
    call.top = top.read_top(call.body) if fields is None else dict(fields)
    if call.dialect is Dialect.GEMINI:
        call.stream = call.action == "streamGenerateContent"
        call.generates = call.action in _GENERATING
        query = parse_qs(call.head.query)
        call.array = call.stream and query.get("alt", [""])[0] != "sse"
        return
    kind = KINDS[call.mode]
    # What an older path names counts when the body names nothing.
    call.model = top.read_model(call.top, call.model or kind.model)
    call.stream = kind.streams is not None and kind.streams(call.top)


def validate(call: Call, knobs: Knobs) -> None:
    """Checks the rest of the body and fills what admission needs.

    Raises:
        InvalidRequest: `param` names the field at fault.
    """
    if call.mode is Mode.GEMINI:
        gemini.validate(call.top, call.action)
        call.output_limit = gemini.output_limit(call.top)
        call.choices = gemini.choice_count(call.top)
        if call.work is Mode.IMAGES:
            call.output_limit = IMAGE_OUTPUT_TOKENS
            call.choices = gemini.sample_count(call.top)
            call.ratios = image_ratios(call.model, "", "", call.choices)
        return
    kind = KINDS[call.mode]
    kind.validate(call.top)
    if kind.output_limit is not None:
        call.output_limit = kind.output_limit(call.top)
    if kind.choices is not None:
        call.choices = kind.choices(call.top)
    if call.mode in PICTURES:
        size, quality = images.asked_size(call.top), images.asked_quality(call.top)
        call.ratios = image_ratios(call.model, size, quality, call.choices)
    elif call.mode in TRANSCRIPTS and not (call.form and call.form.files("file")):
        raise InvalidRequest("file is required", param="file")
    elif kind.streams is not None and call.dialect is Dialect.CHAT:
        asked = chat.include_usage(call.top)
        call.include_usage = knobs.usage_by_default if asked is None else asked
