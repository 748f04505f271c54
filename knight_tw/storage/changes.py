"""What processes tell each other through the database when there is no Redis.

Readers go on from the last number they saw, so numbers must become visible in their own
order. Two transactions could otherwise take numbers 5 and 6 and commit the 6 first, and
a reader who saw it would never look at 5. So writers wait for each other on one row of
`knight_meta` until they commit; SQLite has one writer anyway.
"""

from __future__ import annotations

import sqlalchemy as sa

from knight_tw.storage.schema import knight_changes as changes
from knight_tw.storage.schema import knight_meta
from knight_tw.storage.sql import upsert

KEPT_SECONDS = 600
"""Age at which a change is deleted; every process has seen it long before."""

LIMIT = 1_000
"""Changes read at once."""

_TURN = "change_turn"


def announce(connection: sa.Connection, kind: str, ref: str, now: int) -> None:
    """Tells other processes that something changed, once the transaction commits.

    Args:
        kind: `option`, `channel`, `user`, `token`, `price`, `session`, `affinity`,
            `purge`.
        ref: The id concerned, or nothing.
    """
    if connection.dialect.name != "sqlite":
        upsert(connection, knight_meta, [{"key": _TURN, "value": str(now)}], ["key"])
    connection.execute(
        sa.insert(changes).values(kind=kind[:16], ref=ref[:64], created_at=now)
    )


def since(connection: sa.Connection, last_id: int) -> list[tuple[int, str, str]]:
    """The changes after number `last_id`, oldest first: (number, kind, ref)."""
    asked = (
        sa.select(changes.c.id, changes.c.kind, changes.c.ref)
        .where(changes.c.id > last_id)
        .order_by(changes.c.id)
        .limit(LIMIT)
    )
    return [(row.id, row.kind, row.ref) for row in connection.execute(asked)]


def last(connection: sa.Connection) -> int:
    """The newest number, 0 when there is none: where a new reader begins."""
    return connection.scalar(sa.select(sa.func.max(changes.c.id))) or 0


def prune(connection: sa.Connection, now: int) -> int:
    """Deletes what every process has seen; how many rows.

    The newest row stays: SQLite would give its number to the next one.
    """
    newest = connection.scalar(sa.select(sa.func.max(changes.c.id)))
    old = (changes.c.created_at < now - KEPT_SECONDS, changes.c.id < (newest or 0))
    return connection.execute(sa.delete(changes).where(*old)).rowcount
