"""The upgrade itself: one-api's database becomes one of ours, in place.

On SQLite and PostgreSQL everything is one transaction. MySQL commits at each statement
that changes the schema, so there the work is: the mark and the channels' types, then
the schema, then all rows in one transaction. What was interrupted is begun again, with
the types as they were noted, and ends the same. Source: data model, section 7.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Mapping

import sqlalchemy as sa
from attrs import evolve, frozen

from knight_tw.records import ENABLED
from knight_tw.storage import backups, channel_queries, meta, options, setup_queries
from knight_tw.storage.completion import (
    ONE_API_KEY,
    ONE_API_STARTED,
    SchemaRefused,
    alone,
    ensure,
    is_one_api,
    one_api_started,
)
from knight_tw.storage.one_api import lark, option_rows, reading, sweeps
from knight_tw.storage.one_api.reading import Columns
from knight_tw.storage.one_api.report import Report
from knight_tw.storage.schema import (
    LOG_TABLES,
    abilities,
    channels,
    knight_meta,
    redemptions,
    tokens,
    users,
)
from knight_tw.storage.sql import chunks, listed
from knight_tw.storage.user_writes import free_aff_code

DONE = "done:"
BACKUP = "one-api-backup"

_LOGS = "logs"


def _silent(_step: str) -> None:
    return


@frozen
class Terms:
    """How databases are opened.

    Attributes:
        version: Of this program, for the row that says it is set up.
        chance: For referral codes.
        backed_up: The operator says that a backup exists; without it the database of a
            server is not upgraded (a SQLite file is copied first).
        after: Told each step of an upgrade when it is done.
    """

    now: int
    version: str
    chance: random.Random
    backed_up: bool = False
    after: Callable[[str], None] = _silent


def open_main(connection: sa.Connection, terms: Terms) -> Report | None:
    """Completes the main database; a one-api database is upgraded first.

    Returns:
        What the upgrade did; None when there was none to do.

    Raises:
        SchemaRefused: the database cannot be used as it is.
    """
    with alone(connection):
        if not (is_one_api(connection) or one_api_started(connection)):
            ensure(connection)
            return None
        done = _upgrade(connection, terms)
        _commit(connection)
        return done


def open_logs(connection: sa.Connection, terms: Terms) -> None:
    """Completes a second database for logs; rows of one-api are upgraded first.

    Raises:
        SchemaRefused: the database cannot be used as it is.
    """
    with alone(connection):
        if not one_api_started(connection):
            if not _are_one_api_logs(connection):
                ensure(connection, LOG_TABLES)
                return
            _prepare(connection, terms)
            _start(connection)
        ensure(connection, LOG_TABLES)
        # Whoever wrote `elapsed_time` is what tells these rows from new-api's.
        _sweep(connection, sweeps.LOG_ROWS, {_LOGS: frozenset({"elapsed_time"})})
        meta.put(connection, ONE_API_KEY, f"{DONE}{terms.now}")
        _commit(connection)


def _commit(connection: sa.Connection) -> None:
    """MySQL: the lock is not the transaction's, and who has it next must see this."""
    if connection.dialect.name == "mysql":
        connection.exec_driver_sql("COMMIT")


def _are_one_api_logs(connection: sa.Connection) -> bool:
    """True for a table of log rows that only one-api has opened so far."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(_LOGS):
        return False
    names = {column["name"] for column in inspector.get_columns(_LOGS)}
    return "elapsed_time" in names and "use_time" not in names


def _upgrade(connection: sa.Connection, terms: Terms) -> Report:
    backup = ""
    if not one_api_started(connection):
        reading.columns(connection)
        backup = _prepare(connection, terms)
        _start(connection)
        reading.note_types(connection)
    terms.after("mark")
    foreseen = reading.foresee(connection, terms.now)
    found = reading.columns(connection)
    before = _sums(connection, found)
    ensure(connection)
    terms.after("schema")
    for name, step in _STEPS:
        step(connection, terms, foreseen, found)
        terms.after(name)
    _check(connection, foreseen, before, found)
    meta.put(connection, ONE_API_KEY, f"{DONE}{terms.now}")
    terms.after("done")
    return evolve(foreseen, backup=backup)


def _prepare(connection: sa.Connection, terms: Terms) -> str:
    """A copy of a SQLite file first (its path); of a server the operator's word."""
    if connection.dialect.name != "sqlite":
        if not terms.backed_up:
            raise SchemaRefused(
                "this is a database of one-api. It can be upgraded in place: look at"
                " what would change with `knight import --check`, make a backup, then"
                " set KNIGHT_MIGRATE_ONE_API=1. Nothing has been changed"
            )
        return ""
    source = str(connection.engine.url.database or "")
    if source in ("", ":memory:"):
        return ""
    target = f"{source}.{BACKUP}-{terms.now}"
    try:
        backups.copy(source, target)
    except (sqlite3.Error, OSError) as error:
        raise SchemaRefused(
            f"this is a database of one-api, and it could not be copied to {target}"
            f" before the upgrade: {error}. Nothing has been changed"
        ) from None
    return target


def _start(connection: sa.Connection) -> None:
    """Leaves the mark that an upgrade is under way."""
    ensure(connection, [knight_meta])
    meta.put(connection, ONE_API_KEY, ONE_API_STARTED)


# the steps -------------------------------------------------------------------


def _users(
    connection: sa.Connection, terms: Terms, _foreseen: Report, found: Columns
) -> None:
    for sweep in sweeps.accounts(terms.now):
        sweep.run(connection)
    for user_id in reading.without_code(connection):
        code = free_aff_code(connection, terms.chance)
        here = sa.update(users).where(users.c.id == user_id)
        connection.execute(here.values(aff_code=code))
    rows = options.load(connection)
    if lark.COLUMN in found["users"] and lark.configured(rows):
        lark.bind(connection, rows, terms.now)


def _tokens(
    connection: sa.Connection, _terms: Terms, _foreseen: Report, found: Columns
) -> None:
    _sweep(connection, sweeps.CREDENTIALS, found)


def _channels(
    connection: sa.Connection, _terms: Terms, foreseen: Report, _found: Columns
) -> None:
    """By row, from the types that one-api had: its numbers and ours overlap."""
    for move in foreseen.moves:
        connection.execute(
            sa.update(channels)
            .where(channels.c.id == move.id)
            .values(type=move.new_type, auto_ban=1, channel_info=None, **move.columns)
        )


def _abilities(
    connection: sa.Connection, _terms: Terms, _foreseen: Report, _found: Columns
) -> None:
    connection.execute(sa.delete(abilities))
    for ids in chunks(channel_queries.every_id(connection)):
        channel_queries.refresh_many(connection, ids)


def _redemptions(
    connection: sa.Connection, _terms: Terms, _foreseen: Report, found: Columns
) -> None:
    _sweep(connection, sweeps.CODES, found)


def _log_rows(
    connection: sa.Connection, _terms: Terms, _foreseen: Report, found: Columns
) -> None:
    _sweep(connection, sweeps.LOG_ROWS, found)


def _options(
    connection: sa.Connection, terms: Terms, _foreseen: Report, _found: Columns
) -> None:
    needed = option_rows.needed(options.load(connection))
    for key, text in needed.items():
        options.save(connection, key, text, 0, terms.now)


def _set_up(
    connection: sa.Connection, terms: Terms, _foreseen: Report, _found: Columns
) -> None:
    setup_queries.adopt(connection, terms.version, terms.now)


def _sweep(
    connection: sa.Connection, group: tuple[sweeps.Sweep, ...], found: Columns
) -> None:
    """Runs the sweeps whose tables and columns one-api had."""
    for sweep in group:
        if sweep.table.name in found and sweep.fits(found[sweep.table.name]):
            sweep.run(connection)


_STEPS = (
    ("users", _users),
    ("tokens", _tokens),
    ("channels", _channels),
    ("abilities", _abilities),
    ("redemptions", _redemptions),
    ("logs", _log_rows),
    ("options", _options),
    ("setup", _set_up),
)
"""What follows the change of the schema, in order; no step changes the schema."""

STEPS = ("mark", "schema", *(name for name, _ in _STEPS), "done")
"""What `Terms.after` is told."""


# checks ----------------------------------------------------------------------


def _sums(connection: sa.Connection, found: Columns) -> dict[str, int]:
    """What must be equal before and after, to the unit."""
    limited = tokens.c.unlimited_quota == sa.false()
    summed = (
        (users.c.quota, sa.true()),
        (users.c.used_quota, sa.true()),
        (redemptions.c.quota, sa.true()),
        (tokens.c.remain_quota, limited),
    )
    return {
        str(column): int(
            connection.scalar(sa.select(sa.func.sum(column)).where(counted)) or 0
        )
        for column, counted in summed
        if column.name in found.get(column.table.name, ())
    }


def _check(
    connection: sa.Connection,
    foreseen: Report,
    before: Mapping[str, int],
    found: Columns,
) -> None:
    """Raises SchemaRefused unless rows and money are what they were."""
    wrong = [
        f"the sum of {name} was {before[name]} and is {value}"
        for name, value in _sums(connection, found).items()
        if value != before[name]
    ]
    after = reading.count_all(connection, foreseen.rows)
    for name, count in foreseen.rows.items():
        # Abilities are made anew; options gain rows.
        if name != "abilities" and after[name] < count:
            wrong.append(f"{name} had {count} rows and has {after[name]}")
    wrong += _unreachable(connection)
    if wrong:
        raise SchemaRefused(
            f"the upgrade from one-api went wrong: {'; '.join(wrong)}. It is undone"
        )


def _unreachable(connection: sa.Connection) -> list[str]:
    """Enabled channels that serve models and have no ability."""
    served = set(connection.scalars(sa.select(abilities.c.channel_id).distinct()))
    rows = connection.execute(
        sa.select(channels.c.id, channels.c.models, channels.c.group).where(
            channels.c.status == ENABLED
        )
    )
    return [
        f"channel {row.id} has no abilities"
        for row in rows
        if row.id not in served and listed(row.models) and listed(row.group)
    ]
