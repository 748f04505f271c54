"""What database errors mean."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy.exc import DBAPIError, IntegrityError
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage.faults import Fault, classify, duplicate


class _Postgres(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__("refused")
        self.sqlstate = sqlstate


def raised(original: BaseException, *, lost: bool = False) -> DBAPIError:
    """SQLAlchemy's wrapping of a driver's error."""
    error: Any = IntegrityError if isinstance(original, sqlite3.Error) else DBAPIError
    made = error("SELECT 1", {}, original, connection_invalidated=lost)
    assert isinstance(made, DBAPIError)
    return made


def sqlite_error(code: int) -> sqlite3.Error:
    """SQLite's error with an extended result code."""
    error = sqlite3.OperationalError("refused")
    error.sqlite_errorcode = code
    return error


class ClassifyTests(SynchronousTestCase):
    """`classify`."""

    def test_busy(self) -> None:
        """Deadlocks, serialisation failures and lock waits may run again."""
        for original in (
            _Postgres("40P01"),
            _Postgres("40001"),
            Exception(1213, "Deadlock found"),
            Exception(1205, "Lock wait timeout"),
            sqlite_error(sqlite3.SQLITE_BUSY),
            sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT),
        ):
            self.assertIs(classify(raised(original)), Fault.BUSY, repr(original))

    def test_away(self) -> None:
        """A full disk, too many connections, a shutdown."""
        for original in (
            _Postgres("53300"),
            _Postgres("57P03"),
            Exception(1040, "Too many connections"),
            sqlite_error(sqlite3.SQLITE_FULL),
            sqlite_error(sqlite3.SQLITE_IOERR_WRITE),
        ):
            self.assertIs(classify(raised(original)), Fault.AWAY, repr(original))

    def test_lost(self) -> None:
        """A broken connection, whatever it said last."""
        for original in (_Postgres("57P01"), Exception(2013, "Lost connection")):
            self.assertIs(classify(raised(original, lost=True)), Fault.LOST)

    def test_ours(self) -> None:
        """Constraints and wrong statements are nobody's absence."""
        for original in (
            _Postgres("23505"),
            Exception(1064, "syntax"),
            Exception(),
            sqlite_error(sqlite3.SQLITE_CONSTRAINT_UNIQUE),
            sqlite3.ProgrammingError("no such column"),
        ):
            self.assertIs(classify(raised(original)), Fault.OURS, repr(original))


class DuplicateTests(SynchronousTestCase):
    """`duplicate`."""

    def test_kinds(self) -> None:
        """Unique indexes of every engine, and nothing else."""
        cases: list[tuple[BaseException, bool]] = [
            (sqlite_error(sqlite3.SQLITE_CONSTRAINT_UNIQUE), True),
            (sqlite_error(sqlite3.SQLITE_CONSTRAINT_NOTNULL), False),
            (_Postgres("23505"), True),
            (_Postgres("23502"), False),
            (Exception(1062, "Duplicate entry"), True),
            (Exception(1048, "cannot be null"), False),
        ]
        for original, expected in cases:
            error = IntegrityError("INSERT", {}, original)
            self.assertIs(duplicate(error), expected, repr(original))
