"""Speech and transcripts: OpenAI's requests, answers and streams.

Speech is asked for in JSON and answered with the bytes of a recording, or with events
(`stream_format: sse`): `speech.audio.delta` with base64, at last `speech.audio.done`
with the usage. Recordings to transcribe come in a form; the answer is JSON, or the text
itself, as `response_format` says, or events: `transcript.text.delta`, at last
`transcript.text.done`. The usage of a transcript is tokens or seconds.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, MutableMapping
from typing import Any

from attrs import evolve

from knight_tw.counting import timed
from knight_tw.errors import EmptyAnswer, InvalidRequest
from knight_tw.records import Usage
from knight_tw.wire import sse, top
from knight_tw.wire.answers import (
    AS_OPENAI,
    EMPTY,
    Plain,
    Reading,
    decode_object,
    read_plain,
    refuse_errors,
)
from knight_tw.wire.named_pass import Mark, NamedEvent, NamedPass
from knight_tw.wire.rendered import Rendered
from knight_tw.wire.sounds import Sound
from knight_tw.wire.sse import Event
from knight_tw.wire.usage import read_usage

Body = MutableMapping[str, Any]

SPEECH_MODEL, TRANSCRIPT_MODEL = "tts-1", "whisper-1"

SOUND_TYPES: Mapping[str, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""Formats of speech to media types."""

TEXTS = frozenset({"text", "srt", "vtt"})
"""Formats of a transcript that are no JSON."""

DELTA, DONE = "speech.audio.delta", "speech.audio.done"
SAID, TOLD = "transcript.text.delta", "transcript.text.done"
_TRANSCRIPT = frozenset({SAID, "transcript.text.segment"})

MOST_SECONDS = 1_000_000


# Requests ---------------------------------------------------------------------


def validate_speech(body: Body) -> None:
    """Refuse a request without a text.

    Raises:
        InvalidRequest: `param` is the member at fault.
    """
    top.require(body, "input")
    top.read_text(body, "input")
    sound_format(body)


def asks_events(body: Body) -> bool:
    """True when speech is to come as events."""
    return top.read_text(body, "stream_format") == "sse"


def sound_format(body: Body) -> str:
    """The format of speech that is asked for."""
    return top.read_text(body, "response_format") or "mp3"


def validate_transcript(body: Body) -> None:
    """Refuse what cannot be read.

    Raises:
        InvalidRequest: `param` is the member at fault.
    """
    text_format(body)


def text_format(body: Body) -> str:
    """The format of a transcript that is asked for."""
    found = top.read_text(body, "response_format") or "json"
    if len(found) > 64:
        raise InvalidRequest("response_format is unknown", param="response_format")
    return found


# Speech -----------------------------------------------------------------------


class SpeechPass(NamedPass):
    """The events of a provider's speech to the bytes for the client."""

    def __init__(self, kind: str, reading: Reading = AS_OPENAI) -> None:
        super().__init__(reading)
        self._sound = Sound(kind)
        self.produced.sound = self._sound

    def note(self, event: NamedEvent, produced: Rendered) -> Mark:
        """See `NamedPass`."""
        if event.type == DONE:
            return Mark.END
        if event.type != DELTA or not event.audio:
            return Mark.FRAME
        self._sound.feed(decoded(event.audio))
        return Mark.CONTENT

    def usage_of(self, value: Any) -> Usage | None:
        """What is put out is sound."""
        usage = super().usage_of(value)
        return usage and evolve(usage, audio_out=usage.completion)


class SoundPass:
    """The bytes of a provider's recording on their way; implements `Machine`.

    The last byte is held back until `close`, so that the charge comes before it.
    """

    usage: Usage | None = None
    finished = False

    def __init__(self, kind: str) -> None:
        self._sound = Sound(kind)
        self._last = b""
        self.events = 0
        self.produced = Rendered(sound=self._sound)

    @property
    def began(self) -> bool:
        """True once there was a byte."""
        return self._sound.size > 0

    def feed(self, event: Event) -> list[bytes]:
        """What goes on to the client."""
        data = event.data
        if not data:
            return []
        self._sound.feed(data)
        self.events += 1
        pieces = [self._last, data[:-1]]
        self._last = data[-1:]
        return [piece for piece in pieces if piece]

    def close(self, counted: Usage | None = None) -> list[bytes]:
        """The last byte."""
        last, self._last = self._last, b""
        return [last] if last else []


class Pieces:
    """Implements `EventDecoder` for what has no framing: each arrival is an event."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The one event."""
        return [Event(chunk, chunk)]

    def close(self) -> list[Event]:
        """Nothing is ever left."""
        return []


def decoded(value: Any) -> bytes:
    """Bytes in base64; none when it is something else."""
    try:
        return base64.b64decode(value)
    except (binascii.Error, TypeError, ValueError):
        return b""


def restream_speech(recording: bytes) -> bytes:
    """The events for a recording that came in one piece."""
    spoken = {"type": DELTA, "audio": base64.b64encode(recording).decode()}
    return _events(spoken, {"type": DONE})


# Transcripts ------------------------------------------------------------------


def read_transcript(
    body: bytes,
    kind: str,
    *,
    model: str | None = None,
    reading: Reading = AS_OPENAI,
) -> Plain:
    """The transcript in a 200 body; a recording without words may give an empty text.

    Args:
        kind: The format that was asked for.
        model: The name to show; None leaves the provider's.

    Raises:
        UpstreamRefused: the body reports an error.
        EmptyAnswer: there is nothing in it.
        BadUpstreamBody: it is not JSON although it should be.
    """
    if kind in TEXTS:
        if body.lstrip().startswith(b'{"error"'):
            refuse_errors(decode_object(body), reading.raised_error)
        return Plain(body, None)
    if not body or body.isspace():
        raise EmptyAnswer(EMPTY)
    answer = read_plain(body, model=model, reading=reading)
    told = decode_object(answer.body)
    return Plain(answer.body, transcript_usage(told.get("usage"), reading))


def transcript_usage(value: Any, reading: Reading = AS_OPENAI) -> Usage | None:
    """What a transcript reports: tokens, or seconds that become tokens."""
    if not isinstance(value, dict):
        return None
    seconds = value.get("seconds")
    if isinstance(seconds, int | float) and 0 < seconds <= MOST_SECONDS:
        tokens = timed(seconds)
        return Usage(prompt=tokens, total=tokens)
    if "input_token_details" in value:
        value = {**value, "input_tokens_details": value["input_token_details"]}
    return read_usage(value, reading.complete)


class TranscriptPass(NamedPass):
    """The events of a provider's transcript to the bytes for the client."""

    def note(self, event: NamedEvent, produced: Rendered) -> Mark:
        """See `NamedPass`."""
        if event.type == TOLD:
            return Mark.END
        return Mark.CONTENT if event.type in _TRANSCRIPT else Mark.FRAME

    def usage_of(self, value: Any) -> Usage | None:
        """Tokens or seconds."""
        return transcript_usage(value, self._reading)


def restream_transcript(answer: Mapping[str, Any]) -> bytes:
    """The events for a transcript that came in one piece."""
    text = answer.get("text")
    last = {"type": TOLD, "text": text}
    if answer.get("usage"):
        last["usage"] = answer["usage"]
    return _events({"type": SAID, "delta": text}, last)


def transcript_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The transcript in one piece for the events of a stream."""
    answer: dict[str, Any] = {"text": ""}
    for event in events:
        if event.get("type") == SAID:
            answer["text"] += str(event.get("delta") or "")
        elif event.get("type") == TOLD:
            answer |= {n: event[n] for n in ("text", "usage") if n in event}
    return answer


def _events(*events: Mapping[str, Any]) -> bytes:
    return b"".join(sse.encode(top.encode(event), event["type"]) for event in events)
