"""Why a call went where it went, and what each part of it took: the decision record.

It is gathered while the call runs and stands in its log row, for administrators
(`other.admin_info.explain`; management specification, section 18). With the option
`relay.explain_record` off nothing is gathered and nothing is looked at.

Most calls meet the same candidates: their text is made once for each group and model of
a routing table, and again only where a channel was full or rested.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from random import Random
from typing import Any

import msgspec
from attrs import define, field

from knight_tw import providers
from knight_tw.records import Channel
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.capacity import Capacity
from knight_tw.routing import (
    POLLING,
    Draw,
    GroupWalk,
    Pair,
    Pick,
    RoutingTable,
    Usable,
)

MOST_CANDIDATES = 16
"""Candidates that a record names, the foremost ones."""

MOST_DRAWS = 16
"""Draws that a record keeps."""

KEPT_TEXTS = 1024
"""Groups and models whose candidates' text is kept."""

FULL, RESTING, UNKNOWN = "full", "resting", "unknown_type"
"""Why a candidate was left out."""

AFFINITY, PINNED, HEDGE = "affinity", "pinned", "hedge"
"""What chose a channel without a draw; that a channel was drawn for a hedge."""

OUTRUN = "outrun"
"""Code of an attempt that was cut because another one beside it spoke first."""

Candidates = msgspec.Raw | list[dict[str, Any]]
NO_CANDIDATES = msgspec.Raw(b"[]")


class TellingRandom(Random):
    """Chance that remembers what came of it.

    Attributes:
        told: The numbers since it was last emptied.
    """

    def __init__(self, chance: Random) -> None:
        super().__init__(0)
        self._chance = chance
        self.told: list[float] = []

    def random(self) -> float:
        """The next number, from 0 to below 1."""
        number = self._chance.random()
        self.told.append(number)
        return number


class Drawn(msgspec.Struct, omit_defaults=True):
    """One choice of a channel.

    Attributes:
        tier: Of the candidates; None when the channel is none of them.
        seed: The number that decided, None when there was nothing to decide.
        by: Why there was a choice, or what chose; empty for an ordinary draw.
    """

    tier: int | None
    seed: float | None
    chosen: int
    by: str = ""


class Tried(msgspec.Struct):
    """One attempt, times in milliseconds from the call's begin."""

    channel: int
    key_index: int
    started_ms: int
    ended_ms: int
    status: int
    code: str
    upstream_model: str


class Times(msgspec.Struct):
    """Microseconds of each part of a call; None where it did not come to it."""

    queue: int
    auth: int
    hold: int | None = None
    connect: int | None = None
    first_byte: int | None = None
    stream: int | None = None
    settle: int | None = None


class Explained(msgspec.Struct):
    """A record as it is stored."""

    candidates: Candidates
    draws: list[Drawn]
    attempts: list[Tried]
    times: Times
    losses: list[str]


@define(eq=False)
class DecisionRecord:
    """Implements `Record` of one call.

    Attributes:
        chosen: When the first channel was looked for, reactor seconds.
        candidates: As they were for the first choice.
    """

    chosen: float
    candidates: Candidates = NO_CANDIDATES
    _draws: list[Drawn] = field(factory=list)
    _closing: float = 0.0

    def drew(self, drawn: Drawn) -> None:
        """A channel was chosen."""
        if len(self._draws) < MOST_DRAWS:
            self._draws.append(drawn)

    def closing(self, now: float) -> None:
        """See `Record`."""
        self._closing = now

    def told(self, call: Call, now: float) -> Explained:
        """See `Record`."""
        tried = [_tried(call.began, attempt, now) for attempt in call.attempts]
        times = self._times(call, now)
        return Explained(self.candidates, self._draws, tried, times, call.dropped)

    def _times(self, call: Call, now: float) -> Times:
        chosen, closing = self.chosen, self._closing
        times = Times(_micros(chosen - call.began - call.auth), _micros(call.auth))
        attempts = call.attempts
        if not attempts:
            return times
        last = attempts[-1]
        first = last.began
        if len(attempts) > 1:
            first = min([one.began for one in attempts])
        times.hold = _micros(first - chosen)
        if last.connected and last.sent:
            times.connect = _micros(last.connected - last.sent)
        if last.heard:
            times.first_byte = _micros(last.heard - (last.connected or last.sent))
            times.stream = _micros((closing or now) - last.heard)
        if closing:
            times.settle = _micros(now - closing)
        return times


@define(eq=False)
class Explainer:
    """Makes records, and draws channels for calls that have one."""

    _draw: Draw
    _capacity: Capacity
    _chance: TellingRandom = field(init=False)
    _telling: Draw = field(init=False)
    _routes: RoutingTable | None = None
    _texts: dict[tuple[str, str], msgspec.Raw] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._chance = TellingRandom(self._draw.random)
        self._telling = Draw(self._chance, self._draw.turn)

    def open(self, call: Call, now: float) -> DecisionRecord:
        """The record of a call whose first channel is looked for now."""
        return DecisionRecord(now)

    def kept(self, call: Call, routes: RoutingTable, pick: Pick | None) -> None:
        """The call's conversation chose its channel, if `pick` is one."""
        record = call.record
        if pick is not None and isinstance(record, DecisionRecord):
            record.candidates = self._candidates(routes, pick.group, call.model)
            tier = _tier(routes, pick.group, call.model, pick.channel)
            record.drew(Drawn(tier, None, pick.channel.id, AFFINITY))

    def drawn(
        self,
        call: Call,
        walk: GroupWalk,
        routes: RoutingTable,
        usable: Usable,
        resting: AbstractSet[Pair],
    ) -> Pick | None:
        """`walk.next`, on the call's record."""
        self._chance.told.clear()
        pick = walk.next(routes, call.model, self._telling, usable, resting)
        record = call.record
        if not isinstance(record, DecisionRecord):
            return pick
        group = pick.group if pick is not None else walk.groups[0]
        if record.candidates is NO_CANDIDATES:
            record.candidates = self._candidates(routes, group, call.model)
        if pick is not None:
            by = PINNED if call.caller.pinned_channel is not None else ""
            self._note(record, call, routes, pick, by)
        return pick

    def beside(
        self,
        call: Call,
        walk: GroupWalk,
        routes: RoutingTable,
        usable: Usable,
        resting: AbstractSet[Pair],
    ) -> Pick | None:
        """`walk.aside`, on the call's record."""
        self._chance.told.clear()
        pick = walk.aside(routes, call.model, self._telling, usable, resting)
        record = call.record
        if pick is not None and isinstance(record, DecisionRecord):
            self._note(record, call, routes, pick, HEDGE)
        return pick

    def _note(
        self,
        record: DecisionRecord,
        call: Call,
        routes: RoutingTable,
        pick: Pick,
        by: str,
    ) -> None:
        seed = _seed(routes, pick, self._chance.told)
        tier = _tier(routes, pick.group, call.model, pick.channel)
        record.drew(Drawn(tier, seed, pick.channel.id, by))

    def _candidates(self, routes: RoutingTable, group: str, model: str) -> Candidates:
        if not self._capacity.idle:
            return _listed(routes, group, model, self._capacity)
        if self._routes is not routes:
            self._routes = routes
            self._texts.clear()
        text = self._texts.get((group, model))
        if text is None:
            if len(self._texts) >= KEPT_TEXTS:
                self._texts.clear()
            found = _listed(routes, group, model, None)
            text = msgspec.Raw(msgspec.json.encode(found))
            self._texts[group, model] = text
        return text


def _listed(
    routes: RoutingTable, group: str, model: str, capacity: Capacity | None
) -> list[dict[str, Any]]:
    """The candidates of a group, foremost first."""
    found: list[dict[str, Any]] = []
    for number, tier in enumerate(routes.tiers(group, model)):
        for channel in tier.channels:
            if len(found) >= MOST_CANDIDATES:
                return found
            one = {"channel": channel.id, "tier": number, "weight": channel.weight}
            why = _excluded(routes, channel, capacity)
            found.append({**one, "excluded": why} if why else one)
    return found


def _excluded(routes: RoutingTable, channel: Channel, capacity: Capacity | None) -> str:
    if providers.find(channel.type) is None:
        return UNKNOWN
    if capacity is None:
        return ""
    if capacity.full(channel):
        return FULL
    return RESTING if routes.spent(channel, capacity.resting()) else ""


def _tier(routes: RoutingTable, group: str, model: str, channel: Channel) -> int | None:
    """The number of the channel's tier; None when there is none (a pin)."""
    for number, tier in enumerate(routes.tiers(group, model)):
        if tier.channels[0].priority == channel.priority:
            return number
    return None


def _seed(routes: RoutingTable, pick: Pick, told: Sequence[float]) -> float | None:
    """The number that decided between channels, None when there was one only. The last
    number may have chosen the key."""
    channel = pick.channel
    by_key = channel.multi_key and channel.multi_key_mode != POLLING
    numbers = told[:-1] if by_key and len(routes.keys(channel)) > 1 else told
    return round(numbers[-1], 6) if numbers else None


def _tried(began: float, attempt: Attempt, now: float) -> Tried:
    error = attempt.error
    status, code = (0, OUTRUN) if attempt.outrun else (200, "")
    if error is not None:
        status, code = error.status, error.code
    return Tried(
        attempt.channel.id,
        attempt.key_index,
        round((attempt.began - began) * 1000),
        round(((attempt.ended or now) - began) * 1000),
        status,
        code,
        attempt.model,
    )


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000 + 0.5) if seconds > 0 else 0
