"""`/api/log`, the newer pages: cursors, histograms, facets, the record of one call
(management API, section 18). Everything exists for everybody's rows and, under
`self/`, for the own ones."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from attrs import evolve, frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.accounts.limits import Limits, Mark
from knight_tw.storage import log_queries
from knight_tw.storage.database import Database
from knight_tw.storage.log_queries import FACETS, LogFilter
from knight_tw.web.api import log_export, log_fields
from knight_tw.web.api.answers import (
    client_ip,
    install,
    invalid,
    not_found,
    ok,
    put_header,
    query,
    query_flag,
    query_integer,
)
from knight_tw.web.api.logs import ChannelNames
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]

USUAL_ROWS, MOST_ROWS = 100, 500
USUAL_BUCKETS, MOST_BUCKETS = 60, 200
MOST_VALUES = 20
DAY = 86_400

OWN_ROWS, SITE_ROWS = 100_000, 5_000_000
"""The most rows of an export, for users and for administrators."""

OWN_FACETS = frozenset(FACETS) - {"channel", "username"}


@frozen
class LogViews:
    """Further ways to look at the log."""

    _guard: Guard
    _logs: Database
    _names: ChannelNames
    _clock: IReactorTime
    _limits: Limits

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/log/cursor", methods=["GET"])
    @allow(Who.ADMIN)
    async def site_window(self, request: Request, viewer: Viewer) -> bytes:
        """A stretch of everybody's rows."""
        return await self._window(request, log_fields.filter_of(request))

    @app.route("/api/log/self/cursor", methods=["GET"])
    @allow(Who.USER)
    async def own_window(self, request: Request, viewer: Viewer) -> bytes:
        """A stretch of the own rows."""
        return await self._window(request, _own(request, viewer))

    @app.route("/api/log/histogram", methods=["GET"])
    @allow(Who.ADMIN)
    async def site_histogram(self, request: Request, viewer: Viewer) -> bytes:
        """Calls, errors and quota over time, of everybody."""
        return await self._histogram(request, log_fields.filter_of(request))

    @app.route("/api/log/self/histogram", methods=["GET"])
    @allow(Who.USER)
    async def own_histogram(self, request: Request, viewer: Viewer) -> bytes:
        """Calls, errors and quota over time, the own ones."""
        return await self._histogram(request, _own(request, viewer))

    @app.route("/api/log/facets", methods=["GET"])
    @allow(Who.ADMIN)
    async def site_facets(self, request: Request, viewer: Viewer) -> bytes:
        """The commonest values of some fields."""
        chosen = log_fields.filter_of(request)
        return await self._facets(request, chosen, frozenset(FACETS))

    @app.route("/api/log/self/facets", methods=["GET"])
    @allow(Who.USER)
    async def own_facets(self, request: Request, viewer: Viewer) -> bytes:
        """The commonest values of some fields in the own rows."""
        chosen = _own(request, viewer)
        return await self._facets(request, chosen, OWN_FACETS)

    @app.route("/api/log/export", methods=["GET"])
    @allow(Who.ADMIN)
    async def site_export(self, request: Request, viewer: Viewer) -> bytes:
        """A file of everybody's rows."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        return await self._export(request, log_fields.filter_of(request), SITE_ROWS)

    @app.route("/api/log/self/export", methods=["GET"])
    @allow(Who.USER)
    async def own_export(self, request: Request, viewer: Viewer) -> bytes:
        """A file of the own rows."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        return await self._export(request, _own(request, viewer), OWN_ROWS)

    @app.route("/api/log/explain/<request_id>", methods=["GET"])
    @allow(Who.ADMIN)
    async def explain(self, request: Request, viewer: Viewer, request_id: str) -> bytes:
        """How one call was routed and how long each part took."""
        row = await self._logs.read(log_queries.by_request, request_id)
        told = _explained(row["other"] if row else "")
        if told is None:
            raise not_found("record")
        return ok(told)

    async def _shown(self, rows: Sequence[Row], chosen: LogFilter) -> list[Row]:
        if chosen.user_id is None:
            return await self._names.shown(rows)
        return [log_fields.for_user(row, number + 1) for number, row in enumerate(rows)]

    async def _window(self, request: Request, chosen: LogFilter) -> bytes:
        """Rows beside a cursor; the total comes with the first stretch only."""
        wanted = query_integer(request, "limit", USUAL_ROWS)
        limit = min(max(wanted, 1), MOST_ROWS)
        place = _place(query(request, "cursor"))
        found = await self._logs.read(log_queries.window, chosen, limit + 1, **place)
        back = "after" in place
        rows = found[-limit:] if back else found[:limit]
        more = len(found) > limit
        total = None
        if not place:
            own = chosen.user_id is not None
            bound = log_fields.USER_BOUND if own else log_fields.ADMIN_BOUND
            total = await self._logs.read(log_queries.approximate_total, chosen, bound)
        return ok(
            {
                "items": await self._shown(rows, chosen),
                "next": _cursor("before", rows[-1])
                if rows and (more or back)
                else None,
                "prev": (
                    _cursor("after", rows[0])
                    if rows and (more if back else bool(place))
                    else None
                ),
                "approx_total": total,
            }
        )

    async def _histogram(self, request: Request, chosen: LogFilter) -> bytes:
        """Buckets of equal width over the range, the last day unless one is named."""
        wanted = query_integer(request, "buckets", USUAL_BUCKETS)
        buckets = min(max(wanted, 1), MOST_BUCKETS)
        end = chosen.end or int(self._clock.seconds())
        start = chosen.start or end - DAY
        if end < start:
            raise invalid("end_timestamp", "not before start_timestamp")
        width = (end - start) // buckets + 1
        ranged = evolve(chosen, start=start, end=end)
        found = await self._logs.read(log_queries.histogram, ranged, width)
        known = {row[0]: row for row in found}
        whole = range(start, end + 1, width)
        return ok([_bucket(known.get(at, (at, 0, 0, 0))) for at in whole])

    async def _facets(
        self, request: Request, chosen: LogFilter, allowed: frozenset[str]
    ) -> bytes:
        args = (request.args or {}).get(b"fields", [])
        asked = b",".join(args).decode("utf-8", "replace").split(",")
        fields = [one.strip() for one in asked if one.strip()] or sorted(allowed)
        if not allowed.issuperset(fields):
            raise invalid("fields", "some of " + ", ".join(sorted(allowed)))
        told: dict[str, list[Row]] = {}
        for name in dict.fromkeys(fields):
            found = await self._logs.read(log_queries.facet, chosen, name, MOST_VALUES)
            told[name] = [{"value": value, "count": count} for value, count in found]
        return ok(told)

    async def _export(self, request: Request, chosen: LogFilter, most: int) -> bytes:
        kind = query(request, "format", "csv").lower()
        if kind not in log_export.FORMATS:
            raise invalid("format", " or ".join(log_export.FORMATS))
        put_header(request, "Content-Type", log_export.FORMATS[kind])
        named = f'attachment; filename="{self._file_name(kind)}"'
        put_header(request, "Content-Disposition", named)
        site = chosen.user_id is None
        writer = log_export.Writer(kind, site, query_flag(request, "bom"))
        outlet = log_export.Outlet.on(request)
        before, left = 0, most
        request.write(writer.head())  # type: ignore[no-untyped-call]  # bare there
        while left > 0:
            await outlet.ready()
            rows = await self._logs.read(
                log_queries.window,
                chosen,
                min(left, log_export.ROWS_AT_ONCE),
                before=before,
            )
            if not rows:
                break
            before, left = rows[-1]["id"], left - len(rows)
            told = await self._shown(rows, chosen)
            request.write(writer.rows(told))  # type: ignore[no-untyped-call]
        outlet.close()
        return b""

    def _file_name(self, kind: str) -> str:
        moment = datetime.fromtimestamp(self._clock.seconds(), UTC)
        return f"usage-log_{moment:%Y-%m-%dT%H-%MZ}.{kind}"


def _cursor(side: str, row: Row) -> str:
    """Where a list goes on, opaque to clients."""
    text = f"{side}:{row['id']}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(cursor: str) -> dict[str, int]:
    """What a cursor means: `before` or `after` an id; nothing without one.

    Raises:
        Refusal: not a cursor of ours.
    """
    if not cursor:
        return {}
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.urlsafe_b64decode(padded).decode()
        side, _, number = text.partition(":")
        found = int(number)
    except ValueError:
        raise invalid("cursor", "one that a list gave") from None
    if side not in ("before", "after") or not 0 < found < 2**63:
        raise invalid("cursor", "one that a list gave")
    return {side: found}


def _bucket(row: tuple[int, int, int, int]) -> Row:
    return dict(zip(("ts", "count", "errors", "quota"), row, strict=True))


def _explained(other: str | None) -> Any:
    """The decision record in a row's details, or None."""
    try:
        found = json.loads(other or "{}")
    except (ValueError, RecursionError):
        return None
    admin = found.get("admin_info") if isinstance(found, dict) else None
    return admin.get("explain") if isinstance(admin, dict) else None


def _own(request: Request, viewer: Viewer) -> LogFilter:
    return log_fields.filter_of(request, user_id=viewer.id)
