"""Facts about the database itself: its schema version, the marks of one-off steps."""

from __future__ import annotations

import sqlalchemy as sa

from knight_tw.storage.completion import (
    SCHEMA_VERSION,
    VERSION_KEY,
    SchemaRefused,
    one_api_started,
    version_number,
)
from knight_tw.storage.schema import knight_meta
from knight_tw.storage.sql import upsert


def get(connection: sa.Connection, key: str) -> str | None:
    """The stored value, or None."""
    asked = sa.select(knight_meta.c.value).where(knight_meta.c.key == key)
    return connection.scalar(asked)


def put(connection: sa.Connection, key: str, value: str) -> None:
    """Stores a value."""
    upsert(connection, knight_meta, [{"key": key, "value": value}], ["key"])


def schema_version(connection: sa.Connection) -> int:
    """The version that the database was completed to; 0 when never by us."""
    if not sa.inspect(connection).has_table(knight_meta.name):
        return 0
    return version_number(get(connection, VERSION_KEY))


def require_version(connection: sa.Connection) -> None:
    """Lets a node that must not change the schema start only on a complete one.

    Raises:
        SchemaRefused: no master of this version has run yet, or one is at work.
    """
    if one_api_started(connection):
        raise SchemaRefused(
            "the upgrade from one-api is not finished: start a node with"
            " NODE_TYPE=master first"
        )
    found = schema_version(connection)
    if found < SCHEMA_VERSION:
        raise SchemaRefused(
            f"the database has schema version {found}, this program needs"
            f" {SCHEMA_VERSION}: start a node with NODE_TYPE=master first"
        )
