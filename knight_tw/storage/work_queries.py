"""The lists of long work of clients: `midjourneys` and `tasks`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from attrs import frozen

from knight_tw.storage.schema import midjourneys, tasks, users
from knight_tw.storage.sql import chunks

Row = dict[str, Any]
Condition = sa.ColumnElement[bool]

BOUND = 100_000
"""Up to here rows are counted."""


@frozen
class DrawingFilter:
    """Which drawings; an empty field does not restrict. Times in milliseconds."""

    user_id: int | None = None
    mj_id: str = ""
    channel_id: int = 0
    start: int = 0
    end: int = 0

    def conditions(self) -> list[Condition]:
        """The WHERE clauses."""
        c = midjourneys.c
        where = _equal(
            (c.user_id, self.user_id),
            (c.mj_id, self.mj_id or None),
            (c.channel_id, self.channel_id or None),
        )
        return where + _between(c.submit_time, self.start, self.end)


@frozen
class TaskFilter:
    """Which tasks; an empty field does not restrict. Times in seconds."""

    user_id: int | None = None
    platform: str = ""
    task_id: str = ""
    status: str = ""
    action: str = ""
    channel_id: int = 0
    start: int = 0
    end: int = 0

    def conditions(self) -> list[Condition]:
        """The WHERE clauses."""
        c = tasks.c
        where = _equal(
            (c.user_id, self.user_id),
            (c.platform, self.platform or None),
            (c.task_id, self.task_id or None),
            (c.status, self.status or None),
            (c.action, self.action or None),
            (c.channel_id, self.channel_id or None),
        )
        return where + _between(c.submit_time, self.start, self.end)


def drawings(
    connection: sa.Connection, chosen: DrawingFilter, offset: int, limit: int
) -> tuple[list[Row], int]:
    """One page of drawings, newest first, and how many there are."""
    return _page(connection, midjourneys, chosen.conditions(), offset, limit)


def task_page(
    connection: sa.Connection, chosen: TaskFilter, offset: int, limit: int
) -> tuple[list[Row], int]:
    """One page of tasks, newest first, and how many there are; with the names of their
    users as `username`."""
    rows, total = _page(connection, tasks, chosen.conditions(), offset, limit)
    names: dict[int, str] = {}
    for some in chunks(sorted({row["user_id"] or 0 for row in rows})):
        query = sa.select(users.c.id, users.c.username).where(users.c.id.in_(some))
        names.update((row.id, row.username or "") for row in connection.execute(query))
    for row in rows:
        row["username"] = names.get(row["user_id"], "")
    return rows, total


def _page(
    connection: sa.Connection,
    table: sa.Table,
    where: list[Condition],
    offset: int,
    limit: int,
) -> tuple[list[Row], int]:
    query = sa.select(table).where(*where).order_by(table.c.id.desc())
    found = connection.execute(query.offset(offset).limit(limit))
    rows = [dict(row._mapping) for row in found]
    some = sa.select(table.c.id).where(*where).limit(BOUND).subquery()
    count = sa.select(sa.func.count()).select_from(some)
    return rows, connection.execute(count).scalar_one()


def _equal(*pairs: tuple[sa.Column[Any], Any]) -> list[Condition]:
    return [column == value for column, value in pairs if value is not None]


def _between(column: sa.Column[Any], start: int, end: int) -> list[Condition]:
    where: list[Condition] = []
    if start:
        where.append(column >= start)
    if end:
        where.append(column <= end)
    return where
