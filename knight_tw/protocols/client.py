"""One connection to an upstream: a request out, an answer in, parsed by llhttp.

Framing is strict: an answer that two readers could understand differently is a failed
attempt, and its connection is not used again. Deadlines are looked at by a sweep.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

from attrs import define, field
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from knight_tw.errors import KnightError, UpstreamFailed, UpstreamTimeout
from knight_tw.protocols.answer import Answer, Receiver
from knight_tw.protocols.heads import MAX_HEAD
from knight_tw.protocols.transport import Sweep, Write, eager, socket_of, unsent

__all__ = ["Answer", "Call", "ClientConnection", "Receiver", "failed"]

_JOINED = 65536
"""A body up to this size is copied behind its head, so that both are one write."""


@define(eq=False)
class Call:
    """One request on its way to its answer.

    Attributes:
        request: The head's bytes.
        safe: Sending it twice does no harm (GET, HEAD, OPTIONS).
        mute: The answer has no body whatever its head says (HEAD).
        connect: Seconds for a connection, waiting for a free one included.
        first_byte: Seconds from sending to the answer's head; 0 = any.
        told: Fires with the `Answer`.
        holder: Who is working on it: what `cancel` turns to.
        repeated: It was sent once already.
        waiting_since: When it began to wait for a free connection.
    """

    request: bytes
    body: bytes
    safe: bool
    mute: bool
    connect: float
    first_byte: float
    holder: Holder | None = None
    repeated: bool = False
    waiting_since: float = 0.0
    told: Deferred[Answer] = field(init=False)

    @told.default
    def _make_told(self) -> Deferred[Answer]:
        return Deferred(self._cancelled)

    def fail(self, error: KnightError) -> None:
        """There will be no answer."""
        self.holder = None
        if not self.told.called:
            self.told.errback(error)

    def _cancelled(self, _: Any) -> None:
        holder, self.holder = self.holder, None
        if holder is not None:
            holder.drop(self)


class Holder(Protocol):
    """Whoever works on a call."""

    def drop(self, call: Call) -> None:
        """The call is cancelled."""
        ...


class Owner(Protocol):
    """The pool of a connection."""

    def released(self, connection: ClientConnection, *, reusable: bool) -> None:
        """The connection's call is over."""
        ...

    def gone(self, connection: ClientConnection) -> None:
        """The connection is closed."""
        ...

    def run(self, call: Call) -> None:
        """Send a call on any connection."""
        ...


def failed(detail: str, *, code: str | None = None) -> UpstreamFailed:
    """The failure of a call; `detail` is for the log alone."""
    return UpstreamFailed("upstream request failed", code=code, detail=detail)


@implementer(IHandshakeListener)
class ClientConnection(TwistedProtocol):
    """A connection that takes one call at a time.

    Attributes:
        ready: Fires when the connection can be used, TLS handshake included.
    """

    transport: Any
    """A TCP or TLS transport; the interfaces of their many abilities say less."""

    def __init__(
        self, owner: Owner, sweep: Sweep, clock: IReactorTime, *, tls: bool, idle: float
    ) -> None:
        self.ready: Deferred[ClientConnection] = Deferred(lambda _: self.close())
        self._owner = owner
        self._sweep = sweep
        self._clock = clock
        self._tls = tls
        self._idle = idle
        self._call: Call | None = None
        self._answer: Answer | None = None
        self._parser = HttpResponseParser(self)
        self._fields: list[tuple[str, str]] = []
        self._chunks: list[bytes] = []
        self._coding = "chunked"
        self._status = self._received = 0
        self._headed = self._ended = self._interim = self._reusable = False
        self._used = self._paused = self._lost = False
        self._deadline = self._heard = 0.0
        self._socket: FileDescriptor | None = None
        self._write: Write

    # the transport's side ----------------------------------------------------

    def connectionMade(self) -> None:
        """TCP is there; with TLS the handshake follows."""
        transport = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        self._socket = socket_of(transport)
        self._write = eager(transport)
        self._sweep.add(self)
        self._heard = self._sweep.now
        if not self._tls:
            self.ready.callback(self)

    def handshakeCompleted(self) -> None:
        """TLS is there, and the upstream's certificate is good."""
        if not self.ready.called:
            self.ready.callback(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes of an answer."""
        if self._call is None:
            # Nobody has asked: what they mean is anybody's guess.
            self.close()
            return
        self._heard = self._sweep.now
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._break("the upstream switched protocols")
            return
        except HttpParserError as error:
            if not self._ended:
                self._break(f"malformed answer: {error}")
                return
            self._reusable = False
        if self._answer is not None:
            self._continue(self._answer)
        elif self._headed:
            self._begin(self._call)
        elif self._received > MAX_HEAD:
            self._break("malformed answer: the head is too long")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The upstream has closed, or we have."""
        self._lost = True
        # It holds the connection; nothing may be left to the garbage collector.
        del self._parser
        self._sweep.discard(self)
        self._owner.gone(self)
        if not self.ready.called:
            self.ready.errback(reason)
            return
        call, answer = self._call, self._answer
        self._call = self._answer = None
        if call is None:
            return
        if answer is not None:
            answer.finished(self._truncated(reason))
        elif self._may_repeat(call):
            call.repeated = True
            self._owner.run(call)
        else:
            call.fail(failed(f"no answer: {reason.getErrorMessage()}"))

    # llhttp's side -----------------------------------------------------------

    def on_message_begin(self) -> None:
        """A message begins; there must be one only."""
        if self._ended:
            raise HttpParserError("bytes after the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which nobody reads."""
        if self._headed:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._fields.append((key, text.rstrip(" \t")))
        if key == "transfer-encoding":
            self._coding = text.strip().lower()

    def on_headers_complete(self) -> None:
        """A head is complete, perhaps of an interim answer."""
        self._status = status = self._parser.get_status_code()
        self._interim = 100 <= status < 200
        self._headed = not self._interim

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        """A message is complete."""
        if self._interim:
            self._interim = False
            self._fields = []
        else:
            self._ended = True
            self._reusable = self._parser.should_keep_alive()

    # a call ------------------------------------------------------------------

    def alive(self) -> bool:
        """False when an idle connection was closed, or spoken on, by the upstream.

        The reactor may not have come to it yet. Asks the kernel only when the
        connection was idle for a while.
        """
        if self._lost:
            return False
        if self._heard == self._sweep.now or not isinstance(self._socket, Connection):
            return True
        try:
            self._socket.getHandle().recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def start(self, call: Call) -> None:
        """Send the call's request."""
        self._call = call
        call.holder = self
        if self._used:
            self._fields, self._chunks = [], []
            self._coding = "chunked"
            self._received = 0
            self._headed = self._ended = False
        self._heard = self._sweep.now
        limit = call.first_byte
        self._deadline = self._clock.seconds() + limit if limit else 0.0
        body = call.body
        if len(body) <= _JOINED:
            self._write(call.request + body if body else call.request)
        else:
            self._write(call.request)
            self._write(body)

    def drop(self, call: Call) -> None:
        """The call is cancelled: so is the connection."""
        if self._call is call:
            self.abort()

    def _begin(self, call: Call) -> None:
        """The answer's head is here."""
        if self._coding != "chunked":
            self._break("malformed answer: unknown transfer coding")
            return
        if call.mute and not self._ended:
            # llhttp waits for the body that the head announces.
            self._ended, self._reusable = True, False
        chunks, self._chunks = self._chunks, []
        source = None if self._ended else self
        answer = Answer(source, self._clock, self._status, self._fields, chunks)
        call.holder = None
        if self._deadline:
            answer.sent = self._deadline - call.first_byte
        if source is None:
            # Free for the next call before this one's caller goes on.
            self._release()
        else:
            self._answer = answer
        call.told.callback(answer)

    def _continue(self, answer: Answer) -> None:
        """Pass on what has been parsed."""
        if self._chunks:
            chunks, self._chunks = self._chunks, []
            answer.arrived(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if self._ended and self._answer is answer:
            self._release()
            answer.finished(None)

    def _release(self) -> None:
        self._call = self._answer = None
        if self._paused:
            self.resume()
        self._used = True
        self._heard = self._sweep.now
        self._owner.released(self, reusable=self._reusable and not unsent(self._socket))

    def _break(self, detail: str) -> None:
        """The answer cannot be understood."""
        self._stop(failed(detail), failed(detail, code="read_response_body_failed"))

    def _stop(self, before: KnightError, after: KnightError) -> None:
        """Close, and fail the call with `before`, or its begun answer with `after`."""
        call, answer = self._call, self._answer
        self.close()
        if answer is not None:
            answer.finished(after)
        elif call is not None:
            call.fail(before)

    def _truncated(self, reason: Failure) -> KnightError | None:
        """What is missing of the body when the connection closes; None when nothing."""
        names = {name for name, _ in self._fields}
        by_close = not names & {"content-length", "transfer-encoding"}
        if by_close and isinstance(reason.value, ConnectionDone):
            return None
        detail = f"the answer broke off: {reason.getErrorMessage()}"
        return failed(detail, code="read_response_body_failed")

    def _may_repeat(self, call: Call) -> bool:
        """True when the upstream cannot have acted on the call.

        An upstream may close an idle connection while a request is on its way. Only a
        request that does nothing, or of which nothing was sent, is sent again.
        """
        if not self._used or self._received or call.repeated:
            return False
        return call.safe or unsent(self._socket) >= len(call.request) + len(call.body)

    # the answer's side (`Source`) ----------------------------------------------

    def pause(self) -> None:
        """Stop reading."""
        self._paused = True
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        self._paused = False
        self._heard = self._sweep.now
        self.transport.resumeProducing()

    def abort(self) -> None:
        """The answer wants no more."""
        self.close()

    def retire(self) -> None:
        """Close an idle connection."""
        if self._tls:
            # The orderly way would wait for the upstream's consent.
            self.close()
        else:
            self.transport.loseConnection()

    def close(self) -> None:
        """Close at once; nobody is told."""
        self._call = self._answer = None
        if self.transport is not None and not self._lost:
            self.transport.abortConnection()

    # time --------------------------------------------------------------------

    def swept(self, now: float) -> None:
        """Close what is idle or silent for too long."""
        answer = self._answer
        silent = now - self._heard - self._sweep.period
        if self._call is None:
            if self.ready.called and silent > self._idle:
                self.retire()
        elif answer is None:
            if self._deadline and now > self._deadline:
                self._late("the upstream did not answer in time")
        elif answer.until and now > answer.until:
            self._late("the upstream's answer took too long")
        elif answer.waits and answer.silence and silent > answer.silence:
            self._late("the upstream was silent for too long")

    def _late(self, message: str) -> None:
        late = UpstreamTimeout(message)
        self._stop(late, late)
