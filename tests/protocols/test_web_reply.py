"""`protocols.web_reply`: the surface behind `twisted.web`, in memory."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from knight_tw.protocols.general import GeneralChannel
from knight_tw.protocols.web_reply import serve
from tests.protocols.support import (
    JSON,
    Exchanged,
    Line,
    Producer,
    RecordingSurface,
    echo,
    get,
    parted,
    post,
)


@define(eq=False)
class Bench:
    """A connection whose every request is the surface's, by `twisted.web`."""

    surface: RecordingSurface = field(factory=RecordingSurface)
    clock: Clock = field(factory=Clock)
    line: Line = field(factory=Line)
    channel: GeneralChannel = field(init=False)

    @channel.default
    def _make_channel(self) -> GeneralChannel:
        surface = self.surface

        class Relay(Resource):
            isLeaf = True

            def render(self, request: Any) -> int:
                serve(request, surface, 10, lambda peer, given: f"{peer} for {given}")
                return NOT_DONE_YET

        channel = GeneralChannel(Site(Relay(), reactor=self.clock))
        channel.makeConnection(self.line)
        return channel

    def send(self, data: bytes) -> Exchanged:
        """A request, and how the surface saw it."""
        self.channel.dataReceived(data)
        return self.surface.last

    def leave(self) -> None:
        """The client closes."""
        self.channel.connectionLost(Failure(ConnectionDone()))


class WebCase(SynchronousTestCase):
    """A bench for each test, closed afterwards."""

    def setUp(self) -> None:
        """A fresh connection."""
        self.bench = Bench()
        self.addCleanup(lambda: self.bench.channel.setTimeout(None))


class Requests(WebCase):
    """What the surface sees."""

    def test_head_and_body(self) -> None:
        """The same head as in the fast lane, then the body."""
        call = self.bench.send(
            post("/v1/a%20b?c=d&e", b"body", "X-Forwarded-For: a", "X-Forwarded-For: b")
        )
        head = call.head
        self.assertEqual(
            (head.method, head.path, head.query), ("POST", "/v1/a%20b", "c=d&e")
        )
        self.assertEqual((head.get("host"), head.peer), ("h", "192.0.2.1"))
        self.assertEqual(head.client, "192.0.2.1 for ['a', 'b']")
        self.assertEqual(call.whole, b"body")

    def test_a_body_over_the_limit(self) -> None:
        """A body that is too long is refused."""
        call = self.bench.send(post("/v1/x", b"x" * 11))
        self.assertEqual(call.refused and call.refused.status, 413)
        self.assertIsNone(call.whole)

    def test_an_answer_from_the_head(self) -> None:
        """A call that is answered at once does not see the body."""
        self.bench.surface.on_open = lambda call: call.reply.whole(401, JSON, b"{}")
        call = self.bench.send(post("/v1/x", b"abc"))
        self.assertIsNone(call.whole)
        self.assertIn(b" 401 ", self.bench.line.value())

    def test_a_surface_that_fails(self) -> None:
        """A bug of the surface is a 500; in a stream the connection is cut."""

        def bug(call: Exchanged) -> None:
            if call.head.path == "/v1/stream":
                call.reply.begin(200, [])
            raise ValueError("bug")

        self.bench.surface.on_body = bug
        self.bench.send(get())
        self.assertIn(b" 500 ", self.bench.line.value())
        self.bench.send(get("/v1/stream"))
        self.assertTrue(self.bench.line.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)


class Answers(WebCase):
    """What the client sees."""

    def test_whole(self) -> None:
        """Head, length and body; framing headers and banners are not the call's."""
        call = self.bench.send(get())
        call.reply.whole(
            201, [("X-A", "b"), ("X-A", "c"), ("Content-Length", "9")], b"hello"
        )
        text = self.bench.line.value()
        first, headers, body = parted(text)
        self.assertEqual((first, body), ("HTTP/1.1 201 Created", b"hello"))
        self.assertEqual(headers["content-length"], "5")
        self.assertEqual(text.count(b"X-A: "), 2)
        self.assertNotIn("server", headers)
        self.assertTrue(call.reply.begun)

    def test_streamed(self) -> None:
        """A streamed answer is chunked."""
        call = self.bench.send(get())
        call.reply.begin(200, [])
        call.reply.write(b"abc")
        call.reply.end()
        self.assertTrue(
            self.bench.line.value().endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        )

    def test_bodiless(self) -> None:
        """204 and answers to HEAD have no body."""
        self.bench.send(get()).reply.whole(204, [], b"never")
        self.assertNotIn(b"never", self.bench.line.value())
        self.assertNotIn(b"Content-Length", self.bench.line.value())
        call = self.bench.send(b"HEAD /v1/x HTTP/1.1\r\nHost: h\r\n\r\n")
        call.reply.whole(200, [], b"never")
        self.assertNotIn(b"never", self.bench.line.value())
        self.assertIn(b"Content-Length: 5", self.bench.line.value())

    def test_a_header_cannot_break_out(self) -> None:
        """A header with a line break is not sent."""
        call = self.bench.send(get())
        call.reply.whole(200, [("X-A", "b\r\nX-Evil: 1"), ("X-C", "d")], b"")
        headers = parted(self.bench.line.value())[1]
        self.assertNotIn("x-evil", headers)
        self.assertEqual(headers["x-c"], "d")

    def test_the_connection_stays(self) -> None:
        """The next request follows on the same connection."""
        self.bench.surface.on_body = echo
        self.bench.send(get("/v1/a") + get("/v1/b"))
        self.assertEqual(self.bench.line.value().count(b"200 OK"), 2)

    def test_order_of_calls(self) -> None:
        """A piece needs a head, there is one head, and nothing follows the end."""
        reply = self.bench.send(get()).reply
        self.assertRaises(RuntimeError, reply.write, b"x")
        self.assertRaises(RuntimeError, reply.end)
        reply.begin(200, [])
        self.assertRaises(RuntimeError, reply.begin, 200, [])
        self.assertRaises(RuntimeError, reply.whole, 200, [], b"")
        reply.end()
        before = self.bench.line.value()
        reply.write(b"x")
        reply.end()
        reply.begin(200, [])
        reply.whole(200, [], b"x")
        reply.abort()
        self.assertEqual(self.bench.line.value(), before)

    def test_abort(self) -> None:
        """A stream lacks its end; a call without an answer is a reset connection."""
        reply = self.bench.send(get()).reply
        reply.begin(200, [])
        reply.abort()
        self.assertTrue(self.bench.line.disconnecting)
        self.assertFalse(self.bench.line.value().endswith(b"0\r\n\r\n"))
        other = Bench()
        self.addCleanup(lambda: other.channel.setTimeout(None))
        other.send(get()).reply.abort()
        self.assertTrue(other.line.cut)


class Leaving(WebCase):
    """Clients that do not wait."""

    def test_told_once_then_silence(self) -> None:
        """A client that leaves early is reported; then everything is silent."""
        call = self.bench.send(get())
        call.reply.attach(Producer())  # type: ignore[arg-type]  # has the three methods
        self.bench.leave()
        self.assertEqual((call.gone, call.reply.gone), (1, True))
        reply = call.reply
        for silent in (
            lambda: reply.whole(200, [], b""),
            lambda: reply.begin(200, []),
            lambda: reply.write(b"x"),
            reply.end,
            reply.abort,
            lambda: reply.attach(Producer()),  # type: ignore[arg-type]  # as above
        ):
            silent()
        told: list[int] = []
        reply.on_gone(lambda: told.append(1))
        self.assertEqual(told, [1])

    def test_not_told_after_the_end(self) -> None:
        """A client that leaves after its answer has not left early."""
        call = self.bench.send(get())
        call.reply.whole(200, [], b"")
        self.bench.leave()
        self.assertEqual((call.gone, call.reply.gone), (0, False))


class BackPressure(WebCase):
    """Producers that feed an answer."""

    def test_attached_until_the_end(self) -> None:
        """The channel passes the transport's wishes to the latest producer."""
        reply = self.bench.send(get()).reply
        first, second = Producer(), Producer()
        reply.attach(first)  # type: ignore[arg-type]  # has the three methods
        reply.attach(second)  # type: ignore[arg-type]  # as above
        self.bench.channel.pauseProducing()
        self.bench.channel.resumeProducing()
        reply.begin(200, [])
        reply.end()
        self.bench.channel.pauseProducing()
        self.assertEqual((first.log, second.log), ([], ["pause", "resume"]))
