"""`/api/stats`: the numbers of the dashboards, summed by the database (management API,
section 18). Everybody sees the own ones; administrators see the site's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import sqlalchemy as sa
from attrs import field, frozen
from klein import Klein
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.storage import usage_queries, user_queries
from knight_tw.storage.database import Database
from knight_tw.storage.usage_queries import (
    DAY,
    HOUR,
    MINUTE,
    MINUTE_METRICS,
    RANKED,
    Buckets,
    Metric,
    Scope,
    Sums,
)
from knight_tw.web.api import stats_fields
from knight_tw.web.api.answers import install, invalid, ok, query_flag, query_integer
from knight_tw.web.api.stats_fields import Question
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]

AT_ONCE = 2
"""Statistics that are made at the same time; the database has other things to do."""

USUAL_LINES, MOST_LINES = 7, 50
MOST_POINTS = 25_000
"""Points of all lines: many more take the reactor long to write down. A chart of many
buckets has fewer lines."""

USUAL_TOP, MOST_TOP = 10, 50


@frozen
class Stats:
    """Series, tiles, tables and the heat map."""

    _guard: Guard
    _db: Database
    _clock: IReactorTime
    _turns: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(AT_ONCE))

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/stats/series", methods=["GET"])
    @allow(Who.USER)
    async def series(self, request: Request, viewer: Viewer) -> bytes:
        """A metric over time, one line for each of the largest parts."""
        asked = stats_fields.question(request, viewer, self._now())
        name, metric = stats_fields.metric_of(request)
        by = stats_fields.part_of(request, "group_by", asked.site)
        bucket, buckets = stats_fields.buckets_of(request, asked)
        places = len(buckets.all(asked.scope.start, asked.scope.end))
        most = min(MOST_LINES, MOST_POINTS // places)
        limit = _between(query_integer(request, "limit", USUAL_LINES), most)
        wanted = Lines(asked.scope, buckets, metric, by, limit)
        if buckets.width == MINUTE:
            self._check_minutes(asked, name, by)
            told = await self._read(_minutes, wanted)
        else:
            compare = query_flag(request, "compare")
            told = await self._read(_series, wanted, compare)
        return ok({"bucket": bucket, **told})

    def _check_minutes(self, asked: Question, metric: str, by: str | None) -> None:
        """Minutes are kept for a day, of channels alone."""
        if not asked.site or by != "channel":
            raise invalid("bucket", "minute only by channel")
        if metric not in MINUTE_METRICS:
            raise invalid("metric", "one of " + ", ".join(sorted(MINUTE_METRICS)))
        if self._now() - asked.scope.start > DAY + HOUR:
            raise invalid("start_timestamp", "within the last 24 hours")
        scope = asked.scope
        people = (*scope.usernames, *scope.user_ids, *scope.tokens, *scope.token_ids)
        if people or scope.models or scope.groups:
            raise invalid("bucket", "minute only of channels, not of parts of them")

    @app.route("/api/stats/summary", methods=["GET"])
    @allow(Who.USER)
    async def summary(self, request: Request, viewer: Viewer) -> bytes:
        """The tiles, and the same of the stretch of time before."""
        asked = stats_fields.question(request, viewer, self._now())
        scope, columns = asked.scope, stats_fields.SUMMARY_COLUMNS
        span = scope.end - scope.start
        now = await self._read(usage_queries.whole, scope, columns)
        before = await self._read(
            usage_queries.whole, scope.earlier(_hours(span)), columns
        )
        told = stats_fields.summary(now)
        told["previous"] = stats_fields.summary(before)
        if not asked.site:
            told.update(await self._balance(viewer, told["spend"] * DAY / span))
        return ok(told)

    async def _balance(self, viewer: Viewer, a_day: float) -> Row:
        """What is left, and for how many days at the range's rate."""
        row = await self._db.read(user_queries.account, viewer.id)
        left = int(row["quota"]) if row else 0
        days = None if a_day <= 0 else round(max(left, 0) / a_day, 1)
        return {"balance": left, "days_left": days}

    @app.route("/api/stats/top", methods=["GET"])
    @allow(Who.USER)
    async def top(self, request: Request, viewer: Viewer) -> bytes:
        """The largest parts, their share of the whole and how they changed."""
        asked = stats_fields.question(request, viewer, self._now())
        _, metric = stats_fields.metric_of(request)
        by = stats_fields.part_of(request, "by", asked.site) or "model"
        limit = _between(query_integer(request, "limit", USUAL_TOP), MOST_TOP)
        return ok(await self._read(_top, asked.scope, by, metric, limit))

    @app.route("/api/stats/heatmap", methods=["GET"])
    @allow(Who.USER)
    async def heatmap(self, request: Request, viewer: Viewer) -> bytes:
        """A metric by day of the week, Monday first, and hour of the day."""
        asked = stats_fields.question(request, viewer, self._now())
        _, metric = stats_fields.metric_of(request, "requests")
        sums = await self._read(
            usage_queries.by_hour_of_week, asked.scope, asked.shift, metric.columns
        )
        nothing = (0,) * len(metric.columns)
        hours = [metric.value(sums.get(hour, nothing)) for hour in range(7 * 24)]
        return ok([hours[day * 24 : day * 24 + 24] for day in range(7)])

    async def _read(self, work: Any, *args: Any) -> Any:
        """A reading in its turn."""
        await self._turns.acquire()
        try:
            return await self._db.read(work, *args)
        finally:
            self._turns.release()

    def _now(self) -> int:
        return int(self._clock.seconds())


@frozen
class Lines:
    """Which lines a chart has."""

    scope: Scope
    buckets: Buckets
    metric: Metric
    by: str | None
    limit: int

    @property
    def places(self) -> range:
        """The beginnings of the buckets."""
        return self.buckets.all(self.scope.start, self.scope.end)


def _series(connection: sa.Connection, asked: Lines, compare: bool) -> Row:
    """The lines of the largest parts, of the others together, of the time before."""
    scope, buckets, metric, by = asked.scope, asked.buckets, asked.metric, asked.by
    columns = metric.columns
    keys, sums, left = _drawn(connection, asked)
    names = usage_queries.labels(connection, by, keys)

    def lines(of: Mapping[Any, Mapping[int, Sums]], later: int) -> list[Row]:
        return [
            {
                "key": key,
                "label": names[key],
                "points": stats_fields.line(
                    metric, asked.places, of.get(key, {}), later
                ),
            }
            for key in keys
        ]

    told: Row = {"series": lines(sums, 0)}
    if left is not None:
        told["other"] = stats_fields.line(metric, asked.places, left)
    if compare:
        later = -(-(scope.end - scope.start) // buckets.width) * buckets.width
        past = scope.earlier(later)
        before = usage_queries.over_time(connection, past, buckets, columns, by, keys)
        told["previous"] = lines(before, later)
    return told


Drawn = tuple[list[Any], Mapping[Any, Mapping[int, Sums]], Mapping[int, Sums] | None]
"""Keys of the parts that are drawn, sums of at least these, those of the others."""


def _drawn(connection: sa.Connection, asked: Lines) -> Drawn:
    """What a chart is made of."""
    scope, buckets, metric, by = asked.scope, asked.buckets, asked.metric, asked.by
    columns = metric.columns
    if by is None:
        whole = usage_queries.over_time(connection, scope, buckets, columns)
        return [None], whole, None
    every = usage_queries.all_over_time(connection, scope, buckets, columns, by)
    if every is not None:
        keys = _largest(every)
        others = [every[key] for key in keys[asked.limit :]]
        left = stats_fields.together(others) if others else None
        return keys[: asked.limit], every, left
    found = usage_queries.parts(connection, scope, by, metric, asked.limit + 1)
    keys = [part.key for part in found[: asked.limit]]
    sums = usage_queries.over_time(connection, scope, buckets, columns, by, keys)
    if len(found) <= asked.limit:
        return keys, sums, None
    whole = usage_queries.over_time(connection, scope, buckets, columns)
    return keys, sums, stats_fields.rest(whole.get(None, {}), sums.values())


def _largest(every: Mapping[Any, Mapping[int, Sums]]) -> list[Any]:
    """The keys by all that their lines add up to: a sum, or the calls of classes."""
    sizes = {key: sum(map(sum, of.values())) for key, of in every.items()}
    return sorted(sizes, key=lambda key: (-sizes[key], key))


def _minutes(connection: sa.Connection, asked: Lines) -> Row:
    """The lines of the channels with the most calls."""
    columns = asked.metric.columns
    wanted = columns if "count" in columns else ("count", *columns)
    sums = usage_queries.minutes(connection, asked.scope, wanted)
    count = wanted.index("count")
    calls = {key: sum(it[count] for it in of.values()) for key, of in sums.items()}
    keys = sorted(calls, key=lambda key: (-calls[key], key))[: asked.limit]
    names = usage_queries.labels(connection, "channel", keys)
    first = len(wanted) - len(columns)
    return {
        "series": [
            {
                "key": key,
                "label": names[key],
                "points": stats_fields.line(
                    asked.metric,
                    _minutes_of(asked.scope),
                    {at: it[first:] for at, it in sums[key].items()},
                ),
            }
            for key in keys
        ]
    }


def _minutes_of(scope: Scope) -> range:
    return range(scope.start - scope.start % MINUTE, scope.end, MINUTE)


def _top(
    connection: sa.Connection, scope: Scope, by: str, metric: Metric, limit: int
) -> list[Row]:
    """The largest parts with label, share and growth."""
    many = RANKED if metric.share else limit
    found = usage_queries.parts(connection, scope, by, metric, many)
    values = [(part.key, metric.value(part.sums)) for part in found]
    if metric.share:
        values.sort(key=lambda one: -(one[1] or 0.0))
    values = values[:limit]
    keys = [key for key, _ in values]
    names = usage_queries.labels(connection, by, keys)
    total = metric.value(usage_queries.whole(connection, scope, metric.columns))
    past = scope.earlier(_hours(scope.end - scope.start))
    before = {
        part.key: metric.value(part.sums)
        for part in usage_queries.parts(connection, past, by, metric, limit, keys)
    }
    return [
        {
            "key": key,
            "label": names[key],
            "value": value,
            "share": None if metric.share else _share(value, total),
            "delta": stats_fields.change(value, before.get(key)),
        }
        for key, value in values
    ]


def _share(value: Any, total: Any) -> float:
    return round(value / total, 4) if total else 0.0


def _hours(span: int) -> int:
    """A span in whole hours, as the rows are hourly."""
    return -(-span // HOUR) * HOUR


def _between(wanted: int, most: int) -> int:
    return min(max(wanted, 1), most)
