"""Lark logins of one-api: the provider that does the same here, and who is bound to it.

one-api knows Lark (Feishu) by two options and keeps the `open_id` of each person in
`users.lark_id`; here it is a custom OAuth provider (data model, section 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import sqlalchemy as sa

from knight_tw.storage.schema import (
    custom_oauth_providers,
    user_oauth_bindings,
    users,
)
from knight_tw.storage.sql import insert_new, new_id

SLUG = "lark"
COLUMN = "lark_id"

_PASSPORT = "https://passport.feishu.cn/suite/passport/oauth"
_ID = sa.column(COLUMN, sa.Text())


def configured(rows: Mapping[str, str]) -> bool:
    """True when the options let people log in with Lark."""
    return bool(rows.get("LarkClientId") and rows.get("LarkClientSecret"))


def bound(connection: sa.Connection) -> int:
    """How many accounts have a Lark identity."""
    asked = sa.select(sa.func.count()).select_from(users).where(_ID != "")
    return int(connection.scalar(asked) or 0)


def bind(connection: sa.Connection, rows: Mapping[str, str], now: int) -> None:
    """Makes the provider, unless it exists, and binds the accounts to it."""
    slug = custom_oauth_providers.c.slug == SLUG
    found = connection.scalar(sa.select(custom_oauth_providers.c.id).where(slug))
    moment = datetime.fromtimestamp(now, UTC)
    if found is None:
        found = new_id(connection, custom_oauth_providers, _provider(rows, moment))
    people = connection.execute(
        sa.select(users.c.id, _ID).select_from(users).where(_ID != "")
    )
    bindings = [
        {
            "user_id": user_id,
            "provider_id": found,
            "provider_user_id": subject,
            "created_at": moment,
        }
        for user_id, subject in people
    ]
    insert_new(connection, user_oauth_bindings, bindings)


def _provider(rows: Mapping[str, str], moment: datetime) -> dict[str, object]:
    return {
        "name": "Lark",
        "slug": SLUG,
        "enabled": True,
        "client_id": rows["LarkClientId"],
        "client_secret": rows["LarkClientSecret"],
        "authorization_endpoint": f"{_PASSPORT}/authorize",
        "token_endpoint": f"{_PASSPORT}/token",
        "user_info_endpoint": f"{_PASSPORT}/userinfo",
        "scopes": "",
        "user_id_field": "open_id",
        "username_field": "name",
        "display_name_field": "name",
        "email_field": "email",
        "created_at": moment,
        "updated_at": moment,
    }
