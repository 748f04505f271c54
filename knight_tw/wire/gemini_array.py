"""A Gemini stream for clients that did not ask for events (`alt=sse`).

The native API then writes one JSON array, piece by piece: `[{...},\n{...}]`. Nothing
else may stand in it, no keep-alive comments either.
"""

from __future__ import annotations

from typing import Protocol

from knight_tw.records import Usage
from knight_tw.wire.produced import Produced
from knight_tw.wire.sse import Decoder, Event

CONTENT_TYPE = "application/json; charset=utf-8"


class Events(Protocol):
    """A stream's format on its way to the client, written as events: the members of
    `protocols.body.Machine`."""

    @property
    def usage(self) -> Usage | None: ...

    @property
    def began(self) -> bool: ...

    @property
    def finished(self) -> bool: ...

    @property
    def events(self) -> int: ...

    @property
    def produced(self) -> Produced: ...

    def feed(self, event: Event) -> list[bytes]: ...

    def close(self, counted: Usage | None = None) -> list[bytes]: ...


class JsonArray:
    """Encoded events to the pieces of one JSON array."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._begun = False

    def frame(self, pieces: list[bytes]) -> list[bytes]:
        """The array's pieces for these events; their names are left out."""
        found = []
        for piece in pieces:
            for event in self._decoder.feed(piece):
                found.append((b",\n" if self._begun else b"[") + event.data)
                self._begun = True
        return found

    def close(self) -> bytes:
        """The end of the array."""
        return b"]" if self._begun else b"[]"


class ArrayForm:
    """A machine whose events leave as a JSON array."""

    def __init__(self, machine: Events) -> None:
        self._machine = machine
        self._array = JsonArray()

    @property
    def usage(self) -> Usage | None:
        """See `Machine`."""
        return self._machine.usage

    @property
    def began(self) -> bool:
        """See `Machine`."""
        return self._machine.began

    @property
    def finished(self) -> bool:
        """See `Machine`."""
        return self._machine.finished

    @property
    def events(self) -> int:
        """See `Machine`."""
        return self._machine.events

    @property
    def produced(self) -> Produced:
        """See `Machine`."""
        return self._machine.produced

    def feed(self, event: Event) -> list[bytes]:
        """See `Machine`."""
        return self._array.frame(self._machine.feed(event))

    def close(self, counted: Usage | None = None) -> list[bytes]:
        """See `Machine`; the array is closed in any case."""
        rest = self._array.frame(self._machine.close(counted))
        return [*rest, self._array.close()]

    def failed(self, event: bytes) -> list[bytes]:
        """The end of a stream that broke off: the encoded error as the last element."""
        return [*self._array.frame([event]), self._array.close()]
