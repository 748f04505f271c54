"""The pump: one upstream stream to one client, with back-pressure both ways.

    upstream bytes -> SSE decoder -> machine (a pure value) -> outlet -> client

The machine knows the formats; the pump knows time: silence limits, keep-alive comments
and a client that reads slowly or leaves. What a machine puts out is held back until it
has seen something of substance, so that an upstream that fails at once is a failed
attempt like any other. Keep-alive comments are not part of the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from knight_tw.errors import KnightError
from knight_tw.protocols.client import Answer
from knight_tw.protocols.reply import Headers, Reply
from knight_tw.records import Usage
from knight_tw.wire.framing import EventDecoder
from knight_tw.wire.produced import Produced
from knight_tw.wire.sse import Event

STREAM_HEADERS: Headers = [
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-cache"),
    ("X-Accel-Buffering", "no"),
]
"""Headers of every event stream (relay specification, 13)."""

HELD_BYTES = 256 * 1024
"""Most that is held back while an answer has no substance yet."""


class Machine(Protocol):
    """A stream's format on its way to the client: eats events, gives bytes."""

    @property
    def usage(self) -> Usage | None:
        """What the provider has reported so far."""
        ...

    @property
    def began(self) -> bool:
        """True once the answer proper has begun."""
        ...

    @property
    def finished(self) -> bool:
        """True once the provider's terminal event was eaten."""
        ...

    @property
    def events(self) -> int:
        """Events that went on to the client."""
        ...

    @property
    def produced(self) -> Produced:
        """What must be counted if no usage is reported."""
        ...

    def feed(self, event: Event) -> list[bytes]:
        """What the client gets for one event of the provider.

        Raises:
            UpstreamRefused: the event is the provider's error.
            BadUpstreamBody: the event cannot be read.
        """
        ...

    def close(self, counted: Usage | None = None) -> list[bytes]:
        """The end of the client's stream; nothing when the answer never began.

        Args:
            counted: The usage to show when the provider reported none.
        """
        ...


@define(eq=False)
class Outlet:
    """A streamed reply with keep-alive comments, over all attempts of a call.

    `answered` tells whether a byte of the answer itself is out; after that no other
    channel may be tried.
    """

    reply: Reply
    headers: Callable[[], Headers]
    """Headers that every answer of the request carries."""
    _clock: IReactorTime
    _interval: float
    ping: bytes = b": PING\n\n"
    kind: Headers = STREAM_HEADERS
    """Headers that say what the answer is."""
    answered: bool = False
    _written_at: float = 0.0
    _timer: IDelayedCall | None = None

    def start(self) -> None:
        """From now on silence is broken every interval (0 = never)."""
        if self._interval > 0 and self._timer is None:
            self._written_at = self._clock.seconds()
            self._timer = self._clock.callLater(self._interval, self._tick)

    def write(self, piece: bytes) -> None:
        """A part of the answer."""
        self.answered = True
        self._put(piece)

    def finish(self, piece: bytes) -> None:
        """The last part of the answer."""
        self.write(piece)
        self.end()

    def end(self) -> None:
        """The answer is complete."""
        self.stop()
        if not self.reply.begun:
            self.reply.begin(200, [*self.headers(), *self.kind])
        self.reply.end()

    def stop(self) -> None:
        """No more keep-alive."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _put(self, piece: bytes) -> None:
        if not self.reply.begun:
            self.reply.begin(200, [*self.headers(), *self.kind])
        self.reply.write(piece)
        self._written_at = self._clock.seconds()

    def _tick(self) -> None:
        silent = self._clock.seconds() - self._written_at
        if silent >= self._interval - 0.01:
            self._put(self.ping)
            silent = 0.0
        self._timer = self._clock.callLater(self._interval - silent, self._tick)


@implementer(IPushProducer)
@define(eq=False)
class Pump:
    """Moves one upstream stream until its terminal event or its end.

    `run` fires when everything has been eaten, or fails with what broke the stream. The
    end of the client's stream is not written here: the charge comes first. After the
    terminal event the rest of the upstream's answer is dropped, so that its connection
    can be used again.
    """

    _answer: Answer
    _outlet: Outlet
    _machine: Machine
    _idle: float
    _decoder: EventDecoder
    _held: list[bytes] = field(factory=list)
    _held_size: int = 0
    _done: Deferred[None] | None = None

    def run(self) -> Deferred[None]:
        """Start moving; cancelling the Deferred closes the upstream."""
        self._done = Deferred(lambda _: self._answer.abort())
        done = self._done
        self._outlet.reply.attach(self)
        self._answer.deliver(self, self._idle)
        return done

    def held(self) -> bytes:
        """What was held back because the answer had not begun."""
        held = b"".join(self._held)
        self._held.clear()
        return held

    # the upstream's side -----------------------------------------------------

    def chunk(self, data: bytes) -> None:
        """Bytes of the provider's answer."""
        if self._done is None:
            return
        try:
            self._eat(self._decoder.feed(data))
        except KnightError as error:
            self._fail(error)
        else:
            if self._machine.finished:
                self._finish()

    def ended(self, error: KnightError | None) -> None:
        """The provider's answer is over, in order or not."""
        if self._done is None:
            return
        if error is not None:
            self._fail(error)
            return
        try:
            self._eat(self._decoder.close())
        except KnightError as broken:
            self._fail(broken)
        else:
            self._finish()

    def _eat(self, events: list[Event]) -> None:
        """Feed the machine; pieces of one arrival leave in one write."""
        pieces: list[bytes] = []
        try:
            for event in events:
                pieces += self._machine.feed(event)
        finally:
            if pieces:
                self._put(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _put(self, data: bytes) -> None:
        if self._outlet.answered:
            self._outlet.write(data)
            return
        self._held.append(data)
        self._held_size += len(data)
        if self._machine.began or self._held_size > HELD_BYTES:
            self._outlet.write(self.held())

    def _finish(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done.callback(None)

    def _fail(self, error: KnightError) -> None:
        done, self._done = self._done, None
        self._answer.abort()
        if done is not None:
            done.errback(error)

    # the client's side (a push producer of its transport) --------------------

    def pauseProducing(self) -> None:
        """The client reads too slowly: stop reading from the provider."""
        self._answer.pause()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self._answer.resume()

    def stopProducing(self) -> None:
        """The client's transport is gone; `Reply.on_gone` decides what happens."""
        self._answer.resume()
