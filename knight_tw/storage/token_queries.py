"""What the token pages read and write: one owner's tokens, never deleted ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from knight_tw.storage.matching import matches
from knight_tw.storage.schema import tokens
from knight_tw.storage.sql import new_id

Row = dict[str, Any]

BULK_LIMIT = 10_000
"""The most tokens that one bulk change touches."""


def page(
    connection: sa.Connection, user_id: int, offset: int, limit: int
) -> tuple[list[Row], int]:
    """One page of a user's tokens, newest first, and how many there are."""
    return _page(connection, [_of(user_id)], offset, limit)


def search(
    connection: sa.Connection,
    user_id: int,
    name: str,
    key: str,
    offset: int,
    limit: int,
) -> tuple[list[Row], int]:
    """As `page`, of the tokens whose name and key match; `%` stands for anything."""
    where = [_of(user_id)]
    if name:
        where.append(matches(tokens.c.name, name))
    if key:
        where.append(matches(tokens.c.key, key))
    return _page(connection, where, offset, limit)


def find(connection: sa.Connection, user_id: int, token_id: int) -> Row | None:
    """One token of the user."""
    row = connection.execute(
        sa.select(tokens).where(_of(user_id), tokens.c.id == token_id)
    ).first()
    return None if row is None else dict(row._mapping)


def by_id(connection: sa.Connection, token_id: int) -> Row | None:
    """A token, whoever owns it."""
    row = connection.execute(
        sa.select(tokens).where(tokens.c.id == token_id, tokens.c.deleted_at.is_(None))
    ).first()
    return None if row is None else dict(row._mapping)


def create(
    connection: sa.Connection, rows: Sequence[Mapping[str, Any]], most: int
) -> list[Row] | None:
    """Insert tokens of one owner and give them back; None when he would have over
    `most` (two requests at the same moment may pass it together)."""
    owner = rows[0]["user_id"]
    held = connection.execute(
        sa.select(sa.func.count()).select_from(tokens).where(_of(owner))
    ).scalar_one()
    if held + len(rows) > most:
        return None
    made = []
    for row in rows:
        number = new_id(connection, tokens, row)
        made.append(find(connection, owner, number) or {})
    return made


def change(
    connection: sa.Connection,
    user_id: int,
    token_id: int,
    decide: Callable[[Row], Mapping[str, Any]],
) -> Row | None:
    """The token after `decide`, which gets the row and says which columns to set.

    None when there is no such token. What `decide` raises leaves the row as it was; it
    may be called more than once.
    """
    query = sa.select(tokens).where(_of(user_id), tokens.c.id == token_id)
    row = connection.execute(query.with_for_update()).first()
    if row is None:
        return None
    before = dict(row._mapping)
    values = decide(before)
    if values:
        connection.execute(
            sa.update(tokens).where(tokens.c.id == token_id).values(**values)
        )
    return {**before, **values}


def delete(
    connection: sa.Connection, user_id: int, ids: Sequence[int], now: float
) -> int:
    """Mark tokens of the user as deleted; how many there were."""
    return connection.execute(
        sa.update(tokens)
        .where(_of(user_id), tokens.c.id.in_(ids))
        .values(deleted_at=datetime.fromtimestamp(now, UTC))
    ).rowcount


def keys(connection: sa.Connection, user_id: int, ids: Sequence[int]) -> dict[int, str]:
    """The keys of tokens of the user, by id."""
    rows = connection.execute(
        sa.select(tokens.c.id, tokens.c.key).where(_of(user_id), tokens.c.id.in_(ids))
    )
    return {row.id: row.key for row in rows}


def select(
    connection: sa.Connection,
    user_id: int,
    *,
    ids: Sequence[int] = (),
    name: str = "",
    status: int = 0,
    group: str | None = None,
) -> list[Row]:
    """The user's tokens with these ids, or, without ids, those that the filter takes;
    oldest first, at most `BULK_LIMIT`."""
    where = [_of(user_id)]
    if ids:
        where.append(tokens.c.id.in_(ids))
    if name:
        where.append(matches(tokens.c.name, name))
    if status:
        where.append(tokens.c.status == status)
    if group is not None:
        where.append(tokens.c.group == group)
    chosen = sa.select(tokens).where(*where).order_by(tokens.c.id).limit(BULK_LIMIT)
    return [dict(row._mapping) for row in connection.execute(chosen)]


def write(connection: sa.Connection, changes: Mapping[int, Mapping[str, Any]]) -> None:
    """Set columns of tokens by id."""
    for token_id, values in changes.items():
        connection.execute(
            sa.update(tokens).where(tokens.c.id == token_id).values(**values)
        )


def names(connection: sa.Connection, ids: Sequence[int]) -> dict[int, str]:
    """Names of tokens by id, deleted ones included."""
    rows = connection.execute(
        sa.select(tokens.c.id, tokens.c.name).where(tokens.c.id.in_(ids))
    )
    return {row.id: row.name or "" for row in rows}


def _of(user_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(tokens.c.user_id == user_id, tokens.c.deleted_at.is_(None))


def _page(
    connection: sa.Connection,
    where: Sequence[sa.ColumnElement[bool]],
    offset: int,
    limit: int,
) -> tuple[list[Row], int]:
    count = sa.select(sa.func.count()).select_from(tokens).where(*where)
    rows = connection.execute(
        sa.select(tokens)
        .where(*where)
        .order_by(tokens.c.id.desc())
        .offset(offset)
        .limit(limit)
    )
    return [dict(row._mapping) for row in rows], connection.execute(count).scalar_one()
