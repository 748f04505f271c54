"""What happens after a process died."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa

from knight_tw.errors import DatabaseAway
from knight_tw.ledger import Ledger
from knight_tw.ledger.holds import CLOSED
from knight_tw.storage import schema
from tests.ledger.till import CHANNEL, RICH, LedgerCase, kill, row


class ReplayCase(LedgerCase):
    """Tests with a rich user and a process that dies."""

    def setUp(self) -> None:
        """The user."""
        super().setUp()
        self.seed()

    def charge(self, call: str, amount: int = 100) -> None:
        """Holds, settles, and lets the answer leave."""
        self.ledger.settle(self.hold(call), amount, row(call), CHANNEL)
        self.leave()

    def die(self) -> None:
        """The process is killed."""
        kill(self.ledger)

    def restart(self) -> None:
        """Another process starts."""
        self.ledger = self.started()

    def files(self, suffix: str = "") -> list[Path]:
        """The files in the journal's directory."""
        return sorted(self.world.directory.glob(f"*{suffix}"))


class ReplayTests(ReplayCase):
    """`start` after a crash."""

    def test_nothing_applied_yet(self) -> None:
        """What was settled but not applied is applied, once."""
        self.charge("a")
        self.charge("b")
        self.die()
        self.restart()
        books = self.books()
        self.assertEqual(
            (books.charged, books.quota, books.count), (200, RICH - 200, 2)
        )
        self.assertEqual(books.calls, ["a", "b"])
        self.assertEqual(len(self.files(".log")), 1)
        positions = {it["sequence"] for it in self.table("knight_journal")}
        self.assertEqual(positions, {0, CLOSED})

    def test_partly_applied(self) -> None:
        """What the database has already is left alone."""
        self.charge("a")
        self.flush()
        self.charge("b")
        self.die()
        self.restart()
        self.assertEqual(self.books().calls, ["a", "b"])

    def test_committed_without_answer(self) -> None:
        """A batch that was committed right before the end is not applied again."""
        self.charge("a")
        self.world.main.lose_commits = 1
        self.failureResultOf(self.ledger.flushed(), DatabaseAway)
        self.die()
        self.restart()
        self.assertEqual(self.books().calls, ["a"])

    def test_not_written(self) -> None:
        """A settlement before the barrier is lost with its process, money and row."""
        self.charge("a")
        self.ledger.settle(self.hold("b"), 100, row("b"))
        self.die()
        self.restart()
        self.assertEqual((self.books().calls, self.books().quota), (["a"], RICH - 100))

    def test_open_holds_come_back(self) -> None:
        """Holds in SQL that nobody settled are released."""
        self.done(self.ask("t", in_sql=True))
        settled = self.done(self.ask("s", in_sql=True))
        self.ledger.settle(settled, 100, row("s"))
        self.leave()
        self.assertEqual(self.books().held, 2 * 5625)
        self.die()
        self.restart()
        books = self.books()
        self.assertEqual((books.held, books.quota, books.charged), (0, RICH - 100, 100))
        self.assertEqual(books.remain, RICH - 100)

    def test_several_dead(self) -> None:
        """Every dead process's journal is applied, a living one's is not."""
        self.charge("a")
        self.die()
        other = self.ledger = self.started()
        self.charge("b")
        living = self.started()
        hold = self.done(living.hold("c", 1, 2, False, 1, 1))
        living.settle(hold, 100, row("c"))
        self.leave(living)
        kill(other)
        self.restart()
        self.assertEqual(self.books().calls, ["a", "b"])
        self.done(living.flushed())
        self.assertEqual(self.books().calls, ["a", "b", "c"])

    def test_away_at_start(self) -> None:
        """A start that fails loses nothing."""
        self.charge("a")
        self.die()
        self.world.main.away = True
        ledger = self.world.ledger()
        self.failureResultOf(ledger.start(), DatabaseAway)
        self.world.main.away = False
        self.restart()
        self.assertEqual(self.books().calls, ["a"])

    def test_crash_while_cleaning_up(self) -> None:
        """A lock file or an empty part that was left behind goes away."""
        self.die()
        (self.world.directory / f"{'a' * 32}.lock").touch()
        self.restart()
        self.assertEqual(len(self.files()), 2)

    def test_files_that_come_back(self) -> None:
        """A closed journal restored from a backup is not applied again."""
        self.charge("a")
        self.die()
        saved = {it.name: it.read_bytes() for it in self.files(".log")}
        self.restart()
        for name, content in saved.items():
            (self.world.directory / name).write_bytes(content)
        kill(self.ledger)
        self.restart()
        self.assertEqual(self.books().calls, ["a"])

    def test_unknown_to_the_database(self) -> None:
        """Entries of a journal that the database never heard of are set aside."""
        self.charge("a")
        self.die()
        self.sql(_forget_journals)
        self.restart()
        self.assertEqual(self.books().calls, [])
        self.assertEqual(len(self.files(".bad")), 1)

    def test_damaged_file(self) -> None:
        """What comes before the damage is applied, and the file is kept."""
        for call in "abc":
            self.charge(call)
        self.die()
        (path,) = self.files(".log")
        path.write_bytes(path.read_bytes().replace(b'"call":"b"', b'"call":"x"'))
        self.restart()
        self.assertEqual(self.books().calls, ["a"])
        self.assertEqual(self.files(".bad"), [path.with_suffix(".bad")])

    def test_torn_file(self) -> None:
        """A torn last line never happened, and the file is deleted."""
        self.charge("a")
        self.charge("b")
        self.die()
        (path,) = self.files(".log")
        os.truncate(path, path.stat().st_size - 5)
        self.restart()
        self.assertEqual((self.books().calls, self.files(".bad")), (["a"], []))


class StopTests(ReplayCase):
    """`stop`."""

    def test_everything_is_applied(self) -> None:
        """After a clean stop nothing is left but the books."""
        self.charge("a")
        self.done(self.ledger.stop())
        self.assertEqual((self.books().calls, self.files()), (["a"], []))
        (mine,) = self.table("knight_journal")
        self.assertEqual(mine["sequence"], CLOSED)

    def test_open_holds_come_back(self) -> None:
        """Holds that are still open are given back."""
        self.done(self.ask("t", in_sql=True))
        self.done(self.ledger.stop())
        self.assertEqual((self.books().held, self.books().quota), (0, RICH))

    def test_database_away(self) -> None:
        """With the database away the journal stays for the next start."""
        self.charge("a")
        self.world.main.away = True
        self.done(self.ledger.stop())
        self.world.main.away = False
        self.restart()
        self.assertEqual(self.books().calls, ["a"])

    def test_database_away_with_open_holds(self) -> None:
        """The next start gives back what could not be given back."""
        self.done(self.ask("t", in_sql=True))
        self.flush()
        self.world.main.away = True
        self.done(self.ledger.stop())
        self.world.main.away = False
        self.restart()
        self.assertEqual((self.books().held, self.books().quota), (0, RICH))

    def test_late_settlement(self) -> None:
        """A call settled while the ledger stops is left to the next start."""
        hold = self.hold("late")
        self.world.main.late = []
        stopping = self.ledger.stop()
        self.ledger.settle(hold, 100, row("late"), CHANNEL)
        self.leave()
        while self.world.main.late:
            self.world.main.late.pop(0).callback(None)
        self.world.main.late = None
        self.done(stopping)
        self.restart()
        self.assertEqual(self.books().calls, ["late"])

    def test_twice(self) -> None:
        """Stopping again, or without a start, does nothing."""
        self.done(self.ledger.stop())
        self.done(self.ledger.stop())
        self.done(self.world.ledger().stop())

    def test_old_rows_go(self) -> None:
        """Rows of closed journals are removed after a week."""
        self.done(self.ledger.stop())
        self.world.clock.advance(8 * 86_400)
        ledger: Ledger = self.started()
        self.done(ledger.release_lost(int(self.world.clock.seconds())))
        self.assertEqual(len(self.table("knight_journal")), 1)


def _forget_journals(connection: sa.Connection) -> None:
    connection.execute(sa.delete(schema.knight_journal))
