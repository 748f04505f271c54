"""Sums of `knight_usage` and `knight_channel_minutes`: what the dashboards are made of.

The rows are hourly, so a range of time begins with the hour that its start lies in.
A metric is read as one or several sums and folded to one number in Python, where a
percentile is found by interpolation (`latency`); sums can be subtracted, so that what
is left of a whole beside its largest parts has percentiles too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from attrs import evolve, frozen

from knight_tw.latency import percentile
from knight_tw.storage import channel_queries, token_queries
from knight_tw.storage.matching import Condition, any_of
from knight_tw.storage.schema import (
    knight_channel_minutes,
    knight_usage,
    tokens,
    users,
)
from knight_tw.storage.sql import chunks
from knight_tw.storage.tables_knight import (
    LATENCY_BOUNDS,
    LATENCY_COLUMNS,
    TTFT_COLUMNS,
)

MINUTE, HOUR, DAY, WEEK = 60, 3_600, 86_400, 604_800

MONDAY = 4 * DAY
"""The first Monday of unix time, in seconds."""

FEW = frozenset(("model", "channel", "group", "status"))
"""What there are hardly ever many parts of."""

MOST_GROUPS = 20_000
"""Parts in buckets that are read at once."""

RANKED = 1_000
"""Parts with the most calls among which a percentile looks for the largest."""

Sums = tuple[int, ...]
Value = int | float | None


@frozen
class Metric:
    """What a chart can show.

    Attributes:
        columns: The sums that it is made of; the number of calls ranks a percentile.
        share: Of a percentile, 0 to 1; 0 for a plain sum of one column.
    """

    columns: tuple[str, ...]
    share: float = 0.0

    def value(self, sums: Sequence[int]) -> Value:
        """The number: units of the column, seconds of a percentile, None of nothing."""
        if not self.share:
            return sums[0]
        found = percentile(sums, LATENCY_BOUNDS, self.share)
        return None if found is None else round(found, 4)


METRICS: Mapping[str, Metric] = {
    "spend": Metric(("quota",)),
    "requests": Metric(("count",)),
    "errors": Metric(("errors",)),
    "tokens_in": Metric(("prompt_tokens",)),
    "tokens_out": Metric(("completion_tokens",)),
    "cached": Metric(("cached_tokens",)),
    "latency_p50": Metric(LATENCY_COLUMNS, 0.5),
    "latency_p95": Metric(LATENCY_COLUMNS, 0.95),
    "latency_p99": Metric(LATENCY_COLUMNS, 0.99),
    "ttft_p50": Metric(TTFT_COLUMNS, 0.5),
    "ttft_p95": Metric(TTFT_COLUMNS, 0.95),
}
MINUTE_METRICS = frozenset(
    ("requests", "errors", "latency_p50", "latency_p95", "latency_p99")
)
"""What is known of each minute."""

_U = knight_usage.c

PARTS: Mapping[str, sa.Column[Any]] = {
    "model": _U.model_name,
    "token": _U.token_id,
    "user": _U.user_id,
    "channel": _U.channel_id,
    "group": _U.use_group,
    "status": _U.status,
}
"""What a whole can be parted by."""


@frozen
class Scope:
    """Which rows; an empty field does not restrict, several values mean any of them.

    Attributes:
        start, end: Unix seconds; `end` is not included.
        tokens, usernames, models: Names, `%` stands for anything.
        user_id: Only this user's rows, and tokens of that name.
    """

    start: int
    end: int
    user_id: int | None = None
    models: Sequence[str] = ()
    tokens: Sequence[str] = ()
    token_ids: Sequence[int] = ()
    groups: Sequence[str] = ()
    channels: Sequence[int] = ()
    usernames: Sequence[str] = ()
    user_ids: Sequence[int] = ()

    def earlier(self, seconds: int) -> Scope:
        """The same, so much before."""
        return evolve(self, start=self.start - seconds, end=self.end - seconds)

    def conditions(self) -> list[Condition]:
        """The WHERE clauses."""
        where: list[Condition] = [
            _U.bucket_ts >= self.start - self.start % HOUR,
            _U.bucket_ts < self.end,
        ]
        if self.user_id is not None:
            where.append(_U.user_id == self.user_id)
        if self.models:
            where.append(any_of(_U.model_name, [it[:64] for it in self.models]))
        if self.groups:
            where.append(any_of(_U.use_group, [it[:64] for it in self.groups]))
        for column, numbers in (
            (_U.channel_id, self.channels),
            (_U.token_id, self.token_ids),
            (_U.user_id, self.user_ids),
        ):
            if numbers:
                where.append(column.in_(numbers))
        return where + self._named()

    def _named(self) -> list[Condition]:
        where: list[Condition] = []
        if self.tokens:
            found = sa.select(tokens.c.id).where(any_of(tokens.c.name, self.tokens))
            if self.user_id is not None:
                found = found.where(tokens.c.user_id == self.user_id)
            where.append(_U.token_id.in_(found))
        if self.usernames:
            named = any_of(users.c.username, self.usernames)
            where.append(_U.user_id.in_(sa.select(users.c.id).where(named)))
        return where


@frozen
class Buckets:
    """Stretches of time of equal width.

    Attributes:
        width: Seconds.
        shift: Seconds that the reader's clock is ahead of UTC, a minute's multiple;
            days and weeks begin at its midnight, weeks on its Monday.
    """

    width: int
    shift: int = 0

    def begin(self, at: Any) -> Any:
        """The beginning of the bucket of a moment, or of a column of moments."""
        return at - (at + self._phase) % self.width

    @property
    def _phase(self) -> int:
        phase = self.shift if self.width >= DAY else 0
        return phase - MONDAY if self.width == WEEK else phase

    def all(self, start: int, end: int) -> range:
        """The beginnings of every bucket of a range; `end` is not included."""
        return range(self.begin(start - start % HOUR), end, self.width)


@frozen
class Part:
    """One part of a whole, or the whole itself (key None)."""

    key: Any
    sums: Sums


def _column(name: str) -> sa.ColumnElement[Any]:
    if name == "errors":
        return sa.case((_U.status >= 400, _U["count"]), else_=0)
    return _U[name]


def _summed(names: Iterable[str]) -> list[sa.ColumnElement[Any]]:
    return [sa.func.sum(_column(name)) for name in names]


def whole(connection: sa.Connection, scope: Scope, columns: Sequence[str]) -> Sums:
    """The sums of columns over everything."""
    query = sa.select(*_summed(columns)).where(*scope.conditions())
    return _integers(connection.execute(query).one())


def parts(
    connection: sa.Connection,
    scope: Scope,
    by: str,
    metric: Metric,
    limit: int,
    keys: Sequence[Any] | None = None,
) -> list[Part]:
    """The `limit` largest parts, the largest first; a percentile's by calls.

    Args:
        keys: Only these parts.
    """
    column = PARTS[by]
    largest = sa.func.sum(_column("count" if metric.share else metric.columns[0]))
    query = (
        sa.select(column, *_summed(metric.columns))
        .where(*scope.conditions())
        .group_by(column)
        .order_by(largest.desc(), column)
        .limit(limit)
    )
    if keys is not None:
        query = query.where(column.in_(keys))
    return [
        Part(key, _integers(sums)) for key, *sums in connection.execute(query).tuples()
    ]


def over_time(
    connection: sa.Connection,
    scope: Scope,
    buckets: Buckets,
    columns: Sequence[str],
    by: str | None = None,
    keys: Sequence[Any] | None = None,
    most: int | None = None,
) -> dict[Any, dict[int, Sums]]:
    """The sums of each bucket, buckets without rows left out, of each part, or of each
    of `keys`; of the whole, under None, without `by`.

    Args:
        most: Sums that are read at most; when there are more some are missing.
    """
    bucket = buckets.begin(_U.bucket_ts).label("bucket")
    part = [] if by is None else [PARTS[by].label("part")]
    names = ["bucket", *(["part"] if part else [])]
    query = (
        sa.select(bucket, *part, *_summed(columns))
        .where(*scope.conditions())
        .group_by(*names)
        .limit(most)
    )
    if by is not None and keys is not None:
        query = query.where(PARTS[by].in_(keys))
    found: dict[Any, dict[int, Sums]] = {}
    for row in connection.execute(query):
        key = row[1] if part else None
        sums = _integers(row[len(names) :])
        found.setdefault(key, {})[int(row[0])] = sums
    return found


def all_over_time(
    connection: sa.Connection,
    scope: Scope,
    buckets: Buckets,
    columns: Sequence[str],
    by: str,
) -> dict[Any, dict[int, Sums]] | None:
    """The lines of all parts, in one reading of the rows; None when these are too many
    to be read at once."""
    if by not in FEW:
        return None
    limit = MOST_GROUPS + 1
    found = over_time(connection, scope, buckets, columns, by, most=limit)
    return found if sum(map(len, found.values())) < limit else None


def minutes(
    connection: sa.Connection, scope: Scope, columns: Sequence[str]
) -> dict[Any, dict[int, Sums]]:
    """As `over_time`, by channel and minute."""
    c = knight_channel_minutes.c
    query = sa.select(c.channel_id, c.minute, *(c[name] for name in columns)).where(
        c.minute >= scope.start - scope.start % MINUTE, c.minute < scope.end
    )
    if scope.channels:
        query = query.where(c.channel_id.in_(scope.channels))
    found: dict[Any, dict[int, Sums]] = {}
    for channel, minute, *sums in connection.execute(query).tuples():
        found.setdefault(channel, {})[int(minute)] = _integers(sums)
    return found


def by_hour_of_week(
    connection: sa.Connection, scope: Scope, shift: int, columns: Sequence[str]
) -> dict[int, Sums]:
    """The sums of each hour of a week, 0 being Monday's first; hours without rows are
    left out."""
    since_monday = ((_U.bucket_ts + (shift - MONDAY)) % WEEK).label("since")
    query = (
        sa.select(since_monday, *_summed(columns))
        .where(*scope.conditions())
        .group_by("since")
    )
    found: dict[int, Sums] = {}
    for since, *sums in connection.execute(query).tuples():
        hour = int(since) // HOUR
        # In a zone that is half an hour away each hour still is one of these.
        found[hour] = _integers(sums)
    return found


def labels(
    connection: sa.Connection, by: str | None, keys: Iterable[Any]
) -> dict[Any, str]:
    """What people call the parts: today's names of users, tokens and channels."""
    wanted = list(keys)
    names = _NAMES.get(by or "")
    if names is None:
        return {key: "" if key is None else str(key) for key in wanted}
    known: dict[Any, str] = {}
    for some in chunks(wanted):
        known.update(names(connection, some))
    return {key: known.get(key, "") for key in wanted}


def _user_names(connection: sa.Connection, ids: Sequence[int]) -> dict[int, str]:
    query = sa.select(users.c.id, users.c.username).where(users.c.id.in_(ids))
    return {row.id: row.username or "" for row in connection.execute(query)}


_NAMES: Mapping[str, Callable[[sa.Connection, Sequence[int]], dict[int, str]]] = {
    "token": token_queries.names,
    "channel": channel_queries.names,
    "user": _user_names,
}


def prune(connection: sa.Connection, before: int) -> bool:
    """Delete the oldest hour if it began before a moment; False when there is none."""
    oldest = connection.execute(sa.select(sa.func.min(_U.bucket_ts))).scalar()
    if oldest is None or oldest >= before:
        return False
    connection.execute(sa.delete(knight_usage).where(_U.bucket_ts == oldest))
    return True


def prune_minutes(connection: sa.Connection, before: int) -> int:
    """Delete the minutes before a moment; how many rows."""
    old = knight_channel_minutes.c.minute < before
    return connection.execute(sa.delete(knight_channel_minutes).where(old)).rowcount


def _integers(sums: Iterable[Any]) -> Sums:
    """Sums as integers: MySQL and PostgreSQL make decimals of them, NULL of none."""
    return tuple(int(one or 0) for one in sums)
