"""Prefill groups: named lists of models, tags or endpoints for the channel form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from knight_tw.errors import KnightError
from knight_tw.storage.schema import prefill_groups as groups

Row = dict[str, Any]


class GroupExists(KnightError):
    """Another group, on some engines perhaps a deleted one, has the name."""

    status, code = 409, "already_exists"


def every(connection: sa.Connection, kind: str) -> list[Row]:
    """All groups of a kind (`model`, `tag`, `endpoint`; empty = all), newest first."""
    where = [_alive()]
    if kind:
        where.append(groups.c.type == kind)
    asked = sa.select(groups).where(*where).order_by(groups.c.id.desc())
    return [dict(row._mapping) for row in connection.execute(asked)]


def find(connection: sa.Connection, group_id: int) -> Row | None:
    """One group."""
    asked = sa.select(groups).where(groups.c.id == group_id, _alive())
    row = connection.execute(asked).first()
    return None if row is None else dict(row._mapping)


def create(connection: sa.Connection, values: Mapping[str, Any], now: int) -> Row:
    """A new group as it is stored.

    Raises:
        GroupExists: the name is taken.
    """
    _check_name(connection, values["name"], 0)
    times = {"created_time": now, "updated_time": now}
    try:
        made = connection.execute(sa.insert(groups).values({**values, **times}))
    except sa.exc.IntegrityError:
        raise GroupExists("a group of that name exists") from None
    key = made.inserted_primary_key
    return find(connection, int(key[0]) if key is not None else 0) or {}


def update(
    connection: sa.Connection, group_id: int, values: Mapping[str, Any], now: int
) -> Row | None:
    """The group after columns were set; None when there is none.

    Raises:
        GroupExists: the name is another group's.
    """
    if "name" in values:
        _check_name(connection, values["name"], group_id)
    changed = sa.update(groups).where(groups.c.id == group_id, _alive())
    try:
        connection.execute(changed.values({**values, "updated_time": now}))
    except sa.exc.IntegrityError:
        raise GroupExists("a group of that name exists") from None
    return find(connection, group_id)


def delete(connection: sa.Connection, group_id: int, now: int) -> bool:
    """True when the group was there until now."""
    gone = sa.update(groups).where(groups.c.id == group_id, _alive())
    moment = datetime.fromtimestamp(now, UTC)
    return connection.execute(gone.values(deleted_at=moment)).rowcount == 1


def _alive() -> sa.ColumnElement[bool]:
    return groups.c.deleted_at.is_(None)


def _check_name(connection: sa.Connection, name: str, except_id: int) -> None:
    same = sa.select(groups.c.id).where(
        groups.c.name == name, groups.c.id != except_id, _alive()
    )
    if connection.execute(same).first() is not None:
        raise GroupExists("a group of that name exists")
