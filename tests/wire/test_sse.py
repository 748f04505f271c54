"""Server-sent events: reading in any pieces, writing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import BadUpstreamBody
from knight_tw.wire import sse
from knight_tw.wire.sse import Decoder, Event

LINES = st.sampled_from(
    [
        b"data: {}",
        b'data: {"a": "\xc3\xa9"}',
        b"data:x",
        b"data:  two blanks",
        b"data",
        b"event: ping",
        b"event:odd",
        b"id: 7",
        b"retry: 250",
        b"retry: soon",
        b": comment",
        b"unknown: field",
        b"",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.lists(st.tuples(LINES, ENDS), max_size=24).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


def read(stream: bytes, sizes: list[int] | None = None) -> list[Event]:
    """The events of a stream given in pieces of these sizes, the last one repeated."""
    decoder, events, at = Decoder(), [], 0
    sizes = sizes or [len(stream) or 1]
    turn = 0
    while at < len(stream):
        size = sizes[min(turn, len(sizes) - 1)]
        events += decoder.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    return events + decoder.close()


def by_the_book(stream: bytes) -> list[tuple[bytes, str, str, int | None]]:
    """The same by the plain rules of the format, all at once."""
    text = stream.removeprefix(sse.BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found: list[tuple[bytes, str, str, int | None]] = []
    data: list[bytes] = []
    event, identity, retry = "", "", None
    for line in [*text.split(b"\n"), b""]:
        if not line:
            if data:
                found.append((b"\n".join(data), event, identity, retry))
            data, event, identity, retry = [], "", "", None
            continue
        name, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value.decode()
        elif name == b"id":
            identity = value.decode()
        elif name == b"retry" and value.isdigit():
            retry = int(value)
    return found


def bare(events: list[Event]) -> list[tuple[bytes, str, str, int | None]]:
    """Everything of events but the bytes to forward."""
    return [(e.data, e.event, e.id, e.retry) for e in events]


class Reading(SynchronousTestCase):
    """The decoder."""

    @settings(max_examples=150, deadline=None)
    @given(
        STREAMS,
        st.lists(st.integers(1, 9), min_size=1, max_size=8),
        st.booleans(),
    )
    def test_any_pieces(self, stream: bytes, sizes: list[int], mark: bool) -> None:
        """However a stream is cut, the events are those of the format's rules."""
        stream = sse.BOM + stream if mark else stream
        self.assertEqual(bare(read(stream, sizes)), by_the_book(stream))
        self.assertEqual(read(stream, sizes), read(stream))

    @settings(max_examples=80, deadline=None)
    @given(STREAMS)
    def test_forwarded_bytes_say_the_same(self, stream: bytes) -> None:
        """The bytes of all events, read again, are the same events without ids."""
        events = [e for e in read(stream) if not e.data.startswith(b"{")]
        again = read(b"".join(e.raw for e in events))
        self.assertEqual(
            [(e.data, e.event) for e in again], [(e.data, e.event) for e in events]
        )

    def test_plain_framing_keeps_its_bytes(self) -> None:
        """Events framed as the APIs frame them are forwarded byte for byte."""
        stream = b'data: {"a":1}\n\nevent: x\ndata: {"b":2}\n\ndata: [DONE]\n\n'
        for sizes in ([1], [7], [len(stream)]):
            events = read(stream, sizes)
            self.assertEqual(b"".join(e.raw for e in events), stream)
            self.assertEqual([e.event for e in events], ["", "x", ""])

    def test_an_event_a_piece(self) -> None:
        """Pieces that are one event each, or several, are the usual case."""
        pieces = [b"data: 1\n\n", b"data: 2\n\n", b"event: x\ndata: 3\n\ndata: 4\n\n"]
        decoder = Decoder()
        found = [[e.data for e in decoder.feed(piece)] for piece in pieces]
        self.assertEqual(found, [[b"1"], [b"2"], [b"3", b"4"]])

    def test_odd_framing_is_framed_anew(self) -> None:
        """What SDKs stumble over does not reach them."""
        for odd in (
            b'data:{"a":1}\n\n',
            b'data: {"a":1}\r\n\r\n',
            b'data: {"a":1}\r\r',
            b': c\ndata: {"a":1}\n\n',
            b'id: 3\ndata: {"a":1}\n\n',
            b'\xef\xbb\xbfdata: {"a":1}\n\n',
            b'data: {"a":1}\n',
            b'data: {"a":1}',
        ):
            with self.subTest(odd=odd):
                [event] = read(odd)
                self.assertEqual(event.raw, b'data: {"a":1}\n\n')

    def test_json_over_lines_goes_on_in_one(self) -> None:
        """JSON in several data lines is one line for the client."""
        [event] = read(b'event: e\ndata: {"a":\ndata: 1}\n\n')
        self.assertEqual(event.data, b'{"a":\n1}')
        self.assertEqual(event.raw, b'event: e\ndata: {"a": 1}\n\n')

    def test_text_over_lines_stays(self) -> None:
        """Several lines of text stay several lines."""
        [event] = read(b"data: a\ndata: b\n\n")
        self.assertEqual(event.raw, b"data: a\ndata: b\n\n")

    def test_id_and_retry(self) -> None:
        """An event carries its id and its retry time."""
        [event] = read(b"id: 5\nretry: 100\ndata: x\n\n")
        self.assertEqual((event.id, event.retry), ("5", 100))

    def test_events_without_data_are_none(self) -> None:
        """A name or a comment alone is no event."""
        self.assertEqual(read(b"event: x\n\n: c\n\n\n\nid: 1\n\n"), [])

    def test_nothing(self) -> None:
        """No bytes, no events."""
        decoder = Decoder()
        self.assertEqual(decoder.feed(b""), [])
        self.assertEqual(decoder.close(), [])

    def test_a_large_line_is_read_once(self) -> None:
        """40 MB in one line arrive whole, and the pieces are not searched again."""
        payload = b"x" * (40 * 1024 * 1024)
        stream = b"data: " + payload + b"\n\n"
        [event] = read(stream, [65536])
        self.assertEqual(len(event.data), len(payload))

    def test_the_limit(self) -> None:
        """An event beyond the limit is an error, in one piece or in many."""
        for pieces in (
            [b"data: ", b"x" * 2048],
            [b"data: x\n\n", b"data: " + b"x" * 2048 + b"\n\n"],
            [b": c\ndata: " + b"x" * 2048 + b"\n\n"],
        ):
            decoder = Decoder(limit=1024)

            def feed(decoder: Decoder = decoder, pieces: list[bytes] = pieces) -> None:
                for piece in pieces:
                    decoder.feed(piece)

            self.assertRaises(BadUpstreamBody, feed)

    def test_many_events_beyond_the_limit(self) -> None:
        """The limit is for one event, not for what arrives at once."""
        decoder = Decoder(limit=64)
        self.assertEqual(len(decoder.feed(b"data: x\n\n" * 100)), 100)


class Writing(SynchronousTestCase):
    """The encoders."""

    def test_events(self) -> None:
        """Data, a name when there is one, one line for each line of data."""
        self.assertEqual(sse.encode(b"{}"), b"data: {}\n\n")
        self.assertEqual(sse.encode(b"{}", "x"), b"event: x\ndata: {}\n\n")
        self.assertEqual(sse.encode(b"a\nb"), b"data: a\ndata: b\n\n")

    def test_comments(self) -> None:
        """A comment is one line whatever its text."""
        self.assertEqual(sse.comment("PING"), sse.KEEP_ALIVE)
        self.assertEqual(sse.comment("a\nb"), b": a b\n\n")

    @settings(max_examples=60, deadline=None)
    @given(st.binary(min_size=1).filter(lambda d: b"\r" not in d), st.booleans())
    def test_what_is_written_is_read(self, data: bytes, named: bool) -> None:
        """Any data comes back as it was written."""
        [event] = read(sse.encode(data, "name" if named else ""), [3])
        self.assertEqual((event.data, event.event), (data, "name" if named else ""))
