"""Tests of knight_tw.cache.shared and links: without a server by a scripted one, and,
when KNIGHT_TEST_REDIS names one, on a real Redis."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from unittest import SkipTest
from uuid import uuid4

import txredisapi
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from knight_tw.cache import (
    PURGE,
    Address,
    MemoryCache,
    RedisCache,
    SharedTurns,
    open_cache,
)
from knight_tw.cache.links import Breaker, Links
from knight_tw.records import Channel


class AddressTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """Host, port, database, user and password are read, escapes undone."""
        self.assertEqual(
            Address.parse("redis://us%40er:p%2Fw@h:1/2"),
            Address("h", 1, "", 2, "us@er", "p/w", False),
        )
        self.assertEqual(
            Address.parse("redis://h"), Address("h", 6379, "", 0, None, None, False)
        )
        self.assertTrue(Address.parse("rediss://h:6380").tls)
        self.assertEqual(Address.parse("unix:///tmp/r.sock?db=3").path, "/tmp/r.sock")
        self.assertEqual(Address.parse("unix:///tmp/r.sock?db=3").database, 3)

    def test_refused(self) -> None:
        """What is no address is refused, and the password is not repeated."""
        for text in ("http://h", "redis://", "redis://h/x", "redis://:secret@h:port"):
            with self.assertRaises(ValueError) as caught:
                Address.parse(text)
            self.assertNotIn("secret", str(caught.exception))

    def test_endpoints(self) -> None:
        """Sockets, plain and TLS connections have their own kinds of endpoint."""
        kinds = {
            type(Address.parse(text).endpoint(MemoryReactorClock(), 5)).__name__
            for text in ("redis://h", "rediss://h", "unix:///tmp/x")
        }
        self.assertEqual(len(kinds), 3)


class BreakerTests(SynchronousTestCase):
    def test_pauses_grow(self) -> None:
        """Each vain attempt doubles the pause up to its limit; success ends it."""
        clock = Clock()
        breaker = Breaker(clock)
        self.assertTrue(breaker.ask())
        self.assertTrue(breaker.failed())
        self.assertFalse(breaker.closed)
        for pause in (0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0):
            clock.advance(pause - 0.1)
            self.assertFalse(breaker.ask())
            clock.advance(0.2)
            self.assertTrue(breaker.ask())
            self.assertFalse(breaker.failed())
        self.assertTrue(breaker.succeeded())
        self.assertFalse(breaker.succeeded())
        self.assertTrue(breaker.closed)

    def test_one_at_a_time(self) -> None:
        """After a pause one question tries, the others do not wait for it."""
        clock = Clock()
        breaker = Breaker(clock)
        breaker.failed()
        clock.advance(0.6)
        self.assertEqual([breaker.ask() for _ in range(3)], [True, False, False])

    def test_a_crowd_fails_once(self) -> None:
        """Questions that were under way together count as one failure."""
        clock = Clock()
        breaker = Breaker(clock)
        for _ in range(10):
            breaker.failed()
        clock.advance(0.6)
        self.assertTrue(breaker.ask())


class Connection:
    """A connection whose answers are given by hand."""

    connected = 1

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answers: list[Deferred[Any]] = []

    def __getattr__(self, name: str) -> Callable[..., Deferred[Any]]:
        def ask(*arguments: Any, **more: Any) -> Deferred[Any]:
            self.asked.append((name, *arguments))
            answer: Deferred[Any] = Deferred()
            self.answers.append(answer)
            return answer

        return ask


class Pool:
    """What txredisapi's factories are to the cache."""

    stopped = False

    def __init__(self, *connections: Any) -> None:
        self.pool = list(connections)
        self.closed = False

    def disconnect(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)


class FakeLinks:
    """Links that connect to nothing."""

    def __init__(self, *pools: Pool) -> None:
        self.pools = list(pools)
        self.listening = Pool()

    def pool(self) -> Pool:
        return self.pools.pop(0)

    def listeners(self, heard: Any, ready: Any) -> Pool:
        self.heard, self.ready = heard, ready
        return self.listening


class FallbackTests(SynchronousTestCase):
    """The bounded wait, the breaker, the memory that stands in."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.connection = Connection()
        self.pool = Pool(self.connection)
        self.links = FakeLinks(self.pool, Pool(self.connection))
        self.cache = RedisCache(
            self.links,  # type: ignore[arg-type]
            MemoryCache(self.clock),
            self.clock,
            "me",
            "p:",
        )

    def test_answer(self) -> None:
        """An answer in time is given; the key has prefix and mark."""
        value = self.cache.get("k")
        self.connection.answers[0].callback("v")
        self.assertEqual(self.successResultOf(value), "v")
        self.assertEqual(self.connection.asked, [("get", "p:knight:k")])
        self.assertTrue(self.cache.up)

    def test_too_slow(self) -> None:
        """After the wait memory answers, and Redis is not asked for a while."""
        self.cache._memory.set("k", "from memory", 60)
        value = self.cache.get("k")
        self.clock.advance(0.051)
        self.assertEqual(self.successResultOf(value), "from memory")
        self.assertFalse(self.cache.up)
        self.assertEqual(self.cache.get("k"), "from memory")
        self.assertEqual(len(self.connection.asked), 1)
        self.connection.answers[0].callback("late")

    def test_comes_back(self) -> None:
        """After the pause a question tries Redis again."""
        slow = self.cache.get("k")
        self.clock.advance(0.1)
        self.successResultOf(slow)
        self.clock.advance(0.6)
        value = self.cache.get("k")
        self.connection.answers[1].callback("v")
        self.assertEqual(self.successResultOf(value), "v")
        self.assertTrue(self.cache.up)

    def test_error(self) -> None:
        """An error of Redis is like no answer, nonsense too."""
        for answer in (txredisapi.ResponseError("LOADING"), ValueError("x")):
            self.clock.advance(20)
            asked = self.cache.increment("k")
            self.connection.answers[-1].errback(answer)
            self.assertIsInstance(self.successResultOf(asked), int)
            self.assertFalse(self.cache.up)
        self.clock.advance(20)
        asked = self.cache.increment("k")
        self.connection.answers[-1].callback("not a number")
        self.assertEqual(self.successResultOf(asked), 3)

    def test_no_connection(self) -> None:
        """Without a connection memory answers at once."""
        self.pool.pool.clear()
        self.assertEqual(self.cache.allow("k", 1, 10, 100.0), (True, 0.0))
        self.assertEqual(self.cache.allow("k", 1, 10, 101.0), (False, 9.0))
        self.assertEqual(self.cache.count("k", 10, 101.0), (1, 9.0))
        self.assertIsNone(self.cache.record("k", 10, 101.0))
        self.assertIsNone(self.cache.set("k", "v", 5))
        self.assertEqual(self.cache.get("k"), "v")
        self.assertIsNone(self.cache.delete("k"))
        self.assertIsNone(self.cache.get("k"))
        self.assertEqual(self.cache.increment("n", 5), 1)
        self.assertFalse(self.cache.publish("user", "1"))

    def test_pool_that_gave_up_is_replaced(self) -> None:
        """A refused password does not switch Redis off for good."""
        self.pool.pool.clear()
        self.pool.stopped = True
        self.cache.get("k")
        self.clock.advance(1)
        value = self.cache.get("k")
        self.connection.answers[0].callback("v")
        self.assertEqual(self.successResultOf(value), "v")

    def test_cancelled(self) -> None:
        """A caller that gives up is not answered, and nothing is blamed."""
        value = self.cache.get("k")
        assert isinstance(value, Deferred)
        value.cancel()
        self.failureResultOf(value, CancelledError)
        self.clock.advance(1)
        self.connection.answers[0].callback("v")
        self.assertTrue(self.cache.up)

    def test_published(self) -> None:
        """A message that could be sent counts as told."""
        self.assertTrue(self.cache.publish("user", "7"))
        name, channel, text = self.connection.asked[0]
        self.assertEqual((name, channel), ("publish", "p:knight:changes"))
        self.assertIn('"kind":"user"', text)
        self.connection.answers[0].callback(1)

    def test_ready(self) -> None:
        """Readiness waits for a connection, and for its answer."""
        pool = self.pool.pool[:]
        self.pool.pool.clear()
        ready = Deferred.fromCoroutine(self.cache.ready(1))
        self.clock.advance(0.06)
        self.pool.pool.extend(pool)
        self.clock.advance(0.06)
        self.connection.answers[0].callback("PONG")
        self.assertTrue(self.successResultOf(ready))

    def test_not_ready(self) -> None:
        """Without a connection in time Redis is away."""
        self.pool.pool.clear()
        ready = Deferred.fromCoroutine(self.cache.ready(0.1))
        self.clock.pump([0.06] * 4)
        self.assertFalse(self.successResultOf(ready))
        self.assertFalse(self.cache.up)

    def test_not_ready_in_a_pause(self) -> None:
        """In a pause of the breaker the answer is no, at once."""
        self.cache._away(Exception("x"))
        ready = Deferred.fromCoroutine(self.cache.ready(0.1))
        self.assertFalse(self.successResultOf(ready))


class ListeningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.links = FakeLinks(Pool())
        self.cache = RedisCache(
            self.links,  # type: ignore[arg-type]
            MemoryCache(self.clock),
            self.clock,
            "me",
        )
        self.heard: list[tuple[str, str]] = []
        self.cache.subscribe(lambda kind, ref: self.heard.append((kind, ref)))

    def connected(self) -> Connection:
        connection = Connection()
        self.links.ready(connection)
        return connection

    def test_gap(self) -> None:
        """Each time the listening begins, something may have been missed."""
        for _ in range(2):
            connection = self.connected()
            self.assertEqual(connection.asked, [("subscribe", ["knight:changes"])])
            connection.answers[0].callback(None)
        self.assertEqual(self.heard, [(PURGE, "")] * 2)

    def test_changes(self) -> None:
        """Changes of others are heard, our own and nonsense are not."""
        for text in (
            '{"kind":"user","id":"7","origin":"other"}',
            '{"kind":"option","id":""}',
            '{"kind":"user","id":"8","origin":"me"}',
            '{"kind":5}',
            "nonsense",
        ):
            self.links.heard("knight:changes", text)
        self.links.heard("knight:else", "x")
        self.assertEqual(self.heard, [("user", "7"), ("option", "")])

    def test_further_channel(self) -> None:
        """A channel asked for later is listened to on the open connection."""
        lines: list[str] = []
        connection = self.connected()
        self.cache.listen("tail", lines.append)
        self.assertEqual(connection.asked[1], ("subscribe", ["knight:tail"]))
        self.links.heard("knight:tail", "line")
        self.assertEqual(lines, ["line"])

    def test_channel_before_the_connection(self) -> None:
        """Channels asked for before the connection are all listened to on it."""
        self.cache.listen("tail", lambda line: None)
        connection = self.connected()
        self.assertEqual(
            connection.asked, [("subscribe", ["knight:changes", "knight:tail"])]
        )

    def test_refused_subscription(self) -> None:
        """A subscription that fails is logged, not raised."""
        connection = self.connected()
        connection.answers[0].errback(txredisapi.ConnectionError("lost"))
        self.assertEqual(self.heard, [(PURGE, "")])

    def test_broken_hearer(self) -> None:
        """A hearer that fails at a gap is logged."""
        self.cache._gaps.append(lambda: 1 / 0)
        self.connected().answers[0].callback(None)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_asks_whether_it_is_alive(self) -> None:
        """The listening connection is pinged, as long as it is open."""
        self.clock.advance(20)
        connection = self.connected()
        self.clock.advance(20)
        self.assertEqual(connection.asked[-1], ("ping",))
        connection.answers[-1].errback(txredisapi.ConnectionError("lost"))
        connection.connected = 0
        self.clock.advance(20)
        self.assertEqual(len(connection.asked), 2)

    def test_close(self) -> None:
        """Everything is closed, and nothing is opened again."""
        pool = self.cache._pool
        self.successResultOf(Deferred.fromCoroutine(self.cache.close()))
        self.assertTrue(pool.closed and self.links.listening.closed)
        pool.stopped = True
        self.assertIsNone(self.cache.get("k"))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TurnTests(SynchronousTestCase):
    CHANNEL = Channel(id=3, type=1, name="", status=1, keys=())

    def test_in_memory(self) -> None:
        """In one process the numbers follow each other from 0."""
        turns = SharedTurns(MemoryCache(Clock()))
        self.assertEqual([turns(self.CHANNEL) for _ in range(4)], [0, 1, 2, 3])

    def test_shared(self) -> None:
        """The number that others left is used next; till it comes we count on."""
        connection = Connection()
        clock = Clock()
        links: Any = FakeLinks(Pool(connection))
        turns = SharedTurns(RedisCache(links, MemoryCache(clock), clock, "me"))
        self.assertEqual([turns(self.CHANNEL), turns(self.CHANNEL)], [0, 1])
        connection.answers[0].callback(7)
        self.assertEqual([turns(self.CHANNEL), turns(self.CHANNEL)], [7, 8])


class RealCase(TestCase):
    """Two caches, as of two processes, on a real Redis, under a prefix of their own."""

    timeout = 20

    async def setUp(self) -> None:
        address = os.environ.get("KNIGHT_TEST_REDIS", "")
        if not address:
            self.assertNotEqual(os.environ.get("KNIGHT_TEST_REQUIRED"), "1")
            raise SkipTest("KNIGHT_TEST_REDIS is not set")
        self.address, self.prefix = address, f"test-{uuid4().hex}:"
        self.one, self.two = [self.opened(), self.opened()]
        for cache in (self.one, self.two):
            self.assertTrue(await cache.ready())

    def opened(self, timeout: float = 2.0) -> RedisCache:
        cache = open_cache(
            self.address,
            reactor=reactor,
            prefix=self.prefix,
            timeout=timeout,
            pool_size=2,
        )
        assert isinstance(cache, RedisCache)
        self.addCleanup(lambda: Deferred.fromCoroutine(cache.close()))
        return cache

    async def until(self, met: Callable[[], bool]) -> None:
        for _ in range(200):
            if met():
                return
            await deferLater(reactor, 0.02)
        self.fail("waited in vain")


class RealWindowTests(RealCase):
    async def test_shared_limit(self) -> None:
        """Both processes fill one window; the wait is until the oldest leaves."""
        now = 1_795_604_329.25
        self.assertEqual(await self.one.allow("k", 2, 10, now), (True, 0.0))
        self.assertEqual(await self.two.allow("k", 2, 10, now + 1), (True, 0.0))
        allowed, wait = await self.one.allow("k", 2, 10, now + 2)
        self.assertFalse(allowed)
        self.assertApproximates(wait, 8.0, 0.01)
        self.assertTrue((await self.two.allow("k", 2, 10, now + 10))[0])

    async def test_count_and_record(self) -> None:
        """Recording is unconditional, counting and refusals record nothing."""
        now = 1_795_604_329.0
        self.assertEqual(await self.one.count("k", 10, now), (0, 0.0))
        for moment in (now, now, now + 1):
            await self.one.record("k", 10, moment)
        await self.two.allow("k", 1, 10, now + 2)
        made, wait = await self.two.count("k", 10, now + 2)
        self.assertEqual(made, 3)
        self.assertApproximates(wait, 8.0, 0.01)
        allowed, wait = await self.one.allow("k", 1, 10, now + 2)
        self.assertApproximates(wait, 9.0, 0.01)
        allowed, wait = await self.one.allow("k", 0, 10, now + 2)
        self.assertEqual((allowed, wait), (False, 10.0))

    async def test_many_at_once(self) -> None:
        """However many ask at the same moment, only the limit gets in."""
        asked = [
            cache.allow("k", 10, 60, 1_795_604_329.0)
            for _ in range(20)
            for cache in (self.one, self.two)
        ]
        answers = [await answer for answer in asked]
        self.assertEqual(sum(allowed for allowed, _ in answers), 10)


class RealValueTests(RealCase):
    async def test_values(self) -> None:
        """A value of one process is the other's, for its time, any text."""
        await self.one.set("k", "ключ 汉 \n", 60)
        self.assertEqual(await self.two.get("k"), "ключ 汉 \n")
        await self.two.delete("k")
        self.assertIsNone(await self.one.get("k"))
        await self.one.set("k", "123", 0.05)
        self.assertEqual(await self.two.get("k"), "123")
        await deferLater(reactor, 0.1)
        self.assertIsNone(await self.two.get("k"))

    async def test_counters(self) -> None:
        """Both count on one counter, which dies with its time."""
        numbers = [await cache.increment("n", 0.2) for cache in (self.one, self.two)]
        self.assertEqual(numbers, [1, 2])
        await deferLater(reactor, 0.3)
        self.assertEqual(await self.one.increment("n"), 1)


class RealListeningTests(RealCase):
    async def test_changes(self) -> None:
        """A change told by one process is heard by the other, not by itself."""
        heard: dict[str, list[Any]] = {"one": [], "two": []}
        self.one.subscribe(lambda kind, ref: heard["one"].append((kind, ref)))
        self.two.subscribe(lambda kind, ref: heard["two"].append((kind, ref)))
        await self.until(lambda: all(heard.values()))
        self.assertTrue(self.one.publish("channel", "3"))
        await self.until(lambda: len(heard["two"]) > 1)
        self.assertEqual(heard["two"], [(PURGE, ""), ("channel", "3")])
        self.assertEqual(heard["one"], [(PURGE, "")])

    async def test_reconnects(self) -> None:
        """A listening connection that was cut comes back, and says so."""
        heard: list[tuple[str, str]] = []
        self.two.subscribe(lambda kind, ref: heard.append((kind, ref)))
        lines: list[str] = []
        self.two.listen("tail", lines.append)
        await self.until(lambda: len(heard) == 1)
        self.two._listening.transport.abortConnection()
        await self.until(lambda: len(heard) == 2)
        self.assertEqual(heard, [(PURGE, "")] * 2)
        self.one.broadcast("tail", "a line")
        await self.until(lambda: bool(lines))
        self.assertEqual(lines, ["a line"])

    async def test_questions_survive_a_cut(self) -> None:
        """Connections that were cut come back; meanwhile memory answers."""
        for connection in list(self.one._pool.pool):
            connection.transport.abortConnection()
        await self.until(lambda: not self.one._pool.pool)
        self.assertTrue(self.one.allow("k", 1, 60, 1.0))
        await self.until(lambda: bool(self.one._pool.pool))
        await deferLater(reactor, 0.6)
        await self.one.set("k", "v", 60)
        self.assertEqual(await self.two.get("k"), "v")


class RealFailureTests(TestCase):
    timeout = 20

    async def test_nobody_there(self) -> None:
        """With no server at the address the process starts, in memory."""
        links = Links(Address.parse("redis://127.0.0.1:1"), reactor, 1)
        cache = RedisCache(links, MemoryCache(reactor), reactor, "me")
        try:
            self.assertFalse(await cache.ready(0.1))
            self.assertEqual(cache.allow("k", 1, 10, 1.0), (True, 0.0))
            cache.subscribe(lambda kind, ref: None)
        finally:
            await cache.close()
