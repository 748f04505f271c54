"""One client connection: requests answered here, or handed to `twisted.web`.

One request is answered at a time; bytes of the next ones wait, bounded. A path that the
surface does not claim, and every upgrade, hands the connection to the general lane with
the bytes read so far; it stays there. Nothing is scheduled for a request: a sweep looks
at all connections once a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure

from knight_tw.errors import BodyUnreadable, InvalidRequest, KnightError, ShuttingDown
from knight_tw.protocols.fast_reply import FastReply
from knight_tw.protocols.general import GeneralChannel
from knight_tw.protocols.message import Message
from knight_tw.protocols.reply import Exchange
from knight_tw.protocols.transport import Write, eager, queued, socket_of, unsent
from knight_tw.records import Dialect, Head
from knight_tw.wire import envelope

if TYPE_CHECKING:
    from knight_tw.protocols.server import Lanes

log = Logger()

HEAD, BODY, ANSWER, LINGER, CLOSING, GENERAL, CLOSED = range(7)
"""What a connection waits for: a head, a body, the end of the answer, the end of a
refused request, its own end; or it is the general lane's, or gone."""

MAX_PENDING = 65536
"""Bytes of further requests that are kept while one is answered."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_JSON = [("Content-Type", "application/json")]


class FastLane(Protocol):
    """A connection, from its first byte to its last."""

    transport: Any
    """A TCP or TLS transport; the interfaces of their many abilities say less."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._state = HEAD
        self._message = Message()
        self._reply: FastReply | None = None
        self._exchange: Exchange | None = None
        self._general: GeneralChannel | None = None
        self._pending = b""
        self._held = self._budget = self._written = self._taken = 0
        self._fresh = True
        self._busy = self._paused = self._feeding = False
        self._in_hand = self._stays = False
        self._since = self._stuck_since = lanes.sweep.now
        self._socket: FileDescriptor | None = None
        self._write: Write
        self._peer = ""

    # the transport's side ----------------------------------------------------

    def connectionMade(self) -> None:
        """A client has connected."""
        transport = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        self._socket = socket_of(transport)
        self._write = eager(transport)
        self._peer = getattr(transport.getPeer(), "host", "")
        self._lanes.joined(self)
        self._since = self._lanes.sweep.now

    def dataReceived(self, data: bytes) -> None:
        """Bytes of a request, or of what follows it."""
        state = self._state
        if state <= BODY:
            self._consume(data)
        elif self._general is not None:
            self._general.dataReceived(data)  # type: ignore[no-untyped-call]  # bare
        elif state == ANSWER:
            self._keep(data)
        elif state == LINGER:
            self._drop(len(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has left, or we have closed."""
        general, self._general = self._general, None
        self._state = CLOSED
        if general is not None:
            general.connectionLost(reason)  # type: ignore[no-untyped-call]  # bare
        reply = self._reply
        if reply is not None:
            if not reply.done:
                self._lanes.calls -= 1
            self._release()
            reply.lost()
        # Nothing here may hold itself: see `message` about such garbage.
        self._reply = self._exchange = None
        self._message.drop()
        self._lanes.left(self)

    # reading -----------------------------------------------------------------

    def _consume(self, data: bytes) -> None:
        """Take requests out of `data` until one has to wait for its answer."""
        self._busy = True
        try:
            while data and self._state <= BODY:
                if self._state == HEAD:
                    data = self._read_head(data)
                else:
                    data = self._read_body(data)
        finally:
            self._busy = False
        if data:
            if self._state == ANSWER:
                self._keep(data)
            elif self._state == LINGER:
                self._drop(len(data))

    def _read_head(self, data: bytes) -> bytes:
        """Take a head, or a part of one; what is left."""
        message = self._message
        if not message.raw:
            self._since = self._lanes.sweep.now
        try:
            rest = message.take_head(data)
        except InvalidRequest as error:
            self._respond(error)
            return b""
        if not message.headed:
            return rest
        lanes = self._lanes
        if message.upgrade or not lanes.fast or not lanes.surface.claims(message.path):
            self._hand_over(message.raw + rest)
            return b""
        self._begin(message, len(rest))
        return rest

    def _read_body(self, data: bytes) -> bytes:
        """Take a part of a body; what is left."""
        message = self._message
        self._since = self._lanes.sweep.now
        try:
            rest = message.take_body(data)
        except BodyUnreadable as error:
            self._refuse(error)
            return b""
        if self._exchange is not None and not self._fits(message):
            return rest
        if message.complete:
            self._arrived()
        return rest

    def _keep(self, data: bytes) -> None:
        """Keep bytes of the next request; when they are many, stop reading."""
        self._pending += data
        if len(self._pending) > MAX_PENDING and not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def _drop(self, size: int) -> None:
        """Drop bytes of a request that is refused."""
        self._budget -= size
        if self._budget < 0:
            self._close()

    # a request ---------------------------------------------------------------

    def _begin(self, message: Message, in_hand: int) -> None:
        """Open the call; whatever the surface does, there is an answer.

        Args:
            in_hand: Bytes behind the head that have arrived.
        """
        lanes, peer, forwarded = self._lanes, self._peer, message.forwarded
        head = Head(
            message.method,
            message.path,
            message.query,
            message.fields,
            peer,
            lanes.client_address(peer, forwarded) if forwarded else peer,
        )
        length = message.length
        self._in_hand = length is not None and length <= in_hand
        self._reply = reply = FastReply(self, mute=head.method == "HEAD")
        self._state = BODY
        lanes.calls += 1
        try:
            self._exchange = lanes.surface.open(head, reply)
        except Exception:  # noqa: BLE001 - the surface's bug is the client's 500
            self._crashed("opening a request failed")
        if reply.done:
            self._exchange = None
            if self._state == BODY and message.complete:
                self._next()
        elif lanes.draining:
            self._refuse(_shutting_down())
        elif length is not None and length > lanes.limits.body:
            self._refuse(_too_large())
        elif message.complete:
            self._arrived()
        elif message.expects and not self._in_hand and not reply.begun:
            self.send(_CONTINUE)

    def _fits(self, message: Message) -> bool:
        """True when what has arrived may be held; else the request is refused."""
        lanes, size = self._lanes, message.size
        lanes.held += size - self._held
        self._held = size
        if size > lanes.limits.body:
            self._refuse(_too_large())
            return False
        if lanes.held > lanes.limits.held:
            self._refuse(_overloaded())
            return False
        return True

    def _arrived(self) -> None:
        """The request is complete: give its body to the call."""
        self._in_hand = True
        exchange = self._exchange
        if exchange is None:
            # It was answered from its head alone.
            self._next()
            return
        self._state = ANSWER
        try:
            exchange.body(self._message.body())
        except Exception:  # noqa: BLE001 - as above
            self._crashed("a request failed")

    def _refuse(self, error: KnightError) -> None:
        """The body cannot be had: the call answers that, the rest is dropped."""
        exchange, self._exchange = self._exchange, None
        self._in_hand = False
        self._linger()
        if exchange is not None:
            try:
                exchange.refuse(error)
            except Exception:  # noqa: BLE001 - as above
                self._crashed("refusing a request failed")

    def _respond(self, error: KnightError) -> None:
        """Answer what no surface has seen, and close."""
        self._in_hand = False
        self._lanes.calls += 1
        self._reply = reply = FastReply(self, mute=False)
        body = envelope.render(error, Dialect.CHAT)
        reply.whole(error.status, _JSON, body)

    def _crashed(self, what: str) -> None:
        log.failure(what)
        reply = self._reply
        if reply is None or reply.done:
            return
        if reply.begun:
            reply.abort()
            return
        body = envelope.render(KnightError("internal error"), Dialect.CHAT)
        reply.whole(500, _JSON, body)

    def _hand_over(self, data: bytes) -> None:
        """The connection is the general lane's from here on."""
        if self._lanes.draining:
            self._respond(_shutting_down())
            return
        self._state = GENERAL
        self._general = channel = GeneralChannel(self._lanes.site)
        channel.makeConnection(self.transport)  # type: ignore[no-untyped-call]
        channel.dataReceived(data.lstrip(b"\r\n"))  # type: ignore[no-untyped-call]

    # the answer's side (`Lane`) ------------------------------------------------

    @property
    def http11(self) -> bool:
        """True when the current request speaks HTTP/1.1."""
        return self._message.http11

    @property
    def date(self) -> str:
        """The current `Date` header line."""
        return self._lanes.date

    def stays(self, *, delimited: bool) -> bool:
        """Decides whether the connection outlives this answer."""
        self._stays = (
            delimited
            and self._message.stays
            and self._in_hand
            and not self._lanes.draining
        )
        return self._stays

    def send(self, data: bytes) -> None:
        """Write to the client."""
        self._written += len(data)
        self._write(data)

    def answered(self) -> None:
        """The current answer is complete."""
        self._lanes.calls -= 1
        self._exchange = None
        self._release()
        if not self._in_hand:
            self._linger()
            self._since = self._lanes.sweep.now
            self._half_close()
        elif not self._stays:
            self._close()
        elif self._state == ANSWER:
            self._next()

    def cut(self, *, orderly: bool) -> None:
        """Close; without `orderly` what is not sent yet is lost, too."""
        self._lanes.calls -= 1
        self._release()
        if orderly:
            self._close()
        else:
            self.abort()

    def feed_from(self, producer: IPushProducer | None) -> None:
        """Let `producer` be paused while the client reads too slowly (None: nobody)."""
        if self._feeding:
            self.transport.unregisterProducer()
        self._feeding = producer is not None
        if producer is not None:
            self.transport.registerProducer(producer, True)

    # between requests ----------------------------------------------------------

    def _next(self) -> None:
        """Wait for the next request; it may have arrived already."""
        self._state = HEAD
        self._fresh = False
        self._message = Message()
        self._reply = self._exchange = None
        self._since = self._lanes.sweep.now
        if self._lanes.draining:
            self._close()
        elif self._pending and not self._busy:
            data, self._pending = self._pending, b""
            if self._paused:
                self._paused = False
                self.transport.resumeProducing()
            self._consume(data)

    def _release(self) -> None:
        """The body is not held any more."""
        self._lanes.held -= self._held
        self._held = 0

    def _linger(self) -> None:
        """Drop what still comes, for a while, so that the client reads our answer.

        Closing with unread bytes would reset the connection under it.
        """
        if self._state != LINGER:
            self._release()
            self._state = LINGER
            self._message.drop()
            self._budget = self._lanes.limits.linger_bytes
            self._since = self._lanes.sweep.now

    def _half_close(self) -> None:
        if isinstance(self.transport, Connection):
            self.transport.loseWriteConnection()  # type: ignore[no-untyped-call]

    def _close(self) -> None:
        self._state = CLOSING
        self._since = self._lanes.sweep.now
        self.transport.loseConnection()

    def drain(self) -> None:
        """Close now when idle, else after the current answer."""
        if self._general is not None:
            self._general.drain()
        elif self._state == HEAD and not self._message.raw:
            self._close()

    def abort(self) -> None:
        """Cut the connection, whatever it is doing."""
        if self._general is None:
            self._state = CLOSING
        if self._socket is None or not self._socket.disconnected:
            self.transport.abortConnection()

    # time --------------------------------------------------------------------

    def swept(self, now: float) -> None:
        """Close what has been silent, or has not read, for too long."""
        socket = self._socket
        if self._general is not None and socket is not None and socket.disconnected:
            # A websocket had taken the transport; nobody told us of its end.
            self._lanes.left(self)
        elif self._stuck(now):
            self.abort()
        else:
            limit = self._patience()
            # The notes are up to a period old: never close too early.
            if limit and now - self._since > limit + self._lanes.sweep.period:
                self._expired()

    def _stuck(self, now: float) -> bool:
        """True when the client has taken no byte for too long."""
        limit = self._lanes.limits.write_timeout
        if not limit or not unsent(self._socket):
            self._stuck_since = now
            return False
        # The general lane's writes are not counted: there growth looks like silence.
        taken = self._written - queued(self._socket)
        if taken > self._taken:
            self._stuck_since = now
        self._taken = taken
        return now - self._stuck_since > limit

    def _patience(self) -> float:
        """Seconds that the connection may stay in its state; 0 = any time."""
        limits, state = self._lanes.limits, self._state
        if state == HEAD:
            waits_for_first = not self._fresh and not self._message.raw
            return limits.idle_timeout if waits_for_first else limits.head_timeout
        if state == BODY:
            return limits.idle_timeout
        answered = self._reply is None or self._reply.done
        lingers = state == LINGER and answered
        if lingers or (state == CLOSING and not unsent(self._socket)):
            return limits.linger
        return 0.0

    def _expired(self) -> None:
        late = BodyUnreadable("the request took too long to arrive", status=408)
        if self._state == BODY:
            self._refuse(late)
        elif self._state == HEAD and self._message.raw:
            self._respond(late)
        elif self._state == CLOSING:
            self.abort()
        else:
            self._close()


def _too_large() -> BodyUnreadable:
    return BodyUnreadable("the request body is too large", status=413)


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("the gateway is shutting down", retry_after=1)


def _overloaded() -> KnightError:
    return KnightError(
        "too many request bodies are being read",
        status=503,
        code="system_memory_overloaded",
        retry_after=1,
    )
