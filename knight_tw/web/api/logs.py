"""`/api/log`: what happened, for administrators and for everybody's own (management
API, section 9). Cursors, histograms and exports are in `log_views`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from attrs import evolve, frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.accounts.limits import Limits, Mark
from knight_tw.jobs import JobRunning
from knight_tw.log_cleanup import LogCleanup
from knight_tw.storage import channel_queries, log_queries
from knight_tw.storage.database import Database
from knight_tw.storage.log_queries import LogFilter
from knight_tw.web.api import log_fields
from knight_tw.web.api.answers import (
    Refusal,
    install,
    missing,
    ok,
    page,
    paging,
    query,
    query_integer,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]

PACE_SECONDS = 60
"""The stretch of time that calls and tokens per minute are about."""


@frozen
class ChannelNames:
    """Names of channels for rows that only have their ids."""

    _db: Database

    async def shown(self, rows: Sequence[Row]) -> list[Row]:
        """Log rows as administrators see them."""
        ids = {row["channel_id"] for row in rows if row["channel_id"]}
        known = await self._db.read(channel_queries.names, ids) if ids else {}
        return [log_fields.shown(row, known.get(row["channel_id"], "")) for row in rows]


@frozen
class Logs:
    """The log pages. Logs may be in a database of their own."""

    _guard: Guard
    _logs: Database
    _names: ChannelNames
    _clock: IReactorTime
    _limits: Limits
    _cleanup: LogCleanup
    _audit: Audit

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/log/", methods=["GET"])
    @allow(Who.ADMIN)
    async def listing(self, request: Request, viewer: Viewer) -> bytes:
        """One page of everybody's rows, newest first."""
        return await self._site_page(request, log_fields.filter_of(request))

    @app.route("/api/log/self", methods=["GET"])
    @allow(Who.USER)
    async def own(self, request: Request, viewer: Viewer) -> bytes:
        """One page of the own rows, newest first."""
        chosen = log_fields.filter_of(request, user_id=viewer.id)
        return await self._own_page(request, chosen)

    @app.route("/api/log/search", methods=["GET"])
    @allow(Who.ADMIN)
    async def search(self, request: Request, viewer: Viewer) -> bytes:
        """Everybody's rows whose text or model holds `keyword`."""
        await self._limits.check(Mark.SEARCH, viewer.id)
        chosen = log_fields.filter_of(request)
        return await self._site_page(request, _searching(request, chosen))

    @app.route("/api/log/self/search", methods=["GET"])
    @allow(Who.USER)
    async def search_own(self, request: Request, viewer: Viewer) -> bytes:
        """The own rows whose text or model holds `keyword`."""
        await self._limits.check(Mark.SEARCH, viewer.id)
        chosen = log_fields.filter_of(request, user_id=viewer.id)
        return await self._own_page(request, _searching(request, chosen))

    @app.route("/api/log/stat", methods=["GET"])
    @allow(Who.ADMIN)
    async def sums(self, request: Request, viewer: Viewer) -> bytes:
        """Quota of everybody's served calls, and the pace of the last minute."""
        return await self._sums(log_fields.filter_of(request))

    @app.route("/api/log/self/stat", methods=["GET"])
    @allow(Who.USER)
    async def own_sums(self, request: Request, viewer: Viewer) -> bytes:
        """Quota of the own served calls, and the pace of the last minute."""
        return await self._sums(log_fields.filter_of(request, user_id=viewer.id))

    @app.route("/api/log/", methods=["DELETE"])
    @allow(Who.ADMIN)
    async def delete(self, request: Request, viewer: Viewer) -> bytes:
        """Begin to delete the rows older than `target_timestamp`; how many they are."""
        moment = query_integer(request, "target_timestamp", 0)
        if moment <= 0:
            raise missing("target_timestamp")
        try:
            _, count = await self._cleanup.start(moment)
        except JobRunning as running:
            raise Refusal(running.message, code="job_running") from None
        told = {"target_timestamp": moment, "count": count}
        self._audit.write(request, viewer, "log.clean", told)
        return ok(count)

    async def _site_page(self, request: Request, chosen: LogFilter) -> bytes:
        asked = paging(request)
        rows, total = await self._logs.read(
            log_queries.page,
            chosen,
            asked.offset,
            asked.size,
            log_fields.ADMIN_BOUND,
        )
        return page(await self._names.shown(rows), total, asked)

    async def _own_page(self, request: Request, chosen: LogFilter) -> bytes:
        asked = paging(request)
        rows, total = await self._logs.read(
            log_queries.page, chosen, asked.offset, asked.size, log_fields.USER_BOUND
        )
        first = asked.offset + 1
        return page(
            [log_fields.for_user(row, first + n) for n, row in enumerate(rows)],
            total,
            asked,
        )

    async def _sums(self, chosen: LogFilter) -> bytes:
        if chosen.kinds and log_queries.CONSUMED not in chosen.kinds:
            return ok({"quota": 0, "rpm": 0, "tpm": 0})
        chosen = evolve(chosen, kinds=())
        since = int(self._clock.seconds()) - PACE_SECONDS
        quota = await self._logs.read(log_queries.spent, chosen)
        calls, used = await self._logs.read(log_queries.pace, chosen, since)
        return ok({"quota": quota, "rpm": calls, "tpm": used})


def _searching(request: Request, chosen: LogFilter) -> LogFilter:
    return evolve(chosen, keyword=query(request, "keyword"))
