"""Fills `external_identity_claims` from `users.telegram_id` (data-model.md, 3 and 8).

The table says which account an external identity belongs to. Databases of before it
have the identities in columns of `users` only; two accounts with the same one stopped
the original's start. Here the older account keeps it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from twisted.logger import Logger

from knight_tw.storage.schema import external_identity_claims, users
from knight_tw.storage.sql import insert_new

PROVIDER = "telegram"

log = Logger()


def run(connection: sa.Connection, now: int) -> None:
    """Claims each bound Telegram identity for its account, unless it is claimed."""
    bound = (
        sa.select(users.c.id, users.c.telegram_id)
        .where(users.c.telegram_id != "", users.c.deleted_at.is_(None))
        .order_by(users.c.id)
    )
    claims = {
        row.subject: row.user_id
        for row in connection.execute(
            sa.select(
                external_identity_claims.c.subject, external_identity_claims.c.user_id
            ).where(external_identity_claims.c.provider == PROVIDER)
        )
    }
    for user_id, subject in connection.execute(bound).all():
        if claims.setdefault(subject, user_id) != user_id:
            log.warn(
                "Telegram identity of user {user_id} belongs to user {owner} already",
                user_id=user_id,
                owner=claims[subject],
            )
            continue
        claim = {
            "provider": PROVIDER,
            "subject": subject[:128],
            "user_id": user_id,
            "created_at": datetime.fromtimestamp(now, UTC),
        }
        insert_new(connection, external_identity_claims, [claim])
