"""What the dashboards read of `quota_data`, the hourly sums of calls and quota."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from knight_tw.storage.schema import channels, quota_data, tokens

Row = dict[str, Any]

MOST_ROWS = 20_000
"""The most rows of one answer."""

_SUMS = tuple(
    sa.func.sum(quota_data.c[name]).label(name)
    for name in ("token_used", "count", "quota")
)


def by_model(
    connection: sa.Connection,
    start: int,
    end: int,
    *,
    user_id: int | None = None,
    username: str = "",
) -> list[Row]:
    """Sums per model and hour; of one user when one is named, and then with his id and
    name in each row."""
    c = quota_data.c
    keys: list[sa.Column[Any]] = [c.model_name, c.created_at]
    where = _between(start, end)
    if user_id is not None:
        where.append(c.user_id == user_id)
    if username:
        where.append(c.username == username)
    if user_id is not None or username:
        keys += [c.user_id, c.username]
    return _sums(connection, keys, where, c.created_at)


def by_user(connection: sa.Connection, start: int, end: int) -> list[Row]:
    """Sums per user name and hour."""
    c = quota_data.c
    keys = [c.username, c.created_at]
    return _sums(connection, keys, _between(start, end), c.created_at)


def flow(
    connection: sa.Connection, start: int, end: int, user_id: int | None = None
) -> list[Row]:
    """Sums per way a call took (user, node, token, group, channel, model), the dearest
    first; for one user without node and channel. Names of tokens and channels are
    those of today, empty when they are gone."""
    c = quota_data.c
    keys = [c.token_id, c.use_group, c.model_name]
    where = _between(start, end)
    if user_id is None:
        keys += [c.user_id, c.username, c.node_name, c.channel_id]
    else:
        where.append(c.user_id == user_id)
    rows = _sums(connection, keys, where, sa.func.sum(c.quota).desc())
    _name(connection, rows, "token", tokens)
    if user_id is None:
        _name(connection, rows, "channel", channels)
    return rows


def _between(start: int, end: int) -> list[sa.ColumnElement[bool]]:
    where: list[sa.ColumnElement[bool]] = []
    if start:
        where.append(quota_data.c.created_at >= start)
    if end:
        where.append(quota_data.c.created_at <= end)
    return where


def _sums(
    connection: sa.Connection,
    keys: list[sa.Column[Any]],
    where: list[sa.ColumnElement[bool]],
    order: sa.ColumnElement[Any],
) -> list[Row]:
    query = sa.select(*keys, *_SUMS).where(*where).group_by(*keys)
    rows = connection.execute(query.order_by(order, *keys).limit(MOST_ROWS))
    return [_whole(row._mapping) for row in rows]


def _whole(row: sa.RowMapping) -> Row:
    """The row with integer sums: MySQL and PostgreSQL make decimals of them."""
    sums = {name: int(row[name] or 0) for name in ("token_used", "count", "quota")}
    return {**row, **sums}


def _name(
    connection: sa.Connection, rows: list[Row], what: str, table: sa.Table
) -> None:
    """Add `<what>_name` to each row."""
    ids = sorted({row[f"{what}_id"] for row in rows if row[f"{what}_id"]})
    known: dict[int, str] = {}
    for first in range(0, len(ids), 500):
        chosen = table.c.id.in_(ids[first : first + 500])
        found = connection.execute(sa.select(table.c.id, table.c.name).where(chosen))
        known.update((row.id, row.name or "") for row in found)
    for row in rows:
        row[f"{what}_name"] = known.get(row[f"{what}_id"], "")
