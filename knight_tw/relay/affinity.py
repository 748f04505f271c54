"""The channels that conversations stay on: remembered, asked for, forgotten.

Entries are channel ids in the cache (Redis, else this process's memory), which may
lose them at any time: then the call is routed like any other. Relay specification,
section 8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred

from knight_tw.cache import Cache, MemoryCache
from knight_tw.records import Channel
from knight_tw.relay.affinity_entries import AffinityEntries
from knight_tw.relay.affinity_usage import AffinityUsage
from knight_tw.relay.call import Call, Sticky
from knight_tw.relay.capacity import Capacity
from knight_tw.routing import Draw, GroupWalk, Pick, RoutingTable
from knight_tw.routing_affinity import AffinityRules, Rule

Usable = Callable[[Channel], bool]

FORGET = "affinity"
"""Kind of the change by which processes tell each other to forget; its reference is the
rule's name, empty for everything."""


@define(eq=False)
class Affinity:
    """Finds and remembers the channel of a call's conversation."""

    _cache: Cache
    usage: AffinityUsage
    """What the conversations used."""

    @classmethod
    def over(cls, cache: Cache, clock: Any) -> Affinity:
        """On the shared cache; without one in a memory of its own, so that the option
        can bound its entries."""
        own = cache if cache.shared else MemoryCache(clock)
        return cls(own, AffinityUsage.over(cache, clock))

    @property
    def shared(self) -> bool:
        """Every process sees the same entries."""
        return self._cache.shared

    async def forget(self, name: str, rules: Sequence[Rule]) -> int:
        """Forgets the conversations of a rule, or all for an empty name; how many.

        Args:
            rules: Those in force.
        """
        if not name:
            return await self.entries.forget_all()
        return await self.entries.forget_rule(name, rules)

    @property
    def entries(self) -> AffinityEntries:
        """The conversations that are remembered."""
        return AffinityEntries(self._cache)

    def matches(self, call: Call, rules: AffinityRules | None) -> bool:
        """Looks for the call's rule; only if there is one need `pick` be asked."""
        if rules is None or call.caller.pinned_channel is not None:
            return False
        found = rules.match(call.model, call.path, call.head, call.caller, call.top)
        if found is None:
            return False
        call.sticky = Sticky(found, rules, self.usage.charged)
        return True

    async def pick(
        self,
        call: Call,
        walk: GroupWalk,
        table: RoutingTable,
        chance: Draw,
        usable: Usable,
        capacity: Capacity,
    ) -> Pick | None:
        """The remembered channel for the first attempt; None when there is none, or it
        cannot serve this call.

        Args:
            usable: Whether a channel can serve the call at all.
        """
        sticky = call.sticky
        if sticky is None or not await self._remembered(sticky):
            return None
        channel = table.channel(sticky.channel_id)
        if channel is not None and capacity.busy(channel, table):
            sticky.kept = True
            return None
        rule = sticky.match.rule
        pick = walk.prefer(
            table,
            call.model,
            sticky.channel_id,
            chance,
            usable,
            skip_retry=rule.skip_retry,
            cooling=capacity.resting(),
        )
        sticky.used = pick is not None
        if pick is None:
            self._unusable(sticky)
        return pick

    def answered(self, call: Call) -> None:
        """Remembers the channel that has answered, unless the rules say otherwise."""
        sticky, attempt = call.sticky, call.attempt
        if sticky is None or attempt is None or sticky.kept:
            return
        moved = sticky.used and attempt.channel.id != sticky.channel_id
        if moved and not sticky.rules.switch:
            return
        if isinstance(self._cache, MemoryCache):
            self._cache.hold_at_most(sticky.rules.max_entries)
        match = sticky.match
        self._cache.set(match.key, str(attempt.channel.id), match.rule.ttl)

    async def _remembered(self, sticky: Sticky) -> bool:
        found = self._cache.get(sticky.match.key)
        text = await found if isinstance(found, Deferred) else found
        if text is None or not text.isdecimal():
            return False
        sticky.channel_id = int(text)
        return True

    def _unusable(self, sticky: Sticky) -> None:
        """The channel is out of service, or has lost the model or the group."""
        if sticky.rules.keep:
            sticky.kept = True
        else:
            self._cache.delete(sticky.match.key)
