"""What channels can take just now: how many calls at once, and which keys rest.

A channel may limit the calls that this process has on it at once; adaptive limits grow
by one after as many good answers as they allow calls, and are halved by trouble, once
for all calls that were under way then. After a 429 or 529 a key rests for a while.
Nothing here outlives the process. Relay specification, section 12; providers
specification, section 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from knight_tw.errors import KnightError, UpstreamTimeout
from knight_tw.records import Channel
from knight_tw.relay.call import Attempt, Call, Load
from knight_tw.routing import Pair, RoutingTable

ADAPTIVE_MOST = 1000
"""Upper bound of an adaptive limit when the channel names none."""

LONGEST_REST = 3600.0
"""Most seconds that a provider's `Retry-After` keeps a key out of the draw."""

_BUSY = frozenset({429, 529})
_TROUBLE = frozenset({429, 503})
_NOBODY: AbstractSet[Pair] = frozenset()


@define(eq=False)
class Capacity:
    """Calls under way and resting keys, by channel."""

    _clock: IReactorTime
    _loads: dict[int, Load] = field(factory=dict)
    _rests: dict[Pair, float] = field(factory=dict)

    @property
    def idle(self) -> bool:
        """True while no channel can be full and no key rests."""
        return not (self._loads or self._rests)

    def full(self, channel: Channel) -> bool:
        """True when the channel may not have another call now."""
        load = self._loads.get(channel.id)
        if load is None:
            return False
        most = limit_of(channel.settings)
        if channel.settings.get("adaptive_concurrency"):
            most = min(most, load.limit)
        return 0 < most <= load.calls

    def enter(self, call: Call, channel: Channel) -> None:
        """The call is on the channel, until `leave`."""
        most = limit_of(channel.settings)
        if not most:
            return
        load = self._loads.get(channel.id)
        if load is None:
            load = self._loads[channel.id] = Load(most)
        load.calls += 1
        call.seat = load

    def leave(self, call: Call) -> None:
        """The call is on no channel any more."""
        load, call.seat = call.seat, None
        if load is not None:
            load.calls -= 1

    def move(self, copy: Call, call: Call) -> None:
        """The call is where a copy of it was."""
        self.leave(call)
        call.seat, copy.seat = copy.seat, None

    def answered(self, attempt: Attempt) -> None:
        """An attempt succeeded."""
        load = self._adaptive(attempt.channel)
        if load is None:
            return
        load.good += 1
        if load.good >= load.limit:
            load.good = 0
            load.limit = min(load.limit + 1, limit_of(attempt.channel.settings))

    def failed(self, attempt: Attempt, error: KnightError, cooldown: float) -> None:
        """An attempt failed.

        Args:
            cooldown: Seconds that a key rests when the provider names none; 0 = never.
        """
        now = self._clock.seconds()
        if cooldown > 0 and error.status in _BUSY:
            named = error.retry_after
            seconds = cooldown if named is None else min(named, LONGEST_REST)
            self._rests[attempt.channel.id, attempt.key_index] = now + seconds
        load = self._adaptive(attempt.channel)
        if load is None or attempt.began <= load.halved:
            return
        if error.status in _TROUBLE or isinstance(error, UpstreamTimeout):
            load.halved, load.good = now, 0
            load.limit = max(load.limit // 2, 1)

    def resting(self) -> AbstractSet[Pair]:
        """The keys to leave out of the draw while there are others."""
        if not self._rests:
            return _NOBODY
        now = self._clock.seconds()
        self._rests = {pair: end for pair, end in self._rests.items() if end > now}
        return self._rests.keys()

    def busy(self, channel: Channel, table: RoutingTable) -> bool:
        """True when the channel is full, or all of its keys rest."""
        return self.full(channel) or table.spent(channel, self.resting())

    def _adaptive(self, channel: Channel) -> Load | None:
        if not channel.settings.get("adaptive_concurrency"):
            return None
        load = self._loads.get(channel.id)
        if load is not None:
            load.limit = min(load.limit, limit_of(channel.settings))
        return load


def limit_of(settings: Mapping[str, object]) -> int:
    """Most calls at once by a channel's settings; 0 = any."""
    named = settings.get("max_concurrency")
    if isinstance(named, int) and named > 0:
        return named
    return ADAPTIVE_MOST if settings.get("adaptive_concurrency") else 0
