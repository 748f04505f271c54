"""Tests of knight_tw.cache.memory."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.cache import MemoryCache, open_cache


class WindowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cache = MemoryCache(Clock())

    def test_limit(self) -> None:
        """A window takes its limit, and tells how long until the next is free."""
        for now in (100.0, 101.0):
            self.assertEqual(self.cache.allow("k", 2, 10, now), (True, 0.0))
        self.assertEqual(self.cache.allow("k", 2, 10, 102.0), (False, 8.0))
        self.assertEqual(self.cache.allow("k", 2, 10, 109.9)[0], False)
        self.assertEqual(self.cache.allow("k", 2, 10, 110.0), (True, 0.0))

    def test_refused_is_not_recorded(self) -> None:
        """What was refused does not fill the window further."""
        self.cache.allow("k", 1, 10, 100.0)
        for _ in range(5):
            self.cache.allow("k", 1, 10, 105.0)
        self.assertEqual(self.cache.count("k", 10, 105.0), (1, 5.0))

    def test_smaller_limit(self) -> None:
        """After the limit was lowered the wait is until enough have left."""
        for now in (100.0, 101.0, 102.0):
            self.cache.record("k", 10, now)
        self.assertEqual(self.cache.allow("k", 1, 10, 103.0), (False, 9.0))
        self.assertEqual(self.cache.allow("k", 0, 10, 103.0), (False, 10.0))

    def test_count_and_record(self) -> None:
        """Recording is unconditional, counting records nothing."""
        self.assertEqual(self.cache.count("k", 10, 100.0), (0, 0.0))
        self.cache.record("k", 10, 100.0)
        self.assertEqual(self.cache.count("k", 10, 104.0), (1, 6.0))
        self.assertEqual(self.cache.count("k", 10, 110.0), (0, 0.0))

    def test_keys_are_apart(self) -> None:
        """Windows of different keys have nothing to do with each other."""
        self.cache.allow("a", 1, 10, 100.0)
        self.assertTrue(self.cache.allow("b", 1, 10, 100.0)[0])

    def test_bounded(self) -> None:
        """The window used longest ago goes when there are too many."""
        cache = MemoryCache(Clock(), max_keys=2)
        for key in ("a", "b", "a", "c"):
            cache.record(key, 10, 100.0)
        self.assertEqual(cache.count("a", 10, 100.0)[0], 2)
        self.assertEqual(cache.count("b", 10, 100.0)[0], 0)


class ValueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.cache = MemoryCache(self.clock)

    def test_until_its_time_is_over(self) -> None:
        """A value is there for its time."""
        self.cache.set("k", "v", 5)
        self.assertEqual(self.cache.get("k"), "v")
        self.clock.advance(5)
        self.assertIsNone(self.cache.get("k"))
        self.assertIsNone(self.cache.get("other"))

    def test_delete(self) -> None:
        """A deleted value is gone; deleting nothing is no harm."""
        self.cache.set("k", "v", 5)
        self.cache.delete("k")
        self.cache.delete("k")
        self.assertIsNone(self.cache.get("k"))

    def test_increment(self) -> None:
        """A counter begins at 1 and dies with its first increment's time."""
        self.assertEqual([self.cache.increment("k", 5) for _ in range(12)][-1], 12)
        self.clock.advance(5)
        self.assertEqual(self.cache.increment("k", 5), 1)
        self.assertEqual(self.cache.increment("forever"), 1)

    def test_bounded_by_number(self) -> None:
        """The value used longest ago goes when there are too many."""
        cache = MemoryCache(self.clock, max_keys=2)
        cache.set("a", "1", 5)
        cache.set("b", "1", 5)
        cache.get("a")
        cache.set("c", "1", 5)
        self.assertEqual([cache.get(k) for k in "abc"], ["1", None, "1"])

    def test_bounded_by_size(self) -> None:
        """Large values push others out, and one too large is not kept at all."""
        cache = MemoryCache(self.clock, max_bytes=400)
        for key in "abcde":
            cache.set(key, "x" * 99, 5)
        self.assertEqual([k for k in "abcde" if cache.get(k)], ["b", "c", "d", "e"])
        cache.set("f", "x" * 101, 5)
        self.assertIsNone(cache.get("f"))
        for key in "bcde":
            cache.delete(key)
        cache.set("g", "x", 5)
        self.assertEqual(cache._bytes, 2)


class LonelyTests(SynchronousTestCase):
    def test_nobody_to_tell(self) -> None:
        """Without Redis nothing is told and nothing heard."""
        cache = open_cache("", reactor=Clock())
        heard: list[str] = []
        cache.subscribe(lambda kind, ref: heard.append(kind))
        cache.listen("tail", heard.append)
        self.assertFalse(cache.publish("option", ""))
        self.assertFalse(cache.broadcast("tail", "x"))
        self.assertEqual(heard, [])
        self.assertFalse(cache.shared)
        self.assertTrue(cache.up)
        cache.close()
