"""Two attempts of one call side by side; the first to speak wins.

Each runs on a copy of the call, with a tab without money and an outlet that leads
nowhere. Whoever has something for the client, or is about to be charged, claims the
race in one turn of the reactor: it gets the money, the client and the call, and the
other is cut. So there is one answer, one charge and one row whatever happens. A racer
that fails leaves the race to the other; when both have failed, or the failure is one
that no other channel may cure, the retry rules go on with it as with any attempt.
"""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import Protocol

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from knight_tw.errors import KnightError
from knight_tw.metrics import Meter
from knight_tw.protocols.body import Outlet
from knight_tw.relay.attempt import Wire
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.choosing import Choosing
from knight_tw.relay.race_outlet import RacerOutlet
from knight_tw.relay.tab import Tab
from knight_tw.routing import GroupWalk, retryable

WON, LOST = "won", "lost"
"""What became of a hedge."""


class Purse(Protocol):
    """How many more hedges there may be."""

    @property
    def enough(self) -> bool:
        """True when one may start."""
        ...

    def spend(self) -> None:
        """One starts."""
        ...


@define(eq=False)
class Racer:
    """One of the two attempts.

    Attributes:
        call: Its own copy of the call, `attempt` being the latest.
        running: Its exchange.
        out: It has failed.
    """

    call: Call
    attempt: Attempt
    tab: Tab
    outlet: RacerOutlet = field(init=False)
    running: Deferred[int] | None = None
    out: bool = False

    def hush(self) -> None:
        """What becomes of its stream is nobody's matter: no interruption is counted."""
        self.call.notes["interrupted"] = None

    def cut(self) -> None:
        """It is not wanted any more."""
        running = self.running
        if running is not None and not running.called:
            running.cancel()


@define(eq=False)
class Race:
    """Implements the rules of one race.

    Attributes:
        winner: Whoever has claimed it.
    """

    _call: Call
    _walk: GroupWalk
    _tab: Tab
    _outlet: Outlet
    _wire: Wire
    _choosing: Choosing
    _clock: IReactorTime
    _meter: Meter
    _budget: Purse
    winner: Racer | None = None
    _racers: list[Racer] = field(factory=list)
    _timer: IDelayedCall | None = None
    _done: Deferred[int] = field(init=False)
    _began: float = field(init=False)
    _closed: bool = False
    _context: Context = field(factory=copy_context)
    """Of the call: its request id is in the lines of a hedge, too."""
    _log: Logger = field(factory=Logger)

    @_done.default
    def _cancellable(self) -> Deferred[int]:
        return Deferred(lambda _: self._cancelled())

    @_began.default
    def _now(self) -> float:
        return self._clock.seconds()

    def run(self, attempt: Attempt, after: float) -> Deferred[int]:
        """Begin with the primary; fires with the status that the client got."""
        self._timer = self._clock.callLater(after, self._context.run, self._hedge)
        self._start(attempt)
        return self._done

    def over(self) -> None:
        """Nothing of the race goes on; what it did to the call is in the call."""
        self._closed = True
        self._stop_timer()
        winner = self.winner
        for racer in self._racers:
            if racer is not winner:
                racer.cut()
                self._choosing.over(racer.call)
        latest = winner or (self._racers[-1] if self._racers else None)
        if latest is not None:
            self._call.waited = latest.call.waited
            self._call.first_byte = latest.call.first_byte
        if winner is not None and not winner.tab.detached:
            winner.tab.release()
        if len(self._racers) > 1:
            won = winner is self._racers[1]
            self._meter.hedged(WON if won else LOST)

    @property
    def _primary(self) -> Racer:
        return self._racers[0]

    # the two -------------------------------------------------------------------

    def _start(self, attempt: Attempt, *, hedge: bool = False) -> None:
        racer = self._racer(attempt)
        self._racers.append(racer)
        if hedge:
            self._choosing.enter(racer.call, attempt.channel)
        racer.running = Deferred.fromCoroutine(
            self._wire.exchange(racer.call, attempt, racer.tab, racer.outlet)
        )
        racer.running.addCallbacks(
            lambda status: self._served(racer, status),
            lambda failure: self._failed(racer, failure),
        )

    def _racer(self, attempt: Attempt) -> Racer:
        """A racer with a copy of the call and a tab without money."""
        call = self._call
        others = [one for one in call.attempts if one is not attempt]
        fork = evolve(
            call,
            attempts=[*others, attempt],
            dropped=[],
            audit=[],
            notes=dict(call.notes),
            seat=None,
            waited=call.waited + self._clock.seconds() - self._began,
        )
        racer = Racer(fork, attempt, self._tab.fork(fork))

        def claim() -> bool:
            return self._claim(racer)

        racer.tab.claim = claim
        racer.outlet = RacerOutlet.over(self._outlet, claim, self._clock)
        return racer

    def _hedge(self) -> None:
        """The primary has been silent for too long."""
        self._timer = None
        call, primary = self._call, self._primary
        spoke = primary.attempt.heard and not call.stream
        if spoke or self._outlet.reply.gone or not self._budget.enough:
            return
        pick = self._choosing.beside(call, self._walk)
        if pick is None:
            return
        self._budget.spend()
        call.hedged = True
        now = self._clock.seconds()
        attempt = Attempt(pick.channel, pick.key_index, pick.group, now)
        call.attempts.insert(-1, attempt)  # the primary remains the latest
        self._log.info(
            "channel {slow} is silent, channel {channel_id} is asked beside it",
            slow=primary.attempt.channel.id,
            channel_id=attempt.channel.id,
        )
        self._start(attempt, hedge=True)

    def _claim(self, racer: Racer) -> bool:
        """True when the race is this racer's; the first one to ask gets it."""
        if self.winner is not None or self._closed:
            return racer is self.winner
        self.winner = racer
        self._stop_timer()
        call, fork = self._call, racer.call
        self._last(racer.attempt)
        call.dropped, call.audit = fork.dropped, fork.audit
        call.notes.update(fork.notes)
        fork.notes, fork.attempts = call.notes, call.attempts
        call.billed_model = fork.billed_model
        racer.tab.take(self._tab)
        self._outlet.answered = True
        racer.outlet.joined()
        if racer is not self._primary:
            self._choosing.moved(fork, call)
        for other in self._racers:
            if other is not racer:
                self._outrun(other)
                self._choosing.over(other.call)
        return True

    def _outrun(self, other: Racer) -> None:
        if not other.out:
            other.attempt.outrun = True
            other.attempt.ended = self._clock.seconds()
            other.hush()
            other.cut()

    # how they end --------------------------------------------------------------

    def _served(self, racer: Racer, status: int) -> None:
        if racer is self.winner and not self._done.called:
            self._done.callback(status)

    def _failed(self, racer: Racer, failure: Failure) -> None:
        """A racer is out. Its failure is the race's when nobody else is in it, or when
        nobody else could do better."""
        racer.out = True
        if self._done.called or (self._closed and racer is not self.winner):
            return
        if racer is self.winner:
            self._done.errback(failure)
            return
        if self.winner is not None:
            return
        error = failure.value
        rest = [one for one in self._racers if not one.out]
        if rest and isinstance(error, KnightError) and self._leaves(racer, error):
            self._choosing.over(self._call if racer is self._primary else racer.call)
            self._choosing.fell(self._call, racer.attempt, error)
            self._last(rest[0].attempt)
            return
        self._last(racer.attempt)
        self._done.errback(failure)

    def _leaves(self, racer: Racer, error: KnightError) -> bool:
        """Whether a failure leaves the race to the other: the hedge's always does, the
        primary's when by the rules of retries another channel may do better."""
        ranges = self._tab.knobs.retry_on
        return racer is not self._primary or retryable(
            error, attempts_left=1, ranges=ranges
        )

    def _cancelled(self) -> None:
        """The client has left."""
        self._closed = True
        for racer in self._racers:
            if racer is not (self.winner or self._primary):
                racer.hush()
            racer.cut()

    def _last(self, attempt: Attempt) -> None:
        """The attempt is the call's latest from now on."""
        attempts = self._call.attempts
        attempts[:] = [*(one for one in attempts if one is not attempt), attempt]

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
