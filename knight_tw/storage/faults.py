"""What a database error means: try again, database away, or a mistake of ours."""

from __future__ import annotations

import enum
import sqlite3

import sqlalchemy as sa
from sqlalchemy import exc


class Fault(enum.Enum):
    """What to do about a failed transaction."""

    BUSY = "busy"
    """Deadlock, serialisation failure or lock wait: the transaction may run again."""
    LOST = "lost"
    """The connection broke: what was not committed did not happen."""
    AWAY = "away"
    """The server or the disk cannot serve at all right now."""
    OURS = "ours"
    """Anything else: a constraint, a wrong statement."""


_MYSQL_BUSY = frozenset({1205, 1213, 3572})
_MYSQL_AWAY = frozenset({1021, 1040, 1041, 1053, 1114, 1203, 1290, 1836, 2002, 2003})
_POSTGRES_BUSY = frozenset({"40001", "40P01", "55P03"})
_POSTGRES_AWAY = ("53", "57P", "58", "08", "25006")
_SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_AWAY = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
    }
)


def classify(error: exc.DBAPIError) -> Fault:
    """The kind of a failure that a driver reported in a statement or a commit."""
    kind = _kind(error.orig)
    if error.connection_invalidated and kind is not Fault.BUSY:
        return Fault.LOST
    return kind


def _kind(original: BaseException | None) -> Fault:
    if isinstance(original, sqlite3.Error):
        return _sqlite(original)
    state = getattr(original, "sqlstate", None)
    if state:
        if state in _POSTGRES_BUSY:
            return Fault.BUSY
        return Fault.AWAY if state.startswith(_POSTGRES_AWAY) else Fault.OURS
    number = original.args[0] if original is not None and original.args else None
    if number in _MYSQL_BUSY:
        return Fault.BUSY
    return Fault.AWAY if number in _MYSQL_AWAY else Fault.OURS


def _sqlite(error: sqlite3.Error) -> Fault:
    # The extended code's low byte is the primary one; errors of the module have none.
    code = getattr(error, "sqlite_errorcode", -1) & 0xFF
    if code in _SQLITE_BUSY:
        return Fault.BUSY
    return Fault.AWAY if code in _SQLITE_AWAY else Fault.OURS


def duplicate(error: sa.exc.IntegrityError) -> bool:
    """True when a unique index refused a row, False for other constraints."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return original.sqlite_errorcode in (
            sqlite3.SQLITE_CONSTRAINT_UNIQUE,
            sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
        )
    if state := getattr(original, "sqlstate", None):
        return bool(state == "23505")
    return original is not None and original.args[:1] in ((1062,), (1586,))
