"""What goes through a realtime session, as far as its bill depends on it.

A session is a websocket on which both sides send JSON events. A turn ends with the
server's `response.done`, which reports what the turn used. The beta and the current
interface name the same things differently: `response.audio.delta` became
`response.output_audio.delta`, `input_audio_format` became `audio.input.format`. Whether
an event counts is decided by its parsed top-level `type` alone, since texts may quote
events. What cannot be read is not counted; it is no business of ours otherwise.

Audio is base64 inside the events. Its length in seconds follows from the format that
the server has named last: 16-bit PCM at a rate, or G.711 at 8000 bytes a second.
Sources: OpenAI "Realtime client events", "Realtime server events"; relay
specification, section 14; billing specification, section 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from attrs import define, evolve, field, frozen

from knight_tw.records import Usage
from knight_tw.wire import usage as openai_usage
from knight_tw.wire.produced import Produced
from knight_tw.wire.usage import count

TEXT_OUT = frozenset(
    {
        "response.output_text.delta",
        "response.output_audio_transcript.delta",
        "response.text.delta",
        "response.audio_transcript.delta",
        "response.function_call_arguments.delta",
    }
)
"""Server events whose `delta` is a piece of text that the model made."""

SOUND_OUT = frozenset({"response.output_audio.delta", "response.audio.delta"})
"""Server events whose `delta` is a piece of sound that the model made."""

SESSION = frozenset({"session.created", "session.updated"})
"""Server events that name the formats of sound."""

PCM_RATE, PCM_WIDTH, G711 = 24_000, 2, 8_000
"""Samples per second where none is named, bytes per sample; bytes per second."""

_G711 = frozenset({"g711_ulaw", "g711_alaw", "audio/pcmu", "audio/pcma"})
_PCM = frozenset({"pcm16", "audio/pcm"})


class _Kind(msgspec.Struct):
    type: str = ""


class _Text(msgspec.Struct):
    delta: str = ""


class _Spoken(msgspec.Struct):
    delta: bytes = b""
    """Base64 in JSON; msgspec refuses what is none."""


class _Heard(msgspec.Struct):
    audio: bytes = b""


_read_kind = msgspec.json.Decoder(_Kind).decode
_read_text = msgspec.json.Decoder(_Text).decode
_read_spoken = msgspec.json.Decoder(_Spoken).decode
_read_heard = msgspec.json.Decoder(_Heard).decode
_read_object = msgspec.json.Decoder(dict[str, Any]).decode


@frozen(eq=False)
class Turn:
    """What one turn used.

    Attributes:
        usage: What the server reported; None when nothing, or only zeros.
        heard, spoken: Text that went in and came out, for counting.
        heard_seconds, spoken_seconds: The same for sound.
    """

    usage: Usage | None
    heard: Produced
    spoken: Produced
    heard_seconds: float
    spoken_seconds: float

    @property
    def silent(self) -> bool:
        """True when nothing came out, as far as was seen."""
        return not (self.spoken.characters or self.spoken_seconds)


@define(eq=False)
class Watch:
    """Sees every message of a session and tells when a turn is over.

    Attributes:
        answering: Responses that have begun and are not done.
    """

    answering: int = 0
    _tools: str = ""
    _rate_in: int = PCM_RATE * PCM_WIDTH
    _rate_out: int = PCM_RATE * PCM_WIDTH
    _heard: Produced = field(factory=Produced)
    _spoken: Produced = field(factory=Produced)
    _heard_seconds: float = 0.0
    _spoken_seconds: float = 0.0

    def client(self, message: bytes) -> None:
        """A message of the client."""
        kind = _kind(message)
        if kind == "input_audio_buffer.append":
            heard = _read(_read_heard, message)
            if heard is not None:
                self._heard_seconds += len(heard.audio) / self._rate_in
        elif kind == "conversation.item.create":
            self._hear_item(_members(_read(_read_object, message), "item"))
        elif kind == "session.update":
            self._configure(_members(_read(_read_object, message), "session"))
        elif kind == "response.create":
            self._hear_response(_members(_read(_read_object, message), "response"))

    def server(self, message: bytes) -> Turn | None:
        """A message of the server; the turn that it ends, if it ends one."""
        kind = _kind(message)
        if kind in SOUND_OUT:
            spoken = _read(_read_spoken, message)
            if spoken is not None:
                self._spoken_seconds += len(spoken.delta) / self._rate_out
        elif kind in TEXT_OUT:
            text = _read(_read_text, message)
            if text is not None:
                self._spoken.add(text.delta)
        elif kind == "response.created":
            self.answering += 1
        elif kind == "response.done":
            self.answering = max(self.answering - 1, 0)
            response = _members(_read(_read_object, message), "response")
            return self._turn(read_usage(response.get("usage")))
        elif kind in SESSION:
            self._formats(_members(_read(_read_object, message), "session"))
        return None

    def rest(self) -> Turn:
        """What has been used since the last turn; the session is over."""
        self.answering = 0
        return self._turn(None)

    def _turn(self, usage: Usage | None) -> Turn:
        """The turn up to now; the count begins anew."""
        if self._tools and usage is None:
            self._heard.add(self._tools)
        turn = Turn(
            usage,
            self._heard,
            self._spoken,
            self._heard_seconds,
            self._spoken_seconds,
        )
        self._heard, self._spoken = Produced(), Produced()
        self._heard_seconds = self._spoken_seconds = 0.0
        return turn

    # what the client says ------------------------------------------------------

    def _hear_item(self, item: Mapping[str, Any]) -> None:
        """An item of the conversation: a message, or a function's result."""
        self._hear_text(item.get("output"))
        content = item.get("content")
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, Mapping):
                continue
            self._hear_text(part.get("text"))
            sound = part.get("audio")
            if isinstance(sound, str):
                self._heard_seconds += _decoded_size(sound) / self._rate_in

    def _hear_response(self, response: Mapping[str, Any]) -> None:
        """Instructions and items of one response alone."""
        self._hear_text(response.get("instructions"))
        items = response.get("input")
        for item in items if isinstance(items, list) else ():
            if isinstance(item, Mapping):
                self._hear_item(item)

    def _configure(self, session: Mapping[str, Any]) -> None:
        """Instructions, and the tools, which are part of every turn."""
        self._hear_text(session.get("instructions"))
        tools = session.get("tools")
        if isinstance(tools, list):
            self._tools = msgspec.json.encode(tools).decode() if tools else ""

    def _hear_text(self, text: Any) -> None:
        if isinstance(text, str):
            self._heard.add(text)

    # what the server says ------------------------------------------------------

    def _formats(self, session: Mapping[str, Any]) -> None:
        audio = _members(session, "audio")
        heard = session.get("input_audio_format") or _format(audio, "input")
        spoken = session.get("output_audio_format") or _format(audio, "output")
        self._rate_in = bytes_per_second(heard) or self._rate_in
        self._rate_out = bytes_per_second(spoken) or self._rate_out


def read_usage(obj: Any) -> Usage | None:
    """The `usage` of a `response.done`; None when it reports nothing.

    Pictures count as text. Cached tokens are told apart into text and sound where the
    details say so, and are never more than the tokens of their kind.
    """
    if not isinstance(obj, dict):
        return None
    into = _members(obj, "input_token_details") or _members(obj, "input_tokens_details")
    out = _members(obj, "output_token_details") or _members(
        obj, "output_tokens_details"
    )
    read = openai_usage.read_usage(
        {**obj, "input_tokens_details": into, "output_tokens_details": out}
    )
    if read is None:
        return None
    kinds = _members(into, "cached_tokens_details")
    heard = min(read.audio_in, read.prompt)
    cached_audio = min(count(kinds.get("audio_tokens")), heard)
    cached = max(read.cached, count(kinds.get("text_tokens")) + cached_audio)
    return evolve(
        read,
        audio_in=heard,
        audio_out=min(read.audio_out, read.completion),
        cached=min(cached, read.prompt - heard + cached_audio),
        cached_audio=cached_audio,
        image_in=0,
        image_out=0,
        write=0,
    )


def bytes_per_second(sound: Any) -> int:
    """Of a format's name, or of the object that the current interface has; 0 when it is
    not known."""
    if isinstance(sound, str):
        sound = {"type": sound}
    if not isinstance(sound, Mapping):
        return 0
    kind = sound.get("type")
    if kind in _G711:
        return G711
    if kind in _PCM:
        return (count(sound.get("rate")) or PCM_RATE) * PCM_WIDTH
    return 0


def _format(audio: Mapping[str, Any], side: str) -> Any:
    return _members(audio, side).get("format")


def _kind(message: bytes) -> str:
    """The event's type, empty when the message is no event."""
    found = _read(_read_kind, message)
    return "" if found is None else found.type


def _read(decode: Any, message: bytes) -> Any:
    """The message decoded, None when it has another shape."""
    try:
        return decode(message)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _members(obj: Any, name: str) -> dict[str, Any]:
    """The object in a member, empty when there is none."""
    value = obj.get(name) if isinstance(obj, dict) else None
    return value if isinstance(value, dict) else {}


def _decoded_size(base64: str) -> int:
    """Bytes of base64 text, 0 when it is none."""
    try:
        return len(msgspec.convert(base64, bytes))
    except msgspec.ValidationError:
        return 0
