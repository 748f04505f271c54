"""Newline-delimited JSON."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import BadUpstreamBody
from knight_tw.wire.ndjson import Decoder
from knight_tw.wire.sse import Event


class Lines(SynchronousTestCase):
    """`Decoder`."""

    def test_lines(self) -> None:
        """One event a line; blank lines and carriage returns do not count."""
        decoder = Decoder()
        found = decoder.feed(b'{"a":1}\r\n\n{"b"')
        self.assertEqual(found, [Event(b'{"a":1}', b'data: {"a":1}\n\n')])
        self.assertEqual([e.data for e in decoder.feed(b":2}\n")], [b'{"b":2}'])
        self.assertEqual(decoder.close(), [])

    def test_last_line(self) -> None:
        """The last line counts without its end."""
        decoder = Decoder()
        self.assertEqual(decoder.feed(b'{"a"'), [])
        self.assertEqual(decoder.feed(b":1}"), [])
        self.assertEqual([e.data for e in decoder.close()], [b'{"a":1}'])

    def test_limit(self) -> None:
        """A line longer than the limit is refused, whole or in pieces."""
        for pieces in ([bytes(11)], [bytes(6), bytes(6)], [b"x" * 11 + b"\n"]):
            decoder = Decoder(10)
            with self.assertRaises(BadUpstreamBody):
                for piece in pieces:
                    decoder.feed(piece)

    @given(
        st.lists(st.text("ab{}", min_size=1, max_size=8), max_size=6),
        st.lists(st.integers(0, 60), max_size=6),
    )
    @settings(max_examples=40, deadline=None)
    def test_any_pieces(self, lines: list[str], cuts: list[int]) -> None:
        """However a stream is cut, it is the same events."""
        stream = "\n".join(lines).encode()
        decoder, found = Decoder(), []
        edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        for start, end in pairwise(edges):
            found += decoder.feed(stream[start:end])
        found += decoder.close()
        self.assertEqual([event.data.decode() for event in found], lines)
