"""Statements of the writer's batches, compiled once per engine.

A batch runs the same few statements with hundreds of rows. SQLAlchemy's way of doing
that builds and completes a dict per row (20 µs for a row of statistics, the statement
itself takes 5), so these are compiled to the engine's text once and run through the
driver with plain tuples. What is written here must not need SQLAlchemy's conversion of
values: whole numbers, text and booleans.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from attrs import field, frozen

from knight_tw.ledger.entries import Row
from knight_tw.storage.schema import channels, logs, quota_data, tokens, users
from knight_tw.storage.sql import inserting

LOG_COLUMNS = tuple(name for name in Row.__struct_fields__ if name != "duration_ms")
"""The columns of `logs` that are written, in the order of an entry's row."""


@frozen(eq=False)
class Bulk:
    """A statement that is run for many rows.

    Args:
        names: The parameters, in the order of the tuples given to `run`.
        make: The statement for an engine (its SQLAlchemy name).
        inserts: It inserts just the columns `names`.
        together: As many rows are one statement on SQLite; it must be a plain INSERT.
    """

    names: tuple[str, ...]
    _make: Callable[[str], Any]
    _inserts: bool = False
    _together: int = 1
    _texts: dict[str, tuple[str, tuple[int, ...] | None]] = field(factory=dict)

    def run(self, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Runs it for each row; how many rows of the table were touched, as far as the
        driver tells."""
        if not rows:
            return 0
        text, order = self._compiled(connection.dialect)
        size = self._together
        if connection.dialect.name == "sqlite" and len(rows) >= size > 1:
            whole = len(rows) - len(rows) % size
            pieces = [rows[at : at + size] for at in range(0, whole, size)]
            values = [tuple(itertools.chain.from_iterable(it)) for it in pieces]
            done = connection.exec_driver_sql(_repeated(text, size), values).rowcount
            return done + self.run(connection, rows[whole:])
        parameters: list[Any]
        if order is None:
            names = self.names
            parameters = [dict(zip(names, row, strict=True)) for row in rows]
        elif order == tuple(range(len(self.names))):
            parameters = list(rows)
        else:
            parameters = [tuple([row[it] for it in order]) for row in rows]
        return connection.exec_driver_sql(text, parameters).rowcount

    def _compiled(self, dialect: sa.Dialect) -> tuple[str, tuple[int, ...] | None]:
        """The text, and which parameter goes where (None: they are passed by name)."""
        found = self._texts.get(dialect.name)
        if found is not None:
            return found
        keys = list(self.names) if self._inserts else None
        compiled = self._make(dialect.name).compile(dialect=dialect, column_keys=keys)
        order: tuple[int, ...] | None = None
        if compiled.positional:
            order = tuple(self.names.index(it) for it in compiled.positiontup)
        found = self._texts[dialect.name] = (str(compiled), order)
        return found


def _repeated(insert: str, times: int) -> str:
    """An INSERT of one row's values, for that many rows."""
    head, values, row = insert.rpartition(" VALUES ")
    return head + values + ", ".join([row] * times)


def _plus(column: sa.Column[Any], parameter: str) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(column, sa.literal_column("0")) + sa.bindparam(parameter)


def _insert_log(_engine: str) -> Any:
    return sa.insert(logs)


def _update_user(_engine: str) -> Any:
    c = users.c
    return (
        sa.update(users)
        .where(c.id == sa.bindparam("row"))
        .values(
            quota=_plus(c.quota, "more"),
            used_quota=_plus(c.used_quota, "used"),
            request_count=_plus(c.request_count, "calls"),
        )
    )


def _update_token(_engine: str) -> Any:
    c = tokens.c
    later = sa.func.coalesce(c.accessed_time, sa.literal_column("0")) < sa.bindparam(
        "at", type_=sa.BigInteger
    )
    return (
        sa.update(tokens)
        .where(c.id == sa.bindparam("row"))
        .values(
            remain_quota=_plus(c.remain_quota, "more"),
            used_quota=_plus(c.used_quota, "used"),
            accessed_time=sa.case(
                (later, sa.bindparam("at", type_=sa.BigInteger)), else_=c.accessed_time
            ),
        )
    )


def _update_channel(_engine: str) -> Any:
    c = channels.c
    return (
        sa.update(channels)
        .where(c.id == sa.bindparam("row"))
        .values(used_quota=_plus(c.used_quota, "used"))
    )


def _update_hourly(_engine: str) -> Any:
    c = quota_data.c
    return (
        sa.update(quota_data)
        .where(c.id == sa.bindparam("row"))
        .values(
            token_used=_plus(c.token_used, "used"),
            count=_plus(c["count"], "calls"),
            quota=_plus(c.quota, "more"),
        )
    )


TOGETHER = 40
"""Rows of one INSERT on SQLite. It opens the many indexes of `logs` once for all of
them, which halves the work of a row, and lets go of the interpreter's lock once. Their
values stay below 999, the lowest bound of variables that SQLite is built with."""

INSERT_LOG = Bulk(LOG_COLUMNS, _insert_log, inserts=True, together=TOGETHER)
UPDATE_USER = Bulk(("row", "more", "used", "calls"), _update_user)
UPDATE_TOKEN = Bulk(("row", "more", "used", "at"), _update_token)
UPDATE_CHANNEL = Bulk(("row", "used"), _update_channel)
ADD_HOURLY = Bulk(("row", "used", "calls", "more"), _update_hourly)


def adding(table: sa.Table, keys: tuple[str, ...], sums: tuple[str, ...]) -> Bulk:
    """Inserts rows (`keys`, then `sums`), or adds the sums to the row with that key."""
    return Bulk(keys + sums, functools.partial(_add, table, keys, sums), inserts=True)


def _add(
    table: sa.Table, keys: tuple[str, ...], sums: tuple[str, ...], engine: str
) -> Any:
    insert = inserting(engine)(table)
    new = insert.inserted if engine == "mysql" else insert.excluded
    added = {
        name: sa.func.coalesce(table.c[name], sa.literal_column("0")) + new[name]
        for name in sums
    }
    if engine == "mysql":
        return insert.on_duplicate_key_update(**added)
    return insert.on_conflict_do_update(
        index_elements=[table.c[name] for name in keys], set_=added
    )
