"""Custom login providers as everybody may see them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from knight_tw.storage.schema import custom_oauth_providers as providers

_PUBLIC = (
    "id",
    "name",
    "slug",
    "icon",
    "client_id",
    "authorization_endpoint",
    "scopes",
)


def public_providers(connection: sa.Connection) -> list[dict[str, Any]]:
    """The enabled custom providers, without their secrets."""
    columns = [providers.c[name] for name in _PUBLIC]
    rows = connection.execute(
        sa.select(*columns)
        .where(providers.c.enabled.is_(True))
        .order_by(providers.c.id)
    )
    return [
        {name: "" if value is None else value for name, value in row._mapping.items()}
        for row in rows
    ]
