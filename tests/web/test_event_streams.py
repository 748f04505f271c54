"""Tests of streams of events to one reader."""

from __future__ import annotations

from typing import Any, cast

from attrs import define, field
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from knight_tw.errors import DatabaseAway, ShuttingDown
from knight_tw.web import event_streams
from knight_tw.web.api.answers import Refusal
from knight_tw.web.event_streams import EventStream, Streams, frame


@define(eq=False)
class Request:
    """Remembers what is written; pauses its producer when told."""

    written: list[bytes] = field(factory=list)
    responseHeaders: Headers = field(factory=Headers)
    producer: Any = None
    channel: Any = "open"
    pause_after: int = 0

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """A push producer."""
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        """No more."""
        assert self.producer is not None
        self.producer = None

    def write(self, data: bytes) -> None:
        """A piece; the transport may be full afterwards."""
        self.written.append(data)
        if self.pause_after and len(self.written) >= self.pause_after:
            self.producer.pauseProducing()


class StreamCase(SynchronousTestCase):
    """All streams of a process, and one reader."""

    def setUp(self) -> None:
        """One stream is open."""
        self.clock = Clock()
        self.asked = 0
        self.fault: Exception | None = None
        self.streams = Streams(self.clock)
        self.request = Request()
        self.stream = self.open(self.request)

    def open(self, request: Request, user_id: int = 1) -> EventStream:
        """A stream of a user."""
        return self.streams.open(cast(Any, request), user_id, self.still)

    async def still(self) -> None:
        """Whether readers may go on."""
        self.asked += 1
        if self.fault is not None:
            raise self.fault

    def came(self) -> list[bytes]:
        """What was written behind the beginning."""
        return self.request.written[1:]


class StreamTests(StreamCase):
    """One reader."""

    def test_frame(self) -> None:
        """An event has an id when it is given one, a name, and JSON."""
        self.assertEqual(
            frame("call", {"a": "\n"}, "7"),
            b'id: 7\nevent: call\ndata: {"a":"\\n"}\n\n',
        )
        self.assertEqual(frame("x", []), b"event: x\ndata: []\n\n")

    def test_head(self) -> None:
        """No proxy keeps events back, and readers know when to come again."""
        headers = self.request.responseHeaders
        kind = headers.getRawHeaders("Content-Type")
        self.assertEqual(kind, ["text/event-stream; charset=utf-8"])
        self.assertEqual(headers.getRawHeaders("X-Accel-Buffering"), ["no"])
        self.assertEqual(self.request.written, [b"retry: 3000\n\n"])

    def test_at_once(self) -> None:
        """A reader who takes everything gets everything at once."""
        self.stream.send(b"a")
        self.stream.send(b"b")
        self.assertEqual(self.came(), [b"a", b"b"])

    def test_slow(self) -> None:
        """What a slow reader does not take waits, in its order."""
        self.request.pause_after = 2
        for name in (b"a", b"b", b"c"):
            self.stream.send(name)
        self.assertEqual(self.came(), [b"a"])
        self.request.pause_after = 4
        self.stream.resumeProducing()
        self.assertEqual(self.came(), [b"a", b"b", b"c"])

    def test_too_slow(self) -> None:
        """The oldest events are lost, and the reader is told how many."""
        self.stream.pauseProducing()
        for number in range(event_streams.QUEUED_EVENTS + 3):
            self.stream.send(b"%d" % number)
        self.stream.resumeProducing()
        came = self.came()
        self.assertEqual(came[0], frame("dropped", {"count": 3}))
        self.assertEqual(came[1], b"3")
        self.assertEqual(len(came), event_streams.QUEUED_EVENTS + 1)

    def test_large(self) -> None:
        """Not only their number is limited."""
        self.stream.pauseProducing()
        half = b"x" * (event_streams.QUEUED_BYTES // 2 + 1)
        self.stream.send(half)
        self.stream.send(half)
        self.assertEqual(self.stream.lost, 1)
        self.stream.resumeProducing()
        self.assertEqual(len(self.came()), 2)

    def test_left_out(self) -> None:
        """What the sender left out is told at once, or when it can be."""
        self.stream.lose(2)
        self.stream.pauseProducing()
        self.stream.lose(1)
        self.stream.lose(1)
        told = frame("dropped", {"count": 2})
        self.assertEqual(self.came(), [told])
        self.stream.resumeProducing()
        self.assertEqual(self.came(), [told, told])

    def test_end(self) -> None:
        """After its end nothing is written, and who waits for it goes on."""
        self.stream.end()
        self.stream.end()
        self.stream.send(b"a")
        self.stream.breathe()
        self.assertIsNone(self.successResultOf(self.stream.over()))
        self.assertEqual(self.came(), [])
        self.streams.leave(self.stream)
        self.assertIsNone(self.request.producer)

    def test_gone(self) -> None:
        """The request of a reader who left is not touched any more."""
        self.stream.stopProducing()
        self.stream.send(b"a")
        self.streams.leave(self.stream)
        self.assertIsNotNone(self.request.producer)
        self.assertEqual(self.came(), [])
        self.assertNoResult(self.stream.over())


class StreamsTests(StreamCase):
    """All of them."""

    def test_keep_alive(self) -> None:
        """A comment every 15 s, but not to a reader who is slow."""
        self.clock.pump([15, 15])
        self.stream.pauseProducing()
        self.clock.advance(15)
        self.assertEqual(self.came(), [b":\n\n"] * 2)

    def test_an_hour(self) -> None:
        """A stream ends after an hour."""
        self.clock.pump([15] * 239)
        self.assertNoResult(self.stream.over())
        self.clock.advance(15)
        self.successResultOf(self.stream.over())

    def test_no_timer(self) -> None:
        """Without readers nothing ticks."""
        self.streams.leave(self.stream)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.streams), 0)

    def test_of_one_user(self) -> None:
        """A user has only so many; others are not concerned."""
        for _ in range(event_streams.OF_ONE_USER - 1):
            self.open(Request())
        with self.assertRaises(Refusal) as caught:
            self.open(Request())
        self.assertEqual(caught.exception.code, "rate_limited")
        self.open(Request(), 2)

    def test_of_all(self) -> None:
        """All users together have only so many."""
        for number in range(event_streams.OF_ALL - 1):
            self.open(Request(), number + 10)
        self.assertRaises(Refusal, self.open, Request(), 5)

    def test_account_changed(self) -> None:
        """The streams of an account that changed end, those of others do not."""
        other = self.open(Request(), 2)
        self.streams.end_of(1)
        self.successResultOf(self.stream.over())
        self.assertNoResult(other.over())

    def test_credential(self) -> None:
        """Every minute a stream shows that it may go on; else it ends."""
        self.clock.pump([15] * 9)
        self.assertEqual(self.asked, 2)
        self.fault = DatabaseAway("away")
        self.clock.pump([15] * 4)
        self.assertNoResult(self.stream.over())
        self.fault = Refusal("expired", code="AUTH_TOKEN_EXPIRED")
        self.clock.pump([15] * 4)
        self.successResultOf(self.stream.over())

    def test_credential_unknown(self) -> None:
        """A stream that cannot be checked ends, and the log says so."""
        self.fault = ValueError("what")
        self.clock.pump([15] * 4)
        self.successResultOf(self.stream.over())
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_stop(self) -> None:
        """At the end all streams end, and none is opened."""
        self.streams.stop()
        self.successResultOf(self.stream.over())
        self.assertRaises(ShuttingDown, self.open, Request())
