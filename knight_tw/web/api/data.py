"""`/api/data`: hourly sums for the dashboards (management API, section 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from attrs import frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.storage import quota_queries
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    install,
    ok,
    query,
    query_integer,
)
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]

OWN_SPAN = 30 * 86_400
"""The longest range, in seconds, that users may ask for."""

_SHAPE: Mapping[str, Any] = {
    "id": 0,
    "user_id": 0,
    "username": "",
    "model_name": "",
    "created_at": 0,
    "use_group": "",
    "token_id": 0,
    "channel_id": 0,
    "node_name": "",
}
_OMITTED_WHEN_EMPTY = (
    "user_id",
    "username",
    "node_name",
    "token_id",
    "token_name",
    "channel_id",
    "channel_name",
)


@frozen
class UsageSums:
    """Sums per hour, model, user, and per way that calls took."""

    _guard: Guard
    _db: Database
    _clock: IReactorTime

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/data/", methods=["GET"])
    @allow(Who.ADMIN)
    async def site(self, request: Request, viewer: Viewer) -> bytes:
        """Sums per model and hour, of everybody or of `username`."""
        start, end = _range(request)
        rows = await self._db.read(
            quota_queries.by_model, start, end, username=query(request, "username")
        )
        return ok(_whole(rows))

    @app.route("/api/data/users", methods=["GET"])
    @allow(Who.ADMIN)
    async def users(self, request: Request, viewer: Viewer) -> bytes:
        """Sums per user and hour."""
        return ok(_whole(await self._db.read(quota_queries.by_user, *_range(request))))

    @app.route("/api/data/self", methods=["GET"])
    @allow(Who.USER)
    async def own(self, request: Request, viewer: Viewer) -> bytes:
        """The own sums per model and hour, of up to 30 days."""
        start, end = self._own_range(request)
        rows = await self._db.read(
            quota_queries.by_model, start, end, user_id=viewer.id
        )
        return ok(_whole(rows))

    @app.route("/api/data/flow", methods=["GET"])
    @allow(Who.ADMIN)
    async def flow(self, request: Request, viewer: Viewer) -> bytes:
        """Sums per user, node, token, group, channel and model."""
        rows = await self._db.read(quota_queries.flow, *_range(request))
        return ok([_brief(row) for row in rows])

    @app.route("/api/data/flow/self", methods=["GET"])
    @allow(Who.USER)
    async def own_flow(self, request: Request, viewer: Viewer) -> bytes:
        """The own sums per token, group and model."""
        start, end = self._own_range(request)
        rows = await self._db.read(quota_queries.flow, start, end, viewer.id)
        return ok([_brief(row) for row in rows])

    def _own_range(self, request: Request) -> tuple[int, int]:
        """The range of an own page; an open end is now, an open start the limit.

        Raises:
            Refusal: longer than 30 days.
        """
        start, end = _range(request)
        end = end or int(self._clock.seconds())
        start = start or end - OWN_SPAN
        if end - start > OWN_SPAN:
            raise Refusal(
                "the range must not be longer than 30 days",
                params={"field": "start_timestamp", "rule": "at most 30 days"},
            )
        return start, end


def _range(request: Request) -> tuple[int, int]:
    return (
        max(query_integer(request, "start_timestamp", 0), 0),
        max(query_integer(request, "end_timestamp", 0), 0),
    )


def _whole(rows: Sequence[Row]) -> list[Row]:
    """Rows with every member; what was not grouped by is 0 or empty."""
    return [{**_SHAPE, **_filled(row)} for row in rows]


def _filled(row: Row) -> Row:
    return {
        name: _SHAPE.get(name, 0) if value is None else value
        for name, value in row.items()
    }


def _brief(row: Row) -> Row:
    """A row of the flow without the members that say nothing."""
    return {
        name: value
        for name, value in _filled(row).items()
        if value or name not in _OMITTED_WHEN_EMPTY
    }
