"""Which decoder reads an answer."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import BadUpstreamBody
from knight_tw.wire import eventstream, ndjson, sse
from knight_tw.wire.framing import as_sse, decoder_of
from tests.wire.test_eventstream import chunk


class Decoders(SynchronousTestCase):
    """`decoder_of`."""

    def test_content_types(self) -> None:
        """Streams have a decoder by their content type, other answers have none."""
        for content_type, kind in (
            ("text/event-stream", sse.Decoder),
            ("Text/Event-Stream; charset=utf-8", sse.Decoder),
            ("application/vnd.amazon.eventstream", eventstream.Decoder),
            ("application/x-ndjson", ndjson.Decoder),
            ("application/stream+json; charset=utf-8", ndjson.Decoder),
            ("application/json", type(None)),
            ("", type(None)),
        ):
            with self.subTest(content_type=content_type):
                self.assertIs(type(decoder_of(content_type, 10)), kind)


class Reframed(SynchronousTestCase):
    """`as_sse`."""

    def test_other_framings(self) -> None:
        """Their events become server-sent ones, the last one without its end too."""
        lines = b'{"a":1}\n\n{"a":2}'
        wanted = b'data: {"a":1}\n\ndata: {"a":2}\n\n'
        self.assertEqual(as_sse("application/x-ndjson", lines, 99), wanted)
        frames = chunk({"type": "x", "b": 1}) + chunk({"type": "y"})
        found = as_sse("application/vnd.amazon.eventstream", frames, 9999)
        decoder = sse.Decoder()
        names = [event.event for event in (*decoder.feed(found), *decoder.close())]
        self.assertEqual(names, ["x", "y"])

    def test_as_it_is(self) -> None:
        """Server-sent events, and what is no stream, are not touched."""
        for kind in ("text/event-stream", "application/json"):
            self.assertEqual(as_sse(kind, b"data:x\r\n\r\n", 99), b"data:x\r\n\r\n")

    def test_too_long(self) -> None:
        """The limit holds."""
        with self.assertRaises(BadUpstreamBody):
            as_sse("application/x-ndjson", b'"%s"' % (b"x" * 99), 50)
