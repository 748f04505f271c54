"""What the affinity cache holds, for administrators: how much, and away with it.

Entries are found by the beginning of their keys, step by step, so that nothing waits
for a large cache. An entry belongs to the rule whose name its key begins with; those of
rules that leave their name out, or are gone, belong to none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from attrs import frozen
from twisted.internet.defer import Deferred

from knight_tw.cache import Cache
from knight_tw.routing_affinity import PREFIX, Rule

MOST_STEPS = 10_000
"""Steps of one look: ten million keys of a Redis; what comes after them is missed."""


@frozen
class Counts:
    """How many conversations are remembered.

    Attributes:
        by_rule: For each rule in force.
        unknown: Those of no rule in force.
    """

    by_rule: dict[str, int]
    unknown: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_rule.values()) + self.unknown


@frozen(eq=False)
class AffinityEntries:
    """Counts and forgets entries."""

    _cache: Cache

    async def counts(self, rules: Sequence[Rule]) -> Counts:
        """How many entries each rule has."""
        seen: set[str] = set()
        async for keys in self._steps(f"{PREFIX}:"):
            seen.update(keys)
        by_rule = {rule.name: 0 for rule in rules}
        unknown = 0
        named = _named(rules)
        for key in seen:
            name = _owner(key, named)
            if name is None:
                unknown += 1
            else:
                by_rule[name] += 1
        return Counts(by_rule, unknown)

    async def forget_all(self) -> int:
        """Forgets every conversation; how many there were."""
        return await self._forget(f"{PREFIX}:", (), None)

    async def forget_rule(self, name: str, rules: Sequence[Rule]) -> int:
        """Forgets the conversations of one rule, which may be gone by now.

        Args:
            rules: Those in force.
        """
        return await self._forget(f"{PREFIX}:{name}:", _named(rules), name)

    async def _forget(
        self, prefix: str, named: Sequence[str], owner: str | None
    ) -> int:
        forgotten = 0
        async for keys in self._steps(prefix):
            own = [key for key in keys if _owner(key, named) in (None, owner)]
            answer = self._cache.forget(own)
            forgotten += await answer if isinstance(answer, Deferred) else answer
        return forgotten

    async def _steps(self, prefix: str) -> AsyncIterator[list[str]]:
        cursor = ""
        for _ in range(MOST_STEPS):
            answer = self._cache.scan(prefix, cursor)
            keys, cursor = await answer if isinstance(answer, Deferred) else answer
            if keys:
                yield keys
            if not cursor:
                return


def _named(rules: Sequence[Rule]) -> list[str]:
    """The names that keys begin with, the longest first: one may begin another."""
    names = {rule.name for rule in rules if rule.named}
    return sorted(names, key=len, reverse=True)


def _owner(key: str, named: Sequence[str]) -> str | None:
    """The rule of an entry, by its key."""
    rest = key[len(PREFIX) + 1 :]
    return next((name for name in named if rest.startswith(f"{name}:")), None)
