"""Accounts, read: who somebody is, the rows of the user lists, who may log in.

Rows are dicts of the columns of `users`; NULLs of rows that are older than a column are
replaced by the column's zero value.
"""

from __future__ import annotations

import hmac
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from knight_tw.records import ROLE_ROOT
from knight_tw.storage import totals
from knight_tw.storage.matching import contains
from knight_tw.storage.schema import passkey_credentials, two_fas, users

Row = dict[str, Any]

SORTABLE = ("id", "username", "quota", "group", "created_at", "last_login_at")
MOST_COUNTED = 100_000
"""Where counting the accounts of a list ends."""

SEARCHED = 100_000
"""The newest accounts, in which parts of names and addresses are looked for."""

DELETED = -1
"""The status that a search asks for to see soft-deleted accounts."""

_NULLABLE = frozenset({"deleted_at", "access_token", "aff_code"})


@frozen
class Identity:
    """Who an account is, as every dashboard request needs it."""

    id: int
    username: str
    role: int
    status: int
    group: str
    auth_version: int
    deleted: bool


def identity(connection: sa.Connection, user_id: int) -> Identity | None:
    """The account of that id, deleted ones included."""
    row = connection.execute(_identity().where(users.c.id == user_id)).first()
    return None if row is None else _to_identity(row)


def identity_by_access_token(connection: sa.Connection, token: str) -> Identity | None:
    """The living account whose personal access token is exactly `token`."""
    found = connection.execute(
        _identity(users.c.access_token).where(
            users.c.access_token == token, users.c.deleted_at.is_(None)
        )
    ).first()
    if found is None or not _same(found.access_token, token):
        return None
    return _to_identity(found)


def by_login_name(connection: sa.Connection, name: str) -> tuple[Identity, str] | None:
    """The living account that logs in as `name`, and its password hash.

    `name` is a user name or, else, an address; an address that two accounts share
    belongs to nobody.
    """
    living = _identity(users.c.password).where(users.c.deleted_at.is_(None))
    row = connection.execute(living.where(users.c.username == name)).first()
    if row is None and "@" in name:
        address = name.strip().lower()
        same = living.where(sa.func.lower(users.c.email) == address).limit(2)
        rows = connection.execute(same).all()
        row = rows[0] if len(rows) == 1 else None
    return None if row is None else (_to_identity(row), row.password or "")


def password_hash(connection: sa.Connection, user_id: int) -> str:
    """The stored hash; empty when the account has no password."""
    asked = sa.select(users.c.password).where(users.c.id == user_id)
    return connection.execute(asked).scalar() or ""


def has_strong_factor(connection: sa.Connection, user_id: int) -> bool:
    """True when the account has an enabled TOTP secret or a passkey."""
    keys = passkey_credentials.c
    totp = sa.select(two_fas.c.id).where(
        two_fas.c.user_id == user_id,
        two_fas.c.is_enabled.is_(True),
        two_fas.c.deleted_at.is_(None),
    )
    passkey = sa.select(keys.id).where(
        keys.user_id == user_id, keys.deleted_at.is_(None)
    )
    return any(connection.execute(asked).first() for asked in (totp, passkey))


def account(connection: sa.Connection, user_id: int) -> Row | None:
    """All columns of one account, deleted ones included."""
    row = connection.execute(sa.select(users).where(users.c.id == user_id)).first()
    return None if row is None else _filled(row)


def id_of(connection: sa.Connection, username: str) -> int | None:
    """The id of the living account of that name."""
    asked = sa.select(users.c.id).where(
        users.c.username == username, users.c.deleted_at.is_(None)
    )
    return connection.execute(asked).scalar()


def root_exists(connection: sa.Connection) -> bool:
    """True when there is a living account of role root."""
    roots = sa.select(users.c.id).where(
        users.c.role == ROLE_ROOT, users.c.deleted_at.is_(None)
    )
    return connection.execute(roots.limit(1)).first() is not None


@frozen
class Search:
    """What a list of accounts is narrowed and sorted by.

    Attributes:
        keyword: Part of user name, address or display name, or the whole id; beyond
            the newest `SEARCHED` accounts the whole of any of them.
        status: 1 or 2 of living accounts, `DELETED`, or None.
        sort: One of `SORTABLE`.
    """

    keyword: str = ""
    group: str = ""
    role: int | None = None
    status: int | None = None
    sort: str = "id"
    ascending: bool = False


def search(
    connection: sa.Connection, asked: Search, offset: int, limit: int
) -> tuple[list[Row], int]:
    """One page of accounts, and how many there are, counted up to `MOST_COUNTED`."""
    conditions = _conditions(asked)
    column = users.c[asked.sort]
    order = column.asc() if asked.ascending else column.desc()
    tie = users.c.id.asc() if asked.ascending else users.c.id.desc()
    rows = connection.execute(
        sa.select(users)
        .where(*conditions)
        .order_by(order, tie)
        .offset(offset)
        .limit(limit)
    )
    found = [_filled(row) for row in rows]
    read = (offset, limit, len(found))
    return found, totals.total(
        connection, users.c.id, conditions, MOST_COUNTED, page=read
    )


def _conditions(asked: Search) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if asked.keyword:
        conditions.append(users.c.id.in_(sa.select(_hits(asked.keyword).c.id)))
    if asked.group:
        conditions.append(users.c.group == asked.group)
    if asked.role is not None:
        conditions.append(users.c.role == asked.role)
    if asked.status == DELETED:
        conditions.append(users.c.deleted_at.is_not(None))
    elif asked.status is not None:
        conditions.append(users.c.status == asked.status)
        conditions.append(users.c.deleted_at.is_(None))
    return conditions


def _hits(keyword: str) -> sa.Subquery:
    """Ids of the accounts that a keyword finds.

    No index knows the parts of a text, so those are looked for among the newest
    accounts only; a whole name, address or id finds any.
    """
    fields = (users.c.username, users.c.email, users.c.display_name)
    newest = sa.select(sa.func.max(users.c.id) - SEARCHED).scalar_subquery()
    parts = sa.or_(*(contains(field, keyword) for field in fields))
    found = [sa.select(users.c.id).where(users.c.id > newest, parts)]
    found += [sa.select(users.c.id).where(field == keyword) for field in fields]
    if keyword.isascii() and keyword.isdigit():
        number = min(int(keyword[:18]), 2**53)
        found.append(sa.select(users.c.id).where(users.c.id == number))
    return sa.union(*found).subquery("hits")


def _identity(*more: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(
        users.c.id,
        users.c.username,
        users.c.role,
        users.c.status,
        users.c.group.label("account_group"),
        users.c.auth_version,
        users.c.deleted_at,
        *more,
    )


def _to_identity(row: sa.Row[Any]) -> Identity:
    return Identity(
        id=row.id,
        username=row.username or "",
        role=row.role or 0,
        status=row.status or 0,
        group=row.account_group or "default",
        auth_version=row.auth_version or 1,
        deleted=row.deleted_at is not None,
    )


def _same(stored: str | None, given: str) -> bool:
    """Equal to the character, without telling by its time where they differ."""
    return hmac.compare_digest((stored or "").strip().encode(), given.encode())


def _filled(row: sa.Row[Any]) -> Row:
    """A row as a dict, with zero values for NULLs that mean nothing."""
    filled: Row = {}
    for column in users.c:
        value = row._mapping[column]
        if value is None and column.name not in _NULLABLE:
            value = "" if isinstance(column.type, sa.String | sa.Text) else 0
        filled[column.name] = value
    return filled
