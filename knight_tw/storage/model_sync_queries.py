"""What a comparison with a public list of models reads, and how its outcome is written
to `models` and `vendors` (management API, section 12)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from knight_tw.storage import model_queries
from knight_tw.storage.completion import VERSION_KEY
from knight_tw.storage.schema import knight_meta, models, vendors
from knight_tw.storage.sql import new_id

Row = dict[str, Any]

VENDOR = "vendor"
"""In rows to be written: the name of a vendor, where the table has an id."""

SYNCED = 1
"""`sync_official` of rows that a public list may change."""


@frozen
class Described:
    """What is offered, and what is written about it.

    Attributes:
        names: Models that some enabled channel offers, by name.
        rows: Descriptions that are not deleted.
        vendors: The names of vendors that are not deleted, by id.
    """

    names: Sequence[str]
    rows: Sequence[Row]
    vendors: Mapping[int, str]

    def undescribed(self) -> list[str]:
        """Names that no row is about, by its name or its rule."""
        exact = {row["model_name"] for row in self.rows}
        left = [name for name in self.names if name not in exact]
        ruled = [row for row in self.rows if row["name_rule"]]
        about = {one for row in ruled for one in model_queries.matched(row, left)}
        return [name for name in left if name not in about]


@frozen
class Plan:
    """Rows to be written; their `vendor` is a name.

    Attributes:
        created: Whole rows.
        updated: Columns to set, by a row's id.
        vendors: What is known of vendors, by name, should one have to be created.
    """

    created: Sequence[Row]
    updated: Mapping[int, Row]
    vendors: Mapping[str, Row]


@frozen
class Written:
    """What a plan changed.

    Attributes:
        vendors: How many were created.
        updated: Ids of the rows that were changed.
    """

    vendors: int
    updated: frozenset[int]


def described(connection: sa.Connection) -> Described:
    """What there is to compare."""
    return Described(
        sorted(model_queries.enabled_models(connection)),
        model_queries.every_description(connection),
        {row["id"]: row["name"] for row in model_queries.every_vendor(connection)},
    )


def one_at_a_time(connection: sa.Connection) -> None:
    """Waits for other transactions that called this: two that saw the same gap would
    fill it twice, and no unique index refuses names of rows that are not deleted."""
    mark = sa.select(knight_meta.c.key).where(knight_meta.c.key == VERSION_KEY)
    connection.execute(mark.with_for_update()).all()


def write(connection: sa.Connection, plan: Plan, now: int) -> Written:
    """Creates and changes rows, and the vendors that they name.

    A row that was closed to public lists or deleted meanwhile stays as it is.
    """
    told = [*plan.created, *plan.updated.values()]
    ids, count = _vendors(connection, (row.get(VENDOR) for row in told), plan, now)
    for row in plan.created:
        times = {"created_time": now, "updated_time": now}
        values = {**_columns(row, ids), "sync_official": SYNCED, **times}
        connection.execute(sa.insert(models).values(**values))
    updated = {
        row_id
        for row_id, row in sorted(plan.updated.items())
        if _update(connection, row_id, {**_columns(row, ids), "updated_time": now})
    }
    return Written(count, frozenset(updated))


def _update(connection: sa.Connection, row_id: int, values: Row) -> bool:
    c = models.c
    open_row = (c.id == row_id, c.deleted_at.is_(None), c.sync_official != 0)
    statement = sa.update(models).where(*open_row).values(**values)
    return connection.execute(statement).rowcount == 1


def _vendors(
    connection: sa.Connection, names: Iterable[str | None], plan: Plan, now: int
) -> tuple[dict[str, int], int]:
    """Ids of vendors by name, missing ones created, and how many those were."""
    ids: dict[str, int] = {}
    for row in model_queries.every_vendor(connection):
        ids.setdefault(row["name"], row["id"])
    absent = [name for name in dict.fromkeys(names) if name and name not in ids]
    times = {"created_time": now, "updated_time": now}
    for name in absent:
        row = {"status": 1, **plan.vendors.get(name, {}), "name": name, **times}
        ids[name] = new_id(connection, vendors, row)
    return ids, len(absent)


def _columns(row: Row, ids: Mapping[str, int]) -> Row:
    """A row with the vendor's id for its name."""
    columns = {name: value for name, value in row.items() if name != VENDOR}
    if row.get(VENDOR):
        columns["vendor_id"] = ids[row[VENDOR]]
    return columns
