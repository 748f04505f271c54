"""Long work that administrators start: rows of `system_tasks`.

At most one job of a kind is under way, on all nodes together: `active_key`, which is
unique, holds the kind while it is. A process that dies leaves its row behind; a row
that nobody has touched for `STALE_SECONDS` is taken for dead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from knight_tw.storage.matching import order
from knight_tw.storage.schema import system_tasks as jobs

Row = dict[str, Any]

STALE_SECONDS = 120
ACTIVE = ("pending", "running")
_JSON = ("payload", "state", "result")
SORTABLE = {
    "created_at": jobs.c.created_at,
    "updated_at": jobs.c.updated_at,
    "kind": jobs.c.type,
    "status": jobs.c.status,
}


def start(
    connection: sa.Connection,
    kind: str,
    task_id: str,
    holder: str,
    payload: Any,
    now: int,
) -> tuple[Row, bool]:
    """A new running job, and True; or the one of that kind under way, and False."""
    active = _one(connection, jobs.c.active_key == kind)
    if active is not None:
        if active["updated_at"] > now - STALE_SECONDS:
            return active, False
        finish(connection, active["task_id"], "failed", None, "interrupted", now)
    row = {
        "task_id": task_id,
        "type": kind,
        "status": "running",
        "active_key": kind,
        "payload": json.dumps(payload),
        "state": json.dumps({"processed": 0, "progress": 0, "total": 0}),
        "result": "",
        "error": "",
        "locked_by": holder,
        "created_at": now,
        "updated_at": now,
    }
    connection.execute(sa.insert(jobs).values(**row))
    return find(connection, task_id) or {}, True


def touch(
    connection: sa.Connection, task_id: str, state: Mapping[str, Any] | None, now: int
) -> bool:
    """The job is alive, and this far; False when it was cancelled or taken for dead."""
    values: Row = {"updated_at": now}
    if state is not None:
        values["state"] = json.dumps(state)
    alive = (jobs.c.task_id == task_id, jobs.c.active_key.is_not(None))
    return (
        connection.execute(sa.update(jobs).where(*alive).values(**values)).rowcount > 0
    )


def finish(
    connection: sa.Connection,
    task_id: str,
    status: str,
    result: Any,
    error: str,
    now: int,
) -> bool:
    """The job is over; False when it was already."""
    alive = (jobs.c.task_id == task_id, jobs.c.active_key.is_not(None))
    values = {
        "status": status,
        "active_key": None,
        "result": "" if result is None else json.dumps(result),
        "error": error,
        "updated_at": now,
    }
    return (
        connection.execute(sa.update(jobs).where(*alive).values(**values)).rowcount > 0
    )


def find(connection: sa.Connection, task_id: str) -> Row | None:
    """One job by its public id."""
    return _one(connection, jobs.c.task_id == task_id)


def current(connection: sa.Connection, kind: str) -> Row | None:
    """The job of a kind that is under way."""
    return _one(connection, jobs.c.active_key == kind)


def page(
    connection: sa.Connection,
    kinds: Sequence[str],
    statuses: Sequence[str],
    offset: int,
    limit: int,
    sort: tuple[str, bool] = ("", False),
) -> tuple[list[Row], int]:
    """One page of jobs, newest first, and how many there are.

    Args:
        sort: One of `SORTABLE`, and whether its largest value comes first.
    """
    where = []
    if kinds:
        where.append(jobs.c.type.in_(kinds))
    if statuses:
        where.append(jobs.c.status.in_(statuses))
    count = sa.select(sa.func.count()).select_from(jobs).where(*where)
    rows = connection.execute(
        sa.select(jobs)
        .where(*where)
        .order_by(*order(sort, SORTABLE, jobs.c.id))
        .offset(offset)
        .limit(limit)
    )
    return [read(row) for row in rows], connection.execute(count).scalar_one()


def prune(connection: sa.Connection, before: int) -> int:
    """Delete the jobs that were over before a moment; how many."""
    over = (jobs.c.updated_at < before, jobs.c.active_key.is_(None))
    return connection.execute(sa.delete(jobs).where(*over)).rowcount


def _one(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Row | None:
    row = connection.execute(sa.select(jobs).where(condition)).first()
    return None if row is None else read(row)


def read(row: sa.Row[Any]) -> Row:
    """The row with its JSON columns parsed; null where they hold nothing readable."""
    found = dict(row._mapping)
    for name in _JSON:
        try:
            found[name] = json.loads(found[name] or "null")
        except ValueError:
            found[name] = None
    return found
