"""The machines of the installation: one row each, written by themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from knight_tw.storage.schema import system_instances as nodes
from knight_tw.storage.sql import upsert

Row = dict[str, Any]

STALE_SECONDS = 90
"""A node that has not been heard of for so long is stale."""

MOST_NODES = 1_000


def seen(
    connection: sa.Connection,
    name: str,
    info: Mapping[str, Any],
    started_at: int,
    now: int,
) -> None:
    """A node is alive."""
    row = {
        "node_name": name,
        "info": json.dumps(info),
        "started_at": started_at,
        "last_seen_at": now,
        "updated_at": now,
    }
    known = sa.select(nodes.c.node_name).where(nodes.c.node_name == name)
    if connection.execute(known).first() is None:
        row["created_at"] = now
    upsert(connection, nodes, [row], ("node_name",))


def every(connection: sa.Connection) -> list[Row]:
    """All nodes by name, `info` as an object."""
    query = sa.select(nodes).order_by(nodes.c.node_name).limit(MOST_NODES)
    rows = [dict(row._mapping) for row in connection.execute(query)]
    for row in rows:
        row["info"] = _object(row["info"])
    return rows


def forget_stale(connection: sa.Connection, now: int, name: str | None = None) -> int:
    """Delete the stale nodes, or one if it is stale; how many there were."""
    seen_at = sa.func.coalesce(nodes.c.last_seen_at, sa.literal_column("0"))
    stale = [seen_at < now - STALE_SECONDS]
    if name is not None:
        stale.append(nodes.c.node_name == name)
    return connection.execute(sa.delete(nodes).where(*stale)).rowcount


def prune(connection: sa.Connection, before: int) -> int:
    """Delete the nodes that have not been heard of since a moment; how many."""
    old = sa.delete(nodes).where(nodes.c.last_seen_at < before)
    return connection.execute(old).rowcount


def _object(text: str | None) -> Any:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
