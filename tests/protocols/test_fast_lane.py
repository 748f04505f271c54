"""`protocols.fast_lane`: one connection, in memory."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.protocols.fast_lane import MAX_PENDING
from knight_tw.protocols.server import Limits
from tests.protocols.support import (
    JSON,
    Bench,
    Exchanged,
    Line,
    Producer,
    RecordingSurface,
    echo,
    get,
    leave,
    parted,
    post,
)


def echoing() -> Bench:
    """A bench whose surface answers at once."""
    return Bench(RecordingSurface(on_body=echo))


class Requests(SynchronousTestCase):
    """What the surface sees."""

    def test_head_and_body(self) -> None:
        """The head comes first, with everything it says, then the whole body."""
        bench = Bench()
        lane, _ = bench.connect()
        data = post("/v1/chat?k=v", b"body", "Authorization: Bearer t")
        lane.dataReceived(data[:-4])
        head = bench.surface.last.head
        self.assertEqual(
            (head.method, head.path, head.query), ("POST", "/v1/chat", "k=v")
        )
        self.assertEqual(head.get("authorization"), "Bearer t")
        self.assertEqual((head.peer, head.client), ("192.0.2.1", "192.0.2.1"))
        self.assertIsNone(bench.surface.last.whole)
        lane.dataReceived(b"body")
        self.assertEqual(bench.surface.last.whole, b"body")

    def test_a_request_without_a_body(self) -> None:
        """A request without a body has an empty one."""
        bench = Bench()
        lane, _ = bench.connect()
        lane.dataReceived(get())
        self.assertEqual(bench.surface.last.whole, b"")

    def test_the_client_behind_proxies(self) -> None:
        """Forwarded addresses are judged by the function for it."""
        bench = Bench()
        lane, _ = bench.connect()
        lane.dataReceived(get("/v1/x", "X-Forwarded-For: a", "X-Forwarded-For: b"))
        self.assertEqual(bench.surface.last.head.client, "192.0.2.1 for a|b")

    @settings(max_examples=40, deadline=None)
    @given(
        requests=st.lists(
            st.one_of(
                st.binary(max_size=30).map(lambda body: post("/v1/a", body)),
                st.just(get("/v1/b")),
                st.binary(min_size=1, max_size=30).map(
                    lambda body: (
                        post("/v1/c", b"", "Transfer-Encoding: chunked")
                        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
                    )
                ),
            ),
            min_size=1,
            max_size=5,
        ),
        general=st.booleans(),
        cuts=st.lists(st.integers(1, 60), min_size=1, max_size=10),
    )
    def test_any_splitting_gives_the_same_calls(
        self, requests: list[bytes], general: bool, cuts: list[int]
    ) -> None:
        """How a stream of pipelined requests is cut changes no answer."""
        if general:
            requests = [*requests, post("/other", b"abc"), get("/more")]
        data = b"".join(requests)

        def answers(steps: list[int]) -> tuple[bytes, list[bytes | None]]:
            bench = echoing()
            lane, line = bench.connect()
            at = number = 0
            while at < len(data):
                step = steps[number % len(steps)]
                lane.dataReceived(data[at : at + step])
                at, number = at + step, number + 1
            lines = line.value().split(b"\r\n")
            plain = [
                text for text in lines if not text.startswith((b"Date", b"Server"))
            ]
            leave(lane)
            return b"\n".join(plain), [one.whole for one in bench.surface.seen]

        self.assertEqual(answers(cuts), answers([len(data)]))


class Answers(SynchronousTestCase):
    """What the client sees."""

    def ask(self, request: bytes, status: int = 200) -> tuple[Line, Exchanged]:
        """The line and the call of one request."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(request)
        return line, bench.surface.last

    def test_whole(self) -> None:
        """A whole answer is one write of head, length and body."""
        line, call = self.ask(get())
        call.reply.whole(201, [("X-A", "b")], b"hello")
        first, headers, body = parted(line.value())
        self.assertEqual((first, body), ("HTTP/1.1 201 Created", b"hello"))
        self.assertEqual((headers["content-length"], headers["x-a"]), ("5", "b"))
        self.assertNotIn("server", headers)
        self.assertNotIn("connection", headers)
        self.assertTrue(headers["date"].endswith(" GMT"))
        self.assertTrue(call.reply.begun)

    def test_whole_is_one_write(self) -> None:
        """Head and body go to the kernel together."""
        writes: list[bytes] = []
        bench = Bench()
        lane, _ = bench.connect()
        lane._write = writes.append
        lane.dataReceived(get())
        bench.surface.last.reply.whole(200, JSON, b"x")
        self.assertEqual(len(writes), 1)

    def test_streamed(self) -> None:
        """A streamed answer is chunked, one write for each piece."""
        line, call = self.ask(get())
        call.reply.begin(200, [("Content-Type", "text/event-stream")])
        call.reply.write(b"data: 1\n\n")
        call.reply.write(b"")
        call.reply.write(b"x" * 17)
        call.reply.end()
        _, headers, body = parted(line.value())
        self.assertEqual(headers["transfer-encoding"], "chunked")
        self.assertEqual(headers["connection"], "keep-alive")
        self.assertNotIn("content-length", headers)
        self.assertEqual(
            body, b"9\r\ndata: 1\n\n\r\n11\r\n" + b"x" * 17 + b"\r\n0\r\n\r\n"
        )

    def test_the_lane_writes_the_framing(self) -> None:
        """Headers that frame the message are the lane's alone."""
        line, call = self.ask(get())
        call.reply.whole(
            200, [("Content-Length", "9"), ("Connection", "x"), ("date", "y")], b"ab"
        )
        text = line.value().lower()
        self.assertEqual(text.count(b"content-length"), 1)
        self.assertNotIn(b"connection", text)
        self.assertEqual(text.count(b"date:"), 1)

    def test_a_header_cannot_break_out(self) -> None:
        """A header with a line break is not sent, the others are."""
        line, call = self.ask(get())
        call.reply.whole(200, [("X-A", "b\r\nX-Evil: 1"), ("X-C", "d")], b"")
        _, headers, _ = parted(line.value())
        self.assertNotIn("x-evil", headers)
        self.assertEqual(headers["x-c"], "d")

    def test_head_requests(self) -> None:
        """The answer to HEAD has a length and no body, streamed or not."""
        line, call = self.ask(b"HEAD /v1/x HTTP/1.1\r\nHost: h\r\n\r\n")
        call.reply.whole(200, [], b"hello")
        _, headers, body = parted(line.value())
        self.assertEqual((headers["content-length"], body), ("5", b""))
        line, call = self.ask(b"HEAD /v1/x HTTP/1.1\r\nHost: h\r\n\r\n")
        call.reply.begin(200, [])
        call.reply.write(b"hello")
        call.reply.end()
        self.assertEqual(parted(line.value())[2], b"")

    def test_bodiless_statuses(self) -> None:
        """204 has neither length nor body."""
        line, call = self.ask(b"OPTIONS /v1/x HTTP/1.1\r\nHost: h\r\n\r\n")
        call.reply.whole(204, [], b"never")
        _, headers, body = parted(line.value())
        self.assertNotIn("content-length", headers)
        self.assertEqual(body, b"")

    def test_unknown_status(self) -> None:
        """A status without a name is sent all the same."""
        line, call = self.ask(get())
        call.reply.whole(529, [], b"")
        self.assertTrue(line.value().startswith(b"HTTP/1.1 529 "))

    def test_old_clients_stream_by_close(self) -> None:
        """HTTP/1.0 has no chunks: the end of the connection is the end."""
        line, call = self.ask(get(version="1.0"))
        call.reply.begin(200, [])
        call.reply.write(b"abc")
        call.reply.end()
        _, headers, body = parted(line.value())
        self.assertEqual((headers["connection"], body), ("close", b"abc"))
        self.assertNotIn("transfer-encoding", headers)
        self.assertTrue(line.disconnecting)

    def test_old_clients_may_stay(self) -> None:
        """HTTP/1.0 with keep-alive is told that it may stay."""
        line, call = self.ask(get("/v1/x", "Connection: keep-alive", version="1.0"))
        call.reply.whole(200, [], b"abc")
        self.assertEqual(parted(line.value())[1]["connection"], "keep-alive")
        self.assertFalse(line.disconnecting)

    def test_close_is_honoured(self) -> None:
        """`Connection: close` closes after the answer."""
        line, call = self.ask(get("/v1/x", "Connection: close"))
        call.reply.whole(200, [], b"abc")
        self.assertEqual(parted(line.value())[1]["connection"], "close")
        self.assertTrue(line.disconnecting)

    def test_after_the_end(self) -> None:
        """A complete answer cannot be added to."""
        line, call = self.ask(get())
        call.reply.whole(200, [], b"abc")
        before = line.value()
        call.reply.whole(200, [], b"again")
        call.reply.begin(200, [])
        call.reply.write(b"more")
        call.reply.end()
        call.reply.abort()
        self.assertEqual(line.value(), before)
        self.assertFalse(line.disconnecting or line.cut)

    def test_order_of_calls(self) -> None:
        """A piece needs a head, and there is one head only."""
        _, call = self.ask(get())
        self.assertRaises(RuntimeError, call.reply.write, b"x")
        self.assertRaises(RuntimeError, call.reply.end)
        call.reply.begin(200, [])
        self.assertRaises(RuntimeError, call.reply.begin, 200, [])
        self.assertRaises(RuntimeError, call.reply.whole, 200, [], b"")

    def test_abort(self) -> None:
        """A chunked answer ends without its end; any other connection is reset."""
        line, call = self.ask(get())
        call.reply.begin(200, [])
        call.reply.abort()
        self.assertTrue(line.disconnecting)
        self.assertFalse(line.value().endswith(b"0\r\n\r\n"))
        line, call = self.ask(get())
        call.reply.abort()
        self.assertTrue(line.cut)


class Leaving(SynchronousTestCase):
    """Clients that do not wait."""

    def test_the_call_is_told_once(self) -> None:
        """A client that leaves early is reported, and the reply falls silent."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(get())
        call = bench.surface.last
        leave(lane)
        self.assertEqual((call.gone, call.reply.gone), (1, True))
        call.reply.whole(200, [], b"x")
        call.reply.begin(200, [])
        call.reply.write(b"x")
        call.reply.end()
        call.reply.abort()
        self.assertEqual(line.value(), b"")
        self.assertEqual((bench.lanes.calls, bench.lanes.connections), (0, set()))

    def test_told_at_once_when_late(self) -> None:
        """Whoever asks after the client left is told at once."""
        bench = Bench()
        lane, _ = bench.connect()
        lane.dataReceived(get())
        leave(lane)
        told: list[int] = []
        bench.surface.last.reply.on_gone(lambda: told.append(1))
        self.assertEqual(told, [1])

    def test_not_told_after_the_end(self) -> None:
        """A client that leaves after its answer has not left early."""
        bench = echoing()
        lane, _ = bench.connect()
        lane.dataReceived(get())
        leave(lane)
        self.assertEqual(bench.surface.last.gone, 0)

    def test_with_half_a_body(self) -> None:
        """Half a body is forgotten."""
        bench = Bench()
        lane, _ = bench.connect()
        lane.dataReceived(post("/v1/x", b"x" * 100)[:-50])
        self.assertEqual(bench.lanes.held, 50)
        leave(lane)
        self.assertEqual((bench.lanes.held, bench.lanes.calls), (0, 0))
        self.assertIsNone(bench.surface.last.whole)


class Pipelining(SynchronousTestCase):
    """Several requests on one connection."""

    def test_one_at_a_time(self) -> None:
        """The second request waits for the first one's answer."""
        bench = Bench()
        lane, _ = bench.connect()
        lane.dataReceived(get("/v1/a") + get("/v1/b"))
        self.assertEqual([one.head.path for one in bench.surface.seen], ["/v1/a"])
        bench.surface.last.reply.whole(200, [], b"")
        self.assertEqual(bench.surface.last.head.path, "/v1/b")
        self.assertEqual(bench.lanes.calls, 1)

    def test_what_waits_is_bounded(self) -> None:
        """Reading stops while much waits, and goes on after the answer."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(get("/v1/a"))
        lane.dataReceived(post("/v1/b", b"x" * MAX_PENDING))
        self.assertEqual(line.producerState, "paused")
        bench.surface.last.reply.whole(200, [], b"")
        self.assertEqual(line.producerState, "producing")
        self.assertEqual(bench.surface.last.whole, b"x" * MAX_PENDING)

    def test_many_at_once(self) -> None:
        """A thousand pipelined requests are answered without recursion."""
        bench = echoing()
        lane, line = bench.connect()
        lane.dataReceived(get() * 1000)
        self.assertEqual(line.value().count(b"HTTP/1.1 200 OK"), 1000)

    def test_nothing_after_close(self) -> None:
        """Behind a last request nothing is answered."""
        bench = echoing()
        lane, _ = bench.connect()
        lane.dataReceived(get("/v1/a", "Connection: close") + get("/v1/b"))
        self.assertEqual(len(bench.surface.seen), 1)
        lane.dataReceived(get("/v1/c"))
        self.assertEqual(len(bench.surface.seen), 1)


class Refusals(SynchronousTestCase):
    """Requests that are not taken."""

    def test_malformed(self) -> None:
        """A malformed head gets 400 in OpenAI's shape, and the connection closes."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(b"GET /v1/x HTTP/1.1\nHost: h\n\n")
        first, headers, body = parted(line.value())
        self.assertEqual(first, "HTTP/1.1 400 Bad Request")
        self.assertEqual(headers["connection"], "close")
        error = json.loads(body)["error"]
        self.assertEqual(error["code"], "invalid_request")
        self.assertEqual(bench.surface.seen, [])
        lane.dataReceived(get())
        self.assertEqual(bench.surface.seen, [])
        self.assertEqual(bench.lanes.calls, 0)

    def test_a_declared_length_over_the_limit(self) -> None:
        """A body that is said to be too long is refused before it is read."""
        bench = Bench(limits=Limits(body=10))
        lane, line = bench.connect()
        lane.dataReceived(post("/v1/x", b"x" * 11)[:-11])
        refused = bench.surface.last.refused
        self.assertEqual((refused and refused.status), 413)
        first, headers, _ = parted(line.value())
        self.assertIn("413", first)
        self.assertEqual(headers["connection"], "close")

    def test_a_declared_length_over_the_limit_in_hand(self) -> None:
        """It is refused, too, when all of it has come."""
        bench = Bench(limits=Limits(body=10))
        lane, line = bench.connect()
        lane.dataReceived(post("/v1/x", b"x" * 11))
        self.assertIsNotNone(bench.surface.last.refused)
        self.assertIsNone(bench.surface.last.whole)
        self.assertEqual(parted(line.value())[1]["connection"], "close")

    def test_chunks_over_the_limit(self) -> None:
        """A chunked body is refused when it has grown too long."""
        bench = Bench(limits=Limits(body=10))
        lane, _ = bench.connect()
        lane.dataReceived(
            post("/v1/x", b"8\r\n12345678\r\n", "Transfer-Encoding: chunked")
        )
        self.assertIsNone(bench.surface.last.refused)
        lane.dataReceived(b"8\r\n12345678\r\n")
        refused = bench.surface.last.refused
        self.assertEqual(refused and refused.status, 413)
        self.assertEqual(bench.lanes.held, 0)

    def test_a_broken_chunk(self) -> None:
        """A malformed chunk is refused by the call."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(post("/v1/x", b"zz\r\n", "Transfer-Encoding: chunked"))
        refused = bench.surface.last.refused
        self.assertEqual(
            (refused and refused.status, refused and refused.code),
            (400, "read_request_body_failed"),
        )
        self.assertEqual(parted(line.value())[1]["connection"], "close")

    def test_all_bodies_together(self) -> None:
        """Bodies of all connections together are bounded: 503."""
        bench = Bench(limits=Limits(held=100))
        first, _ = bench.connect()
        first.dataReceived(post("/v1/a", b"x" * 80))
        second, _ = bench.connect()
        second.dataReceived(post("/v1/b", b"x" * 30))
        refused = bench.surface.last.refused
        self.assertEqual(refused and refused.status, 503)
        self.assertEqual(bench.lanes.held, 80)
        bench.surface.seen[0].reply.whole(200, [], b"")
        self.assertEqual(bench.lanes.held, 0)

    def test_before_the_body_came(self) -> None:
        """An answer from the head alone closes; what comes is dropped meanwhile."""

        def unauthorized(call: Exchanged) -> None:
            call.reply.whole(401, JSON, b"{}")

        bench = Bench(
            RecordingSurface(on_open=unauthorized), limits=Limits(linger_bytes=1000)
        )
        lane, line = bench.connect()
        data = post("/v1/x", b"x" * 5000)
        lane.dataReceived(data[:200])
        self.assertEqual(parted(line.value())[1]["connection"], "close")
        self.assertFalse(line.disconnecting)
        lane.dataReceived(data[200:700])
        self.assertFalse(line.disconnecting)
        lane.dataReceived(data[700:])
        self.assertTrue(line.disconnecting)
        self.assertEqual(bench.lanes.held, 0)

    def test_with_the_body_in_hand(self) -> None:
        """An answer from the head alone keeps a connection whose body is there."""

        def unauthorized(call: Exchanged) -> None:
            call.reply.whole(401, JSON, b"{}")

        bench = Bench(RecordingSurface(on_open=unauthorized))
        lane, line = bench.connect()
        lane.dataReceived(post("/v1/a", b"abc") + get("/v1/b") + post("/v1/c"))
        self.assertEqual(line.value().count(b"401 Unauthorized"), 3)
        self.assertNotIn(b"close", line.value())
        self.assertEqual([one.whole for one in bench.surface.seen], [None] * 3)

    def test_a_refusal_in_the_middle(self) -> None:
        """A call that is answered while its body comes closes the connection."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(post("/v1/x", b"x" * 100)[:-50])
        bench.surface.last.reply.whole(429, JSON, b"{}")
        self.assertEqual(parted(line.value())[1]["connection"], "close")
        lane.dataReceived(b"x" * 50 + get("/v1/b"))
        self.assertEqual(len(bench.surface.seen), 1)
        self.assertIsNone(bench.surface.last.whole)

    def test_a_surface_that_fails(self) -> None:
        """A bug of the surface is a 500, at the head as at the body."""

        def bug(call: Exchanged) -> None:
            raise ValueError("bug")

        for surface in (RecordingSurface(on_open=bug), RecordingSurface(on_body=bug)):
            bench = Bench(surface)
            lane, line = bench.connect()
            lane.dataReceived(post("/v1/x", b"a"))
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
            self.assertTrue(line.value().startswith(b"HTTP/1.1 500 "))
            self.assertEqual(bench.lanes.calls, 0)

    def test_a_surface_that_fails_in_a_stream(self) -> None:
        """A stream that a bug interrupts is cut off."""

        def bug(call: Exchanged) -> None:
            call.reply.begin(200, [])
            raise ValueError("bug")

        bench = Bench(RecordingSurface(on_body=bug))
        lane, line = bench.connect()
        lane.dataReceived(get())
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertTrue(line.disconnecting)


class Continue(SynchronousTestCase):
    """`Expect: 100-continue`."""

    HEAD = post("/v1/x", b"abc", "Expect: 100-continue")[:-3]

    def test_asked_for(self) -> None:
        """The body is asked for once the head is good."""
        bench = echoing()
        lane, line = bench.connect()
        lane.dataReceived(self.HEAD)
        self.assertEqual(line.value(), b"HTTP/1.1 100 Continue\r\n\r\n")
        lane.dataReceived(b"abc")
        self.assertIn(b"200 OK", line.value())

    def test_not_asked_for_in_vain(self) -> None:
        """Nothing is asked for when the body has come, or is not wanted."""
        bench = echoing()
        lane, line = bench.connect()
        lane.dataReceived(self.HEAD + b"abc")
        self.assertNotIn(b"100 Continue", line.value())
        refusing = Bench(
            RecordingSurface(on_open=lambda call: call.reply.whole(401, [], b""))
        )
        lane, line = refusing.connect()
        lane.dataReceived(self.HEAD)
        self.assertNotIn(b"100 Continue", line.value())


class HandOver(SynchronousTestCase):
    """Paths that are not the surface's."""

    def test_first_request(self) -> None:
        """A general path goes to the site, with the bytes read so far."""
        bench = echoing()
        lane, line = bench.connect()
        data = post("/page", b"abc")
        lane.dataReceived(data[:10])
        lane.dataReceived(data[10:-1])
        lane.dataReceived(data[-1:])
        self.assertIn(b"general POST /page abc", line.value())
        lane.dataReceived(get("/v1/x"))
        self.assertIn(b"general GET /v1/x", line.value())
        self.assertEqual(bench.surface.seen, [])
        leave(lane)

    def test_a_later_request(self) -> None:
        """A fast connection is handed over between two requests, with what waits."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(get("/v1/a") + post("/page", b"abc") + get("/other"))
        self.assertNotIn(b"general", line.value())
        bench.surface.last.reply.whole(200, [], b"first")
        text = line.value()
        places = [text.index(word) for word in (b"first", b"/page abc", b"/other")]
        self.assertEqual(places, sorted(places))
        leave(lane)

    def test_upgrades(self) -> None:
        """An upgrade goes to the site on every path."""
        bench = echoing()
        lane, line = bench.connect()
        lane.dataReceived(
            get("/v1/realtime", "Connection: Upgrade", "Upgrade: websocket")
        )
        self.assertIn(b"general GET /v1/realtime", line.value())
        leave(lane)

    def test_everything(self) -> None:
        """With the fast lane off every path is general."""
        bench = Bench(fast=False)
        lane, line = bench.connect()
        lane.dataReceived(get("/v1/x"))
        self.assertIn(b"general GET /v1/x", line.value())
        leave(lane)
        self.assertEqual(bench.lanes.connections, set())


class Time(SynchronousTestCase):
    """Connections that are silent, or do not read."""

    def setUp(self) -> None:
        """A bench with round limits."""
        self.bench = Bench(
            limits=Limits(
                head_timeout=10, idle_timeout=40, write_timeout=20, linger=4, body=100
            )
        )

    def test_no_head(self) -> None:
        """A connection without a request is closed after the head timeout."""
        _, line = self.bench.connect()
        self.bench.pass_time(10)
        self.assertFalse(line.disconnecting)
        self.bench.pass_time(3)
        self.assertTrue(line.disconnecting)
        self.assertEqual(line.value(), b"")

    def test_a_slow_head(self) -> None:
        """A head that trickles gets 408."""
        lane, line = self.bench.connect()
        for byte in get()[:12]:
            lane.dataReceived(bytes([byte]))
            self.bench.pass_time(1)
        self.assertIn(b" 408 ", line.value())

    def test_idle(self) -> None:
        """A kept-alive connection lives for the idle timeout."""
        lane, line = self.bench.connect()
        lane.dataReceived(get())
        self.bench.surface.last.reply.whole(200, [], b"")
        self.bench.pass_time(40)
        self.assertFalse(line.disconnecting)
        self.bench.pass_time(3)
        self.assertTrue(line.disconnecting)

    def test_a_slow_body(self) -> None:
        """A body that stops coming is refused; one that trickles is not."""
        lane, _ = self.bench.connect()
        lane.dataReceived(post("/v1/x", b"x" * 100)[:-100])
        for _ in range(5):
            lane.dataReceived(b"x")
            self.bench.pass_time(30)
        self.assertIsNone(self.bench.surface.last.refused)
        self.bench.pass_time(15)
        refused = self.bench.surface.last.refused
        self.assertEqual(refused and refused.status, 408)

    def test_a_long_answer(self) -> None:
        """A call may take as long as it likes."""
        lane, line = self.bench.connect()
        lane.dataReceived(get())
        self.bench.pass_time(1000)
        self.assertFalse(line.disconnecting or line.cut)
        self.bench.surface.last.reply.whole(200, [], b"")
        self.assertIn(b"200 OK", line.value())

    def test_lingering(self) -> None:
        """A refused request is dropped for a while, then the connection closes."""
        lane, line = self.bench.connect()
        lane.dataReceived(post("/v1/x", b"x" * 101)[:-101])
        self.bench.pass_time(3)
        self.assertFalse(line.disconnecting)
        self.bench.pass_time(4)
        self.assertTrue(line.disconnecting)
        self.bench.pass_time(7)
        self.assertTrue(line.cut)

    def test_no_timer_without_connections(self) -> None:
        """The sweep runs only while there are connections."""
        lane, _ = self.bench.connect()
        self.assertEqual(len(self.bench.clock.getDelayedCalls()), 1)
        lane.dataReceived(get())
        self.assertEqual(len(self.bench.clock.getDelayedCalls()), 1)
        leave(lane)
        self.assertEqual(self.bench.clock.getDelayedCalls(), [])


class Draining(SynchronousTestCase):
    """Stopping without losing a call."""

    def test_idle_connections_close(self) -> None:
        """Idle connections close at once, in both lanes."""
        bench = echoing()
        fast, fast_line = bench.connect()
        fast.dataReceived(get())
        general, general_line = bench.connect()
        general.dataReceived(get("/page"))
        drained = bench.lanes.drain()
        self.assertTrue(fast_line.disconnecting and general_line.disconnecting)
        self.assertNoResult(drained)
        leave(fast)
        leave(general)
        self.successResultOf(drained)

    def test_a_general_request_on_its_way(self) -> None:
        """A general request that has begun is answered, and closes."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(get("/first"))
        data = get("/second")
        lane.dataReceived(data[:-2])
        bench.lanes.drain()
        self.assertFalse(line.disconnecting)
        lane.dataReceived(data[-2:])
        self.assertIn(b"general GET /second", line.value())
        self.assertIn(b"Connection: close", line.value())
        self.assertTrue(line.disconnecting)
        leave(lane)

    def test_calls_end_first(self) -> None:
        """A call in flight is answered, with `Connection: close`."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(get())
        drained = bench.lanes.drain()
        self.assertFalse(line.disconnecting)
        bench.surface.last.reply.whole(200, [], b"late")
        self.assertEqual(parted(line.value())[1]["connection"], "close")
        self.assertTrue(line.disconnecting)
        leave(lane)
        self.successResultOf(drained)

    def test_streams_end_first(self) -> None:
        """So is a stream that had promised to stay."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(get())
        bench.surface.last.reply.begin(200, [])
        bench.lanes.drain()
        bench.surface.last.reply.write(b"x")
        bench.surface.last.reply.end()
        self.assertTrue(line.value().endswith(b"0\r\n\r\n"))
        self.assertTrue(line.disconnecting)

    def test_new_requests_are_refused(self) -> None:
        """A request that still comes gets 503, claimed or not."""
        for path in ("/v1/x", "/page"):
            bench = Bench()
            lane, line = bench.connect()
            data = get(path)
            lane.dataReceived(data[:5])
            bench.lanes.drain()
            lane.dataReceived(data[5:])
            self.assertIn(b" 503 ", line.value())
            self.assertIn(b"shutting_down", line.value())
            self.assertEqual(parted(line.value())[1]["connection"], "close")

    def test_without_connections(self) -> None:
        """Without connections draining is done at once."""
        self.successResultOf(Bench().lanes.drain())

    def test_abort_all(self) -> None:
        """Everything can be cut."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(get())
        bench.lanes.abort_all()
        self.assertTrue(line.cut)


class BackPressure(SynchronousTestCase):
    """Producers that feed an answer."""

    def test_attached_until_the_end(self) -> None:
        """A producer is registered with the transport until the answer ends."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(get())
        reply, source = bench.surface.last.reply, Producer()
        reply.attach(source)  # type: ignore[arg-type]  # has the three methods
        self.assertIs(line.producer, source)
        self.assertTrue(line.streaming)
        reply.begin(200, [])
        reply.end()
        self.assertIsNone(line.producer)

    def test_the_next_attempt_replaces_it(self) -> None:
        """A second producer takes the place of the first."""
        bench = Bench()
        lane, line = bench.connect()
        lane.dataReceived(get())
        first, second = Producer(), Producer()
        reply = bench.surface.last.reply
        reply.attach(first)  # type: ignore[arg-type]  # as above
        reply.attach(second)  # type: ignore[arg-type]  # as above
        self.assertIs(line.producer, second)

    def test_a_plain_transport(self) -> None:
        """A transport that is no socket is written to as it likes."""
        bench = echoing()
        lane = bench.lanes.buildProtocol(None)
        line = StringTransport()
        lane.makeConnection(line)
        lane.dataReceived(get())
        self.assertIn(b"200 OK", line.value())
        leave(lane)
