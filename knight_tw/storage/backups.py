"""Copies of SQLite files that are whole, and looks at them that change nothing.

A copy of the file alone loses what a `-wal` or a hot `-journal` beside it holds, so
copies are made by SQLite's own backup call.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

PAGES = 4096
"""Pages that one step of a backup copies."""

BUSY_SECONDS = 5.0
"""How long a program that is committing may keep others from reading."""

_WAL_MODE = 2
"""Byte 18 of a file whose changes go to a `-wal` first."""


def copy(source: str, target: str) -> None:
    """Writes what `source` holds as one file `target`, which needs nothing beside it.

    The file appears whole or not at all; others may use `source` meanwhile.

    Raises:
        sqlite3.Error, OSError: it cannot be read, or there is no room.
    """
    partial = f"{target}.partial"
    try:
        with (
            closing(_reader(source)) as old,
            closing(sqlite3.connect(partial)) as new,
        ):
            old.backup(new, pages=PAGES)
            new.execute("PRAGMA journal_mode=DELETE")
        shutil.copymode(source, partial)
        os.replace(partial, target)
    finally:
        Path(partial).unlink(missing_ok=True)


@contextmanager
def address_for_reading(path: str) -> Iterator[str]:
    """A SQLite address (`file:…`) that shows what a file holds and leaves it as it is.

    Where reading in place would repair the file, because the program that wrote it was
    killed, the address is that of a copy in the folder for temporary files.

    Raises:
        FileNotFoundError: there is no such file.
        BlockingIOError: a program keeps it locked.
    """
    beside = {end: Path(path + end) for end in ("-wal", "-shm", "-journal")}
    if _in_wal_mode(path):
        if beside["-shm"].exists():
            yield _address(path, "mode=ro")
            return
        if not _filled(beside["-wal"]):
            yield _address(path, "immutable=1")
            return
    elif not _filled(beside["-journal"]) or _readable(path):
        yield _address(path, "mode=ro")
        return
    with tempfile.TemporaryDirectory(prefix="knight-") as folder:
        for file in (Path(path), *beside.values()):
            if file.exists():
                shutil.copyfile(file, Path(folder, file.name))
        yield _address(str(Path(folder, Path(path).name)), "mode=rw")


def _address(path: str, options: str) -> str:
    return f"file:{quote(path)}?{options}"


def _reader(path: str) -> sqlite3.Connection:
    return sqlite3.connect(_address(path, "mode=ro"), uri=True, timeout=BUSY_SECONDS)


def _in_wal_mode(path: str) -> bool:
    with open(path, "rb") as file:
        head = file.read(20)
    return len(head) == 20 and head[18] == _WAL_MODE


def _filled(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _readable(path: str) -> bool:
    """False when a killed program left a journal that must be played back first."""
    try:
        with closing(_reader(path)) as opened:
            opened.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise BlockingIOError(f"{path} is being written to: try again") from None
        return False
    return True
