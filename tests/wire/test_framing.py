"""Which decoder reads an answer."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.wire import eventstream, ndjson, sse
from knight_tw.wire.framing import decoder_of


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
