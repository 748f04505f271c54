"""Writes of several options at once, and their history."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from knight_tw.storage import options
from knight_tw.storage.matching import order
from knight_tw.storage.schema import knight_option_history as history
from knight_tw.storage.schema import users

SORTABLE = {
    "id": history.c.id,
    "key": history.c.key,
    "created_at": history.c.created_at,
}


def save_all(
    connection: sa.Connection,
    rows: Mapping[str, str | None],
    secrets: Collection[str],
    user_id: int,
    now: int,
    expected: int | None = None,
) -> int | None:
    """Store options, all or none; the version of the set afterwards.

    Args:
        rows: Key to text; None deletes the row.
        secrets: Keys whose values the history must not show.
        expected: The version that the writer had seen.

    Returns:
        None, and nothing is stored, when the set has another version than `expected`.
    """
    if expected is not None and options.version(connection) != expected:
        return None
    for key, value in rows.items():
        secret = key in secrets
        options.save(connection, key, value, user_id, now, secret=secret)
    return options.version(connection)


def past(
    connection: sa.Connection,
    key: str,
    offset: int,
    limit: int,
    sort: tuple[str, bool] = ("", False),
) -> tuple[list[dict[str, Any]], int]:
    """One page of changes, newest first, of one key or (empty) of all; how many.

    Args:
        sort: One of `SORTABLE`, and whether its largest value comes first.
    """
    where = [history.c.key == key] if key else []
    counted = sa.select(sa.func.count()).select_from(history).where(*where)
    rows = connection.execute(
        sa.select(
            history.c.id,
            history.c.key,
            history.c.old_value,
            history.c.new_value,
            sa.func.coalesce(users.c.username, "").label("username"),
            history.c.created_at,
        )
        .outerjoin(users, users.c.id == history.c.user_id)
        .where(*where)
        .order_by(*order(sort, SORTABLE, history.c.id))
        .offset(offset)
        .limit(limit)
    )
    total = int(connection.execute(counted).scalar_one())
    return [dict(row._mapping) for row in rows], total
