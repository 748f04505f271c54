"""What the streams of events look up now and then for all their readers together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from knight_tw.storage import job_queries
from knight_tw.storage.schema import system_tasks, users
from knight_tw.storage.sql import chunks

MOST_JOBS = 200
"""Jobs that change between two looks; there are a handful of kinds."""


def jobs_since(connection: sa.Connection, moment: int) -> list[dict[str, Any]]:
    """The jobs that changed at or after a moment, the oldest first."""
    c = system_tasks.c
    query = (
        sa.select(system_tasks)
        .where(c.updated_at >= moment)
        .order_by(c.updated_at.desc(), c.id.desc())
        .limit(MOST_JOBS)
    )
    return [job_queries.read(row) for row in connection.execute(query)][::-1]


def balances(connection: sa.Connection, ids: Iterable[int]) -> dict[int, int]:
    """The quota of some users."""
    found: dict[int, int] = {}
    for some in chunks(sorted(ids)):
        query = sa.select(users.c.id, users.c.quota).where(users.c.id.in_(some))
        found.update((row.id, int(row.quota or 0)) for row in connection.execute(query))
    return found
