"""Relay credentials as the relay and the ledger need them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from knight_tw.records import ENABLED, TOKEN_EXHAUSTED, Token, User
from knight_tw.storage import users as accounts
from knight_tw.storage.schema import tokens, users
from knight_tw.storage.sql import chunks, listed

Row = Mapping[Any, Any]
"""A row by column names."""

_OWNER = "owner_"


def find_by_key(
    connection: sa.Connection, key: str
) -> tuple[Token, User | None] | None:
    """The living token with exactly this key (no `sk-`), and its living owner.

    Returns:
        None when there is no such token; no owner when the account is missing or
        deleted.
    """
    owner = [column.label(_OWNER + column.name) for column in accounts.COLUMNS]
    alive = sa.and_(users.c.id == tokens.c.user_id, users.c.deleted_at.is_(None))
    row = (
        connection.execute(
            sa.select(*tokens.c, *owner)
            .select_from(tokens.outerjoin(users, alive))
            .where(tokens.c.key == key, tokens.c.deleted_at.is_(None))
        )
        .mappings()
        .first()
    )
    # MySQL's collation finds keys that differ in case; PostgreSQL's char is padded.
    if row is None or row["key"].rstrip(" ") != key:
        return None
    return to_record(row), _owner(row)


def _owner(row: Row) -> User | None:
    if row[_OWNER + "id"] is None:
        return None
    size = len(_OWNER)
    return accounts.to_record(
        {name[size:]: row[name] for name in row if name.startswith(_OWNER)}
    )


def to_record(row: Row) -> Token:
    """The token in a whole row; NULL in an older row reads as the column's default."""
    expires = row["expired_time"]
    return Token(
        id=row["id"],
        user_id=row["user_id"] or 0,
        key=(row["key"] or "").rstrip(" "),
        name=row["name"] or "",
        status=row["status"] or 0,
        expired_time=-1 if expires is None else expires,
        remain_quota=row["remain_quota"] or 0,
        unlimited_quota=bool(row["unlimited_quota"]),
        model_limits_enabled=bool(row["model_limits_enabled"]),
        model_limits=frozenset(listed(row["model_limits"])),
        allow_ips=listed((row["allow_ips"] or "").replace(",", "\n"), "\n"),
        group=row["group"] or "",
        cross_group_retry=bool(row["cross_group_retry"]),
        auto_groups=_names(row["auto_groups"]),
        used_quota=row["used_quota"] or 0,
    )


def find_all(connection: sa.Connection, ids: Sequence[int]) -> dict[int, Token]:
    """The living tokens among these ids, by id."""
    found = {}
    for some in chunks(ids):
        asked = sa.select(tokens).where(
            tokens.c.id.in_(some), tokens.c.deleted_at.is_(None)
        )
        for row in connection.execute(asked).mappings():
            found[row["id"]] = to_record(row)
    return found


def balances(
    connection: sa.Connection, ids: Sequence[int]
) -> dict[int, tuple[int, bool]]:
    """Remaining quota and whether it is unlimited, by id, of deleted tokens too."""
    found = {}
    for some in chunks(ids):
        asked = sa.select(
            tokens.c.id, tokens.c.remain_quota, tokens.c.unlimited_quota
        ).where(tokens.c.id.in_(some))
        for row in connection.execute(asked):
            found[row.id] = (row.remain_quota or 0, bool(row.unlimited_quota))
    return found


def _names(text: str | None) -> tuple[str, ...]:
    """The names in a JSON array of texts; none when it is anything else."""
    if not text:
        return ()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(value, list):
        return ()
    return tuple(name for name in value if isinstance(name, str) and name)


def mark(connection: sa.Connection, token_id: int, status: int) -> None:
    """Notes that an enabled token was found expired or used up, if that still holds.

    A token that somebody refilled or prolonged meanwhile stays enabled.
    """
    still = [tokens.c.id == token_id, tokens.c.status == ENABLED]
    if status == TOKEN_EXHAUSTED:
        still += [tokens.c.remain_quota <= 0, tokens.c.unlimited_quota.is_(False)]
    connection.execute(sa.update(tokens).where(*still).values(status=status))
