"""How well conversations that stay on a channel use the provider's prompt cache.

For each conversation (rule, group and the fingerprint that log rows show) the cache
sums what its calls used. Sums end with the rule's time after the latest call. They are
for people to look at: nothing is decided or charged by them.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from knight_tw.cache import Cache, MemoryCache
from knight_tw.records import Usage
from knight_tw.routing_affinity import Match

MOST_CONVERSATIONS = 20_000
"""Conversations whose sums are kept in memory, some 600 bytes each."""

WITHIN, BESIDE, MIXED = "cached_over_prompt", "cached_over_prompt_plus_cached", "mixed"
"""What the share of cached tokens is taken of: prompts that hold them, prompts that do
not (Claude), or some of each. The reference's words."""


@frozen(eq=False)
class AffinityUsage:
    """Sums up the usage of conversations."""

    _cache: Cache
    _clock: IReactorTime

    @classmethod
    def over(cls, cache: Cache, clock: Any) -> AffinityUsage:
        """On the shared cache; without one in a memory of its own."""
        own = MemoryCache(clock, max_keys=MOST_CONVERSATIONS)
        return cls(cache if cache.shared else own, clock)

    def charged(self, match: Match, group: str, usage: Usage, claude: bool) -> None:
        """A call of a conversation was charged.

        Args:
            claude: Its row's prompt does not count the cached tokens.
        """
        beside = usage.cached + usage.write if claude else 0
        added = {
            "total": 1,
            "hit": 1 if usage.cached else 0,
            "beside": 1 if claude else 0,
            "prompt_tokens": max(usage.prompt - beside, 0),
            "completion_tokens": usage.completion,
            "total_tokens": usage.total or usage.prompt + usage.completion,
            "cached_tokens": usage.cached,
        }
        stated = {
            "last_seen_at": int(self._clock.seconds()),
            "window_seconds": int(match.rule.ttl),
        }
        key = _key(match.rule.name, group, match.fingerprint)
        self._cache.tally(key, added, stated, match.rule.ttl)

    async def sums(self, rule: str, group: str, fingerprint: str) -> dict[str, Any]:
        """The sums of one conversation, zeros when it is not known."""
        asked = self._cache.tallied(_key(rule, group, fingerprint))
        found = await asked if isinstance(asked, Deferred) else asked
        return {
            "rule_name": rule,
            "using_group": group,
            "key_fp": fingerprint,
            "cached_token_rate_mode": _mode(found),
            **{name: found.get(name, 0) for name in _SHOWN},
        }


_SHOWN = (
    *("hit", "total", "window_seconds", "prompt_tokens", "completion_tokens"),
    *("total_tokens", "cached_tokens", "prompt_cache_hit_tokens", "last_seen_at"),
)
"""`prompt_cache_hit_tokens` (a provider's other name of cached ones) is always 0: they
are all `cached_tokens` here."""


def _mode(found: dict[str, int]) -> str:
    total, beside = found.get("total", 0), found.get("beside", 0)
    if not total:
        return ""
    if not beside:
        return WITHIN
    return BESIDE if beside == total else MIXED


def _key(rule: str, group: str, fingerprint: str) -> str:
    return "\n".join(("channel_affinity_usage:v1", rule, group, fingerprint))
