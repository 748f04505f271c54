"""What SQLAlchemy does not say the same way on three engines."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, TypeVar

import sqlalchemy as sa

from knight_tw.storage.columns import Document

T = TypeVar("T")

CHUNK = 500
"""Values in one IN list or rows in one statement: well below every engine's limit."""

_DOCUMENT = Document()


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    keys: Collection[str],
    add: Collection[str] = (),
) -> None:
    """Inserts rows, or changes those that exist.

    Two of `rows` may have the same key. They are written in the order of their keys, so
    that concurrent calls lock in the same order.

    Args:
        rows: All with the same columns.
        keys: Columns of the primary key or of a unique index.
        add: Columns whose value is added to the stored one; the rest replace it.
    """
    if not rows:
        return
    if set(rows[0]) == set(keys):
        insert_new(connection, table, rows)
        return
    changed = [name for name in rows[0] if name not in keys]
    ordered = sorted(rows, key=lambda row: tuple(row[name] for name in sorted(keys)))
    insert = inserting(connection.dialect.name)(table)
    new = insert.inserted if connection.dialect.name == "mysql" else insert.excluded
    values = {
        # A literal: PyMySQL takes no parameter after the VALUES of many rows.
        name: sa.func.coalesce(table.c[name], sa.literal_column("0")) + new[name]
        if name in add
        else new[name]
        for name in changed
    }
    if connection.dialect.name == "mysql":
        statement = insert.on_duplicate_key_update(**values)
    else:
        statement = insert.on_conflict_do_update(
            index_elements=[table.c[name] for name in sorted(keys)], set_=values
        )
    connection.execute(statement, [dict(row) for row in ordered])


def insert_new(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Inserts the rows that no unique index refuses; how many those were."""
    count = 0
    for row in rows:
        insert = inserting(connection.dialect.name)(table)
        if connection.dialect.name == "mysql":
            statement = insert.prefix_with("IGNORE")
        else:
            statement = insert.on_conflict_do_nothing()
        kept = statement.execution_options(preserve_rowcount=True)
        count += connection.execute(kept, dict(row)).rowcount
    return count


def inserting(engine: str) -> Any:
    """An engine's own `insert`, which knows conflicts; loaded for that engine alone.

    Args:
        engine: Its SQLAlchemy name.
    """
    return import_module(f"sqlalchemy.dialects.{engine}").insert


def may_be_refused(connection: sa.Connection) -> AbstractContextManager[Any]:
    """Around one statement that a unique index may refuse without ending the
    transaction.

    PostgreSQL needs a savepoint for that. MySQL and SQLite undo the statement alone;
    and as a deadlock on MySQL undoes the transaction with its savepoints, going back to
    one would fail and hide the deadlock from the lane, which runs the work again.
    """
    if connection.dialect.name == "postgresql":
        return connection.begin_nested()
    return nullcontext()


def new_id(
    connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]
) -> int:
    """Inserts one row; its `id`."""
    key = connection.execute(sa.insert(table).values(**values)).inserted_primary_key
    return int(key[0]) if key else 0


def chunks(values: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The values in slices that fit one statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def json_value(dialect: sa.Dialect, value: Any) -> Any:
    """A JSON value as the driver wants it, for statements written as text.

    Columns declared in `schema` need no help: their type does the same.
    """
    return _DOCUMENT.process_bind_param(value, dialect)


def json_object(text: str | bytes | None) -> dict[str, Any]:
    """The JSON object in a column; empty when null, empty, no JSON or no object."""
    if not text or text == "{}":
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def listed(text: str | None, separator: str = ",") -> tuple[str, ...]:
    """The entries of a separated list, blanks trimmed, empty ones dropped."""
    if not text:
        return ()
    return tuple(part for entry in text.split(separator) if (part := entry.strip()))
