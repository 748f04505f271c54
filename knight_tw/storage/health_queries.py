"""How channels did in the last minutes: `knight_channel_minutes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from knight_tw.storage.schema import LATENCY_COLUMNS, knight_channel_minutes

Row = dict[str, Any]


def recent(
    connection: sa.Connection, ids: Sequence[int], since: int, until: int
) -> list[Row]:
    """Calls, errors and durations of some channels by minute (its first second)."""
    c = knight_channel_minutes.c
    names = ("channel_id", "minute", "count", "errors", *LATENCY_COLUMNS)
    rows = connection.execute(
        sa.select(*(c[name] for name in names))
        .where(c.channel_id.in_(ids), c.minute >= since, c.minute <= until)
        .order_by(c.channel_id, c.minute)
    )
    return [dict(row._mapping) for row in rows]
