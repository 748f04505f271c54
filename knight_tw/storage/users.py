"""Accounts as the relay and the ledger need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from knight_tw.records import ENABLED, User
from knight_tw.storage.schema import users
from knight_tw.storage.sql import chunks, json_object

Row = Mapping[Any, Any]
"""A row by column names."""

COLUMNS = (
    users.c.id,
    users.c.username,
    users.c.role,
    users.c.status,
    users.c.group,
    users.c.quota,
    users.c.email,
    users.c.setting,
)
"""What `to_record` reads."""


def to_record(row: Row) -> User:
    """The account in a row that has `COLUMNS`; NULLs read as zero values."""
    return User(
        id=row["id"],
        username=row["username"] or "",
        role=row["role"] or 0,
        status=row["status"] or 0,
        group=row["group"] or "default",
        quota=row["quota"] or 0,
        email=row["email"] or "",
        setting=json_object(row["setting"]),
    )


def find(connection: sa.Connection, user_id: int) -> User | None:
    """The living account of that id."""
    found = find_all(connection, [user_id])
    return found.get(user_id)


def find_all(connection: sa.Connection, ids: Sequence[int]) -> dict[int, User]:
    """The living accounts among these ids, by id."""
    found = {}
    for some in chunks(ids):
        asked = sa.select(*COLUMNS).where(
            users.c.id.in_(some), users.c.deleted_at.is_(None)
        )
        for row in connection.execute(asked).mappings():
            found[row["id"]] = to_record(row)
    return found


def balances(connection: sa.Connection, ids: Sequence[int]) -> dict[int, int]:
    """Remaining quota by id, of deleted accounts too: their calls are still settled."""
    found = {}
    for some in chunks(ids):
        asked = sa.select(users.c.id, users.c.quota).where(users.c.id.in_(some))
        found.update({row.id: row.quota or 0 for row in connection.execute(asked)})
    return found


def of_role(connection: sa.Connection, role: int, most: int = 20) -> list[User]:
    """The living, enabled accounts of exactly that role, the oldest first."""
    asked = sa.select(*COLUMNS).where(
        users.c.role == role, users.c.status == ENABLED, users.c.deleted_at.is_(None)
    )
    rows = connection.execute(asked.order_by(users.c.id).limit(most)).mappings()
    return [to_record(row) for row in rows]
