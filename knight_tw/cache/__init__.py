"""Counters, short-lived values and word between processes: in Redis, or in memory.

Nothing here is the truth about anything: what a cache holds may be lost at any time.
Answers come at once or as a Deferred; callers that must not suspend for nothing ask
`isinstance(answer, Deferred)`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

from attrs import define, field
from twisted.internet.defer import Deferred

from knight_tw.cache.links import Address, Links
from knight_tw.cache.memory import Heard, MemoryCache
from knight_tw.cache.shared import PURGE, RedisCache
from knight_tw.records import Channel

__all__ = [
    "PURGE",
    "Address",
    "Cache",
    "Heard",
    "Links",
    "MemoryCache",
    "RedisCache",
    "SharedTurns",
    "open_cache",
]


class Cache(Protocol):
    """What both caches do. Keys are without prefix (`limit:GA:192.0.2.1`).

    Attributes:
        shared: Other processes see the same.
        up: It works as it should (False: Redis is away and memory stands in).
    """

    shared: bool

    @property
    def up(self) -> bool: ...

    def allow(
        self, key: str, limit: int, window: float, now: float
    ) -> tuple[bool, float] | Deferred[tuple[bool, float]]:
        """A sliding window: records `now` when fewer than `limit` moments lie within
        `window` seconds before it; else the seconds until that is so."""
        ...

    def count(
        self, key: str, window: float, now: float
    ) -> tuple[int, float] | Deferred[tuple[int, float]]:
        """How many moments lie in a window, and the seconds until the first leaves."""
        ...

    def record(self, key: str, window: float, now: float) -> Deferred[None] | None:
        """Records `now` in a window."""
        ...

    def get(self, key: str) -> str | Deferred[str | None] | None:
        """The text stored under a key, or None."""
        ...

    def set(self, key: str, value: str, ttl: float) -> Deferred[None] | None:
        """Stores a text for `ttl` seconds."""
        ...

    def delete(self, key: str) -> Deferred[None] | None:
        """Forgets a key."""
        ...

    def increment(self, key: str, ttl: float | None = None) -> int | Deferred[int]:
        """Adds 1 to a counter that lives `ttl` seconds from its first increment."""
        ...

    def scan(
        self, prefix: str, cursor: str = ""
    ) -> tuple[list[str], str] | Deferred[tuple[list[str], str]]:
        """Some of the stored texts' keys that begin with a prefix, perhaps none, and
        the cursor of the next ones; empty when these were the last. A key may come
        twice. Every step is short, however much is stored."""
        ...

    def forget(self, keys: Sequence[str]) -> int | Deferred[int]:
        """Forgets keys; how many of them there were."""
        ...

    def tally(
        self, key: str, added: Mapping[str, int], stated: Mapping[str, int], ttl: float
    ) -> Deferred[None] | None:
        """Adds to some of the numbers under a key and states others, in one step; all
        of them live `ttl` seconds from now."""
        ...

    def tallied(self, key: str) -> dict[str, int] | Deferred[dict[str, int]]:
        """The numbers under a key."""
        ...

    def publish(self, kind: str, ref: str) -> bool:
        """Tells other processes of a change; False: another way must be found."""
        ...

    def subscribe(self, heard: Heard) -> None:
        """`heard(kind, ref)` for each change told by another process; kind `purge`
        means that some may have been missed."""
        ...

    def broadcast(self, channel: str, text: str) -> bool:
        """Sends a text to the listeners of a channel; False: it was not sent."""
        ...

    def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """`heard(text)` for each text sent to a channel."""
        ...

    def close(self) -> Awaitable[None]:
        """Closes every connection."""
        ...


def open_cache(
    connection: str,
    *,
    reactor: Any,
    prefix: str = "",
    timeout: float = 0.05,
    pool_size: int = 10,
) -> MemoryCache | RedisCache:
    """The cache that a connection string asks for: memory when it is empty.

    Args:
        timeout: Longest wait for Redis in seconds.

    Raises:
        ValueError: the connection string is not one.
    """
    memory = MemoryCache(reactor)
    if not connection.strip():
        return memory
    links = Links(Address.parse(connection), reactor, pool_size)
    return RedisCache(links, memory, reactor, uuid4().hex, prefix, timeout)


@define(eq=False)
class SharedTurns:
    """Counts of polling channels that processes share, without waiting for them: the
    next number is asked for while the present one is used."""

    _cache: Cache
    _ahead: dict[int, int] = field(factory=dict, init=False)
    _last: dict[int, int] = field(factory=dict, init=False)

    def __call__(self, channel: Channel) -> int:
        """The channel's next number."""
        number = self._ahead.pop(channel.id, self._last.get(channel.id, -1) + 1)
        self._last[channel.id] = number
        asked = self._cache.increment(f"polling:{channel.id}")
        if isinstance(asked, Deferred):
            asked.addCallback(lambda answer: self._came(channel.id, answer))
        else:
            self._came(channel.id, asked)
        return number

    def _came(self, channel_id: int, number: int) -> None:
        self._ahead[channel_id] = number
