"""Where the two attempts of a race write: nowhere, until one has claimed the race.

Then the winner's pieces go to the client, and its upstream is paused by the client.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IPushProducer, IReactorTime

from knight_tw.protocols.body import Outlet
from knight_tw.protocols.reply import Headers, Reply


@define(eq=False)
class RacerOutlet(Outlet):
    """An outlet that leads to the client once its racer has claimed the race."""

    _real: Outlet = field(kw_only=True)
    _claim: Callable[[], bool] = field(kw_only=True)

    @classmethod
    def over(
        cls, real: Outlet, claim: Callable[[], bool], clock: IReactorTime
    ) -> RacerOutlet:
        """For a racer."""
        reply = RacerReply(real.reply, claim)
        return cls(reply, real.headers, clock, 0.0, real=real, claim=claim)

    def joined(self) -> None:
        """The race is this racer's."""
        self.answered = True
        reply = self.reply
        if isinstance(reply, RacerReply):
            reply.joined()

    def start(self) -> None:
        """Keep-alive is the client's, whoever answers."""
        self._real.start()

    def write(self, piece: bytes) -> None:
        """See `Outlet`."""
        if self._claim():
            self._real.kind = self.kind
            self._real.write(piece)

    def end(self) -> None:
        """See `Outlet`."""
        if self._claim():
            self._real.kind = self.kind
            self._real.end()

    def stop(self) -> None:
        """Keep-alive stops with the call."""


@define(eq=False)
class RacerReply:
    """Implements `Reply`: the client's once the race is claimed, till then nobody's."""

    _real: Reply
    _claim: Callable[[], bool]
    _producer: IPushProducer | None = None
    _joined: bool = False

    def joined(self) -> None:
        """The race is this racer's."""
        self._joined = True
        if self._producer is not None:
            self._real.attach(self._producer)

    @property
    def begun(self) -> bool:
        """See `Reply`."""
        return self._real.begun

    @property
    def gone(self) -> bool:
        """See `Reply`."""
        return self._real.gone

    def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """See `Reply`."""
        if self._claim():
            self._real.whole(status, headers, body)

    def begin(self, status: int, headers: Headers) -> None:
        """See `Reply`."""
        if self._claim():
            self._real.begin(status, headers)

    def write(self, chunk: bytes) -> None:
        """See `Reply`."""
        if self._claim():
            self._real.write(chunk)

    def end(self) -> None:
        """See `Reply`."""
        if self._claim():
            self._real.end()

    def abort(self) -> None:
        """See `Reply`; a racer that was not heard has nothing to cut."""
        if self._joined:
            self._real.abort()

    def on_gone(self, told: Callable[[], None]) -> None:
        """See `Reply`."""
        self._real.on_gone(told)

    def attach(self, producer: IPushProducer) -> None:
        """See `Reply`."""
        self._producer = producer
        if self._joined:
            self._real.attach(producer)
