"""Which channel serves an attempt.

A `RoutingTable` is an immutable index of channels by group and model, swapped whole
when anything changes. Its candidates stand in tiers of equal priority, highest first;
in a tier the chance of a channel is its weight among those that still count, and a
weight of 0 is none at all unless all of them are 0. A `GroupWalk` goes with one call:
it remembers what was tried and where the next attempt starts.
Source: relay specification, section 7.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate, groupby
from random import Random

from attrs import define, field, frozen

from knight_tw.errors import KnightError
from knight_tw.price_rules import normalise
from knight_tw.records import ENABLED, Channel
from knight_tw.routing_rules import (
    map_compact,
    map_model,
    map_status,
    retryable,
    should_disable,
    should_enable,
    takes_out,
)
from knight_tw.status_ranges import StatusRanges

__all__ = [
    "DESCEND",
    "EXHAUST",
    "NO_KEY",
    "Draw",
    "GroupWalk",
    "Pick",
    "RoutingTable",
    "StatusRanges",
    "Tier",
    "Turns",
    "choose",
    "draw",
    "map_compact",
    "map_model",
    "map_status",
    "normalise",
    "pick_key",
    "retryable",
    "should_disable",
    "should_enable",
    "takes_out",
]

DESCEND, EXHAUST = "descend", "exhaust"
"""Option `relay.retry_tier_mode`: a tier down at each retry, or once one is used up."""

POLLING = "polling"
"""Multi-key mode that takes the keys in turn."""

NO_KEY = -1
"""Key index of a multi-key channel without an enabled key: the attempt on it fails with
`channel:no_available_key`."""

Pair = tuple[int, int]
"""Channel id and key index."""

Tried = AbstractSet[Pair]
Usable = Callable[[Channel], bool]
Turn = Callable[[Channel], int]
"""Gives the next number of a channel's count; 0, 1, 2, ..."""

_SINGLE = (0,)
_NO_KEYS = (NO_KEY,)
_NONE_TRIED: Tried = frozenset()


@frozen(eq=False)
class Tier:
    """Channels of one priority, ready for a draw by weight."""

    channels: tuple[Channel, ...]
    _sums: tuple[int, ...]

    @classmethod
    def of(cls, channels: Iterable[Channel]) -> Tier:
        """The tier of some channels, at least one."""
        members = tuple(channels)
        weights = [max(channel.weight, 0) for channel in members]
        if not any(weights):
            weights = [1] * len(members)
        return cls(members, tuple(accumulate(weights)))

    def draw(self, random: Random) -> Channel:
        """One of the channels, by weight."""
        sums = self._sums
        if len(sums) == 1:
            return self.channels[0]
        return self.channels[bisect_right(sums, random.random() * sums[-1])]


_Tiers = tuple[Tier, ...]


@frozen(eq=False)
class RoutingTable:
    """Enabled channels by group and model, and all channels by id."""

    _tiers: Mapping[str, Mapping[str, _Tiers]]
    _channels: Mapping[int, Channel]
    _keys: Mapping[int, tuple[int, ...]]
    _known: frozenset[Pair | tuple[str, str]]

    @classmethod
    def build(cls, channels: Iterable[Channel]) -> RoutingTable:
        """The table of some channels, disabled ones included."""
        index: dict[str, dict[str, dict[int, Channel]]] = {}
        everything = {channel.id: channel for channel in channels}
        known: set[tuple[str, str]] = set()
        for channel in everything.values():
            pairs = [(g, m) for g in channel.groups for m in channel.models]
            known.update(pairs)
            if channel.status != ENABLED:
                continue
            for group, model in pairs:
                models = index.setdefault(group, {})
                models.setdefault(model, {})[channel.id] = channel
        tiers = {
            group: {model: _tiers(found.values()) for model, found in models.items()}
            for group, models in index.items()
        }
        keys = {c.id: _enabled_keys(c) for c in everything.values() if c.multi_key}
        return cls(tiers, everything, keys, frozenset(known))

    def tiers(self, group: str, model: str) -> _Tiers:
        """The candidates in tiers, highest priority first; by the model's normalised
        name when the name itself has none."""
        models = self._tiers.get(group)
        if models is None:
            return ()
        return models.get(model) or models.get(normalise(model), ())

    def candidates(self, group: str, model: str) -> tuple[Channel, ...]:
        """The enabled channels that serve a model, highest priority first."""
        return tuple(c for tier in self.tiers(group, model) for c in tier.channels)

    def serves(self, channel_id: int, group: str, model: str) -> bool:
        """True when the channel is a candidate."""
        return any(c.id == channel_id for c in self.candidates(group, model))

    def models(self, group: str) -> tuple[str, ...]:
        """The models that the group's enabled channels serve."""
        return tuple(self._tiers.get(group, ()))

    def groups(self) -> tuple[str, ...]:
        """The groups that have an enabled channel."""
        return tuple(self._tiers)

    def knows(self, groups: Iterable[str], model: str) -> bool:
        """True when some channel of the groups has the model, enabled or not."""
        names = {model, normalise(model)}
        return any((g, name) in self._known for g in groups for name in names)

    def channel(self, channel_id: int) -> Channel | None:
        """Any channel by id."""
        return self._channels.get(channel_id)

    def keys(self, channel: Channel) -> tuple[int, ...]:
        """The key indexes that an attempt may use; `NO_KEY` alone when all are off."""
        if not channel.multi_key:
            return _SINGLE
        return self._keys.get(channel.id) or _NO_KEYS

    def spent(self, channel: Channel, tried: Tried) -> bool:
        """True when every key of the channel has been tried."""
        return all((channel.id, index) in tried for index in self.keys(channel))


def _tiers(channels: Iterable[Channel]) -> _Tiers:
    ordered = sorted(channels, key=_falling)
    return tuple(Tier.of(tier) for _, tier in groupby(ordered, key=_falling))


def _falling(channel: Channel) -> int:
    return -channel.priority


def _enabled_keys(channel: Channel) -> tuple[int, ...]:
    status = channel.key_status
    return tuple(
        index
        for index in range(len(channel.keys))
        if status.get(index, ENABLED) == ENABLED
    )


def draw(
    table: RoutingTable,
    group: str,
    model: str,
    attempt: int,
    tried: Tried,
    random: Random,
    usable: Usable | None = None,
    tier_mode: str = DESCEND,
) -> Channel | None:
    """The channel for an attempt, or None when the group has no candidate.

    Untried channels come first: of the attempt's tier, then of those below, then of
    those above. When all were tried, the last tier repeats.

    Args:
        attempt: Number of the attempt in this group, from 0.
        tried: Pairs to leave out while others remain; keys that cool down may be added.
        usable: What else a candidate must be.
    """
    tiers = table.tiers(group, model)
    if not tiers:
        return None
    if not (attempt or tried):
        channel = tiers[0].draw(random)
        if usable is None or usable(channel):
            return channel
    if usable is not None:
        tiers = _narrowed(tiers, usable)
        if not tiers:
            return None
    first = min(attempt, len(tiers) - 1) if tier_mode == DESCEND else 0
    for tier in (*tiers[first:], *tiers[:first]):
        fresh = [c for c in tier.channels if not table.spent(c, tried)]
        if fresh:
            return Tier.of(fresh).draw(random)
    return tiers[-1].draw(random)


def _narrowed(tiers: _Tiers, usable: Usable) -> _Tiers:
    kept = ([c for c in tier.channels if usable(c)] for tier in tiers)
    return tuple(Tier.of(channels) for channels in kept if channels)


def pick_key(
    table: RoutingTable, channel: Channel, tried: Tried, random: Random, turn: Turn
) -> int:
    """The key index for an attempt on a channel, an untried one while there is one.

    Args:
        turn: Called once when the channel takes its keys in turn.
    """
    keys = table.keys(channel)
    if len(keys) == 1:
        return keys[0]
    fresh = [k for k in keys if (channel.id, k) not in tried] or keys
    if channel.multi_key_mode != POLLING:
        return fresh[int(random.random() * len(fresh))]
    start = bisect_left(keys, channel.multi_key_polling_index) + turn(channel)
    in_turn = (keys[(start + step) % len(keys)] for step in range(len(keys)))
    return next(key for key in in_turn if key in fresh)


def choose(
    table: RoutingTable,
    group: str,
    model: str,
    attempt: int,
    tried: Tried,
    random: Random,
    usable: Usable | None = None,
    tier_mode: str = DESCEND,
    *,
    turn: Turn,
) -> tuple[Channel, int] | None:
    """`draw`, then `pick_key`: a channel and the key to use, or None."""
    channel = draw(table, group, model, attempt, tried, random, usable, tier_mode)
    if channel is None:
        return None
    if not channel.multi_key:
        return channel, 0
    return channel, pick_key(table, channel, tried, random, turn)


@define(eq=False)
class Turns:
    """Counts of polling channels in this process's memory."""

    _counts: dict[int, int] = field(factory=dict)

    def __call__(self, channel: Channel) -> int:
        """The channel's next number."""
        number = self._counts.get(channel.id, 0)
        self._counts[channel.id] = number + 1
        return number


@frozen(eq=False)
class Draw:
    """Chance and turns, the two things a choice takes from outside."""

    random: Random
    turn: Turn = field(factory=Turns)


@frozen(eq=False)
class Pick:
    """Where one attempt goes; `key_index` may be `NO_KEY`."""

    channel: Channel
    key_index: int
    group: str

    @property
    def pair(self) -> Pair:
        """What `tried` holds once the attempt has been made."""
        return self.channel.id, self.key_index


@define(eq=False)
class GroupWalk:
    """The attempts of one call over its groups: one group, or the list of `auto`.

    A group that has no candidate is left for the next. A group whose attempts fail is
    kept; with `cross_group` it is left after it had its attempts, and each group has
    its own. Two counters: attempts in this group, attempts in all.

    Attributes:
        repeats: The last pick had been tried before, for want of others.
        used: Attempts so far.
    """

    groups: Sequence[str]
    _retry_times: int = 0
    _cross_group: bool = False
    _tier_mode: str = DESCEND
    _pinned: int | None = field(default=None, kw_only=True)
    repeats: bool = field(default=False, init=False)
    used: int = field(default=0, init=False)
    tried: set[Pair] = field(factory=set, init=False)
    _place: int = field(default=0, init=False)
    _local: int = field(default=0, init=False)
    _no_retry: bool = field(default=False, init=False)

    @classmethod
    def pinned(cls, channel_id: int, group: str) -> GroupWalk:
        """The walk of a caller who named the channel: one attempt, on it alone."""
        return cls((group,), pinned=channel_id)

    @property
    def attempts_left(self) -> int:
        """How many more attempts the call may have."""
        rounds = len(self.groups) if self._cross_group else 1
        return (self._retry_times + 1) * rounds - self.used

    def prefer(
        self,
        table: RoutingTable,
        model: str,
        channel_id: int,
        chance: Draw,
        usable: Usable | None = None,
        *,
        skip_retry: bool = False,
        cooling: Tried = _NONE_TRIED,
    ) -> Pick | None:
        """A remembered channel, for the first attempt, in the first group that has it;
        None when it cannot serve: then the walk is as if it had not been asked.

        Args:
            skip_retry: The rule that remembered it wants no retry elsewhere.
            cooling: Keys to avoid while it has others.
        """
        channel = table.channel(channel_id)
        if channel is None or not (usable is None or usable(channel)):
            return None
        for place, group in enumerate(self.groups):
            if table.serves(channel_id, group, model):
                self._place, self._no_retry = place, skip_retry
                return self._taken(table, channel, chance, cooling)
        return None

    def next(
        self,
        table: RoutingTable,
        model: str,
        chance: Draw,
        usable: Usable | None = None,
        cooling: Tried = _NONE_TRIED,
    ) -> Pick | None:
        """Where the next attempt goes, or None when no group has a candidate.

        Args:
            cooling: Pairs to avoid while others remain.
        """
        self._no_retry = False
        if self._pinned is not None:
            channel = table.channel(self._pinned)
            return None if channel is None else self._taken(table, channel, chance)
        avoided = self.tried | cooling if cooling else self.tried
        while self._place < len(self.groups):
            if not (self._cross_group and self._local > self._retry_times):
                channel = draw(
                    table,
                    self.groups[self._place],
                    model,
                    self._local,
                    avoided,
                    chance.random,
                    usable,
                    self._tier_mode,
                )
                if channel is not None:
                    return self._taken(table, channel, chance, cooling)
            # The group has no candidate, or (`cross_group`) had its attempts.
            self._place += 1
            self._local = 0
        return None

    def aside(
        self,
        table: RoutingTable,
        model: str,
        chance: Draw,
        usable: Usable,
        cooling: Tried = _NONE_TRIED,
    ) -> Pick | None:
        """A further channel for the attempt that is under way, in its group and, while
        there is one, in its tier; None when the call may not leave its channel or no
        other is usable. It is no retry: `used` stays what it was.

        Args:
            usable: What it must be; that it was not tried yet, too.
        """
        if self._pinned is not None or self._no_retry:
            return None
        avoided = self.tried | cooling if cooling else self.tried
        group, local = self.groups[self._place], max(self._local - 1, 0)
        channel = draw(
            table, group, model, local, avoided, chance.random, usable, self._tier_mode
        )
        if channel is None:
            return None
        index = 0
        if channel.multi_key:
            index = pick_key(table, channel, avoided, chance.random, chance.turn)
        self.tried.add((channel.id, index))
        return Pick(channel, index, group)

    def retries(
        self, error: KnightError, *, begun: bool, gone: bool, ranges: StatusRanges
    ) -> bool:
        """May `next` be asked after this failure? The rules of `retryable`."""
        return retryable(
            error,
            attempts_left=self.attempts_left,
            ranges=ranges,
            begun=begun,
            gone=gone,
            pinned=self._pinned is not None,
            affinity_skip=self._no_retry,
        )

    def _taken(
        self,
        table: RoutingTable,
        channel: Channel,
        chance: Draw,
        cooling: Tried = _NONE_TRIED,
    ) -> Pick:
        index = 0
        if channel.multi_key:
            avoided = self.tried | cooling if cooling else self.tried
            index = pick_key(table, channel, avoided, chance.random, chance.turn)
        pair = channel.id, index
        self.repeats = pair in self.tried
        self.tried.add(pair)
        self._local += 1
        self.used += 1
        return Pick(channel, index, self.groups[self._place])
