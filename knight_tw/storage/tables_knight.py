"""Our own tables, which the originals ignore.

Their texts are compared exactly on MySQL too (a binary collation), unlike those of the
shared tables, which follow the database's.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from knight_tw.storage.columns import (
    ENGINES,
    flag,
    i64,
    identity,
    metadata,
    text,
    varchar,
)

LATENCY_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
"""Upper bounds in seconds of the columns `lat_0`…`lat_10`; `lat_11` is the rest."""

LATENCY_COLUMNS = tuple(f"lat_{place}" for place in range(12))
TTFT_COLUMNS = tuple(f"ttft_{place}" for place in range(12))


def _table(name: str, *columns: sa.schema.SchemaItem) -> sa.Table:
    only_there = {"mysql_collate": "utf8mb4_bin"}
    return sa.Table(name, metadata, *columns, info={ENGINES: only_there})


def _counters(*names: str) -> list[sa.Column[Any]]:
    return [i64(name, 0, nullable=False) for name in names]


def _key(name: str) -> sa.Column[Any]:
    return i64(name, primary_key=True, autoincrement=False)


knight_meta = _table(
    "knight_meta",
    varchar("key", 191, primary_key=True),
    text("value"),
)

knight_journal = _table(
    "knight_journal",
    varchar("journal", 64, primary_key=True),
    i64("sequence"),
    i64("updated_at"),
)

knight_holds = _table(
    "knight_holds",
    varchar("id", 64, primary_key=True),
    i64("user_id"),
    i64("token_id"),
    i64("amount"),
    varchar("journal", 64, index=True),
    i64("created_at"),
)

knight_leases = _table(
    "knight_leases",
    varchar("name", 64, primary_key=True),
    varchar("holder", 128),
    i64("until"),
)

knight_changes = _table(
    "knight_changes",
    identity(),
    varchar("kind", 16),
    varchar("ref", 64),
    i64("created_at", index=True),
)

knight_option_history = _table(
    "knight_option_history",
    identity(),
    varchar("key", 191, index=True),
    text("old_value", null=True),
    text("new_value", null=True),
    i64("user_id"),
    i64("created_at", index=True),
)

knight_prefs = _table(
    "knight_prefs",
    _key("user_id"),
    text("value"),
    i64("updated_at"),
)

knight_usage = _table(
    "knight_usage",
    _key("bucket_ts"),
    _key("user_id"),
    _key("token_id"),
    _key("channel_id"),
    varchar("model_name", 64, primary_key=True),
    varchar("use_group", 64, primary_key=True),
    _key("status"),
    *_counters("count", "quota", "prompt_tokens", "completion_tokens"),
    *_counters("cached_tokens", "latency_ms", "ttft_ms", "ttft_count"),
    *_counters(*LATENCY_COLUMNS, *TTFT_COLUMNS),
    # People look at their own hours of weeks; the primary key begins with the hour.
    sa.Index("idx_knight_usage_user", "user_id", "bucket_ts"),
)

knight_orders = _table(
    "knight_orders",
    varchar("trade_no", 191, primary_key=True),
    *_counters("quota", "price"),
    varchar("currency", 8, ""),
    varchar("merchant", 191, ""),
    varchar("reference", 255, ""),
    flag("promotions", False),
)
"""What `top_ups` does not say of an order: its exact credit and price (smallest unit of
the currency), and what a payment must name to be believed."""

knight_channel_minutes = _table(
    "knight_channel_minutes",
    _key("channel_id"),
    _key("minute"),
    *_counters("count", "errors"),
    *_counters(*LATENCY_COLUMNS),
)
