"""Streams of named events that are forwarded as they come: pictures, speech and
transcripts.

Each event is a JSON object with a `type`; there is no `[DONE]`, though some providers
send one, which is swallowed. The last event of substance is held back until `close`, so
that the charge comes before it.
"""

from __future__ import annotations

import enum
from typing import Any

import attrs
import msgspec
from msgspec import Raw, Struct

from knight_tw.records import Usage
from knight_tw.wire.answers import (
    AS_OPENAI,
    Reading,
    decode_object,
    refuse_errors,
    unreadable,
)
from knight_tw.wire.rendered import Rendered
from knight_tw.wire.sse import Event
from knight_tw.wire.usage import read_usage

_COUNTS = tuple(
    name for name in attrs.fields_dict(Usage) if name not in ("tool_calls",)
)


class Mark(enum.Enum):
    """What an event is to its stream."""

    FRAME = enum.auto()
    """Nothing that the client has waited for."""
    CONTENT = enum.auto()
    END = enum.auto()


class NamedEvent(Struct, gc=False):
    """What the gateway looks at."""

    type: str = ""
    error: Any = None
    usage: Any = None
    b64_json: Raw = Raw()
    url: Any = None
    audio: Any = None

    @property
    def has_picture(self) -> bool:
        """True when it brings one."""
        return is_filled(self.b64_json) or bool(self.url)


def is_filled(member: Raw) -> bool:
    """True for an undecoded member that is there and not null or an empty text."""
    view = memoryview(member)
    return len(view) > len(b"null") or bytes(view) not in (b"", b"null", b'""')


_EVENT = msgspec.json.Decoder(NamedEvent)


class NamedPass:
    """The events of such a stream to the bytes for the client; implements `Machine`.

    Attributes:
        began: There was content, or the end.
        finished: The last event has come; nothing after it counts.
        events: Events that went on to the client.
        produced: What the answer consists of so far.
        usage: What the provider has reported so far, over all events.
    """

    def __init__(self, reading: Reading = AS_OPENAI) -> None:
        self._reading = reading
        self._last: bytes = b""
        self.began = False
        self.finished = False
        self.events = 0
        self.produced = Rendered()
        self.usage: Usage | None = None

    def note(self, event: NamedEvent, produced: Rendered) -> Mark:
        """What the event is; takes in what it brings."""
        raise NotImplementedError

    def usage_of(self, value: Any) -> Usage | None:
        """A `usage` member as a record."""
        return read_usage(value, self._reading.complete)

    def feed(self, event: Event) -> list[bytes]:
        """The bytes for the client that this event leads to: its own, or none yet.

        Raises:
            UpstreamRefused: the event is the provider's error.
            BadUpstreamBody: the event is not JSON.
        """
        if self.finished or not event.data.strip():
            return []
        if event.data == b"[DONE]":
            self.finished = True
            return []
        read = self._read(event)
        mark = self.note(read, self.produced)
        self.began = self.began or mark is not Mark.FRAME
        self.events += 1
        reported = self.usage_of(read.usage)
        if reported is not None:
            self.usage = reported if self.usage is None else _sum(self.usage, reported)
        if mark is not Mark.END:
            return [event.raw]
        self.finished = True
        self._last = event.raw
        return []

    def close(self, counted: Usage | None = None) -> list[bytes]:
        """The event that was held back."""
        last, self._last = self._last, b""
        return [last] if last else []

    def _read(self, event: Event) -> NamedEvent:
        try:
            read = _EVENT.decode(event.data)
        except msgspec.ValidationError:
            read = NamedEvent()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise unreadable(event.data) from None
        if not read.type:
            read.type = event.event
        doubtful = read.error or read.type in ("", "error")
        if doubtful and event.data.lstrip().startswith(b"{"):
            refuse_errors(decode_object(event.data), self._reading.raised_error)
        return read


def _sum(one: Usage, other: Usage) -> Usage:
    """Both together; each picture of a stream reports its own."""
    return Usage(**{n: getattr(one, n) + getattr(other, n) for n in _COUNTS})
