"""What the log pages read: pages, sums, histograms of the `logs` table, and deletion.

A log may hold tens of millions of rows, so no page reads more than its own rows and no
count goes on past its bound. Rows are ordered by id. Ids follow `created_at` closely
(rows are written in batches, late by seconds, after an outage by longer), so a range of
time also gives a range of ids; that lets each index on one column, which ends in the
id, serve filter, range and order at once. How closely they follow is looked at, in
samples all over the range, for each query.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from attrs import evolve, frozen

from knight_tw.storage import totals
from knight_tw.storage.matching import Condition, any_of, contains
from knight_tw.storage.schema import logs

Row = dict[str, Any]

CONSUMED = 2
"""`type` of a row about a call that was served."""

EARLY_SLACK = 3600
"""Seconds by which a row may be older than rows with smaller ids (skewed clocks)."""

LATE_SLACK = 86_400
"""Seconds by which a row may have been written late (a journal replayed)."""

_SAMPLES, _SAMPLE_ROWS = 8, 50

SAMPLE = 100_000
"""The newest rows whose values a facet counts."""


@frozen
class LogFilter:
    """Which rows; an empty field does not restrict, several values mean any of them.

    Attributes:
        start, end: Unix seconds, both included; 0 = open.
        models, tokens, usernames: Names, `%` stands for anything.
        least_duration: Seconds. least_cost: Quota units.
        content: Part of the text.
        keyword: Part of the text or of the model's name.
    """

    user_id: int | None = None
    token_id: int | None = None
    kinds: Sequence[int] = ()
    start: int = 0
    end: int = 0
    usernames: Sequence[str] = ()
    tokens: Sequence[str] = ()
    models: Sequence[str] = ()
    groups: Sequence[str] = ()
    channels: Sequence[int] = ()
    request_ids: Sequence[str] = ()
    upstream_request_ids: Sequence[str] = ()
    session_ids: Sequence[str] = ()
    status_codes: Sequence[int] = ()
    least_duration: int = 0
    least_cost: int = 0
    content: str = ""
    keyword: str = ""

    def conditions(self) -> list[Condition]:
        """The WHERE clauses on the filter's own columns."""
        c = logs.c
        where: list[Condition] = [
            column == value
            for column, value in (
                (c.user_id, self.user_id),
                (c.token_id, self.token_id),
            )
            if value is not None
        ]
        for column, texts in (
            (c.username, self.usernames),
            (c.token_name, self.tokens),
            (c.model_name, self.models),
            (c.group, self.groups),
            (c.request_id, self.request_ids),
            (c.upstream_request_id, self.upstream_request_ids),
            (c.session_id, self.session_ids),
        ):
            if texts:
                where.append(any_of(column, texts))
        for column, numbers in (
            (c.type, self.kinds),
            (c.channel_id, self.channels),
            (c.status, self.status_codes),
        ):
            if numbers:
                where.append(
                    column.in_(numbers) if len(numbers) > 1 else column == numbers[0]
                )
        return where + self._ranges()

    def _ranges(self) -> list[Condition]:
        c = logs.c
        where: list[Condition] = []
        if self.start:
            where.append(c.created_at >= self.start)
        if self.end:
            where.append(c.created_at <= self.end)
        if self.least_duration:
            where.append(c.use_time >= self.least_duration)
        if self.least_cost:
            where.append(c.quota >= self.least_cost)
        if self.content:
            where.append(contains(c.content, self.content))
        if self.keyword:
            where.append(
                sa.or_(
                    contains(c.content, self.keyword),
                    contains(c.model_name, self.keyword),
                )
            )
        return where


def page(
    connection: sa.Connection,
    chosen: LogFilter,
    offset: int,
    limit: int,
    bound: int,
) -> tuple[list[Row], int]:
    """One page, newest first, and how many rows there are, counted up to `bound`.

    When everything is asked for and there is more than the bound, the number is
    estimated from the ids.
    """
    where = _narrowed(connection, chosen)
    if where is None:
        return [], 0
    query = sa.select(logs).where(*where).order_by(logs.c.id.desc())
    rows = _rows(connection, query.offset(offset).limit(limit))
    read = (offset, limit, len(rows))
    return rows, totals.total(connection, logs.c.id, where, bound, page=read)


def window(
    connection: sa.Connection,
    chosen: LogFilter,
    limit: int,
    *,
    before: int = 0,
    after: int = 0,
) -> list[Row]:
    """Up to `limit` rows, newest first: with ids below `before`, or, for going back,
    the ones nearest above `after`."""
    where = _narrowed(connection, chosen)
    if where is None:
        return []
    query = sa.select(logs).where(*where)
    if after:
        query = query.where(logs.c.id > after).order_by(logs.c.id.asc())
        return _rows(connection, query.limit(limit))[::-1]
    if before:
        query = query.where(logs.c.id < before)
    return _rows(connection, query.order_by(logs.c.id.desc()).limit(limit))


def approximate_total(connection: sa.Connection, chosen: LogFilter, bound: int) -> int:
    """How many rows the filter takes, counted up to `bound`."""
    where = _narrowed(connection, chosen)
    if where is None:
        return 0
    return totals.bounded(connection, logs.c.id, where, bound)


def spent(connection: sa.Connection, chosen: LogFilter) -> int:
    """Quota of the served calls that the filter takes."""
    where = _narrowed(connection, chosen)
    if where is None:
        return 0
    total = sa.select(sa.func.sum(logs.c.quota)).where(*where, logs.c.type == CONSUMED)
    return int(connection.execute(total).scalar() or 0)


def pace(connection: sa.Connection, chosen: LogFilter, since: int) -> tuple[int, int]:
    """Served calls since a moment that the filter takes, and their tokens."""
    where = _narrowed(connection, evolve(chosen, start=since, end=0))
    if where is None:
        return 0, 0
    found = sa.select(
        sa.func.count(),
        sa.func.sum(logs.c.prompt_tokens + logs.c.completion_tokens),
    ).where(*where, logs.c.type == CONSUMED)
    calls, used = connection.execute(found).one()
    return int(calls), int(used or 0)


def histogram(
    connection: sa.Connection, chosen: LogFilter, width: int
) -> list[tuple[int, int, int, int]]:
    """(start, calls, errors, quota) per bucket of `width` seconds, buckets without rows
    left out; the filter has both ends of its range."""
    where = _narrowed(connection, chosen)
    if where is None:
        return []
    start = logs.c.created_at - (logs.c.created_at - chosen.start) % width
    failed = sa.case((logs.c.type == 5, 1), else_=0)
    query = (
        sa.select(
            start.label("bucket"),
            sa.func.count(),
            sa.func.sum(failed),
            sa.func.sum(logs.c.quota),
        )
        .where(*where)
        .group_by("bucket")
        .order_by("bucket")
    )
    return [
        (int(at), int(calls), int(errors or 0), int(quota or 0))
        for at, calls, errors, quota in connection.execute(query)
    ]


FACETS: Mapping[str, sa.Column[Any]] = {
    "model": logs.c.model_name,
    "token": logs.c.token_name,
    "channel": logs.c.channel_id,
    "username": logs.c.username,
    "group": logs.c.group,
    "type": logs.c.type,
    "status_code": logs.c.status,
}
"""The fields whose values can be counted."""


def facet(
    connection: sa.Connection, chosen: LogFilter, field: str, most: int
) -> list[tuple[Any, int]]:
    """The commonest values of a field among the newest `SAMPLE` rows of the filter."""
    where = _narrowed(connection, chosen)
    if where is None:
        return []
    column = FACETS[field]
    recent = (
        sa.select(column.label("value"))
        .where(*where)
        .order_by(logs.c.id.desc())
        .limit(SAMPLE)
        .subquery()
    )
    number = sa.func.count()
    rows = connection.execute(
        sa.select(recent.c.value, number)
        .where(recent.c.value.is_not(None))
        .group_by(recent.c.value)
        .order_by(number.desc())
        .limit(most)
    )
    return [(value, int(times)) for value, times in rows]


def by_request(connection: sa.Connection, request_id: str) -> Row | None:
    """The last row about a call."""
    query = sa.select(logs).where(logs.c.request_id == request_id)
    rows = _rows(connection, query.order_by(logs.c.id.desc()).limit(1))
    return rows[0] if rows else None


def older_than(connection: sa.Connection, moment: int) -> int:
    """How many rows are older than `moment`."""
    query = sa.select(sa.func.count()).where(logs.c.created_at < moment)
    return connection.execute(query.select_from(logs)).scalar_one()


def delete_older(connection: sa.Connection, moment: int, most: int) -> int:
    """Delete up to `most` rows older than `moment`, the oldest first; how many."""
    ids = list(
        connection.execute(
            sa.select(logs.c.id)
            .where(logs.c.created_at < moment)
            .order_by(logs.c.created_at)
            .limit(most)
        ).scalars()
    )
    if not ids:
        return 0
    return connection.execute(sa.delete(logs).where(logs.c.id.in_(ids))).rowcount


def add(connection: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows as they are given (JSON columns as text)."""
    for row in rows:
        connection.execute(sa.insert(logs).values(**row))


def _narrowed(connection: sa.Connection, chosen: LogFilter) -> list[Condition] | None:
    """The filter's conditions and its range of ids; None when no row can match."""
    where = chosen.conditions()
    if not (chosen.start or chosen.end):
        return where
    oldest, newest = _ends(connection)
    start, end = max(chosen.start, oldest), min(chosen.end or newest, newest)
    if start > end:
        return None
    moments = [start + (end - start) * step // _SAMPLES for step in range(_SAMPLES)]
    if chosen.start > oldest:
        moments.append(start - EARLY_SLACK)
    late = end + LATE_SLACK
    inside = _ids_near(connection, moments, last=end)
    if chosen.start > oldest:
        where.append(logs.c.id >= min(inside))
    if late < newest:
        where.append(logs.c.id <= max(inside + _ids_near(connection, [late])))
    return where


def _ends(connection: sa.Connection) -> tuple[int, int]:
    """The oldest and newest moment of the log; (1, 0) when it is empty."""
    # One statement with both would read the whole index on SQLite.
    oldest = connection.execute(sa.select(sa.func.min(logs.c.created_at))).scalar()
    newest = connection.execute(sa.select(sa.func.max(logs.c.created_at))).scalar()
    return (1, 0) if newest is None else (int(oldest or 0), int(newest))


def _ids_near(
    connection: sa.Connection, moments: Sequence[int], last: int | None = None
) -> list[int]:
    """Ids of some rows from each moment on, and of some up to `last`."""
    at = logs.c.created_at
    wanted = [
        sa.select(logs.c.id).where(at >= one).order_by(at.asc()) for one in moments
    ]
    if last is not None:
        wanted.append(sa.select(logs.c.id).where(at <= last).order_by(at.desc()))
    samples = [sa.select(one.limit(_SAMPLE_ROWS).subquery().c.id) for one in wanted]
    return list(connection.execute(sa.union_all(*samples)).scalars())


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[Row]:
    return [dict(row._mapping) for row in connection.execute(query)]
