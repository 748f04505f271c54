"""What the command palette finds: a few rows of each kind, exact matches first."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from knight_tw.storage.matching import Condition, contains
from knight_tw.storage.schema import channels, tokens, users

Row = dict[str, Any]

LARGEST_ID = 2**53


def found_users(connection: sa.Connection, text: str, limit: int) -> list[Row]:
    """Living accounts by id, or by a part of user name, display name or address."""
    c = users.c
    parts = [contains(it, text) for it in (c.username, c.display_name, c.email)]
    query = sa.select(c.id, c.username, c.display_name, c.email).where(
        c.deleted_at.is_(None), sa.or_(*parts, *_by_id(c.id, text))
    )
    return _rows(connection, query.order_by(*_exact(c.username, c.id, text)), limit)


def found_channels(connection: sa.Connection, text: str, limit: int) -> list[Row]:
    """Channels by id, or by a part of name, tag or address."""
    c = channels.c
    parts = [contains(it, text) for it in (c.name, c.tag, c.base_url)]
    query = sa.select(c.id, c.name, c.type, c.status, c.tag).where(
        sa.or_(*parts, *_by_id(c.id, text))
    )
    return _rows(connection, query.order_by(*_exact(c.name, c.id, text)), limit)


def found_tokens(
    connection: sa.Connection, user_id: int, text: str, limit: int
) -> list[Row]:
    """A user's tokens by id, by a part of the name, or by the whole key."""
    c = tokens.c
    key = text.removeprefix("sk-")
    query = sa.select(c.id, c.name, c.status).where(
        c.user_id == user_id,
        c.deleted_at.is_(None),
        sa.or_(contains(c.name, text), c.key == key, *_by_id(c.id, text)),
    )
    return _rows(connection, query.order_by(*_exact(c.name, c.id, text)), limit)


def _by_id(column: sa.Column[Any], text: str) -> list[Condition]:
    if not (text.isascii() and text.isdecimal() and len(text) < 17):
        return []
    return [column == min(int(text), LARGEST_ID)]


def _exact(
    name: sa.Column[Any], number: sa.Column[Any], text: str
) -> list[sa.ColumnElement[Any]]:
    """The order: what is meant to the letter, then the newest."""
    exact = sa.or_(sa.func.lower(name) == text.lower(), *_by_id(number, text))
    return [sa.case((exact, 0), else_=1), number.desc()]


def _rows(connection: sa.Connection, query: sa.Select[Any], limit: int) -> list[Row]:
    return [dict(row._mapping) for row in connection.execute(query.limit(limit))]
