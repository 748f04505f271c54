"""Ledgers on real databases, with threads: races and several processes at once."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.threads import deferToThread

from knight_tw.errors import TokenQuotaShort, UserQuotaShort
from knight_tw.ledger import Hold, Ledger, Place
from tests.engines import DatabaseCase, for_engines
from tests.ledger.till import CHANNEL, RICH, TOKEN, TRUST, USER, books, row, seed, table


class LedgerOnDatabaseCase(DatabaseCase):
    """Tests with ledgers that share a database and a directory."""

    def setUp(self) -> None:
        """An empty database; `self.directory` is for the journals."""
        super().setUp()
        self.directory = Path(self.mktemp())

    async def ledger(self, processes: int = 1, trust: int = TRUST) -> Ledger:
        """A running ledger with connections of its own."""
        ledger = Ledger(
            self.open(),
            None,
            reactor,
            deferToThread,
            self.directory,
            lambda: trust,
            lambda: True,
            lambda: processes,
            strict=True,
        )
        await ledger.start()
        self.addCleanup(ledger.stop)
        return ledger


@for_engines
class RaceTests(LedgerOnDatabaseCase):
    """Many at once."""

    async def test_last_cent(self) -> None:
        """Of 1,000 calls that want the last money just those get in that fit."""
        await self.db.run(seed, 10_000, 8_500)
        ledger = await self.ledger()
        asked = [
            ledger.hold(f"c{it}", USER, TOKEN, False, 1000, 1000) for it in range(1000)
        ]
        results = await outcomes(asked)
        granted = [it for it in results if isinstance(it, Hold)]
        self.assertEqual([it.amount for it in granted], [1000] * 8)
        refused = {type(it) for it in results if not isinstance(it, Hold)}
        self.assertEqual(refused, {TokenQuotaShort})
        for held in granted:
            ledger.settle(held, 1100, row(held.call_id), CHANNEL)
        await ledger.flushed()
        found = await self.db.read(books)
        self.assertEqual((found.quota, found.remain), (1500, 0))
        self.assertEqual((found.charged, found.used, found.count), (8500, 8500, 8))

    async def test_two_processes(self) -> None:
        """Two processes spend one balance to the last unit, and no further."""
        await self.db.run(seed, 20_000, RICH)
        ledgers = [await self.ledger(processes=2, trust=5_000) for _ in range(2)]
        chance = random.Random(1)  # noqa: S311
        charged, refused = 0, 0

        async def call(number: int) -> None:
            nonlocal charged, refused
            ledger = ledgers[number % 2]
            try:
                held = await hold(ledger, f"c{number}", 100, 400)
            except UserQuotaShort:
                refused += 1
                return
            await pause(chance.random() / 50)
            if number % 10 == 0:
                ledger.release(held)
                return
            ledger.settle(held, 250, row(f"c{number}"), CHANNEL)
            charged += 1

        for start in range(0, 200, 20):
            calls = [Deferred.fromCoroutine(call(start + it)) for it in range(20)]
            await gatherResults(calls)
        await gatherResults([it.flushed() for it in ledgers])
        found = await self.db.read(books)
        self.assertEqual(found.count, charged)
        self.assertGreater(refused, 0)
        self.assertEqual(found.charged, found.used)
        self.assertEqual(found.quota + found.used, 20_000)
        self.assertEqual(found.held, 0)
        if found.quota:
            # Refused calls met the holds of others; what came back can be spent.
            rest = await hold(ledgers[0], "rest", found.quota)
            ledgers[0].settle(rest, found.quota + 1, row("rest"), CHANNEL)
            await ledgers[0].flushed()
        self.assertEqual((await self.db.read(books)).quota, 0)

    async def test_comfort_and_limit_together(self) -> None:
        """Calls in memory and in SQL at the same time leave right books."""
        await self.db.run(seed, TRUST + 30_000, RICH)
        ledger = await self.ledger()
        places: dict[Place, int] = {}

        async def call(number: int) -> None:
            held = await hold(ledger, f"c{number}", 500, 2_000)
            places[held.place] = places.get(held.place, 0) + 1
            await pause(0.001 * (number % 5))
            ledger.settle(held, 1_000, row(f"c{number}"), CHANNEL)

        for start in range(0, 60, 10):
            calls = [Deferred.fromCoroutine(call(start + it)) for it in range(10)]
            await gatherResults(calls)
        await ledger.flushed()
        found = await self.db.read(books)
        self.assertEqual((found.charged, found.count), (60_000, 60))
        self.assertEqual(found.quota, TRUST - 30_000)
        self.assertEqual(places.keys(), {Place.MEMORY, Place.SQL})
        self.assertEqual(ledger.user_left(USER), found.quota)

    async def test_stop_and_start(self) -> None:
        """A stopped ledger leaves everything applied, for the next to go on."""
        await self.db.run(seed, RICH, RICH)
        ledger = await self.ledger()
        for number in range(2):
            held = await hold(ledger, f"c{number}", 1, in_sql=True)
            ledger.settle(held, 100, row(f"c{number}"), CHANNEL)
            await ledger.stop()
            self.assertEqual(list(self.directory.iterdir()), [])
            ledger = await self.ledger()
        self.assertEqual((await self.db.read(books)).charged, 200)
        rows: list[Any] = await self.db.read(partial(table, name="knight_journal"))
        self.assertEqual(len(rows), 3)


async def hold(
    ledger: Ledger, call: str, need: int, amount: int = 0, *, in_sql: bool = False
) -> Hold:
    """A hold of the user by the token."""
    asked = ledger.hold(call, USER, TOKEN, False, need, amount, in_sql=in_sql)
    return await asked if isinstance(asked, Deferred) else asked


async def outcomes(asked: list[Hold | Deferred[Hold]]) -> list[Any]:
    """The holds, or the errors, of calls that wait."""
    waiting = [it for it in asked if isinstance(it, Deferred)]
    results: list[Any] = await DeferredList(waiting, consumeErrors=True)
    ended = [it if good else it.value for good, it in results]
    return [it for it in asked if not isinstance(it, Deferred)] + ended


def pause(seconds: float) -> Deferred[None]:
    """Fires a little later."""
    later: Deferred[None] = Deferred()
    reactor.callLater(seconds, later.callback, None)
    return later
