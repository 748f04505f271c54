"""Accounts elsewhere that belong to accounts here, read.

Ids of built-in providers stand in columns of `users`, those of custom ones in
`user_oauth_bindings`. Engines compare texts more kindly than ids allow (MySQL takes
`A` for `a`, and blanks at the end for nothing), so what is found is compared again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from knight_tw.storage.schema import (
    custom_oauth_providers,
    passkey_credentials,
    user_oauth_bindings,
    users,
)
from knight_tw.storage.user_queries import Identity, identity

COLUMNS = (
    "github_id",
    "discord_id",
    "oidc_id",
    "wechat_id",
    "telegram_id",
    "linux_do_id",
)
"""The columns of `users` that hold ids of built-in providers."""

bindings = user_oauth_bindings


@frozen
class Source:
    """Where the ids of a provider's people are kept: a column, or bindings.

    Attributes:
        slug: The provider's name in `external_identity_claims`.
        column: One of `COLUMNS`; empty for a custom provider.
        provider_id: Row of `custom_oauth_providers`; 0 for a built-in provider.
    """

    slug: str
    column: str = ""
    provider_id: int = 0


@frozen
class Owner:
    """The account that an external id belongs to, deleted ones included.

    Attributes:
        created_at: Unix seconds; 0 when the row is older than the column.
    """

    identity: Identity
    created_at: int


def owner(connection: sa.Connection, source: Source, subject: str) -> Owner | None:
    """The account whose id at `source` is exactly `subject`."""
    if not subject:
        return None
    return _first(connection, _owners(connection, source, subject))


def owner_by_name(connection: sa.Connection, source: Source, name: str) -> Owner | None:
    """The account in whose column a user name stands, as older programs stored it.

    Names of digits alone are nobody's: they could be somebody else's id.
    """
    if not name or name.isdigit():
        return None
    column = users.c[source.column]
    rows = connection.execute(
        sa.select(users.c.id, column.label("stored"))
        .where(sa.func.lower(column) == name.lower())
        .order_by(users.c.deleted_at.is_not(None), users.c.id)
    )
    return _first(
        connection, [row.id for row in rows if row.stored.lower() == name.lower()]
    )


def _owners(connection: sa.Connection, source: Source, subject: str) -> list[int]:
    """The accounts that have the id, living ones first; several by old programs."""
    if source.provider_id:
        asked = sa.select(
            bindings.c.user_id.label("id"), bindings.c.provider_user_id.label("stored")
        ).where(
            bindings.c.provider_id == source.provider_id,
            bindings.c.provider_user_id == subject,
        )
    else:
        column = users.c[source.column]
        asked = (
            sa.select(users.c.id, column.label("stored"))
            .where(column == subject)
            .order_by(users.c.deleted_at.is_not(None), users.c.id)
        )
    return [row.id for row in connection.execute(asked) if row.stored == subject]


def _first(connection: sa.Connection, ids: Iterable[int]) -> Owner | None:
    for user_id in ids:
        found = identity(connection, user_id)
        if found is not None:
            made = sa.select(users.c.created_at).where(users.c.id == user_id)
            return Owner(found, connection.execute(made).scalar() or 0)
    return None


def exists(connection: sa.Connection, user_id: int) -> bool:
    """True when there is a row of the account, be it marked as deleted."""
    return identity(connection, user_id) is not None


def name_taken(connection: sa.Connection, name: str) -> bool:
    """True when an account, perhaps a deleted one, has the user name."""
    same = sa.select(users.c.id).where(users.c.username == name)
    return connection.execute(same.limit(1)).first() is not None


def highest_id(connection: sa.Connection) -> int:
    """The highest id of an account; 0 without any."""
    return connection.execute(sa.select(sa.func.max(users.c.id))).scalar() or 0


def inviter(connection: sa.Connection, aff_code: str) -> Identity | None:
    """The living account whose referral code is exactly `aff_code`."""
    if not aff_code:
        return None
    rows = connection.execute(
        sa.select(users.c.id, users.c.aff_code).where(
            users.c.aff_code == aff_code, users.c.deleted_at.is_(None)
        )
    )
    same = [row.id for row in rows if row.aff_code == aff_code]
    return identity(connection, same[0]) if same else None


def email_taken(connection: sa.Connection, email: str) -> bool:
    """True when an account, perhaps a deleted one, has the address."""
    same = sa.select(users.c.id).where(sa.func.lower(users.c.email) == email.lower())
    return connection.execute(same.limit(1)).first() is not None


def custom_bindings(connection: sa.Connection, user_id: int) -> list[dict[str, Any]]:
    """The account's ids at custom providers, as the bindings' routes show them."""
    providers = custom_oauth_providers
    joined = bindings.join(providers, providers.c.id == bindings.c.provider_id)
    rows = connection.execute(
        sa.select(
            bindings.c.provider_id,
            providers.c.name.label("provider_name"),
            providers.c.slug.label("provider_slug"),
            providers.c.icon.label("provider_icon"),
            bindings.c.provider_user_id,
        )
        .select_from(joined)
        .where(bindings.c.user_id == user_id)
        .order_by(bindings.c.id)
    )
    return [
        {name: "" if value is None else value for name, value in row._mapping.items()}
        for row in rows
    ]


def has_other_way(connection: sa.Connection, user_id: int, source: Source) -> bool:
    """True when the account can be entered without its id at `source`: by password,
    another external account, or a passkey."""
    columns = [users.c[name] for name in COLUMNS if name != source.column]
    row = connection.execute(
        sa.select(users.c.password, *columns).where(users.c.id == user_id)
    ).first()
    if row is not None and any(row):
        return True
    others = sa.select(bindings.c.id).where(
        bindings.c.user_id == user_id, bindings.c.provider_id != source.provider_id
    )
    keys = sa.select(passkey_credentials.c.id).where(
        passkey_credentials.c.user_id == user_id,
        passkey_credentials.c.deleted_at.is_(None),
    )
    return any(connection.execute(one.limit(1)).first() for one in (others, keys))
