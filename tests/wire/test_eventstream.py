"""Amazon's binary event stream."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import BadUpstreamBody, UpstreamFailed, UpstreamRefused
from knight_tw.wire.eventstream import METRICS, Decoder, Frames, Message, to_event

# The library's own encoder of such frames wrote these (header value, then its bytes).
PUBLISHED = (
    # aws-c-event-stream's test vectors "empty_message" and "payload_no_headers".
    ("000000100000000005c248eb7d98c8ff", {}, b""),
    (
        "0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936",
        {},
        b"{'foo':'bar'}",
    ),
    # "payload_one_str_header"
    (
        "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f"
        "6e2f6a736f6e7b27666f6f273a27626172277d8d9c08b1",
        {"content-type": "application/json"},
        b"{'foo':'bar'}",
    ),
)


def frame(payload: bytes, **headers: str) -> bytes:
    """A message; `event_type="chunk"` stands for the header `:event-type`."""
    named = {f":{name.replace('_', '-')}": value for name, value in headers.items()}
    return raw_frame(payload, b"".join(_string(n, v) for n, v in named.items()))


def raw_frame(payload: bytes, headers: bytes = b"") -> bytes:
    """A message of header bytes."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    start = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return start + struct.pack(">I", zlib.crc32(start))


def _string(name: str, value: str) -> bytes:
    data = value.encode()
    return _name(name) + b"\x07" + struct.pack(">H", len(data)) + data


def _name(name: str) -> bytes:
    return bytes([len(name)]) + name.encode()


def chunk(event: dict[str, Any]) -> bytes:
    """A message with an event of a Claude model, as Bedrock sends it."""
    data = base64.b64encode(json.dumps(event).encode()).decode()
    payload = json.dumps({"bytes": data, "p": "abcd"}).encode()
    return frame(payload, message_type="event", event_type="chunk")


class Framing(SynchronousTestCase):
    """`Frames`."""

    def test_published(self) -> None:
        """The vectors that Amazon's own libraries are tested with."""
        for text, headers, payload in PUBLISHED:
            found = Frames().feed(bytes.fromhex(text))
            self.assertEqual(found, [Message(headers, payload)])

    def test_header_types(self) -> None:
        """Values of every type, each as what it is."""
        headers = b"".join(
            (
                _name("yes") + b"\x00",
                _name("no") + b"\x01",
                _name("byte") + b"\x02\xff",
                _name("short") + b"\x03\x00\x02",
                _name("int") + b"\x04\x00\x00\x00\x03",
                _name("long") + b"\x05" + bytes(7) + b"\x04",
                _name("bytes") + b"\x06\x00\x02ab",
                _name("time") + b"\x08" + bytes(7) + b"\x05",
                _name("uuid") + b"\x09" + bytes(16),
            )
        )
        (found,) = Frames().feed(raw_frame(b"", headers))
        expected = {
            "yes": True,
            "no": False,
            "byte": -1,
            "short": 2,
            "int": 3,
            "long": 4,
            "bytes": b"ab",
            "time": 5,
            "uuid": bytes(16),
        }
        self.assertEqual(found.headers, expected)
        self.assertEqual(found.text("int"), "")

    def test_damage(self) -> None:
        """A changed byte anywhere is noticed."""
        whole = frame(b"payload", message_type="event")
        for place in range(len(whole)):
            damaged = bytearray(whole)
            damaged[place] ^= 0x11
            with self.subTest(place=place), self.assertRaises(BadUpstreamBody):
                Frames().feed(bytes(damaged))

    def test_wrong_headers(self) -> None:
        """Headers that end within one, of an unknown type or not UTF-8."""
        for headers in (
            b"\x05ab",
            b"\x01a",
            b"\x01a\x07\x00\x09x",
            b"\x01a\x07\x00",
            b"\x01a\x0a",
            b"\x01\xff\x00",
        ):
            with self.subTest(headers=headers), self.assertRaises(BadUpstreamBody):
                Frames().feed(raw_frame(b"", headers))

    def test_impossible_lengths(self) -> None:
        """Lengths that contradict each other are refused before the rest comes."""
        for total, size in ((15, 0), (20, 5), (2**32 - 1, 2**32 - 1)):
            prelude = struct.pack(">II", total, size)
            start = prelude + struct.pack(">I", zlib.crc32(prelude)) + bytes(4)
            with self.subTest(total=total), self.assertRaises(BadUpstreamBody):
                Frames().feed(start)

    def test_limit(self) -> None:
        """A message larger than the limit is refused by its announced length."""
        whole = frame(bytes(2 * 1024 * 1024))
        with self.assertRaises(BadUpstreamBody) as caught:
            Frames(1024 * 1024).feed(whole[:100])
        self.assertIn("1 MB", caught.exception.message)

    def test_cut_short(self) -> None:
        """A stream that ends within a message has failed; between them it has not."""
        frames = Frames()
        frames.feed(frame(b"x") + frame(b"y")[:-1])
        self.assertRaises(UpstreamFailed, frames.close)
        frames.close()

    @given(
        st.lists(st.binary(max_size=40), max_size=5),
        st.lists(st.integers(0, 300), max_size=6),
    )
    @settings(max_examples=40, deadline=None)
    def test_any_pieces(self, payloads: list[bytes], cuts: list[int]) -> None:
        """However a stream is cut, it is the same messages."""
        stream = b"".join(frame(payload, event_type="e") for payload in payloads)
        frames, found = Frames(), []
        edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        for start, end in pairwise(edges):
            found += frames.feed(stream[start:end])
        frames.close()
        self.assertEqual([message.payload for message in found], payloads)


class Events(SynchronousTestCase):
    """`Decoder`."""

    def test_claude(self) -> None:
        """A chunk is the event in it, named by its type."""
        inner = {"type": "ping"}
        (event,) = Decoder().feed(chunk(inner))
        self.assertEqual((event.event, json.loads(event.data)), ("ping", inner))
        self.assertEqual(event.raw, b"event: ping\ndata: " + event.data + b"\n\n")

    def test_metrics(self) -> None:
        """What Bedrock adds to the last event is taken out."""
        inner = {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"a": 1}}
        (event,) = Decoder().feed(chunk(inner))
        self.assertEqual(event.data, b'{"type":"message_stop"}')

    def test_converse(self) -> None:
        """Any other message is its payload under the name of its type."""
        whole = frame(b'{"role":"assistant"}', event_type="messageStart")
        (event,) = Decoder().feed(whole)
        self.assertEqual(event.event, "messageStart")
        self.assertEqual(event.data, b'{"role":"assistant"}')

    def test_wrong_chunks(self) -> None:
        """A chunk without bytes, not base64 or not JSON cannot be read."""
        for payload in (
            b"{}",
            b"no",
            b'{"bytes":"*"}',
            b'{"bytes":"bm8="}',
            b'{"bytes":"%b"}' % base64.b64encode(METRICS.encode()),
        ):
            whole = frame(payload, event_type="chunk")
            with self.subTest(payload=payload), self.assertRaises(BadUpstreamBody):
                Decoder().feed(whole)

    def test_exceptions(self) -> None:
        """A failure has the status that it would have had at once."""
        for name, status in (
            ("internalServerException", 500),
            ("modelStreamErrorException", 424),
            ("throttlingException", 429),
            ("ThrottlingException", 429),
            ("validationException", 400),
            ("modelTimeoutException", 408),
            ("serviceUnavailableException", 503),
            ("newException", 502),
        ):
            whole = frame(
                b'{"message":"why"}', message_type="exception", exception_type=name
            )
            with self.subTest(name=name):
                with self.assertRaises(UpstreamRefused) as caught:
                    Decoder().feed(whole)
                error = caught.exception
                self.assertEqual((error.status, error.code), (status, name))
                self.assertEqual((error.message, error.upstream), ("why", True))

    def test_errors(self) -> None:
        """A failure of the transport says it in headers; without a text it is named."""
        whole = frame(b"", message_type="error", error_code="c", error_message="m")
        with self.assertRaises(UpstreamRefused) as caught:
            Decoder().feed(whole)
        self.assertEqual((caught.exception.code, caught.exception.message), ("c", "m"))
        for payload, message in (
            (b"no", "x"),
            (b"{}", "x"),
            (b'{"Message":"M"}', "M"),
            (b'{"message":1}', "x"),
        ):
            bare = frame(payload, message_type="exception", exception_type="x")
            with self.assertRaises(UpstreamRefused) as caught:
                Decoder().feed(bare)
            self.assertEqual(caught.exception.message, message)
        with self.assertRaises(UpstreamRefused) as caught:
            to_event(Message({":message-type": "error"}, b""))
        self.assertTrue(caught.exception.message)

    def test_end(self) -> None:
        """The end of a whole stream holds no more events; a cut one has failed."""
        decoder = Decoder()
        decoder.feed(chunk({"type": "ping"}))
        self.assertEqual(decoder.close(), [])
        decoder.feed(b"\x00")
        self.assertRaises(UpstreamFailed, decoder.close)
