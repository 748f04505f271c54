"""A websocket session: a client on one side, an upstream on the other.

`Pair` joins two sides that have shaken hands and carries messages both ways, unchanged
and in order: it stops reading where the other side takes too slowly, mirrors how either
says goodbye, and sees to it that neither outlives the other for more than `FAREWELL`
seconds. What the messages mean is the matter of `Ears`, who may hold one back for a
moment. Relay specification, section 14.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from knight_tw.protocols.sockets import BROKEN, Message, Side

if TYPE_CHECKING:
    from knight_tw.protocols.websocket import ClientSide, UpstreamSide

PING_SECONDS = 30.0
"""How often both sides are asked whether they are there; who is silent from one time
to the next has gone."""

FAREWELL = 5.0
"""Seconds that closing may take."""

LOST = 1006
"""Stands for a connection that was closed without a goodbye."""

log = Logger()


@frozen
class Ending:
    """How a session ended.

    Attributes:
        by: `client`, `upstream` or `gateway`.
        code: The close code, None for a goodbye without one.
    """

    by: str
    code: int | None


class Ears(Protocol):
    """Who listens to a session.

    A message goes on at once, or when the Deferred fires; later ones of its direction
    wait behind it. The Deferred never fails.
    """

    def client_said(self, message: bytes) -> Deferred[None] | None:
        """A message on its way to the upstream."""
        ...

    def upstream_said(self, message: bytes) -> Deferred[None] | None:
        """A message on its way to the client."""
        ...

    def ended(self, ending: Ending) -> None:
        """Both connections are closed and every message has been heard; told once."""
        ...


@frozen
class _Goodbye:
    """A close on its way, behind the messages before it."""

    code: int | None
    reason: str


@define(eq=False)
class _Flow:
    """What goes from one side to the other, in order.

    Attributes:
        held: A message is held back, and what comes behind it waits.
    """

    source: Side
    sink: Side
    _hear: Callable[[bytes], Deferred[None] | None]
    _released: Callable[[], None]
    held: bool = False
    _steps: deque[Message | _Goodbye] = field(factory=deque)

    def push(self, step: Message | _Goodbye) -> None:
        """Something has come."""
        self._steps.append(step)
        self._run()

    def _run(self) -> None:
        while self._steps and not self.held:
            step = self._steps.popleft()
            if isinstance(step, _Goodbye):
                self.sink.say_goodbye(step.code, step.reason)
                continue
            waiting = self._heard(step.payload)
            if waiting is None:
                self.sink.send(step.payload, step.binary)
            else:
                self._hold(step, waiting)

    def _heard(self, payload: bytes) -> Deferred[None] | None:
        try:
            return self._hear(payload)
        except Exception:  # noqa: BLE001 - who only listens must not break a session
            log.failure("listening to a session failed")
            return None

    def _hold(self, step: Message, waiting: Deferred[None]) -> None:
        """Keep a message until it may go; what is read meanwhile is bounded by not
        reading."""
        self.held = True
        self.source.pause("held")

        def go(_: object) -> None:
            self.held = False
            self.sink.send(step.payload, step.binary)
            self.source.resume("held")
            self._run()
            self._released()

        waiting.addBoth(go)


@implementer(IPushProducer)
@frozen(eq=False)
class _Brake:
    """Told by one side's transport that it has enough; then the other is not read."""

    _read: Side

    def pauseProducing(self) -> None:
        """Too much waits to be sent."""
        self._read.pause("slow")

    def resumeProducing(self) -> None:
        """There is room again."""
        self._read.resume("slow")

    def stopProducing(self) -> None:
        """Nothing will be sent any more, so nothing has to wait."""
        self._read.resume("slow")


@define(eq=False)
class Pair:
    """A client and its upstream, both with their handshakes done.

    Messages that have come before are delivered by the constructor.
    """

    client: ClientSide
    upstream: UpstreamSide
    _ears: Ears
    _clock: IReactorTime
    _up: _Flow = field(init=False)
    _down: _Flow = field(init=False)
    _ending: Ending | None = None
    _told: bool = False
    _ping: IDelayedCall | None = None
    _limit: IDelayedCall | None = None

    def __attrs_post_init__(self) -> None:
        client, upstream, ears = self.client, self.upstream, self._ears
        over = self._check_over
        self._up = _Flow(client, upstream, ears.client_said, over)
        self._down = _Flow(upstream, client, ears.upstream_said, over)
        self._ping = self._clock.callLater(PING_SECONDS, self._pinged)
        client.join(self, _Brake(upstream))
        upstream.join(self, _Brake(client))
        client.catch_up()
        upstream.catch_up()

    def end(self, code: int, reason: str, event: bytes = b"") -> None:
        """We close the session: a last event for the client, then a goodbye to both."""
        if self._ending is not None:
            return
        self._begin_end(Ending("gateway", code))
        if event:
            self.client.send(event, False)
        self.client.say_goodbye(code, reason)
        self.upstream.say_goodbye(code, reason)

    # the sides

    def carry(self, side: Side, message: Message) -> None:
        """A side has sent a message."""
        self._from(side).push(message)

    def left(self, side: Side, code: int | None, reason: str) -> None:
        """A side says goodbye, or we have said it because it broke the rules."""
        if self._ending is None:
            self._begin_end(Ending(side.name, code))
            self._from(side).push(_Goodbye(code, reason))

    def lost(self, side: Side) -> None:
        """A side's connection is closed; without a goodbye the other gets 1011."""
        if self._ending is None:
            self._begin_end(Ending(side.name, LOST))
            self._from(side).push(_Goodbye(BROKEN, "the connection was lost"))
        self._from(side).sink.resume("slow")
        self._check_over()

    def _from(self, side: Side) -> _Flow:
        return self._up if side is self.client else self._down

    # time

    def _begin_end(self, ending: Ending) -> None:
        self._ending = ending
        self._limit = self._clock.callLater(FAREWELL, self._cut)

    def _cut(self) -> None:
        """Closing takes too long."""
        self.client.drop()
        self.upstream.drop()

    def _pinged(self) -> None:
        """Time to ask both sides."""
        self._ping = self._clock.callLater(PING_SECONDS, self._pinged)
        for side in (self.client, self.upstream):
            if not side.gone and not side.ping():
                log.info("the {side} of a session is silent", side=side.name)
                side.drop()

    def _check_over(self) -> None:
        """Tell the end, when everything is closed and heard."""
        if self._told or not (self.client.gone and self.upstream.gone):
            return
        for timer in (self._ping, self._limit):
            if timer is not None and timer.active():
                timer.cancel()
        if self._down.held:
            return
        self._told = True
        self._ears.ended(self._ending or Ending("gateway", None))
