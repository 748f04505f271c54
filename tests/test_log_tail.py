"""Tests of the log as it is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast
from unittest import SkipTest
from uuid import uuid4

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from knight_tw import log_tail
from knight_tw.cache import MemoryCache, RedisCache, open_cache
from knight_tw.ledger.entries import NOTE, Entry, Row
from knight_tw.log_tail import CATCH_UP, PER_TICK, RING, LogTail, Seen, accepts
from knight_tw.storage.log_queries import LogFilter

TICK = log_tail.TICK_SECONDS


@define
class Bus:
    """What the caches of several processes share."""

    heard: dict[str, list[Callable[[str], None]]] = field(factory=dict)
    sent: list[str] = field(factory=list)


class SharedCache(MemoryCache):
    """The cache of one process on a bus."""

    shared = True

    def __init__(self, clock: Clock, bus: Bus) -> None:
        super().__init__(clock)
        self.bus = bus

    def broadcast(self, channel: str, text: str) -> bool:
        """To everybody, ourselves included."""
        self.bus.sent.append(channel)
        for heard in self.bus.heard.get(channel, []):
            heard(text)
        return True

    def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """From everybody."""
        self.bus.heard.setdefault(channel, []).append(heard)


def entry(user: int = 1, **columns: Any) -> Entry:
    """A log row as the ledger wrote it."""
    members = {"created_at": 1000, "model_name": "m", **columns}
    return Entry(seq=1, kind=NOTE, row=Row(user_id=user, **members))


@define
class Watcher:
    """Remembers what it was told."""

    rows: list[Seen] = field(factory=list)
    missed: int = 0

    def __call__(self, rows: Sequence[Seen], missed: int) -> None:
        """Rows, and the number of those left out."""
        self.rows += rows
        self.missed += missed

    def users(self) -> list[int]:
        """The users of the rows."""
        return [one.row.user_id for one in self.rows]


def everything(row: Row) -> bool:
    """No filter."""
    return True


class TailTests(SynchronousTestCase):
    """One process."""

    def setUp(self) -> None:
        """A tail and somebody to read it."""
        self.clock = Clock()
        self.tail = LogTail(MemoryCache(self.clock), self.clock, "p1")
        self.tail.start()
        self.watcher = Watcher()
        self.addCleanup(self.tail.stop)

    def write(self, *users: int) -> None:
        """Rows of users."""
        for user in users:
            self.tail.seen(entry(user))

    def test_from_now_on(self) -> None:
        """A reader is told of what is written from now on, in its order."""
        self.write(1)
        self.tail.join(everything, self.watcher)
        self.write(2, 3)
        self.assertEqual(self.watcher.rows, [])
        self.clock.advance(TICK)
        self.write(4)
        self.clock.advance(TICK)
        self.assertEqual(self.watcher.users(), [2, 3, 4])
        self.assertEqual(self.watcher.missed, 0)

    def test_filtered(self) -> None:
        """Only of what it asked for."""
        self.tail.join(lambda row: row.user_id == 2, self.watcher)
        self.write(1, 2, 3)
        self.clock.advance(TICK)
        self.assertEqual(self.watcher.users(), [2])

    def test_nobody(self) -> None:
        """Without readers nothing ticks; a second reader starts afresh."""
        reader = self.tail.join(everything, self.watcher)
        self.tail.leave(reader)
        self.tail.leave(reader)
        self.clock.advance(TICK)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.write(1)
        self.tail.join(everything, self.watcher)
        self.clock.advance(TICK)
        self.assertEqual(self.watcher.rows, [])

    def test_too_many(self) -> None:
        """Of many rows the first are told, and the number of the others."""
        self.tail.join(everything, self.watcher)
        self.write(*range(PER_TICK + 7))
        self.clock.advance(TICK)
        self.assertEqual(self.watcher.users(), list(range(PER_TICK)))
        self.assertEqual((self.watcher.missed, self.tail.dropped), (7, 7))

    def test_more_than_the_ring(self) -> None:
        """What the ring does not hold any more counts as missed."""
        self.tail.join(lambda row: row.user_id == 5, self.watcher)
        self.write(*[1] * (RING + 10))
        self.clock.advance(TICK)
        self.assertEqual((self.watcher.rows, self.watcher.missed), ([], 10))

    def test_not_in_the_log(self) -> None:
        """Entries without a row, and rows that are only counted, are not told."""
        self.tail.join(everything, self.watcher)
        self.tail.seen(Entry(seq=1, kind=NOTE))
        self.tail.seen(Entry(seq=2, kind=NOTE, hidden=True, row=Row()))
        self.tail.seen(Entry(seq=3, kind=NOTE, instalment=2, row=Row()))
        self.clock.advance(TICK)
        self.assertEqual(self.watcher.rows, [])

    def test_come_back(self) -> None:
        """Who comes back with an id is told what was behind it."""
        self.tail.join(everything, self.watcher)
        self.write(1, 2, 3)
        self.clock.advance(TICK)
        again = Watcher()
        self.tail.join(everything, again, self.watcher.rows[0].id)
        self.assertEqual(again.users(), [2, 3])
        self.clock.advance(TICK)
        self.assertEqual(again.users(), [2, 3])

    def test_come_back_from_elsewhere(self) -> None:
        """With another process's id it is told what is not older than that."""
        for moment in (10, 20, 30):
            self.tail.seen(entry(moment, created_at=moment))
        self.tail.join(everything, self.watcher, "20-77-other")
        self.assertEqual(self.watcher.users(), [20, 30])

    def test_come_back_with_nonsense(self) -> None:
        """Any other text is no id."""
        self.write(1)
        for text in ("x", "-", "1" * 400, "\u00b2-1-1"):
            self.tail.join(everything, self.watcher, text)
        self.assertEqual(self.watcher.rows, [])

    def test_come_back_late(self) -> None:
        """Of very much only the newest is told."""
        self.write(*range(CATCH_UP + 5))
        self.tail.join(everything, self.watcher, "0-0-other")
        self.assertEqual(self.watcher.missed, 5)
        self.assertEqual(self.watcher.users()[0], 5)


class ProcessesTests(SynchronousTestCase):
    """Several processes on one Redis."""

    def setUp(self) -> None:
        """Two of them."""
        self.clock, self.bus = Clock(), Bus()
        self.one, self.two = (
            LogTail(SharedCache(self.clock, self.bus), self.clock, name)
            for name in ("p1", "p2")
        )
        for tail in (self.one, self.two):
            tail.start()
            self.addCleanup(tail.stop)
        self.watcher = Watcher()

    def wait(self, ticks: int = 2) -> None:
        """Some ticks."""
        self.clock.pump([TICK] * ticks)

    def test_nobody(self) -> None:
        """While nobody reads nothing is sent."""
        self.one.seen(entry())
        self.wait(200)
        self.assertEqual(self.bus.sent, [])

    def test_rows_of_others(self) -> None:
        """A reader sees what every process writes, each row once."""
        self.one.join(everything, self.watcher)
        self.wait(1)
        self.two.seen(entry(2, other=Raw(b'{"a":1}')))
        self.one.seen(entry(1))
        self.wait(3)
        self.assertEqual(sorted(self.watcher.users()), [1, 2])
        foreign = next(it for it in self.watcher.rows if it.origin == "p2")
        self.assertEqual(bytes(foreign.row.other), b'{"a":1}')
        self.assertEqual(foreign.id, "1000-1-p2")

    def test_no_echo(self) -> None:
        """Rows of another process are not sent again, whoever reads."""
        other = Watcher()
        self.one.join(everything, self.watcher)
        self.two.join(everything, other)
        self.wait(1)
        self.two.seen(entry(2))
        self.wait(5)
        self.assertEqual((self.watcher.users(), other.users()), ([2], [2]))

    def test_nobody_any_more(self) -> None:
        """A while after the last reader nothing is sent any more."""
        reader = self.one.join(everything, self.watcher)
        self.wait(1)
        self.one.leave(reader)
        self.clock.pump([1.0] * 50)
        self.bus.sent.clear()
        self.two.seen(entry(2))
        self.wait(5)
        self.assertEqual(self.bus.sent, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_said_again(self) -> None:
        """As long as somebody reads the others are told so."""
        self.one.join(everything, self.watcher)
        self.clock.pump([1.0] * 100)
        self.two.seen(entry(2))
        self.wait()
        self.assertEqual(self.watcher.users(), [2])

    def test_too_many(self) -> None:
        """What another process leaves out is counted here."""
        self.one.join(everything, self.watcher)
        self.wait(1)
        for _ in range(PER_TICK + 5):
            self.two.seen(entry(2))
        self.wait(3)
        self.assertEqual(self.watcher.missed, 5)
        self.assertEqual(len(self.watcher.rows), PER_TICK)

    def test_nonsense(self) -> None:
        """What is no batch is ignored."""
        for heard in self.bus.heard[log_tail.ROWS]:
            for text in ("", "{", "[]", '{"origin":1}', '{"origin":"p3"}'):
                heard(text)
        self.one.join(everything, self.watcher)
        self.wait()
        self.assertEqual(self.watcher.rows, [])


class FilterTests(SynchronousTestCase):
    """The filters of the log pages."""

    row = Row(
        user_id=7,
        created_at=1000,
        type=2,
        content="Some Text",
        username="ann",
        token_name="ci",
        model_name="gpt-4o-mini",
        quota=50,
        use_time=3,
        channel_id=9,
        group="vip",
        request_id="r1",
        status=200,
        session_id=None,
    )

    def test_each(self) -> None:
        """Every field takes what it names and nothing else."""
        taken: list[dict[str, Any]] = [
            {},
            {"user_id": 7},
            {"kinds": (2, 5)},
            {"start": 1000, "end": 1000},
            {"usernames": ("bob", "ann")},
            {"tokens": ("c%",)},
            {"models": ("gpt-%-mini",)},
            {"groups": ("vip",)},
            {"channels": (9,)},
            {"request_ids": ("r1",)},
            {"status_codes": (200,)},
            {"least_duration": 3, "least_cost": 50},
            {"content": "some"},
        ]
        refused: list[dict[str, Any]] = [
            {"user_id": 8},
            {"kinds": (5,)},
            {"start": 1001},
            {"end": 999},
            {"usernames": ("an",)},
            {"tokens": ("%x%",)},
            {"models": ("gpt-4o",)},
            {"models": ("gpt_4o_mini",)},
            {"session_ids": ("x",)},
            {"upstream_request_ids": ("x",)},
            {"least_duration": 4},
            {"least_cost": 51},
            {"content": "other"},
            {"channels": (9,), "groups": ("default",)},
        ]
        for chosen in taken:
            self.assertTrue(accepts(LogFilter(**chosen))(self.row), chosen)
        for chosen in refused:
            self.assertFalse(accepts(LogFilter(**chosen))(self.row), chosen)

    def test_rows_of_others_first(self) -> None:
        """What others write is left out before any text of it is looked at: a reader
        with many patterns is no burden to a busy process."""
        chosen = LogFilter(user_id=1, models=("%a%",), tokens=("b",), content="c")
        row = cast(Row, SimpleNamespace(user_id=2))
        self.assertFalse(accepts(chosen)(row))

    @settings(max_examples=150, deadline=None)
    @given(st.text("ab%", max_size=8), st.text("ab", max_size=10))
    def test_like(self, pattern: str, text: str) -> None:
        """`%` stands for anything, everything else for itself."""
        found = accepts(LogFilter(models=(pattern,)))(Row(model_name=text))
        self.assertEqual(found, _like(pattern, text))


def _like(pattern: str, text: str) -> bool:
    """The meaning of a pattern, slowly."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(_like(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return text[:1] == pattern[0] and _like(pattern[1:], text[1:])


class RealTests(TestCase):
    """Two processes on a real Redis, under a prefix of their own."""

    timeout = 20

    async def setUp(self) -> None:
        """Two caches and their tails."""
        address = os.environ.get("KNIGHT_TEST_REDIS", "")
        if not address:
            self.assertNotEqual(os.environ.get("KNIGHT_TEST_REQUIRED"), "1")
            raise SkipTest("KNIGHT_TEST_REDIS is not set")
        prefix = f"test-{uuid4().hex}:"
        self.tails = []
        for name in ("p1", "p2"):
            cache = open_cache(address, reactor=reactor, prefix=prefix, timeout=2.0)
            assert isinstance(cache, RedisCache)
            self.addCleanup(_closed, cache)
            self.assertTrue(await cache.ready())
            clock = cast(IReactorTime, reactor)
            tail = LogTail(cache, clock, name)
            tail.start()
            self.addCleanup(tail.stop)
            self.tails.append(tail)

    async def test_rows_of_another(self) -> None:
        """A reader sees what the other process writes, as it was written."""
        one, two = self.tails
        watcher = Watcher()
        one.join(everything, watcher)
        for number in range(100):
            # The first ones may be written before the other knows that somebody reads.
            two.seen(entry(number, content="ü\u2028", other=Raw(b'{"a":"\\n"}')))
            await deferLater(reactor, 0.05)
            if watcher.rows:
                break
        row = watcher.rows[0].row
        self.assertEqual((row.content, bytes(row.other)), ("ü\u2028", b'{"a":"\\n"}'))
        self.assertEqual(watcher.rows[0].origin, "p2")


def _closed(cache: RedisCache) -> Deferred[None]:
    return Deferred.fromCoroutine(cache.close())
