"""How models do, and which are used most (management API, section 2): pages for
everybody, unless the administrator's navigation says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import sqlalchemy as sa
from attrs import define, field, frozen
from klein import Klein
from msgspec import Raw
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.accounts.callers import usable_groups
from knight_tw.options import Options
from knight_tw.records import ROLE_ADMIN
from knight_tw.routing import RoutingTable
from knight_tw.storage import model_queries, perf_queries
from knight_tw.storage.database import Database
from knight_tw.storage.perf_queries import Measured
from knight_tw.storage.usage_queries import DAY, HOUR, WEEK, Buckets
from knight_tw.web.api.answers import (
    Refusal,
    encode,
    install,
    missing,
    ok,
    query,
    query_integer,
)
from knight_tw.web.api.pricing import navigation
from knight_tw.web.api.ranking_fields import NOBODY, Period, Used, Vendor, ranking
from knight_tw.web.auth import Guard, Viewer, Who, mark

Row = dict[str, Any]

SERIES = "dbcd0a3c01b55203"
"""`series_schema`: consoles of the reference look for it."""

USUAL_HOURS, MOST_HOURS = 24, 720

SUMMARY_SECONDS, SUMMARIES = 15.0, 100
"""How long a summary is shown again, and how many of them are kept."""

PAGES = 100
"""Pages of one period that are kept."""

PERIODS: Mapping[str, tuple[int, int, float]] = {
    "day": (DAY, HOUR, 60.0),
    "week": (7 * DAY, DAY, 300.0),
    "month": (30 * DAY, DAY, 1_800.0),
    "all": (400 * DAY, WEEK, 3_600.0),
}
"""Length of each period, of its buckets, and how long what was read of it is kept, in
seconds: guests may ask, and the longer ones read many rows."""


class View(Protocol):
    """Today's options and routes."""

    @property
    def options(self) -> Options: ...

    @property
    def routes(self) -> RoutingTable: ...


Seen = tuple[str, ...] | None
"""Groups whose models may be seen; None for all of them."""


@frozen
class _Kept:
    """What was used in a period, who makes what, and the pages that were made of it,
    each with the routes of that moment."""

    until: float
    period: Period
    used: Sequence[Used]
    vendors: Mapping[str, Vendor]
    pages: dict[Seen, tuple[RoutingTable, Raw]] = field(factory=dict)


@define(eq=False, slots=False)
class Performance:
    """The speed of models, and their ranking."""

    _guard: Guard
    _db: Database
    _view: View
    _clock: IReactorTime
    _in_thread: Callable[..., Deferred[Any]]
    _kept: dict[tuple[str, bool], _Kept] = field(factory=dict)
    _turn: DeferredLock = field(factory=DeferredLock)
    _summaries: dict[tuple[int, Seen], tuple[list[Measured], float]] = field(
        factory=dict
    )

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/perf-metrics/summary", methods=["GET"])
    @mark(Who.ANYONE)
    async def summary(self, request: Request) -> bytes:
        """Every model's success rate, latency and speed of late."""
        viewer = await self._admitted(request, "pricing")
        rows: list[Measured] = []
        if self._measuring():
            rows = await self._by_model(self._since(request), self._groups(viewer))
        told = [{"model_name": row.model, **measures(row.sums)} for row in rows]
        return ok({"models": told}, message=None)

    @app.route("/api/perf-metrics", methods=["GET"])
    @mark(Who.ANYONE)
    async def of_model(self, request: Request) -> bytes:
        """One model's, by group and over time."""
        viewer = await self._admitted(request, "pricing")
        model = query(request, "model")
        if not model:
            refusal = missing("model")
            raise Refusal(refusal.message, 400, refusal.code, params={"field": "model"})
        groups = self._groups(viewer)
        asked = query(request, "group")
        if asked:
            groups = [asked] if groups is None or asked in groups else []
        found: list[Row] = []
        if self._measuring():
            since, buckets = self._since(request), _width(request)
            found = await self._db.read(_of_groups, model[:128], since, groups, buckets)
        told = {"model_name": model, "series_schema": SERIES, "groups": found}
        return ok(told, message=None)

    @app.route("/api/rankings", methods=["GET"])
    @mark(Who.ANYONE)
    async def rankings(self, request: Request) -> bytes:
        """Models and their makers by the tokens that were used."""
        viewer = await self._admitted(request, "rankings")
        name = query(request, "period", "week") or "week"
        if name not in PERIODS:
            raise Refusal(
                f"invalid ranking period: {name}",
                400,
                params={"field": "period", "rule": ", ".join(PERIODS)},
            )
        groups = self._groups(viewer)
        seen = None if groups is None else tuple(sorted(groups))
        return ok(await self._page(name, seen), message=None)

    async def _by_model(self, since: int, groups: list[str] | None) -> list[Measured]:
        """The models of some groups, read again after some seconds."""
        key = (since, None if groups is None else tuple(sorted(groups)))
        now = self._clock.seconds()
        found, until = self._summaries.get(key, ([], 0.0))
        if now < until:
            return found
        found = await self._db.read(perf_queries.by_model, since, groups)
        if len(self._summaries) >= SUMMARIES:
            self._summaries.clear()
        self._summaries[key] = (found, now + SUMMARY_SECONDS)
        return found

    async def _admitted(self, request: Request, entry: str) -> Viewer | None:
        """The caller, or None for a guest, if the navigation has the page for them."""
        enabled, for_members = navigation(self._view.options, entry)
        if not enabled:
            raise Refusal("this page is disabled", 403, code="not_configured")
        viewer = await self._guard.visitor(request)
        if viewer is None and for_members:
            raise Refusal("log in to see this page", code="AUTH_UNAUTHORIZED")
        return viewer

    def _measuring(self) -> bool:
        return self._view.options.flag("perf_metrics_setting.enabled")

    def _since(self, request: Request) -> int:
        since = int(self._clock.seconds()) - _hours(request) * HOUR
        return since - since % HOUR

    def _groups(self, viewer: Viewer | None) -> list[str] | None:
        """The groups that the caller may use; None for all of them."""
        if viewer is not None and viewer.role >= ROLE_ADMIN:
            return None
        own = "" if viewer is None else viewer.group
        usable = usable_groups(own, self._view.options)
        usable.pop("", None)
        return list(usable)

    async def _page(self, name: str, seen: Seen) -> Raw:
        """A period's page for those who may see some groups, made once however many
        ask; in a thread, since it takes a while of many models."""
        await self._turn.acquire()
        try:
            kept, routes = await self._read(name), self._view.routes
            made_of, page = kept.pages.get(seen, (None, Raw()))
            if made_of is not routes:
                page = await self._in_thread(_page, kept, _offered(routes, seen))
                if len(kept.pages) >= PAGES:
                    kept.pages.clear()
                kept.pages[seen] = routes, page
            return page
        finally:
            self._turn.release()

    async def _read(self, name: str) -> _Kept:
        """What a period needs, kept for a while."""
        exported = self._view.options.flag("DataExportEnabled")
        kept = self._kept.get((name, exported))
        if kept is None or self._clock.seconds() >= kept.until:
            kept = await self._fresh(name, exported)
            self._kept[name, exported] = kept
        return kept

    async def _fresh(self, name: str, exported: bool) -> _Kept:
        """The same from the database."""
        now = self._clock.seconds()
        period = period_of(name, int(now))
        used = await self._db.read(
            perf_queries.used, period.earlier, Buckets(period.width), exported
        )
        vendors = await self._db.read(_vendors, {row[0] for row in used})
        return _Kept(now + PERIODS[name][2], period, used, vendors)


def _vendors(connection: sa.Connection, models: set[str]) -> dict[str, Vendor]:
    """Who makes each of some models, as far as the model pages say."""
    rows = model_queries.every_vendor(connection)
    known = {row["id"]: Vendor(row["name"], row["icon"] or "") for row in rows}
    found: dict[str, Vendor] = {}
    described = model_queries.every_description(connection)
    for row in sorted(described, key=lambda row: -(row["name_rule"] or 0)):
        vendor = known.get(row["vendor_id"])
        if vendor is not None:
            names = model_queries.matched(row, models)
            found.update(dict.fromkeys(names, vendor))
    return found


def _offered(routes: RoutingTable, seen: Seen) -> frozenset[str] | None:
    """The models that somebody offers in some groups; None for whatever there is."""
    if seen is None:
        return None
    return frozenset(model for group in seen for model in routes.models(group))


def _page(kept: _Kept, offered: frozenset[str] | None) -> Raw:
    """The page of a ranking, as JSON."""
    told = ranking(
        kept.used,
        kept.period,
        lambda model: kept.vendors.get(model, NOBODY),
        lambda model: offered is None or model in offered,
    )
    return Raw(encode(told))


def period_of(name: str, now: int) -> Period:
    """A period that ends with the bucket of `now`; nothing comes before all of it."""
    length, width, _ = PERIODS[name]
    buckets = Buckets(width)
    start = buckets.begin(now) - length // width * width + width
    earlier = start if name == "all" else start - length
    return Period(start, earlier, width)


def measures(sums: Sequence[int]) -> Row:
    """What sums in the order of `perf_queries.SUMS` come to; None of nothing."""
    calls, good, lasted, waited, waits, tokens, writing = sums
    return {
        "request_count": calls,
        "success_count": good,
        "success_rate": _mean(good, calls, 4),
        "avg_latency_ms": _mean(lasted, good, 0),
        "avg_ttft_ms": _mean(waited, waits, 0),
        "avg_tps": _mean(tokens * 1000, writing, 2),
    }


def _mean(total: int, count: int, digits: int) -> float | int | None:
    if not count:
        return None
    return round(total / count, digits) if digits else round(total / count)


def _hours(request: Request) -> int:
    """How far the caller wants to look back."""
    hours = query_integer(request, "hours", USUAL_HOURS)
    return min(max(hours, 1), MOST_HOURS)


def _width(request: Request) -> Buckets:
    """A day as finely as it was measured, more by the hour: 720 points, not 43,200."""
    return Buckets(HOUR if _hours(request) > USUAL_HOURS else 1)


def _of_groups(
    connection: sa.Connection,
    model: str,
    since: int,
    groups: Sequence[str] | None,
    buckets: Buckets,
) -> list[Row]:
    """The sums of each group and its series."""
    rows = perf_queries.by_group(connection, model, since, groups, buckets)
    found: dict[str, list[Measured]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return [
        {
            "group": group,
            **measures([sum(one) for one in zip(*(it.sums for it in of), strict=True)]),
            "series": [{"ts": it.bucket, **measures(it.sums)} for it in of],
        }
        for group, of in found.items()
    ]
