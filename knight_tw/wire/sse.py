"""Server-sent events, read incrementally and written.

The format (WHATWG HTML, section 9.2): lines end in LF, CR or CRLF; a line is
`field: value` with at most one blank after the colon dropped; `data` lines of one event
are joined with LF; a line that begins with a colon is a comment; an empty line ends the
event. One byte order mark may stand in front of everything.

Two things are particular here. An event carries `raw`, the bytes a client can be given:
the very bytes that came while their framing is the plain one (`event: x`, `data: y`,
LF), else the same event framed anew, because several SDKs cannot read comments, `id`
lines, `data:` without a blank, carriage returns or a byte order mark. And nothing is
scanned or copied twice, however the transport cut the stream: bytes without the end of
an event are only collected.
"""

from __future__ import annotations

from msgspec import Struct

from knight_tw.errors import BadUpstreamBody

BOM = b"\xef\xbb\xbf"
LIMIT = 128 * 1024 * 1024
"""Most bytes of one event unless the decoder is told otherwise."""

DONE = b"data: [DONE]\n\n"
"""The end of an OpenAI chat stream."""
KEEP_ALIVE = b": PING\n\n"
"""What is written while nothing else is: a comment."""

CUT = "an event of the upstream's stream is larger than {megabytes} MB"


class Event(Struct, frozen=True, gc=False):
    """One event of a stream.

    Attributes:
        data: The joined `data` lines.
        raw: Bytes to forward, ending in an empty line.
        event: The event's name, empty when it has none.
        id: The `id` line's value of this very event.
        retry: Milliseconds of a `retry` line.
    """

    data: bytes
    raw: bytes
    event: str = ""
    id: str = ""
    retry: int | None = None


class Decoder:
    """Bytes of a stream, in any pieces, to events.

    Args:
        limit: Most bytes of one event.
    """

    __slots__ = ("_begun", "_collected", "_limit", "_pieces", "_return")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._collected = 0
        self._begun = False
        self._return = False
        """The last piece ended in CR: an LF at the start of the next belongs to it."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes.

        Raises:
            BadUpstreamBody: an event is larger than the limit.
        """
        if (
            self._begun
            and not self._pieces
            and not self._return
            and chunk.endswith(b"\n\n")
            and b"\r" not in chunk
        ):
            if chunk.startswith(b"data: ") and chunk.find(b"\n") == len(chunk) - 2:
                self._bound(len(chunk))
                return [Event(chunk[6:-2], chunk)]
            return self._whole(chunk)
        return self._slowly(chunk)

    def close(self) -> list[Event]:
        """What is left at a stream's end without an empty line; it may be cut short."""
        rest = b"".join(self._pieces)
        self._pieces, self._collected = [], 0
        return self._whole(rest)

    def _slowly(self, chunk: bytes) -> list[Event]:
        chunk = self._line_feeds(self._without_mark(chunk))
        if not chunk:
            return []
        seam = (
            bool(self._pieces)
            and self._pieces[-1].endswith(b"\n")
            and chunk.startswith(b"\n")
        )
        end = chunk.rfind(b"\n\n")
        if end < 0 and not seam:
            self._collect(chunk)
            return []
        cut = end + 2 if end >= 0 else 1
        self._pieces.append(chunk[:cut])
        text = b"".join(self._pieces)
        self._pieces, self._collected = [], 0
        if len(chunk) > cut:
            self._collect(chunk[cut:])
        return self._whole(text)

    def _whole(self, text: bytes) -> list[Event]:
        """Events of a text whose lines all end in LF."""
        events: list[Event] = []
        for block in text.split(b"\n\n"):
            if block:
                self._bound(len(block))
                event = _read_block(block)
                if event is not None:
                    events.append(event)
        return events

    def _collect(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._collected += len(piece)
        self._bound(self._collected)

    def _bound(self, size: int) -> None:
        if size > self._limit:
            self._pieces, self._collected = [], 0
            raise BadUpstreamBody(CUT.format(megabytes=self._limit // (1024 * 1024)))

    def _without_mark(self, chunk: bytes) -> bytes:
        """The chunk without the byte order mark of the stream's first three bytes."""
        if self._begun:
            return chunk
        start = b"".join(self._pieces) + chunk
        if len(start) < len(BOM) and BOM.startswith(start):
            self._pieces = [start]
            return b""
        self._pieces, self._begun = [], True
        return start.removeprefix(BOM)

    def _line_feeds(self, chunk: bytes) -> bytes:
        """The chunk with every line end as LF, a CRLF across two chunks included."""
        if self._return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._return = False
        if b"\r" in chunk:
            self._return = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk


def _read_block(block: bytes) -> Event | None:
    """The event of some lines; None without a `data` line."""
    first, _, rest = block.partition(b"\n")
    if not rest and first.startswith(b"data: "):
        return Event(first[6:], first + b"\n\n")
    if (
        first.startswith(b"event: ")
        and rest.startswith(b"data: ")
        and b"\n" not in rest
    ):
        name = first[7:].decode(errors="replace")
        return Event(rest[6:], block + b"\n\n", name)
    return _read_lines(block.split(b"\n"))


def _read_lines(lines: list[bytes]) -> Event | None:
    """The event of lines that are not framed plainly, `raw` framed anew."""
    data_lines: list[bytes] = []
    event, identity, retry = "", "", None
    for line in lines:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data_lines.append(value)
        elif name == b"event":
            event = value.decode(errors="replace")
        elif name == b"id":
            identity = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit():
            retry = int(value)
    if not data_lines:
        return None
    raw = _one_line(data_lines, event)
    return Event(b"\n".join(data_lines), raw, event, identity, retry)


def _one_line(data_lines: list[bytes], event: str) -> bytes:
    """The event framed so that every SDK reads it.

    A line break inside JSON can only stand between its tokens, so JSON that came in
    several lines goes on in one.
    """
    opening = data_lines[0].lstrip()[:1]
    glue = b" " if opening in (b"{", b"[") else b"\n"
    return encode(glue.join(data_lines), event)


def encode(data: bytes, event: str = "") -> bytes:
    """The bytes of one event."""
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    if event:
        return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
    return b"data: %b\n\n" % data


def comment(text: str) -> bytes:
    """The bytes of a comment; clients ignore it, proxies see life."""
    return b": %b\n\n" % text.replace("\n", " ").encode()
