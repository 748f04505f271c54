"""Tables of long work and of the installation: tasks, options, set-up, nodes."""

from __future__ import annotations

import sqlalchemy as sa

from knight_tw.storage.columns import (
    UNSIGNED,
    document,
    i64,
    identity,
    metadata,
    short,
    text,
    text_64k,
    varchar,
)

options = sa.Table(
    "options",
    metadata,
    short("key", primary_key=True),
    text("value"),
)

setups = sa.Table(
    "setups",
    metadata,
    identity(UNSIGNED),
    varchar("version", 50, nullable=False),
    i64("initialized_at", nullable=False),
)

midjourneys = sa.Table(
    "midjourneys",
    metadata,
    identity(),
    i64("code"),
    i64("user_id", index=True),
    varchar("action", 40, index=True),
    short("mj_id", index=True),
    text("prompt"),
    text("prompt_en"),
    text("description"),
    text("state"),
    i64("submit_time", index=True),
    i64("start_time", index=True),
    i64("finish_time", index=True),
    text("image_url"),
    text("video_url"),
    text("video_urls"),
    varchar("status", 20, index=True),
    varchar("progress", 30, index=True),
    text("fail_reason"),
    i64("channel_id"),
    i64("quota"),
    text("buttons"),
    text("properties"),
)

tasks = sa.Table(
    "tasks",
    metadata,
    identity(),
    i64("created_at", index=True),
    i64("updated_at"),
    varchar("task_id", 191, index=True),
    varchar("platform", 30, index=True),
    i64("user_id", index=True),
    varchar("group", 50),
    i64("channel_id", index=True),
    i64("quota"),
    varchar("action", 40, index=True),
    varchar("status", 20, index=True),
    text("fail_reason"),
    i64("submit_time", index=True),
    i64("start_time", index=True),
    i64("finish_time", index=True),
    varchar("progress", 20, index=True),
    document("properties"),
    document("private_data"),
    document("data"),
)

system_instances = sa.Table(
    "system_instances",
    metadata,
    varchar("node_name", 128, primary_key=True),
    text_64k("info"),
    i64("started_at", index=True),
    i64("last_seen_at", index=True),
    i64("created_at", index=True),
    i64("updated_at", index=True),
)

system_tasks = sa.Table(
    "system_tasks",
    metadata,
    identity(),
    varchar("task_id", 64, unique=True, index=True),
    varchar("type", 64, index=True),
    varchar("status", 32, index=True),
    varchar("active_key", 64, null=True, unique=True, index=True),
    text_64k("payload"),
    text_64k("state"),
    text_64k("result"),
    text_64k("error"),
    varchar("locked_by", 128, index=True),
    i64("created_at", index=True),
    i64("updated_at", index=True),
)

system_task_locks = sa.Table(
    "system_task_locks",
    metadata,
    varchar("type", 64, primary_key=True),
    varchar("task_id", 64, index=True),
    varchar("locked_by", 128, index=True),
    i64("locked_until", index=True),
    i64("updated_at", index=True),
)
