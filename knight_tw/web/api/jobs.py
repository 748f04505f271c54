"""`/api/jobs` and, in the reference's form, `/api/system-task`: long work that was
started here or by the schedule (management API, sections 15 and 18)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw import log_cleanup
from knight_tw.channels import balance, schedule, updates
from knight_tw.jobs import JobRunning, Jobs
from knight_tw.log_cleanup import LogCleanup
from knight_tw.records import ROLE_ROOT
from knight_tw.storage import job_queries
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    install,
    missing,
    not_found,
    ok,
    page,
    paging,
    query,
    query_integer,
    sorting,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]

KINDS: Mapping[str, str] = {
    schedule.JOB: "test_channels",
    balance.JOB: "update_balances",
    updates.JOB: "detect_models",
    log_cleanup.JOB: "log_cleanup",
}
"""What the newer pages call the kinds."""

ROOT_ONLY = frozenset({log_cleanup.JOB})

MOST_LISTED = 100


@frozen
class JobPages:
    """Shows and cancels jobs."""

    _guard: Guard
    _db: Database
    _jobs: Jobs
    _cleanup: LogCleanup
    _audit: Audit

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/jobs", methods=["GET"])
    @allow(Who.ADMIN)
    async def listing(self, request: Request, viewer: Viewer) -> bytes:
        """One page of the jobs that the caller may see, newest first."""
        asked, sort = paging(request, 200), sorting(request, job_queries.SORTABLE)
        kind, status = query(request, "kind"), query(request, "status")
        types = [one for one in visible(viewer) if kind in ("", KINDS[one])]
        rows, total = await self._db.read(
            job_queries.page,
            types or ["-"],
            [status] if status else [],
            asked.offset,
            asked.size,
            sort,
        )
        return page([shown(row) for row in rows], total, asked)

    @app.route("/api/jobs/<task_id>", methods=["GET"])
    @allow(Who.ADMIN)
    async def one(self, request: Request, viewer: Viewer, task_id: str) -> bytes:
        """One job."""
        return ok(shown(await self._find(viewer, task_id)))

    @app.route("/api/jobs/<task_id>/cancel", methods=["POST"])
    @allow(Who.ADMIN)
    async def cancel(self, request: Request, viewer: Viewer, task_id: str) -> bytes:
        """Have a job end; what it has done stays."""
        row = await self._find(viewer, task_id)
        if not await self._jobs.cancel(task_id):
            raise Refusal("the job is over", code="version_conflict")
        told = {"id": task_id, "kind": KINDS.get(row["type"], row["type"])}
        self._audit.write(request, viewer, "job.cancel", told)
        return ok(shown(await self._find(viewer, task_id)))

    @app.route("/api/system-task/log-cleanup", methods=["POST"])
    @allow(Who.ROOT)
    async def clean_log(self, request: Request, viewer: Viewer) -> bytes:
        """Begin to delete old log rows."""
        moment = query_integer(request, "target_timestamp", 0)
        if moment <= 0:
            raise missing("target_timestamp")
        try:
            row, _ = await self._cleanup.start(moment)
        except JobRunning as running:
            raise Refusal(running.message, code="job_running") from None
        self._audit.write(request, viewer, "log.clean", {"target_timestamp": moment})
        return ok({**_task(row), "active_key": row["active_key"]})

    @app.route("/api/system-task/list", methods=["GET"])
    @allow(Who.ROOT)
    async def tasks(self, request: Request, viewer: Viewer) -> bytes:
        """The newest jobs."""
        limit = min(max(query_integer(request, "limit", 20), 1), MOST_LISTED)
        rows, _ = await self._db.read(job_queries.page, [], [], 0, limit)
        return ok([_task(row) for row in rows])

    @app.route("/api/system-task/current", methods=["GET"])
    @allow(Who.ROOT)
    async def current(self, request: Request, viewer: Viewer) -> bytes:
        """The job of a kind that is under way, or null."""
        kind = query(request, "type")
        if not kind:
            raise missing("type")
        row = await self._db.read(job_queries.current, kind)
        return ok(None if row is None else _task(row))

    @app.route("/api/system-task/<task_id>", methods=["GET"])
    @allow(Who.ROOT)
    async def task(self, request: Request, viewer: Viewer, task_id: str) -> bytes:
        """One job; 404 when there is none."""
        row = await self._db.read(job_queries.find, task_id)
        if row is None:
            raise Refusal("task not found", 404, code="not_found")
        return ok(_task(row))

    async def _find(self, viewer: Viewer, task_id: str) -> Row:
        row = await self._db.read(job_queries.find, task_id)
        if row is None or row["type"] not in visible(viewer):
            raise not_found("job")
        return row


def visible(viewer: Viewer) -> Sequence[str]:
    """The kinds that the caller may see."""
    if viewer.role >= ROLE_ROOT:
        return list(KINDS)
    return [kind for kind in KINDS if kind not in ROOT_ONLY]


def shown(row: Mapping[str, Any]) -> Row:
    """A job as the newer pages show it."""
    state, payload = row["state"] or {}, row["payload"] or {}
    told = {
        "id": row["task_id"],
        "kind": KINDS.get(row["type"], row["type"]),
        "status": row["status"],
        "progress": {
            "done": state.get("processed", 0),
            "total": state.get("total", 0),
        },
        "username": payload.get("username", ""),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
    for name in ("result", "error"):
        if row[name]:
            told[name] = row[name]
    return told


def _task(row: Mapping[str, Any]) -> Row:
    """A job as the reference shows it."""
    names = (
        "id",
        "task_id",
        "type",
        "status",
        "payload",
        "state",
        "result",
        "error",
        "locked_by",
        "created_at",
        "updated_at",
    )
    return {name: row[name] for name in names}
