"""The option table: what administrators set, and the history of it."""

from __future__ import annotations

import sqlalchemy as sa

from knight_tw.storage.schema import knight_option_history as history
from knight_tw.storage.schema import options
from knight_tw.storage.sql import upsert

_SECRET_ENDINGS = ("Token", "Secret", "Key", "secret", "api_key")


def load(connection: sa.Connection) -> dict[str, str]:
    """Every row, unknown keys too."""
    rows = connection.execute(sa.select(options.c.key, options.c.value))
    return {row.key: row.value or "" for row in rows}


def save(
    connection: sa.Connection,
    key: str,
    value: str | None,
    user_id: int,
    now: int,
    *,
    secret: bool = False,
) -> bool:
    """Stores an option; False when it had that value already.

    The history gets a row, without values for secrets: keys with the endings that the
    API hides, and whatever the caller says is one.

    Args:
        value: None deletes the row, so that the default holds again.
        user_id: Who changed it; 0 is the gateway itself.
    """
    asked = sa.select(options.c.value).where(options.c.key == key)
    row = connection.execute(asked.with_for_update()).first()
    old = None if row is None else row.value or ""
    if old == value:
        return False
    if value is None:
        connection.execute(sa.delete(options).where(options.c.key == key))
    else:
        upsert(connection, options, [{"key": key, "value": value}], ["key"])
    hidden = secret or key.endswith(_SECRET_ENDINGS)
    connection.execute(
        sa.insert(history).values(
            key=key[:191],
            old_value=None if hidden else old,
            new_value=None if hidden else value,
            user_id=user_id,
            created_at=now,
        )
    )
    return True


def version(connection: sa.Connection) -> int:
    """The number of the option set: it grows with every change; 0 before the first."""
    return connection.scalar(sa.select(sa.func.max(history.c.id))) or 0
