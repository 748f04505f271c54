"""The request rate limit per user (relay specification, 15).

Two sliding windows: all calls, and calls that succeeded. The success window is looked
at first; a refused call is recorded in neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from knight_tw.background import Background
from knight_tw.cache import Cache
from knight_tw.errors import RateLimited
from knight_tw.records import Caller
from knight_tw.relay.knobs import RateLimit


@define(eq=False)
class RateLimits:
    """Counts calls per user; without the option every check is one attribute test."""

    _limit: Callable[[], RateLimit | None]
    _cache: Cache
    _clock: IReactorTime
    _background: Background

    def check(self, caller: Caller) -> Deferred[None] | None:
        """Counts a call in; None when it may go on at once.

        Raises (or the Deferred fails with):
            RateLimited: with the seconds to wait.
        """
        limit = self._limit()
        if limit is None:
            return None
        return Deferred.fromCoroutine(self._check(limit, caller))

    def succeeded(self, caller: Caller, status: int) -> None:
        """Counts a call that was answered below 400."""
        limit = self._limit()
        if limit is None or status >= 400 or not limit.of(_group(caller))[1]:
            return
        self._background.spawn("count success", self._record(limit, caller))

    async def _check(self, limit: RateLimit, caller: Caller) -> None:
        count, success = limit.of(_group(caller))
        now = self._clock.seconds()
        if success:
            key = f"limit:model-success:{caller.user.id}"
            made, wait = await _value(self._cache.count(key, limit.seconds, now))
            if made >= success:
                raise _over(success, limit.seconds, wait)
        if count:
            key = f"limit:model:{caller.user.id}"
            allowed, wait = await _value(
                self._cache.allow(key, count, limit.seconds, now)
            )
            if not allowed:
                raise _over(count, limit.seconds, wait)

    async def _record(self, limit: RateLimit, caller: Caller) -> None:
        key = f"limit:model-success:{caller.user.id}"
        await _value(self._cache.record(key, limit.seconds, self._clock.seconds()))


def _group(caller: Caller) -> str:
    """The token's group, else the user's."""
    token = caller.token
    return (token.group if token else "") or caller.user.group


async def _value(answer: Any) -> Any:
    """A cache answer, which the memory cache gives at once."""
    return await answer if isinstance(answer, Deferred) else answer


def _over(count: int, seconds: int, wait: float) -> RateLimited:
    minutes = max(1, round(seconds / 60))
    return RateLimited(
        f"you may make {count} requests in {minutes} minutes", retry_after=wait
    )
