"""Newline-delimited JSON, read incrementally: one event is one line.

Some providers stream their answers like this instead of as server-sent events.
"""

from __future__ import annotations

from knight_tw.errors import BadUpstreamBody
from knight_tw.wire import sse

TYPES = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/stream+json",
        "application/jsonl",
        "application/x-jsonlines",
    }
)
"""The content types of such a stream."""


class Decoder:
    """Bytes of a stream, in any pieces, to events; as `sse.Decoder`.

    Args:
        limit: Most bytes of one line.
    """

    __slots__ = ("_collected", "_limit", "_pieces")

    def __init__(self, limit: int = sse.LIMIT) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._collected = 0

    def feed(self, chunk: bytes) -> list[sse.Event]:
        """The events that `chunk` completes.

        Raises:
            BadUpstreamBody: a line is longer than the limit.
        """
        whole, newline, rest = chunk.rpartition(b"\n")
        if not newline:
            self._collect(chunk)
            return []
        first, *others = b"".join([*self._pieces, whole]).split(b"\n")
        self._pieces, self._collected = [], 0
        self._collect(rest)
        return [event for line in (first, *others) for event in self._events(line)]

    def close(self) -> list[sse.Event]:
        """The last line of a stream that does not end in a line end."""
        rest = b"".join(self._pieces)
        self._pieces, self._collected = [], 0
        return self._events(rest)

    def _collect(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._collected += len(piece)
            self._bound(self._collected)

    def _events(self, line: bytes) -> list[sse.Event]:
        data = line.strip()
        self._bound(len(data))
        return [sse.Event(data, sse.encode(data))] if data else []

    def _bound(self, size: int) -> None:
        if size > self._limit:
            self._pieces, self._collected = [], 0
            megabytes = self._limit // (1024 * 1024)
            raise BadUpstreamBody(sse.CUT.format(megabytes=megabytes))
