"""What the console remembers for an account: one JSON document, `knight_prefs`."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from knight_tw.storage.schema import knight_prefs as prefs
from knight_tw.storage.sql import json_object, upsert


def load(connection: sa.Connection, user_id: int) -> dict[str, Any]:
    """The document; empty when none was saved."""
    asked = sa.select(prefs.c.value).where(prefs.c.user_id == user_id)
    return dict(json_object(connection.execute(asked).scalar()))


def save(
    connection: sa.Connection, user_id: int, document: dict[str, Any], now: int
) -> None:
    """Replace the document."""
    value = msgspec.json.encode(document).decode()
    row = {"user_id": user_id, "value": value, "updated_at": now}
    upsert(connection, prefs, [row], ["user_id"])
