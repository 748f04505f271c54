"""Batches, their limits, and values that a database refuses."""

from __future__ import annotations

import json
import os
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from knight_tw.errors import DatabaseAway
from knight_tw.ledger import store, writer
from knight_tw.ledger.posting import Batch, post
from knight_tw.storage import schema
from tests.ledger.till import CHANNEL, NOW, TOKEN, USER, LedgerCase, row


class WriterCase(LedgerCase):
    """Tests with a rich user whose balance is known."""

    def setUp(self) -> None:
        """One settled call."""
        super().setUp()
        self.seed()
        self.charge("first")
        self.flush()

    def charge(self, call: str, amount: int = 100, **columns: Any) -> None:
        """Holds and settles."""
        self.ledger.settle(self.hold(call), amount, row(call, **columns), CHANNEL)

    def calls(self) -> list[str]:
        """Request ids in the order of their log rows."""
        return [it["request_id"] for it in self.table("logs")]


class FlushTests(WriterCase):
    """When a flush begins and what it takes."""

    def test_after_a_while(self) -> None:
        """Entries are applied LEDGER_FLUSH_SECONDS after the first of them."""
        self.charge("a")
        self.world.clock.advance(0.09)
        self.charge("b")
        self.assertEqual(self.calls(), ["first"])
        self.world.clock.advance(0.02)
        self.assertEqual(self.calls(), ["first", "a", "b"])

    def test_many_do_not_wait(self) -> None:
        """Many entries begin a flush before its time."""
        self.patch(writer, "EAGER", 5)
        for number in range(5):
            self.charge(f"c{number}")
        self.assertEqual(len(self.calls()), 6)

    def test_money_that_comes_back_hurries(self) -> None:
        """What a hold in SQL gives back is applied within a hundredth of a second."""
        self.ledger.release(self.done(self.ask("t", in_sql=True)))
        self.assertEqual(self.books().held, 5625)
        self.world.clock.advance(0.011)
        self.assertEqual(self.books().held, 0)

    def test_small_batches(self) -> None:
        """A long queue is applied in several transactions, in order."""
        self.patch(writer, "BATCH", 3)
        before = self.world.main.transactions
        for number in range(8):
            self.charge(f"c{number}")
        self.flush()
        self.assertEqual(self.world.main.transactions - before, 3)
        self.assertEqual(self.calls()[1:], [f"c{it}" for it in range(8)])
        self.assertEqual(self.books().charged, 900)

    def test_idle_journal_lives(self) -> None:
        """Without entries the journal still shows a sign of life, and nothing else."""
        self.world.clock.advance(writer.HEARTBEAT_SECONDS)
        (mine,) = self.table("knight_journal")
        self.assertEqual(mine["updated_at"], NOW + 600)
        self.assertEqual(self.calls(), ["first"])

    def test_back_off(self) -> None:
        """While the database is away the attempts become rarer."""
        self.world.main.away = True
        self.charge("a")
        for _ in range(40):
            self.world.clock.advance(0.5)
        self.assertLess(self.ledger.figures.failed_flushes, 12)
        self.world.main.away = False
        self.world.clock.advance(5)
        self.assertEqual(self.calls(), ["first", "a"])

    def test_other_errors_are_logged_and_tried_again(self) -> None:
        """A mistake in the database's schema loses nothing."""
        self.sql(_rename, "logs", "elsewhere")
        self.charge("a")
        self.world.clock.advance(1)
        self.assertGreater(len(self.flushLoggedErrors(exc.OperationalError)), 0)
        self.sql(_rename, "elsewhere", "logs")
        self.world.clock.advance(5)
        self.assertEqual(self.calls(), ["first", "a"])


class MemoryTests(WriterCase):
    """A database that is away for long."""

    def setUp(self) -> None:
        """Few entries are remembered."""
        super().setUp()
        self.patch(writer, "REMEMBERED", 10)
        self.patch(writer, "BATCH", 4)
        self.world.main.away = True

    def back(self) -> None:
        """The database is there again."""
        self.world.main.away = False
        self.world.clock.pump([5.0] * 4)

    def test_read_back_from_disk(self) -> None:
        """What is not remembered is read back, in order, and remembered ones follow."""
        for number in range(25):
            self.charge(f"c{number}")
            self.world.clock.advance(0.3)
        self.assertLessEqual(len(self.ledger._writer._queue), 10)
        self.back()
        self.assertEqual(self.calls(), ["first", *(f"c{it}" for it in range(25))])
        self.assertEqual((self.books().charged, self.books().count), (2600, 26))
        self.assertEqual(self.ledger.journal_bytes, 0)
        self.charge("later")
        self.flush()
        self.assertEqual(self.calls()[-1], "later")

    def test_away_again_in_the_middle(self) -> None:
        """A failure half way through the files starts over where it was."""
        for number in range(25):
            self.charge(f"c{number}")
        self.world.main.away = False
        self.world.main.lose_commits = 2
        self.failureResultOf(self.ledger.flushed(), DatabaseAway)
        self.charge("more")
        self.failureResultOf(self.ledger.flushed(), DatabaseAway)
        self.flush()
        expected = ["first", *(f"c{it}" for it in range(25)), "more"]
        self.assertEqual(self.calls(), expected)
        self.assertEqual(self.books().charged, 2700)

    def test_too_many_while_a_flush_runs(self) -> None:
        """Entries that come during a slow flush are bounded too, and not lost."""
        self.world.main.away = False
        self.world.main.late = []
        self.charge("a")
        waiting = self.ledger.flushed()
        for number in range(15):
            self.charge(f"c{number}")
        self.assertLessEqual(len(self.ledger._writer._queue), 10)
        self.world.main.answer()
        self.done(waiting)
        self.flush()
        self.assertEqual(self.calls(), ["first", "a", *(f"c{it}" for it in range(15))])

    def test_slow_flush_fails_in_the_end(self) -> None:
        """The same when the slow flush does not get through."""
        self.world.main.away = False
        self.world.main.late = []
        self.charge("a")
        self.world.main.lose_commits = 1
        waiting = self.ledger.flushed()
        for number in range(15):
            self.charge(f"c{number}")
        self.world.clock.advance(6)
        self.assertTrue(self.ledger.away)
        self.world.main.answer()
        self.failureResultOf(waiting, DatabaseAway)
        self.flush()
        self.assertEqual(self.calls(), ["first", "a", *(f"c{it}" for it in range(15))])
        self.assertFalse(self.ledger.away)

    def test_not_on_disk_either(self) -> None:
        """Entries that wait for a full disk are not passed over."""
        self.ledger._journal._write = _refuse
        for number in range(12):
            self.charge(f"c{number}")
        self.world.main.away = False
        self.failureResultOf(self.ledger.flushed(), DatabaseAway)
        self.assertEqual(self.calls(), ["first"])
        self.ledger._journal._write = _accept
        self.back()
        self.assertEqual(len(self.calls()), 13)


class RefusedValueTests(WriterCase):
    """A value that the database does not take."""

    def setUp(self) -> None:
        """Rows with the model `poison` are refused, as some databases refuse a text."""
        super().setUp()
        self.refuse_everything = False
        self.patch(store, "post", self.post)

    def post(self, connection: sa.Connection, batch: Batch) -> Any:
        """`post`, on a database with strict taste."""
        for entry in batch.entries:
            if entry.row and "poison" in (entry.row.model_name, entry.row.content):
                raise exc.DataError("INSERT", {}, Exception("refused"))
        return post(connection, batch)

    def test_others_are_not_held_up(self) -> None:
        """One refused row loses its texts, and nothing else happens."""
        self.charge("a")
        self.charge("b", model_name="poison")
        self.charge("c", 200)
        self.flush()
        rows = self.table("logs")
        self.assertEqual([it["request_id"] for it in rows], ["first", "a", "b", "c"])
        poor = rows[2]
        self.assertEqual((poor["quota"], poor["model_name"]), (100, ""))
        self.assertEqual((poor["user_id"], poor["token_id"]), (USER, TOKEN))
        self.assertEqual((self.books().charged, self.books().count), (500, 4))
        self.assertEqual(self.ledger.figures.charged, {"provider": 500})
        self.assertEqual(self.ledger.user_left(USER), self.books().quota)


class UncollectedTests(WriterCase):
    """Charges that meet too little, in one batch."""

    def test_batch_of_many(self) -> None:
        """Each row says what it took; together they took what was there."""
        self.sql(_lower, 250)
        for number in range(4):
            self.charge(f"c{number}")
        self.flush()
        charges = [it for it in self.table("logs")[1:] if it["type"] == 2]
        self.assertEqual([it["quota"] for it in charges], [100, 100, 50, 0])
        uncollected = [
            json.loads(it["other"]).get("uncollected_quota", 0) for it in charges
        ]
        self.assertEqual(uncollected, [0, 0, 50, 100])
        self.assertEqual((self.books().quota, self.books().used), (0, 350))


def _refuse(_file: int, _content: bytes | bytearray) -> int:
    raise OSError("full")


def _accept(file: int, content: bytes | bytearray) -> int:

    return os.write(file, content)


def _rename(connection: sa.Connection, old: str, new: str) -> None:
    connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")


def _lower(connection: sa.Connection, quota: int) -> None:
    connection.execute(sa.update(schema.users).values(quota=quota))
