"""Log rows in a database of their own."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred

from knight_tw.errors import DatabaseAway
from knight_tw.storage import schema
from tests.ledger.till import CHANNEL, RICH, LedgerCase, Shaky, kill, row, table


class TwoDatabasesTests(LedgerCase):
    """Exactly once in both, whichever fails when."""

    def setUp(self) -> None:
        """A rich user, and a second database."""
        super().setUp()
        kill(self.ledger)
        self.world.add_log_database()
        self.ledger = self.started()
        self.seed()

    @property
    def logs(self) -> Shaky:
        """The second database."""
        assert self.world.logs is not None
        return self.world.logs

    def rows(self) -> list[dict[str, Any]]:
        """The rows in the second database."""
        read = self.logs.inner.run(table, "logs")
        found: list[dict[str, Any]] = self.done(Deferred.fromCoroutine(read))
        return found

    def charge(self, call: str, amount: int = 100, hold: int = 100) -> None:
        """Holds, settles and lets the answer leave."""
        held = self.hold(call, 1, hold)
        self.ledger.settle(held, amount, row(call), CHANNEL)
        self.leave()

    def check(self, *calls: str) -> None:
        """These calls, and no others, are in both databases once."""
        rows = [it for it in self.rows() if it["type"] == 2]
        self.assertEqual([it["request_id"] for it in rows], list(calls))
        books = self.books()
        self.assertEqual((books.calls, books.count), ([], len(calls)))
        self.assertEqual(sum(it["quota"] for it in rows), books.used)

    def test_rows_go_there(self) -> None:
        """Balances move here, rows are written there."""
        self.charge("a")
        self.flush()
        self.check("a")
        self.assertEqual(self.books().quota, RICH - 100)

    def test_second_away(self) -> None:
        """Rows wait for the second database; the first is not charged again."""
        self.flush()
        self.logs.away = True
        self.charge("a")
        self.failureResultOf(self.ledger.flushed(), DatabaseAway)
        self.charge("b")
        self.assertEqual(self.books().used, 100)
        self.logs.away = False
        self.flush()
        self.check("a", "b")

    def test_lost_answers(self) -> None:
        """A commit whose answer was lost is not repeated, in either database."""
        for number, database in enumerate((self.world.main, self.logs)):
            self.charge(f"c{number}")
            database.lose_commits = 1
            self.failureResultOf(self.ledger.flushed(), DatabaseAway)
        self.flush()
        self.check("c0", "c1")

    def test_killed_between_the_two(self) -> None:
        """A process killed after the first commit leaves the second to the replay."""
        self.flush()
        self.charge("a")
        self.logs.away = True
        self.failureResultOf(self.ledger.flushed(), DatabaseAway)
        self.assertEqual((self.books().used, self.rows()), (100, []))
        kill(self.ledger)
        self.logs.away = False
        self.ledger = self.started()
        self.check("a")

    def test_what_fell_short_is_remembered(self) -> None:
        """However often the second database fails, its rows carry what was decided."""
        self.charge("a", 300)
        self.charge("b", 200)
        self.sql(_set_quota, 400)
        self.logs.read_only = True
        self.failureResultOf(self.ledger.flushed(), DatabaseAway)
        self.sql(_set_quota, RICH)
        self.charge("c", 50)
        kill(self.ledger)
        # Gets as far as charging `c`, and no further.
        self.failureResultOf(self.world.ledger().start(), DatabaseAway)
        self.assertEqual(self.books().used, 450)
        self.logs.read_only = False
        self.ledger = self.started()
        self.check("a", "b", "c")
        charges = [it for it in self.rows() if it["type"] == 2]
        self.assertEqual([it["quota"] for it in charges], [300, 100, 50])
        self.assertEqual(json.loads(charges[1]["other"])["uncollected_quota"], 100)

    def test_second_database_is_new(self) -> None:
        """A journal older than the second database is applied from where it was."""
        kill(self.ledger)
        self.world.logs = None
        self.ledger = self.started()
        self.charge("a")
        self.flush()
        self.charge("b")
        kill(self.ledger)
        self.world.add_log_database()
        self.ledger = self.started()
        self.assertEqual(self.books().calls, ["a"])
        self.assertEqual([it["request_id"] for it in self.rows()], ["b"])

    def test_stop(self) -> None:
        """Stopping marks the journal as closed in both."""
        self.charge("a")
        self.done(self.ledger.stop())
        self.check("a")
        read = self.logs.inner.run(table, "knight_journal")
        found: list[dict[str, Any]] = self.done(Deferred.fromCoroutine(read))
        there = {it["journal"]: it["sequence"] for it in found}
        self.assertEqual(there[self.ledger._journal.id], 2**63 - 1)


def _set_quota(connection: sa.Connection, quota: int) -> None:
    connection.execute(sa.update(schema.users).values(quota=quota))
