"""`/api/channel`, the newer pages: types, health, changes to many channels, files
(management API, section 18)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from attrs import frozen
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.channels import bulk, drafts, types
from knight_tw.channels.bulk import Change, Plan
from knight_tw.errors import KnightError
from knight_tw.latency import percentile
from knight_tw.records import ROLE_ROOT
from knight_tw.storage import channel_queries, health_queries
from knight_tw.storage.channel_queries import ChannelFilter
from knight_tw.storage.database import Database
from knight_tw.storage.schema import LATENCY_BOUNDS, LATENCY_COLUMNS
from knight_tw.web.api.answers import (
    Refusal,
    flag,
    from_error,
    install,
    integer,
    invalid,
    json_body,
    missing,
    ok,
    query,
    query_flag,
    text,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.channels import KEY_SCOPE, CheckAddress
from knight_tw.web.api.tokens import ids_of
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]
Changed = Callable[[str, str], Awaitable[None]]

HEALTH_IDS, HEALTH_MINUTES = 200, 15
UNDO_SECONDS, UNDO_CHANNELS = 600, 1000
MOST_IMPORTED = 2000


class Memory(Protocol):
    """Where undo records wait: the cache."""

    def get(self, key: str) -> str | Deferred[str | None] | None: ...

    def set(self, key: str, value: str, ttl: float) -> Deferred[None] | None: ...

    def delete(self, key: str) -> Deferred[None] | None: ...


@frozen
class ChannelBulk:
    """Many channels at once."""

    _guard: Guard
    _db: Database
    _clock: IReactorTime
    _memory: Memory
    _audit: Audit
    _changed: Changed
    _check_address: CheckAddress

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/channel/types", methods=["GET"])
    @allow(Who.READ)
    async def types(self, request: Request, viewer: Viewer) -> bytes:
        """Every channel type, with what its form needs."""
        return ok(types.every_type())

    @app.route("/api/channel/default_base_urls", methods=["GET"])
    @allow(Who.READ)
    async def addresses(self, request: Request, viewer: Viewer) -> bytes:
        """The usual address of each type that has one."""
        return ok(types.default_addresses())

    @app.route("/api/channel/health", methods=["GET"])
    @allow(Who.READ)
    async def health(self, request: Request, viewer: Viewer) -> bytes:
        """How some channels did in the last quarter of an hour."""
        given = [one for one in query(request, "ids").split(",") if one.strip()]
        ids = ids_of({"ids": given}, HEALTH_IDS)
        until = int(self._clock.seconds()) // 60 * 60
        since = until - 60 * (HEALTH_MINUTES - 1)
        rows = await self._db.read(health_queries.recent, ids, since, until)
        return ok(
            {
                str(one): _health([r for r in rows if r["channel_id"] == one], since)
                for one in ids
            }
        )

    @app.route("/api/channel/bulk", methods=["POST"])
    @allow(Who.OPERATE)
    async def change(self, request: Request, viewer: Viewer) -> bytes:
        """One change to many channels; what it would do, with `dry_run`."""
        body = json_body(request)
        asked = Change.read(body)
        self._guard.require(viewer, Who[asked.permission.upper()])
        rows = await self._db.read(channel_queries.select, _chosen(body))
        dry = flag(body, "dry_run", False)
        if asked.op == "delete":
            return await self._delete(request, viewer, rows, dry)
        root = viewer.role >= ROLE_ROOT
        if asked.field == "proxy" and not root and asked.value:
            await self._check_address(str(asked.value))
        wanted, refused = _applied(asked, rows, root)
        told: Row = {"matched": len(rows), "changed": len(wanted), "errors": refused}
        if dry or not wanted:
            return ok(told)
        await self._write(wanted)
        told["undo"] = await self._remember(viewer, rows, wanted)
        params = {"op": asked.op, "field": asked.field, "count": len(wanted)}
        self._audit.write(request, viewer, "channel.bulk", params)
        return ok(told)

    @app.route("/api/channel/undo", methods=["POST"])
    @allow(Who.WRITE)
    async def undo(self, request: Request, viewer: Viewer) -> bytes:
        """Put back what a bulk change changed, within ten minutes, once."""
        token = text(json_body(request), "undo")
        key = f"undo:{viewer.id}:{token}"
        held = self._memory.get(key)
        found = await held if isinstance(held, Deferred) else held
        if not found:
            raise Refusal("there is nothing to undo any more", code="not_found")
        forgotten = self._memory.delete(key)
        if isinstance(forgotten, Deferred):
            await forgotten
        before = {int(number): row for number, row in json.loads(found).items()}
        await self._write(before)
        self._audit.write(request, viewer, "channel.undo", {"count": len(before)})
        return ok({"changed": len(before)})

    @app.route("/api/channel/export", methods=["GET"])
    @allow(Who.WRITE)
    async def export(self, request: Request, viewer: Viewer) -> bytes:
        """Channels as a file; with their keys for root after a second factor."""
        keys = query_flag(request, "keys")
        if keys:
            self._guard.require(viewer, Who.ROOT)
            self._guard.verify(request, viewer, KEY_SCOPE)
        given = [one for one in query(request, "ids").split(",") if one.strip()]
        ids = ids_of({"ids": given}, channel_queries.BULK_LIMIT) if given else []
        rows = await self._db.read(channel_queries.select, ChannelFilter(ids=ids))
        told = {"count": len(rows), "keys": keys}
        self._audit.write(request, viewer, "channel.export", told)
        shown = [bulk.exported(row, key=keys) for row in rows]
        return ok({"version": bulk.VERSION, "channels": shown})

    @app.route("/api/channel/import", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE)
    async def bring_in(self, request: Request, viewer: Viewer) -> bytes:
        """Make and change channels from a file; what it would do, with `dry_run`."""
        body = json_body(request)
        plans, errors = await self._plans(body, viewer)
        made = [plan for plan in plans if not plan.row_id]
        changed = [plan for plan in plans if plan.row_id and plan.values]
        diff = [
            {"name": plan.name, "id": plan.row_id or None, "fields": list(plan.names)}
            for plan in (*made, *changed)
        ]
        told = {
            "create": len(made),
            "update": len(changed),
            "unchanged": len(plans) - len(made) - len(changed),
            "errors": errors,
            "diff": diff,
        }
        if query_flag(request, "dry_run") or flag(body, "dry_run", False):
            return ok(told)
        await self._bring(made, changed, root=viewer.role >= ROLE_ROOT)
        counts = {"create": len(made), "update": len(changed)}
        self._audit.write(request, viewer, "channel.import", counts)
        return ok(told)

    async def _plans(
        self, body: Mapping[str, Any], viewer: Viewer
    ) -> tuple[list[Plan], list[Row]]:
        """What becomes of each entry of a file, and what is wrong with the others."""
        entries = body.get("channels")
        if integer(body, "version", 0) != bulk.VERSION or not isinstance(entries, list):
            raise invalid("channels", "a file that was exported here")
        if len(entries) > MOST_IMPORTED:
            raise invalid("channels", f"at most {MOST_IMPORTED}")
        rows = await self._db.read(channel_queries.select, ChannelFilter())
        by_id = {row["id"]: row for row in rows}
        now = int(self._clock.seconds())
        plans: list[Plan] = []
        errors: list[Row] = []
        for number, entry in enumerate(entries):
            try:
                plan = bulk.planned(entry, rows, now)
                if viewer.role < ROLE_ROOT:
                    await self._check_moved(by_id.get(plan.row_id, {}), plan.values)
            except KnightError as error:
                refusal = from_error(error)
                told = {"index": number, "code": refusal.code, "message": error.message}
                errors.append(told)
            else:
                plans.append(plan)
        return plans, errors

    async def _check_moved(self, before: Mapping[str, Any], values: Row) -> None:
        """Ask the guard about addresses that change."""
        after = drafts.addresses({**before, **values})
        for new, old in zip(after, drafts.addresses(before), strict=True):
            if new and new != old and "://" in new:
                await self._check_address(new)

    async def _bring(
        self, made: Sequence[Plan], changed: Sequence[Plan], *, root: bool
    ) -> None:
        rows = [drafts.guarded({}, plan.values, root=root) for plan in made]
        await self._db.run(channel_queries.insert, rows)
        for plan in changed:
            decide = _guarded(plan.values, root)
            await self._db.run(channel_queries.change, plan.row_id, decide)
        if made or changed:
            await self._changed("channel", "")

    async def _delete(
        self, request: Request, viewer: Viewer, rows: Sequence[Row], dry: bool
    ) -> bytes:
        ids = [row["id"] for row in rows]
        count = len(ids)
        if not dry and ids:
            count = await self._db.run(channel_queries.delete, ids)
            await self._changed("channel", "")
            params = {"op": "delete", "count": count}
            self._audit.write(request, viewer, "channel.bulk", params)
        return ok({"matched": len(rows), "changed": count, "errors": {}})

    async def _write(self, wanted: Mapping[int, Row]) -> None:
        await self._db.run(
            channel_queries.change_many,
            sorted(wanted),
            lambda row: wanted[row["id"]],
        )
        await self._changed("channel", "")

    async def _remember(
        self, viewer: Viewer, rows: Sequence[Row], wanted: Mapping[int, Row]
    ) -> str | None:
        """Keep what was there before; the word that brings it back, None when it is
        too much to keep."""
        if len(wanted) > UNDO_CHANNELS:
            return None
        before = {
            row["id"]: {name: row[name] for name in wanted[row["id"]]}
            for row in rows
            if row["id"] in wanted
        }
        token = secrets.token_urlsafe(18)
        key = f"undo:{viewer.id}:{token}"
        kept = self._memory.set(key, json.dumps(before), UNDO_SECONDS)
        if isinstance(kept, Deferred):
            await kept
        return token


def _guarded(values: Row, root: bool) -> Callable[[Row], Row]:
    """The decision that sets `values`, and the guard's mark."""
    return lambda row: drafts.guarded(row, values, root=root)


def _chosen(body: Mapping[str, Any]) -> ChannelFilter:
    """The channels that a bulk request means: `ids`, or a `filter` as of the list.

    Raises:
        Refusal: neither is there.
    """
    if body.get("ids"):
        return ChannelFilter(ids=ids_of(body, channel_queries.BULK_LIMIT))
    given = body.get("filter")
    if not isinstance(given, Mapping):
        raise missing("ids")
    kind = integer(given, "type", -1)
    return ChannelFilter(
        status=text(given, "status", ""),
        kind=kind if kind >= 0 else None,
        group=text(given, "group", ""),
        keyword=text(given, "keyword", ""),
        model=text(given, "model", ""),
        tag=text(given, "tag", None),
    )


def _applied(
    asked: Change, rows: Sequence[Row], root: bool
) -> tuple[dict[int, Row], dict[str, str]]:
    """What a change sets, by channel, and the codes of what it cannot."""
    wanted: dict[int, Row] = {}
    refused: dict[str, str] = {}
    for row in rows:
        try:
            values = asked.applied(row)
        except KnightError as error:
            refused[str(row["id"])] = from_error(error).code
            continue
        if values and asked.field == "proxy":
            values = drafts.guarded(row, values, root=root)
        if values:
            wanted[row["id"]] = values
    return wanted, refused


def _health(rows: Sequence[Row], since: int) -> Row:
    """Sums of a channel's minutes, and calls of each minute, the oldest first."""
    calls = {row["minute"]: row["count"] for row in rows}
    counts = [sum(row[name] for row in rows) for name in LATENCY_COLUMNS]
    return {
        "requests": sum(calls.values()),
        "errors": sum(row["errors"] for row in rows),
        "latency_p50": percentile(counts, LATENCY_BOUNDS, 0.5),
        "latency_p95": percentile(counts, LATENCY_BOUNDS, 0.95),
        "minutes": [calls.get(since + 60 * n, 0) for n in range(HEALTH_MINUTES)],
    }
