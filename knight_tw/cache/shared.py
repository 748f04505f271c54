"""The cache that processes and machines share: Redis, never waited for long.

Every question waits at most `timeout` seconds. When that is over, or there is no
connection, the memory of this process answers, and Redis is left alone for a while
(the `Breaker`); then one question tries it again. What Redis holds may be lost.
Keys begin with the prefix and `knight:` (options specification, section 7).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import txredisapi
from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from knight_tw.cache.links import Breaker, Links, RedisAway, within
from knight_tw.cache.memory import MAX_MOMENTS, Heard, MemoryCache

T = TypeVar("T")

CHANGES = "changes"
"""The channel on which processes tell each other what they wrote."""

PURGE = "purge"
"""Kind that is heard after a gap: changes may have been missed, read everything."""

PING_SECONDS = 20.0
"""How often a listening connection is asked whether it is alive."""

_WINDOW = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
local made = redis.call('ZCARD', KEYS[1])
local limit = tonumber(ARGV[4])
local place = 0
if limit >= 0 and made >= limit then place = made - limit end
local first = redis.call('ZRANGE', KEYS[1], place, place, 'WITHSCORES')[2] or ''
if ARGV[5] == '' or (limit >= 0 and made >= limit) then
  return {made, first}
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[5])
if made >= tonumber(ARGV[6]) then redis.call('ZREMRANGEBYRANK', KEYS[1], 0, 0) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {-1, first}
"""
"""One sliding window in one step: forget what is old, look, and record a moment when
the limit allows. ARGV: end of the old, now, life in ms, limit (-1 = none), the member
to record (empty = only look), most members. Answers {-1, …} when it recorded."""

_COUNT = """
local number = redis.call('INCR', KEYS[1])
if number == 1 and ARGV[1] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return number
"""

_TALLY = """
for at = 2, #ARGV, 3 do
  redis.call(ARGV[at], KEYS[1], ARGV[at + 1], ARGV[at + 2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
"""Numbers under one key, in one step. ARGV: life in ms, then a command, a name and a
number at a time."""

SCANNED = 1000
"""Keys of the whole database that one step of a scan looks at: under a millisecond."""

_GLOB = re.compile(r"[*?\[\]\\^]")
"""What is special in a pattern of Redis's."""


class _Message(msgspec.Struct):
    """What processes tell each other; `origin` is the one that said it."""

    kind: str
    id: str
    origin: str = ""


@define(eq=False)
class RedisCache:
    """The shared cache. Methods answer at once while Redis is away, else a Deferred.

    Args:
        links: Opens connections.
        memory: Answers while Redis does not.
        origin: A name of this process, unlike that of any other.
        prefix: Option-like text before every key (`REDIS_KEY_PREFIX`).
        timeout: Seconds that a question may take (`REDIS_TIMEOUT_MS`).
    """

    _links: Links
    _memory: MemoryCache
    _clock: IReactorTime
    _origin: str
    _prefix: str = ""
    _timeout: float = 0.05
    _log: Logger = field(factory=Logger)
    _breaker: Breaker = field(init=False)
    _pool: Any = field(init=False)
    _listeners: Any = field(default=None, init=False)
    _listening: Any = field(default=None, init=False)
    _heard: dict[str, list[Callable[[str], None]]] = field(factory=dict, init=False)
    _gaps: list[Callable[[], None]] = field(factory=list, init=False)
    _pings: LoopingCall = field(init=False)
    _turn: int = field(default=0, init=False)
    _members: int = field(default=0, init=False)
    _closed: bool = field(default=False, init=False)

    shared = True
    """What is here is seen by every process on the same Redis."""

    def __attrs_post_init__(self) -> None:
        self._breaker = Breaker(self._clock)
        self._pool = self._links.pool()
        self._pings = LoopingCall(self._ping)
        self._pings.clock = self._clock

    @property
    def up(self) -> bool:
        """False while Redis does not answer."""
        return self._breaker.closed

    async def ready(self, seconds: float = 5.0) -> bool:
        """Waits for the first connection; True when Redis answers on it."""
        for _ in range(max(int(seconds / 0.05), 1)):
            if self._pool.pool:
                pong = self._ask(lambda c: c.ping(), lambda reply: True, lambda: False)
                return await pong if isinstance(pong, Deferred) else pong
            await deferLater(self._clock, 0.05)
        self._away(RedisAway("no connection"))
        return False

    def allow(
        self, key: str, limit: int, window: float, now: float
    ) -> tuple[bool, float] | Deferred[tuple[bool, float]]:
        """As `MemoryCache.allow`, for all processes together."""
        self._members += 1
        member = f"{now:.6f}:{self._origin}:{self._members}"

        def read(reply: list[Any]) -> tuple[bool, float]:
            if int(reply[0]) < 0:
                return True, 0.0
            return False, _wait(reply[1], window, now)

        return self._ask(
            lambda c: self._look(c, key, window, now, limit, member),
            read,
            lambda: self._memory.allow(key, limit, window, now),
        )

    def count(
        self, key: str, window: float, now: float
    ) -> tuple[int, float] | Deferred[tuple[int, float]]:
        """As `MemoryCache.count`."""

        def read(reply: list[Any]) -> tuple[int, float]:
            made = int(reply[0])
            return made, _wait(reply[1], window, now) if made else 0.0

        return self._ask(
            lambda c: self._look(c, key, window, now, -1, ""),
            read,
            lambda: self._memory.count(key, window, now),
        )

    def record(self, key: str, window: float, now: float) -> Deferred[None] | None:
        """As `MemoryCache.record`."""
        self._members += 1
        member = f"{now:.6f}:{self._origin}:{self._members}"
        return self._ask(
            lambda c: self._look(c, key, window, now, -1, member),
            lambda reply: None,
            lambda: self._memory.record(key, window, now),
        )

    def get(self, key: str) -> str | Deferred[str | None] | None:
        """The text stored under a key, or None."""
        return self._ask(
            lambda c: c.get(self._name(key)),
            lambda reply: None if reply is None else str(reply),
            lambda: self._memory.get(key),
        )

    def set(self, key: str, value: str, ttl: float) -> Deferred[None] | None:
        """Stores a text for `ttl` seconds."""
        life = max(int(ttl * 1000), 1)
        return self._ask(
            lambda c: c.set(self._name(key), value, pexpire=life),
            lambda reply: None,
            lambda: self._memory.set(key, value, ttl),
        )

    def delete(self, key: str) -> Deferred[None] | None:
        """Forgets a key, here and there."""
        self._memory.delete(key)
        return self._ask(
            lambda c: c.delete(self._name(key)), lambda reply: None, lambda: None
        )

    def increment(self, key: str, ttl: float | None = None) -> int | Deferred[int]:
        """As `MemoryCache.increment`."""
        life = "" if ttl is None else str(max(int(ttl * 1000), 1))
        return self._ask(
            lambda c: c.eval(_COUNT, [self._name(key)], [life]),
            int,
            lambda: self._memory.increment(key, ttl),
        )

    def scan(
        self, prefix: str, cursor: str = ""
    ) -> tuple[list[str], str] | Deferred[tuple[list[str], str]]:
        """See `Cache`. A step that Redis does not answer ends the scan with what this
        process's memory has."""
        beginning = self._name("")
        pattern = _GLOB.sub(r"\\\g<0>", beginning + prefix) + "*"

        def read(reply: list[Any]) -> tuple[list[str], str]:
            further, names = str(reply[0]), reply[1]
            found = [str(name)[len(beginning) :] for name in names]
            return found, "" if further == "0" else further

        return self._ask(
            lambda c: c.scan(cursor or "0", pattern, SCANNED),
            read,
            lambda: self._memory.scan(prefix),
        )

    def forget(self, keys: Sequence[str]) -> int | Deferred[int]:
        """As `MemoryCache.forget`, here and there."""
        if not keys:
            return 0
        here = self._memory.forget(keys)
        names = [self._name(key) for key in keys]
        return self._ask(lambda c: c.delete(names), int, lambda: here)

    def tally(
        self, key: str, added: Mapping[str, int], stated: Mapping[str, int], ttl: float
    ) -> Deferred[None] | None:
        """As `MemoryCache.tally`, for all processes together."""
        changes: list[Any] = [max(int(ttl * 1000), 1)]
        for command, numbers in (("HINCRBY", added), ("HSET", stated)):
            for name, number in numbers.items():
                changes += [command, name, number]
        return self._ask(
            lambda c: c.eval(_TALLY, [self._name(key)], changes),
            lambda reply: None,
            lambda: self._memory.tally(key, added, stated, ttl),
        )

    def tallied(self, key: str) -> dict[str, int] | Deferred[dict[str, int]]:
        """As `MemoryCache.tallied`."""
        return self._ask(
            lambda c: c.hgetall(self._name(key)),
            lambda reply: {str(name): int(number) for name, number in reply.items()},
            lambda: self._memory.tallied(key),
        )

    def publish(self, kind: str, ref: str) -> bool:
        """Tells the other processes of a change; False when Redis cannot be told."""
        message = msgspec.json.encode(_Message(kind, ref, self._origin))
        return self.broadcast(CHANGES, message.decode())

    def subscribe(self, heard: Heard) -> None:
        """`heard(kind, ref)` for each change that another process tells of, and
        `heard("purge", "")` whenever some may have been missed."""

        def told(text: str) -> None:
            try:
                message = msgspec.json.decode(text, type=_Message)
            except msgspec.DecodeError:
                return
            if message.origin != self._origin:
                heard(message.kind, message.id)

        self._gaps.append(lambda: heard(PURGE, ""))
        self.listen(CHANGES, told)

    def broadcast(self, channel: str, text: str) -> bool:
        """Sends a text to whoever listens; False when Redis cannot be told."""
        sent = self._ask(
            lambda c: c.publish(self._name(channel), text),
            lambda reply: True,
            lambda: False,
        )
        return sent is not False

    def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """`heard(text)` for each text sent to a channel, our own included."""
        name = self._name(channel)
        self._heard.setdefault(name, []).append(heard)
        if self._listeners is None:
            self._listeners = self._links.listeners(self._told, self._connected)
            self._pings.start(PING_SECONDS, now=False)
        elif self._listening is not None:
            self._spawn(self._subscribe(self._listening, [name]))

    async def close(self) -> None:
        """Closes every connection."""
        self._closed = True
        if self._pings.running:
            self._pings.stop()
        open_ones = [f for f in (self._pool, self._listeners) if f is not None]
        await gatherResults([f.disconnect() for f in open_ones], consumeErrors=True)

    def _name(self, key: str) -> str:
        return f"{self._prefix}knight:{key}"

    def _connection(self) -> Any:
        """An open connection in turn, or None. A pool that gave up (a refused password)
        is replaced."""
        pool = self._pool
        if not pool.pool:
            if pool.stopped and not self._closed:
                self._pool = self._links.pool()
            return None
        self._turn += 1
        return pool.pool[self._turn % len(pool.pool)]

    def _look(
        self,
        connection: Any,
        key: str,
        window: float,
        now: float,
        limit: int,
        what: str,
    ) -> Deferred[Any]:
        past, life = f"{now - window:.6f}", int(window * 1000) + 1000
        arguments = [past, f"{now:.6f}", life, limit, what, MAX_MOMENTS]
        looked: Deferred[Any] = connection.eval(_WINDOW, [self._name(key)], arguments)
        return looked

    def _ask(
        self,
        question: Callable[[Any], Deferred[Any]],
        read: Callable[[Any], T],
        otherwise: Callable[[], T],
    ) -> T | Deferred[T]:
        """Redis's answer, or `otherwise` when there is none in time."""
        if not self._breaker.ask():
            return otherwise()
        connection = self._connection()
        if connection is None:
            self._away(RedisAway("no connection"))
            return otherwise()
        return Deferred.fromCoroutine(
            self._asked(connection, question, read, otherwise)
        )

    async def _asked(
        self,
        connection: Any,
        question: Callable[[Any], Deferred[Any]],
        read: Callable[[Any], T],
        otherwise: Callable[[], T],
    ) -> T:
        try:
            reply = await within(question(connection), self._timeout, self._clock)
            value = read(reply)
        except (RedisAway, txredisapi.RedisError, ValueError, TypeError) as error:
            self._away(error)
            return otherwise()
        if self._breaker.succeeded():
            self._log.info("redis answers again")
        return value

    def _away(self, error: Exception) -> None:
        if self._breaker.failed():
            self._log.warn("redis is away, memory stands in: {why}", why=str(error))

    def _told(self, channel: str, text: str) -> None:
        for heard in self._heard.get(channel, ()):
            heard(text)

    def _connected(self, connection: Any) -> None:
        self._listening = connection
        self._spawn(self._resume(connection))

    async def _resume(self, connection: Any) -> None:
        """Listens on a fresh connection; what was said before it is lost."""
        await self._subscribe(connection, self._heard)
        for gap in self._gaps:
            gap()

    async def _subscribe(self, connection: Any, names: Iterable[str]) -> None:
        try:
            await connection.subscribe(list(names))
        except txredisapi.RedisError as error:
            self._log.warn("cannot listen to redis: {why}", why=str(error))

    def _ping(self) -> None:
        """Asks the listening connection; txredisapi drops one that does not answer."""
        if self._listening is not None and self._listening.connected:
            self._listening.ping().addErrback(lambda failure: None)

    def _spawn(self, work: Any) -> None:
        Deferred.fromCoroutine(work).addErrback(
            lambda failure: self._log.failure("redis subscription failed", failure)
        )


def _wait(first: Any, window: float, now: float) -> float:
    """Seconds until the moment `first` leaves the window."""
    return max(float(first) + window - now, 0.0) if first else window
