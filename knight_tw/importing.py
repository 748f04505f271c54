"""`knight import`: opens a database of new-api or one-api, or says what that changes.

The gateway opens such databases by itself when it starts; this command is for those who
want to look first, or to do it at a time of their choosing.
"""

# twistd's options are untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import os
import secrets
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from attrs import frozen
from twisted.python import usage

from knight_tw import __version__, startup
from knight_tw.settings import SettingsError
from knight_tw.storage import connections, dsn, steps
from knight_tw.storage.completion import Gap, SchemaRefused
from knight_tw.storage.one_api import report, upgrade
from knight_tw.storage.one_api.report import Report
from knight_tw.storage.one_api.upgrade import Terms
from knight_tw.storage.preview import (
    Maker,
    Preview,
    logs_alone,
    preview,
    quiet_connection,
)

REFUSED, MISUSED = 1, 2
"""Exit status: the database cannot be opened; the command line makes no sense."""

WIDTH = 88


class ImportOptions(usage.Options):
    """What `knight import` takes."""

    synopsis = "Usage: knight import [--check] [--backed-up] [DSN]"
    longdesc = (
        "Opens a database of new-api or one-api in place: adds the tables and columns "
        "that are missing; upgrades the rows of one-api. The gateway does the same "
        "when it starts. DSN is what SQL_DSN takes, or the path of a SQLite file; "
        "without it the database of the gateway's own settings is meant. Exit "
        "status: 0 the database can be opened, 1 it cannot and a line says why, "
        "2 the command line makes no sense."
    )
    optFlags: ClassVar[list[list[Any]]] = [
        [
            "check",
            "c",
            "report per table what would change, and change nothing: servers are "
            "read in a read-only transaction, a SQLite file stays as it is",
        ],
        [
            "backed-up",
            "b",
            "you have a backup: allows the upgrade of a one-api database on "
            "PostgreSQL or MySQL (as KNIGHT_MIGRATE_ONE_API=1); a SQLite file is "
            "copied first by itself",
        ],
    ]

    def parseArgs(self, address: str = "") -> None:
        """One database at most."""
        self["dsn"] = address


@frozen
class _Asked:
    """A database, and whether a backup of it exists."""

    url: sa.URL
    backed_up: bool

    @property
    def sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def shown(self) -> str:
        """Where it is, without the password."""
        if self.sqlite:
            return str(self.url.database)
        return self.url.set(query={}).render_as_string()


def run(words: list[str]) -> int:
    """Carries the command out; the exit status."""
    options = ImportOptions()
    try:
        options.parseOptions(words)
        asked = _asked(options["dsn"], bool(options["backed-up"]))
    except (usage.UsageError, dsn.DsnError) as error:
        return _complain(str(error), MISUSED)
    except (SettingsError, startup.CannotStart) as error:
        return _complain(str(error), REFUSED)
    work = check if options["check"] else bring
    try:
        for line in work(asked):
            print(line)  # noqa: T201  # the answer
    except FileNotFoundError:
        return _complain(f"there is no file {asked.shown}", REFUSED)
    except (SchemaRefused, OSError) as error:
        return _complain(str(error), REFUSED)
    except sa.exc.DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        return _complain(f"{asked.shown}: {reason}", REFUSED)
    return 0


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"knight import: {text}\n")
    return status


def _asked(address: str, backed_up: bool) -> _Asked:
    """The database that an argument names, else that of the settings."""
    if address and os.path.isfile(address):
        return _Asked(dsn.sqlite(os.path.abspath(address)), backed_up)
    settings = startup.from_environment(os.environ, {}, Path.cwd())
    url = dsn.parse(
        address or settings.sql_dsn,
        sqlite_path=settings.sqlite_path,
        data_dir="." if address else settings.data_dir,
    )
    return _Asked(url, backed_up or settings.knight_migrate_one_api)


# changing --------------------------------------------------------------------


def bring(asked: _Asked) -> Iterator[str]:
    """Opens the database as the gateway would; what was done, line by line."""
    if asked.sqlite and not os.path.isfile(str(asked.url.database)):
        raise FileNotFoundError
    terms = Terms(
        int(time.time()), f"v{__version__}", secrets.SystemRandom(), asked.backed_up
    )
    engine = (
        connections.sqlite_writer(asked.url)
        if asked.sqlite
        else connections.server(asked.url, idle=1, limit=1, lifetime=0)
    )
    try:
        done = _opened(engine, terms)
    finally:
        engine.dispose()
    if done is None:
        yield f"{asked.shown} is complete: the gateway can open it."
        return
    yield f"{asked.shown} was upgraded from one-api."
    yield from _changes(done)
    yield from report.lines(done)


def _opened(engine: sa.Engine, terms: Terms) -> Report | None:
    """Opens a main database, or one that is for logs alone."""
    with engine.begin() as connection:
        if logs_alone(sa.inspect(connection).get_table_names()):
            upgrade.open_logs(connection, terms)
            return None
        done = upgrade.open_main(connection, terms)
    with engine.begin() as connection:
        steps.run_missing(connection, terms.now)
    return done


def _changes(done: Report) -> Iterator[str]:
    for table, count in done.rows.items():
        parts = list(_told(done.changes.get(table, ())))
        yield from _row(table, str(count), "; ".join(parts) or "rows stay as they are")


# looking ---------------------------------------------------------------------


def check(asked: _Asked) -> Iterator[str]:
    """What opening the database would change, line by line; changes nothing."""
    with quiet_connection(asked.url) as connection:
        seen = preview(connection, int(time.time()))
    yield f"Database: {asked.shown}"
    yield f"Made by:  {seen.maker.value}."
    if seen.maker is Maker.ONE_API:
        yield f"Before:   {_backup(asked)}"
    yield "Nothing has been changed."
    yield ""
    yield from _tables(seen)
    if seen.report is not None:
        yield ""
        yield from report.lines(seen.report)
    if seen.warnings:
        yield ""
        yield "Also to be looked at:"
        for text in seen.warnings:
            yield from textwrap.wrap(
                text, WIDTH, initial_indent="  ", subsequent_indent="    "
            )


def _backup(asked: _Asked) -> str:
    if asked.sqlite:
        return f"a copy {asked.shown}.{upgrade.BACKUP}-<time> is made by itself."
    if asked.backed_up:
        return "you said that a backup exists."
    return "make a backup, then set KNIGHT_MIGRATE_ONE_API=1."


def _tables(seen: Preview) -> Iterator[str]:
    lacking = {gap.table.name: gap for gap in seen.gaps}
    changes: Mapping[str, Any] = seen.report.changes if seen.report else {}
    yield from _row("Table", "Rows", "What would change")
    for name, count in seen.rows.items():
        parts = list(_lacking(lacking[name])) if name in lacking else []
        parts += _told(changes.get(name, ()))
        if seen.report and name == "abilities":
            parts.append("rows are made anew from the channels")
        yield from _row(name, str(count), "; ".join(parts) or "nothing")
    if new := sorted(gap.table.name for gap in seen.gaps if gap.new):
        yield from _row(f"{len(new)} new", "", f"tables added: {', '.join(new)}")
    if seen.others:
        yield from _row("others", "", f"left alone: {', '.join(seen.others)}")


def _told(changes: Iterable[tuple[int, str]]) -> Iterator[str]:
    """What happens to how many rows."""
    for number, text in changes:
        yield f"{number} row{'s' if number > 1 else ''}: {text}"


def _lacking(gap: Gap) -> Iterator[str]:
    if gap.columns:
        yield f"columns added: {', '.join(column.name for column in gap.columns)}"
    if gap.narrow:
        yield f"columns widened: {', '.join(each.column for each in gap.narrow)}"
    if gap.indexes:
        yield f"indexes added: {len(gap.indexes)}"


def _row(table: str, rows: str, text: str) -> Iterator[str]:
    """A line of the table, the text wrapped beneath itself."""
    head = f"{table:<28}{rows:>9}  "
    yield from textwrap.wrap(
        text, WIDTH + 20, initial_indent=head, subsequent_indent=" " * len(head)
    )
