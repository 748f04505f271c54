"""`protocols.client` and `protocols.answer`: one upstream connection, in memory."""

from __future__ import annotations

import gzip
import socket
from typing import Any

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.tcp import Server
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import (
    BadUpstreamBody,
    KnightError,
    UpstreamFailed,
    UpstreamTimeout,
)
from knight_tw.protocols.answer import HELD, Answer
from knight_tw.protocols.client import Call, ClientConnection
from knight_tw.protocols.heads import MAX_HEAD
from knight_tw.protocols.transport import Sweep
from tests.protocols.support import Line

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@define(eq=False)
class Owner:
    """A pool that notes what it is told."""

    released_with: list[bool] = field(factory=list)
    closed: int = 0
    again: list[Call] = field(factory=list)

    def released(self, connection: ClientConnection, *, reusable: bool) -> None:
        """Noted."""
        self.released_with.append(reusable)

    def gone(self, connection: ClientConnection) -> None:
        """Noted."""
        self.closed += 1

    def run(self, call: Call) -> None:
        """Noted."""
        self.again.append(call)


@define(eq=False)
class Taker:
    """A receiver that notes what it gets; `pauses` after each piece when asked to."""

    pieces: list[bytes] = field(factory=list)
    ends: list[KnightError | None] = field(factory=list)
    bug: bool = False

    def chunk(self, data: bytes) -> None:
        """Noted."""
        self.pieces.append(data)
        if self.bug:
            raise ValueError("bug")

    def ended(self, error: KnightError | None) -> None:
        """Noted."""
        self.ends.append(error)

    @property
    def text(self) -> bytes:
        """All pieces."""
        return b"".join(self.pieces)


@define(eq=False)
class Bench:
    """One connection to an upstream that the test plays."""

    clock: Clock = field(factory=Clock)
    owner: Owner = field(factory=Owner)
    line: Line = field(factory=Line)
    connection: ClientConnection = field(init=False)

    @connection.default
    def _make_connection(self) -> ClientConnection:
        sweep = Sweep(self.clock)
        connection = ClientConnection(
            self.owner, sweep, self.clock, tls=False, idle=90.0
        )
        connection.makeConnection(self.line)
        return connection

    def ask(
        self,
        method: str = "POST",
        body: bytes = b"",
        *,
        first_byte: float = 0.0,
        safe: bool = False,
    ) -> Call:
        """Send a request."""
        head = f"{method} / HTTP/1.1\r\n\r\n".encode()
        call = Call(head, body, safe, method == "HEAD", 30.0, first_byte)
        self.connection.start(call)
        return call

    def hear(self, *pieces: bytes) -> None:
        """The upstream sends."""
        for piece in pieces:
            self.connection.dataReceived(piece)

    def close(self, *, clean: bool = True) -> None:
        """The upstream closes."""
        reason = ConnectionDone() if clean else ConnectionLost()
        self.connection.connectionLost(Failure(reason))

    def pass_time(self, seconds: float) -> None:
        """Let the clock run."""
        self.clock.pump([0.5] * int(seconds * 2))


class ClientCase(SynchronousTestCase):
    """A bench for each test."""

    def setUp(self) -> None:
        """A fresh connection."""
        self.bench = Bench()

    def answer(self, *pieces: bytes, **options: Any) -> Answer:
        """The answer to a request."""
        call = self.bench.ask(**options)
        self.bench.hear(*pieces)
        return self.successResultOf(call.told)

    def failure(self, call: Call) -> KnightError:
        """What a call failed with."""
        error = self.failureResultOf(call.told).value
        assert isinstance(error, KnightError)
        return error


class Reading(ClientCase):
    """Answers that are read whole."""

    def test_all_at_once(self) -> None:
        """Head and body that come together are read without waiting."""
        answer = self.answer(HELLO)
        self.assertEqual(answer.status, 200)
        self.assertEqual(
            answer.headers, [("content-type", "text/plain"), ("content-length", "5")]
        )
        self.assertEqual(answer.get("content-type"), "text/plain")
        self.assertEqual(answer.get("x-nothing"), "")
        self.assertEqual(self.successResultOf(answer.read(5)), b"hello")
        self.assertEqual(self.bench.owner.released_with, [True])

    def test_piece_by_piece(self) -> None:
        """A body that comes later is waited for."""
        answer = self.answer(HELLO[:-5])
        body = answer.read(5)
        self.bench.hear(b"hel")
        self.assertNoResult(body)
        self.bench.hear(b"lo")
        self.assertEqual(self.successResultOf(body), b"hello")

    def test_before_it_is_asked_for(self) -> None:
        """Pieces that come before `read` are kept."""
        answer = self.answer(HELLO[:-5], b"hel")
        self.bench.hear(b"lo")
        self.assertEqual(self.successResultOf(answer.read(5)), b"hello")

    def test_until_the_end_of_the_connection(self) -> None:
        """Without a length the body ends with the connection."""
        answer = self.answer(OK + b"\r\nabc")
        body = answer.read(10)
        self.bench.close()
        self.assertEqual(self.successResultOf(body), b"abc")

    def test_that_ends_unclean(self) -> None:
        """A reset connection is no end of a body."""
        body = self.answer(OK + b"\r\nabc").read(10)
        self.bench.close(clean=False)
        error = self.failureResultOf(body, UpstreamFailed).value
        self.assertEqual(error.code, "read_response_body_failed")

    def test_truncated(self) -> None:
        """A body shorter than its length, or without its last chunk, has failed."""
        for start in (HELLO[:-1], CHUNKED + b"3\r\nabc\r\n"):
            self.bench = Bench()
            body = self.answer(start).read(10)
            self.bench.close()
            error = self.failureResultOf(body, UpstreamFailed).value
            self.assertEqual((error.status, error.retryable), (502, True))
            self.assertEqual(error.code, "read_response_body_failed")

    def test_too_long(self) -> None:
        """A body beyond the limit is not read to its end."""
        for late in (False, True):
            self.bench = Bench()
            start = OK + b"Content-Length: 100\r\n\r\n"
            if late:
                body = self.answer(start).read(10)
                self.bench.hear(b"x" * 11)
            else:
                body = self.answer(start, b"x" * 11).read(10)
            self.failureResultOf(body, BadUpstreamBody)
            self.assertTrue(self.bench.line.cut)

    def test_content_coding_is_undone(self) -> None:
        """`read` gives the plain bytes."""
        packed = gzip.compress(b"plain")
        head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        answer = self.answer(OK + head + packed)
        self.assertEqual(self.successResultOf(answer.read(1000)), b"plain")

    def test_content_coding_within_the_limit(self) -> None:
        """The plain bytes are within the limit, too."""
        packed = gzip.compress(b"x" * 100_000)
        head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        answer = self.answer(OK + head + packed)
        self.failureResultOf(answer.read(1000), BadUpstreamBody)

    def test_broken_content_coding(self) -> None:
        """A coding that is broken or unknown makes a bad body."""
        for name in (b"gzip", b"rot13"):
            self.bench = Bench()
            head = b"Content-Encoding: %b\r\nContent-Length: 3\r\n\r\nabc" % name
            self.failureResultOf(self.answer(OK + head).read(99), BadUpstreamBody)

    def test_cancelled(self) -> None:
        """Cancelling a read closes the connection."""
        body = self.answer(HELLO[:-1]).read(10)
        body.cancel()
        self.failureResultOf(body, CancelledError)
        self.assertTrue(self.bench.line.cut)

    def test_read_ahead_is_bounded(self) -> None:
        """Nobody's body is read only so far, and on when somebody comes."""
        answer = self.answer(OK + b"Content-Length: 9999999\r\n\r\n")
        self.bench.hear(b"x" * (HELD + 1))
        self.assertEqual(self.bench.line.producerState, "paused")
        answer.read(10_000_000)
        self.assertEqual(self.bench.line.producerState, "producing")


class Delivering(ClientCase):
    """Answers that are passed on as they come."""

    def test_pieces_and_end(self) -> None:
        """Each arrival is one piece, the end comes once."""
        answer, taker = self.answer(CHUNKED), Taker()
        answer.deliver(taker, 10)
        self.bench.hear(b"3\r\nabc\r\n2\r\nde\r\n", b"1\r\nf\r\n", b"0\r\n\r\n")
        self.assertEqual((taker.pieces, taker.ends), ([b"abcde", b"f"], [None]))

    def test_never_before_deliver_returns(self) -> None:
        """What is here already comes at the next turn of the reactor."""
        answer, taker = self.answer(HELLO), Taker()
        answer.deliver(taker, 10)
        self.assertEqual((taker.pieces, taker.ends), ([], []))
        self.bench.clock.advance(0)
        self.assertEqual((taker.pieces, taker.ends), ([b"hello"], [None]))

    def test_order_with_what_was_here(self) -> None:
        """What comes meanwhile waits behind it."""
        answer, taker = self.answer(HELLO[:-4]), Taker()
        answer.deliver(taker, 10)
        self.bench.hear(b"el", b"lo")
        self.bench.clock.advance(0)
        self.assertEqual((taker.text, taker.ends), (b"hello", [None]))

    def test_paused(self) -> None:
        """Nothing is delivered while paused, all of it afterwards."""
        answer, taker = self.answer(HELLO[:-5]), Taker()
        answer.deliver(taker, 10)
        answer.pause()
        self.assertEqual(self.bench.line.producerState, "paused")
        self.bench.hear(b"hello")
        self.bench.clock.advance(0)
        self.assertEqual((taker.pieces, taker.ends), ([], []))
        answer.resume()
        self.bench.clock.advance(0)
        self.assertEqual((taker.text, taker.ends), (b"hello", [None]))

    def test_broken_off(self) -> None:
        """A body that breaks off ends with an error."""
        answer, taker = self.answer(HELLO[:-1]), Taker()
        answer.deliver(taker, 10)
        self.bench.close()
        self.bench.clock.advance(0)
        self.assertEqual(taker.text, b"hell")
        self.assertEqual(
            [e and e.code for e in taker.ends], ["read_response_body_failed"]
        )

    def test_aborted(self) -> None:
        """After `abort` nobody is called, and the connection is closed."""
        answer, taker = self.answer(HELLO[:-1]), Taker()
        answer.deliver(taker, 10)
        answer.abort()
        self.bench.hear(b"o")
        self.bench.close()
        self.bench.clock.advance(0)
        self.assertEqual((taker.pieces, taker.ends), ([], []))
        self.assertTrue(self.bench.line.cut)
        self.assertEqual(self.bench.clock.getDelayedCalls(), [])

    def test_decoded(self) -> None:
        """A content coding is undone piece by piece when asked for."""
        packed = gzip.compress(b"plain text")
        head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        answer, taker = self.answer(OK + head), Taker()
        answer.deliver(taker, 10, decode=True)
        self.bench.hear(*(packed[n : n + 1] for n in range(len(packed))))
        self.assertEqual((taker.text, taker.ends), (b"plain text", [None]))

    def test_decoding_fails(self) -> None:
        """Data that is not what its coding says ends the delivery."""
        head = b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n"
        answer, taker = self.answer(OK + head), Taker()
        answer.deliver(taker, 10, decode=True)
        self.bench.hear(b"not gzip")
        self.bench.clock.advance(0)
        self.assertIsInstance(taker.ends[0], BadUpstreamBody)
        self.assertTrue(self.bench.line.cut)

    def test_a_receiver_that_fails(self) -> None:
        """A receiver's bug ends its delivery and closes the connection."""
        answer, taker = self.answer(HELLO[:-5]), Taker(bug=True)
        answer.deliver(taker, 10)
        self.bench.hear(b"he")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.bench.clock.advance(0)
        self.assertEqual([e and e.code for e in taker.ends], ["internal_error"])

    @settings(max_examples=40, deadline=None)
    @given(
        pieces=st.lists(st.binary(min_size=1, max_size=30), max_size=5),
        chunked=st.booleans(),
        cuts=st.lists(st.integers(1, 40), min_size=1, max_size=10),
    )
    def test_any_cut_gives_the_same_body(
        self, pieces: list[bytes], chunked: bool, cuts: list[int]
    ) -> None:
        """How an answer's bytes are cut changes nothing."""
        body = b"".join(pieces)
        if chunked:
            chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
            data = CHUNKED + b"".join([*chunks, b"0\r\nX: y\r\n\r\n"])
        else:
            data = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
        bench, at, number = Bench(), 0, 0
        call, taker = bench.ask(), Taker()
        call.told.addCallback(lambda answer: answer.deliver(taker, 0))
        while at < len(data):
            step = cuts[number % len(cuts)]
            bench.hear(data[at : at + step])
            at, number = at + step, number + 1
        bench.clock.advance(0)
        self.assertEqual((taker.text, taker.ends), (body, [None]))
        self.assertEqual(bench.owner.released_with, [True])


class Framing(ClientCase):
    """Which answers are understood."""

    def test_interim_answers_are_skipped(self) -> None:
        """100 and 103 come before the answer."""
        answer = self.answer(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
            + HELLO
        )
        self.assertEqual((answer.status, answer.get("link")), (200, ""))

    def test_answers_without_a_body(self) -> None:
        """HEAD, 204 and 304 have none, whatever the head says."""
        for method, head in (
            ("HEAD", OK + b"Content-Length: 5\r\n\r\n"),
            ("GET", b"HTTP/1.1 204 No\r\n\r\n"),
            ("GET", b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n"),
        ):
            self.bench = Bench()
            answer = self.answer(head, method=method)
            self.assertEqual(self.successResultOf(answer.read(9)), b"")

    def test_what_is_refused(self) -> None:
        """An ambiguous or broken answer is a failed attempt, the connection closes."""
        for name, data in {
            "both lengths": OK
            + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "gzip as transfer coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
            "identity": OK + b"Transfer-Encoding: identity\r\n\r\nabc",
            "folded": OK + b"X: a\r\n b\r\n\r\n",
            "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
            "a control character": OK + b"X: a\x01\r\n\r\n",
            "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
            "something else": b"SSH-2.0-x\r\n",
            "an upgrade": b"HTTP/1.1 101 S\r\nConnection: upgrade\r\n"
            b"Upgrade: x\r\n\r\n",
            "a plain 101": b"HTTP/1.1 101 S\r\n\r\nabc",
            "an endless head": OK + b"X: " + b"y" * MAX_HEAD,
        }.items():
            with self.subTest(name):
                self.bench = Bench()
                call = self.bench.ask()
                self.bench.hear(data)
                error = self.failure(call)
                self.assertEqual(error.code, "do_request_failed")
                self.assertEqual(error.message, "upstream request failed")
                self.assertTrue(error.detail)
                self.assertTrue(self.bench.line.cut)

    def test_a_broken_chunk(self) -> None:
        """A malformed chunk breaks the body off."""
        body = self.answer(CHUNKED).read(10)
        self.bench.hear(b"zz\r\n")
        error = self.failureResultOf(body, UpstreamFailed).value
        self.assertEqual(error.code, "read_response_body_failed")

    def test_trailers_are_not_headers(self) -> None:
        """What comes behind the last chunk is not looked at."""
        answer = self.answer(CHUNKED + b"0\r\nX-Late: 1\r\n\r\n")
        self.assertEqual(answer.get("x-late"), "")

    def test_bytes_behind_the_answer(self) -> None:
        """An answer that is followed by bytes counts, its connection does not."""
        answer = self.answer(HELLO + HELLO)
        self.assertEqual(self.successResultOf(answer.read(5)), b"hello")
        self.assertEqual(self.bench.owner.released_with, [False])

    def test_bytes_that_nobody_asked_for(self) -> None:
        """An idle connection that speaks is closed."""
        self.answer(HELLO)
        self.bench.hear(b"HTTP/1.1 408 Timeout\r\n\r\n")
        self.assertTrue(self.bench.line.cut)

    def test_close_after_the_answer(self) -> None:
        """A connection that is to close is not used again."""
        for head in (b"Connection: close\r\n", b"Proxy-Connection: close\r\n"):
            self.bench = Bench()
            self.answer(OK + head + b"Content-Length: 0\r\n\r\n")
            self.assertEqual(self.bench.owner.released_with, [False])

    def test_several_calls(self) -> None:
        """One connection carries one call after the other."""
        for _ in range(3):
            answer = self.answer(HELLO)
            self.assertEqual(self.successResultOf(answer.read(5)), b"hello")
        self.assertEqual(self.bench.owner.released_with, [True] * 3)


class Alive(SynchronousTestCase):
    """Whether an idle connection can be used."""

    def setUp(self) -> None:
        """A connection over a pair of sockets, a tick after its last use."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            ours = socket.create_connection(listening.getsockname())
            self.theirs, _ = listening.accept()
        self.addCleanup(self.theirs.close)
        self.addCleanup(ours.close)
        transport = Server(ours, None, ("", 1), NoPort(), 1, NoReactor())  # type: ignore[arg-type]  # as much as is looked at
        self.clock = Clock()
        sweep = Sweep(self.clock)
        self.connection = ClientConnection(
            Owner(), sweep, self.clock, tls=False, idle=90.0
        )
        self.connection.makeConnection(transport)
        self.clock.advance(1)

    def test_silent(self) -> None:
        """One that is silent can."""
        self.assertTrue(self.connection.alive())

    def test_closed(self) -> None:
        """One that the upstream closed cannot, though nobody was told yet."""
        self.theirs.close()
        self.assertFalse(self.connection.alive())

    def test_spoken_on(self) -> None:
        """Nor one on which the upstream has said something."""
        self.theirs.send(b"HTTP/1.1 408 Timeout\r\n\r\n")
        self.assertFalse(self.connection.alive())

    def test_nothing_was_sent(self) -> None:
        """A call of which the kernel took nothing may be sent again."""
        filler = Call(b"x" * 50_000_000, b"", False, False, 1.0, 0.0)
        self.connection.start(filler)
        self.connection._used = True
        call = Call(b"POST / HTTP/1.1\r\n\r\n", b"", False, False, 1.0, 0.0)
        self.assertTrue(self.connection._may_repeat(call))
        self.assertFalse(self.connection._may_repeat(filler))


class NoReactor:
    """Watches nothing."""

    def addReader(self, _: object) -> None:
        """Nothing."""

    removeReader = addWriter = removeWriter = addReader


class NoPort:
    """As much of a listening port as a connection looks at."""

    _realPortNumber = 1


class Ending(ClientCase):
    """Calls that get no answer."""

    def test_closed_before_the_answer(self) -> None:
        """A new connection that closes silently is a failed call."""
        call = self.bench.ask()
        self.bench.close()
        error = self.failure(call)
        self.assertEqual((error.code, error.retryable), ("do_request_failed", True))
        self.assertEqual(self.bench.owner.closed, 1)

    def test_a_stale_connection_and_a_safe_call(self) -> None:
        """A GET on a connection that was used before is sent again, once."""
        self.answer(HELLO)
        call = self.bench.ask("GET", safe=True)
        self.bench.close()
        self.assertEqual(self.bench.owner.again, [call])
        self.assertTrue(call.repeated)
        self.assertNoResult(call.told)

    def test_a_stale_connection_and_an_unsafe_call(self) -> None:
        """A POST that may have been acted on is not sent again."""
        self.answer(HELLO)
        call = self.bench.ask("POST")
        self.bench.close()
        self.assertEqual(self.bench.owner.again, [])
        self.failure(call)

    def test_half_an_answer(self) -> None:
        """Nor is anything of which an answer had begun."""
        self.answer(HELLO)
        call = self.bench.ask("GET", safe=True)
        self.bench.hear(b"HTTP/1.1 2")
        self.bench.close()
        self.failure(call)

    def test_cancelled(self) -> None:
        """Cancelling the call closes the connection."""
        call = self.bench.ask()
        call.told.cancel()
        self.failureResultOf(call.told, CancelledError)
        self.assertTrue(self.bench.line.cut)
        self.bench.hear(HELLO)
        self.bench.close()

    def test_no_first_byte(self) -> None:
        """An upstream that does not answer in time is given up."""
        call = self.bench.ask(first_byte=10)
        self.bench.pass_time(9.5)
        self.assertNoResult(call.told)
        self.bench.pass_time(2)
        error = self.failure(call)
        self.assertIsInstance(error, UpstreamTimeout)
        self.assertEqual((error.status, error.retryable), (504, False))
        self.assertTrue(self.bench.line.cut)

    def test_half_a_head_is_no_first_byte(self) -> None:
        """Bytes of a head do not stop that clock."""
        call = self.bench.ask(first_byte=10)
        self.bench.hear(b"HTTP/1.1 200")
        self.bench.pass_time(12)
        self.assertIsInstance(self.failure(call), UpstreamTimeout)

    def test_silence_in_a_body(self) -> None:
        """A delivery ends when the upstream is silent for too long."""
        answer, taker = self.answer(HELLO[:-5]), Taker()
        answer.deliver(taker, 10)
        for _ in range(3):
            self.bench.pass_time(9)
            self.bench.hear(b"x")
        self.assertEqual(taker.ends, [])
        self.bench.pass_time(13)
        self.assertIsInstance(taker.ends[0], UpstreamTimeout)

    def test_silence_while_paused(self) -> None:
        """Silence is not the upstream's while its reader pauses."""
        answer, taker = self.answer(HELLO[:-5]), Taker()
        answer.deliver(taker, 10)
        answer.pause()
        self.bench.pass_time(100)
        answer.resume()
        self.bench.pass_time(9)
        self.assertEqual(taker.ends, [])

    def test_a_read_that_takes_too_long(self) -> None:
        """`read` is over in time even when the body trickles."""
        body = self.answer(OK + b"Content-Length: 99\r\n\r\n").read(99, 10)
        for _ in range(12):
            self.bench.hear(b"x")
            self.bench.pass_time(1)
        self.failureResultOf(body, UpstreamTimeout)

    def test_a_silent_read(self) -> None:
        """Silence has a limit of its own."""
        body = self.answer(HELLO[:-5]).read(99, idle_timeout=10)
        self.bench.pass_time(13)
        self.failureResultOf(body, UpstreamTimeout)

    def test_an_answer_that_nobody_wants(self) -> None:
        """An answer that nobody reads does not hold its connection for ever."""
        answer = self.answer(OK + b"Content-Length: 9999999\r\n\r\n")
        self.bench.hear(b"x" * (HELD + 1))
        self.bench.pass_time(70)
        self.assertTrue(self.bench.line.cut)
        self.failureResultOf(answer.read(10_000_000), UpstreamTimeout)

    def test_an_idle_connection(self) -> None:
        """A connection that is not used closes after the idle timeout."""
        self.answer(HELLO)
        self.bench.pass_time(89)
        self.assertFalse(self.bench.line.disconnecting)
        self.bench.pass_time(4)
        self.assertTrue(self.bench.line.disconnecting)

    def test_a_busy_connection(self) -> None:
        """One that waits for a slow answer does not."""
        call = self.bench.ask()
        self.bench.pass_time(200)
        self.assertFalse(self.bench.line.disconnecting or self.bench.line.cut)
        self.bench.hear(HELLO)
        self.successResultOf(call.told)
