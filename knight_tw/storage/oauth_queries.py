"""Custom login providers: the rows of `custom_oauth_providers`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from knight_tw.errors import KnightError
from knight_tw.storage.schema import custom_oauth_providers as providers
from knight_tw.storage.schema import user_oauth_bindings as bindings
from knight_tw.storage.sql import new_id

_PUBLIC = (
    "id",
    "name",
    "slug",
    "icon",
    "client_id",
    "authorization_endpoint",
    "scopes",
)


class SlugTaken(KnightError):
    """Another provider has the slug."""

    status, code = 409, "already_exists"


def public_providers(connection: sa.Connection) -> list[dict[str, Any]]:
    """The enabled custom providers, without their secrets."""
    columns = [providers.c[name] for name in _PUBLIC]
    rows = connection.execute(
        sa.select(*columns)
        .where(providers.c.enabled.is_(True))
        .order_by(providers.c.id)
    )
    return [_filled(row) for row in rows]


def every(connection: sa.Connection) -> list[dict[str, Any]]:
    """All rows, in the order they were made."""
    return [
        _filled(row)
        for row in connection.execute(sa.select(providers).order_by(providers.c.id))
    ]


def by_id(connection: sa.Connection, provider_id: int) -> dict[str, Any] | None:
    """The row of that id."""
    asked = sa.select(providers).where(providers.c.id == provider_id)
    row = connection.execute(asked).first()
    return None if row is None else _filled(row)


def by_slug(connection: sa.Connection, slug: str) -> dict[str, Any] | None:
    """The row whose slug is exactly that."""
    asked = sa.select(providers).where(providers.c.slug == slug)
    row = connection.execute(asked).first()
    return None if row is None or row.slug != slug else _filled(row)


def create(
    connection: sa.Connection, values: Mapping[str, Any], now: int
) -> dict[str, Any]:
    """The new row; nothing is bound by it yet.

    Its number may be that of a provider that another program removed, or that was
    removed while somebody was on the way back from it: their bindings go.

    Raises:
        SlugTaken.
    """
    moment = datetime.fromtimestamp(now, UTC)
    row = {**values, "created_at": moment, "updated_at": moment}
    try:
        made = new_id(connection, providers, row)
    except sa.exc.IntegrityError:
        raise _taken() from None
    connection.execute(sa.delete(bindings).where(bindings.c.provider_id == made))
    return _there(connection, made)


def update(
    connection: sa.Connection, provider_id: int, values: Mapping[str, Any], now: int
) -> dict[str, Any] | None:
    """The changed row; None when there is none of that id.

    Raises:
        SlugTaken.
    """
    if by_id(connection, provider_id) is None:
        return None
    moment = datetime.fromtimestamp(now, UTC)
    try:
        connection.execute(
            sa.update(providers)
            .where(providers.c.id == provider_id)
            .values(**values, updated_at=moment)
        )
    except sa.exc.IntegrityError:
        raise _taken() from None
    return _there(connection, provider_id)


def delete(connection: sa.Connection, provider_id: int) -> int | None:
    """How many accounts were bound by the provider that was removed with its bindings;
    None when there is no such provider.

    A binding that stayed would let in whoever has that id at the next provider that
    gets the row's number.
    """
    gone = connection.execute(sa.delete(providers).where(providers.c.id == provider_id))
    if not gone.rowcount:
        return None
    return connection.execute(
        sa.delete(bindings).where(bindings.c.provider_id == provider_id)
    ).rowcount


def _there(connection: sa.Connection, provider_id: int) -> dict[str, Any]:
    row = connection.execute(sa.select(providers).where(providers.c.id == provider_id))
    return _filled(row.one())


def _filled(row: sa.Row[Any]) -> dict[str, Any]:
    """A row as a dict; NULLs of rows that are older than a column read as empty."""
    return {
        name: "" if value is None else value for name, value in row._mapping.items()
    }


def _taken() -> SlugTaken:
    return SlugTaken("another provider has this slug", param="slug")
