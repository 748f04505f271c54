"""Tests of what caches can do with many keys: scan, forget, tally; in memory, with a
scripted Redis, and, when KNIGHT_TEST_REDIS names one, on a real one."""

from __future__ import annotations

from typing import Any

import txredisapi
from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.cache import MemoryCache, RedisCache
from tests.cache.test_shared import Connection, FakeLinks, Pool, RealCase


class MemoryTests(SynchronousTestCase):
    """In this process."""

    def setUp(self) -> None:
        """Three keys, two of which begin alike."""
        self.clock = Clock()
        self.cache = MemoryCache(self.clock)
        for key in ("a:1", "a:2", "b:1"):
            self.cache.set(key, "v", 10)

    def test_scan(self) -> None:
        """All keys with the prefix, at once."""
        self.assertEqual(self.cache.scan("a:"), (["a:1", "a:2"], ""))
        self.assertEqual(self.cache.scan("c"), ([], ""))

    def test_scan_after_their_time(self) -> None:
        """Keys whose time is over are not there."""
        self.cache.set("a:3", "v", 60)
        self.clock.advance(10)
        self.assertEqual(self.cache.scan("a:"), (["a:3"], ""))

    def test_forget(self) -> None:
        """Forgotten keys are counted if they were there."""
        self.assertEqual(self.cache.forget(["a:1", "b:1", "none"]), 2)
        self.assertEqual(self.cache.scan(""), (["a:2"], ""))

    def test_tally(self) -> None:
        """Numbers are summed or stated, and end together."""
        self.cache.tally("t", {"n": 1, "m": 5}, {"seen": 3}, 10)
        self.clock.advance(9)
        self.cache.tally("t", {"n": 1}, {"seen": 4}, 10)
        self.clock.advance(9)
        self.assertEqual(self.cache.tallied("t"), {"n": 2, "m": 5, "seen": 4})
        self.clock.advance(1)
        self.assertEqual(self.cache.tallied("t"), {})
        self.cache.tally("t", {"n": 1}, {}, 10)
        self.assertEqual(self.cache.tallied("t"), {"n": 1})

    def test_tallies_are_bounded(self) -> None:
        """The ones that were not added to for longest go first."""
        cache = MemoryCache(self.clock, max_keys=2)
        for key in ("a", "b", "a", "c"):
            cache.tally(key, {"n": 1}, {}, 10)
        self.assertEqual(
            [cache.tallied(key) for key in "abc"], [{"n": 2}, {}, {"n": 1}]
        )


class ScriptedTests(SynchronousTestCase):
    """What Redis is asked, and what happens when it is away."""

    def setUp(self) -> None:
        """A cache on a scripted connection."""
        self.connection = Connection()
        clock = Clock()
        links: Any = FakeLinks(Pool(self.connection))
        self.cache = RedisCache(links, MemoryCache(clock), clock, "me", "p[1]:")

    def test_pattern(self) -> None:
        """What is special in patterns is taken as it is; keys come without prefix."""
        asked: Any = self.cache.scan("a*:")
        self.assertEqual(
            self.connection.asked, [("scan", "0", r"p\[1\]:knight:a\*:*", 1000)]
        )
        self.connection.answers[0].callback(["7", ["p[1]:knight:a*:x"]])
        self.assertEqual(self.successResultOf(asked), (["a*:x"], "7"))

    def test_last_step(self) -> None:
        """The cursor is given back, and the last one is empty."""
        asked: Any = self.cache.scan("a", "7")
        self.assertEqual(self.connection.asked[0][1], "7")
        self.connection.answers[0].callback(["0", []])
        self.assertEqual(self.successResultOf(asked), ([], ""))

    def test_away(self) -> None:
        """Without Redis this process's memory is all there is."""
        asked: Any = self.cache.forget(["a:1"])
        self.connection.answers[0].errback(txredisapi.ConnectionError("lost"))
        self.assertEqual(self.successResultOf(asked), 0)
        self.cache.set("a:1", "v", 10)
        self.cache.tally("t", {"n": 1}, {}, 10)
        self.assertEqual(self.cache.scan("a:", "7"), (["a:1"], ""))
        self.assertEqual(self.cache.tallied("t"), {"n": 1})
        self.assertEqual(self.cache.forget(["a:1", "a:2"]), 1)

    def test_nothing_to_forget(self) -> None:
        """Then Redis is not asked."""
        self.assertEqual(self.cache.forget([]), 0)
        self.assertEqual(self.connection.asked, [])


class RealTests(RealCase):
    """On a real Redis."""

    async def test_scan_finds_every_key_in_steps(self) -> None:
        """Many keys come in several answers, none is lost, others' stay out."""
        wanted = {f"a[*]?:{number}" for number in range(2500)}
        for key in wanted | {"a[x]?:1", "b:1"}:
            self.one.set(key, "v", 60)
        await self.one.get("b:1")
        found: set[str] = set()
        cursor, steps = "", 0
        while cursor or not steps:
            keys, cursor = await self.two.scan("a[*]?:", cursor)
            found.update(keys)
            steps += 1
        self.assertEqual(found, wanted)
        self.assertGreater(steps, 1)
        self.assertEqual(await self.two.forget(sorted(found)), 2500)
        self.assertEqual(await self.one.get("b:1"), "v")

    async def test_tallies_are_shared(self) -> None:
        """Two processes add to the same numbers."""
        await self.one.tally("t", {"n": 1, "m": 2}, {"seen": 9}, 60)
        await self.two.tally("t", {"n": 1}, {"seen": 5}, 60)
        expected = {"n": 2, "m": 2, "seen": 5}
        self.assertEqual(await self.one.tallied("t"), expected)
        self.assertEqual(await self.one.tallied("none"), {})

    async def test_tallies_end(self) -> None:
        """After their time they are gone."""
        await self.one.tally("t", {"n": 1}, {}, 0.05)
        await self.gone("t")

    async def gone(self, key: str) -> None:
        """Waits until there are no numbers under a key."""
        for _ in range(200):
            if await self.one.tallied(key) == {}:
                return
            await self.pause()
        self.fail("still there")

    async def pause(self) -> None:
        """A short wait."""
        await deferLater(reactor, 0.02)
