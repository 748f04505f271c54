"""Whole copies of SQLite files, and looks that leave no trace."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import backups


class FileCase(SynchronousTestCase):
    """A file of the test's own."""

    def setUp(self) -> None:
        """Its path."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.folder = folder
        self.path = str(folder / "one-api.db")

    def made(self, mode: str = "delete") -> sqlite3.Connection:
        """A table with one row, committed; the connection stays open."""
        connection = sqlite3.connect(self.path)
        self.addCleanup(connection.close)
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE t (n)")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()
        return connection

    def names(self) -> list[str]:
        return sorted(os.listdir(self.folder))


class CopyTests(FileCase):
    """`copy`."""

    def test_while_open(self) -> None:
        """What is committed is copied, also from a write-ahead log; no more."""
        connection = self.made("wal")
        connection.execute("INSERT INTO t VALUES (2)")
        backups.copy(self.path, f"{self.path}.copy")
        with closing(sqlite3.connect(f"{self.path}.copy")) as copy:
            self.assertEqual(copy.execute("SELECT n FROM t").fetchall(), [(1,)])

    def test_mode(self) -> None:
        """The copy is as private as the file."""
        self.made()
        os.chmod(self.path, 0o600)
        backups.copy(self.path, f"{self.path}.copy")
        self.assertEqual(os.stat(f"{self.path}.copy").st_mode & 0o777, 0o600)

    def test_failure(self) -> None:
        """What fails leaves nothing behind."""
        Path(self.path).write_bytes(b"no database" * 100)
        self.assertRaises(sqlite3.Error, backups.copy, self.path, f"{self.path}.copy")
        self.assertEqual(self.names(), ["one-api.db"])


class ReadingTests(FileCase):
    """`address_for_reading`."""

    def seen(self) -> list[int]:
        """The rows that a reader sees; the folder is as before."""
        before = self.names()
        with (
            backups.address_for_reading(self.path) as address,
            closing(sqlite3.connect(address, uri=True)) as connection,
        ):
            rows = [n for (n,) in connection.execute("SELECT n FROM t")]
        self.assertEqual(self.names(), before)
        return rows

    def test_plain(self) -> None:
        """A file that nobody has open."""
        self.made().close()
        self.assertEqual(self.seen(), [1])

    def test_in_use(self) -> None:
        """A file that a program writes to, in either mode."""
        connection = self.made("wal")
        self.assertEqual(self.seen(), [1])
        connection.execute("INSERT INTO t VALUES (2)")
        self.assertEqual(self.seen(), [1])

    def test_locked(self) -> None:
        """A file that is being committed to is not copied in the middle of it."""
        self.patch(backups, "BUSY_SECONDS", 0.05)
        connection = self.made()
        connection.execute("INSERT INTO t VALUES (2)")
        self.assertEqual(self.seen(), [1])
        connection.commit()
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("INSERT INTO t VALUES (3)")
        with self.assertRaises(BlockingIOError):
            self.seen()

    def test_at_rest_in_wal_mode(self) -> None:
        """A file in WAL mode with nothing beside it stays alone."""
        self.made("wal").close()
        self.assertEqual(self.names(), ["one-api.db"])
        self.assertEqual(self.seen(), [1])

    def test_odd_name(self) -> None:
        """Characters that mean something in an address do not here."""
        self.path = str(self.folder / "a?b#c %20.db")
        self.made().close()
        self.assertEqual(self.seen(), [1])

    def test_missing(self) -> None:
        """No file is made."""
        with self.assertRaises(FileNotFoundError):
            self.seen()
        self.assertEqual(self.names(), [])
