"""`/api/channel/upstream_updates`: what changed in upstreams' model lists (management
API, section 7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.channels import updates
from knight_tw.channels.updates import Applied, ModelUpdates
from knight_tw.errors import KnightError
from knight_tw.jobs import JobRunning, Jobs
from knight_tw.storage import channels
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    install,
    integer,
    invalid,
    json_body,
    not_found,
    ok,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]

MOST_NAMES = 10_000
_NAME_LENGTH = 255


@frozen
class ModelUpdatePages:
    """Detects, applies and ignores changes."""

    _guard: Guard
    _db: Database
    _updates: ModelUpdates
    _jobs: Jobs
    _audit: Audit

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/channel/upstream_updates/detect", methods=["POST"])
    @allow(Who.OPERATE)
    async def detect(self, request: Request, viewer: Viewer) -> bytes:
        """What one upstream has now."""
        channel_id = integer(json_body(request), "id")
        channel = await self._db.read(channels.load, channel_id)
        if channel is None:
            raise not_found()
        found, moment = await self._updates.detect(channel)
        return ok(
            {
                "channel_id": channel.id,
                "channel_name": channel.name,
                "add_models": list(found.added),
                "remove_models": list(found.removed),
                "last_check_time": moment,
                "auto_added_models": found.applied,
            }
        )

    @app.route("/api/channel/upstream_updates/apply", methods=["POST"])
    @allow(Who.WRITE)
    async def apply(self, request: Request, viewer: Viewer) -> bytes:
        """Add and remove the models that the caller chose."""
        body = json_body(request)
        channel_id = integer(body, "id")
        done = await self._updates.apply(
            channel_id,
            _names(body, "add_models"),
            _names(body, "remove_models"),
            _names(body, "ignore_models"),
        )
        told = {"id": channel_id, "added": len(done.added)}
        told["removed"] = len(done.removed)
        self._audit.write(request, viewer, "channel.model_update", told)
        return ok(_shown(channel_id, done))

    @app.route("/api/channel/upstream_updates/apply_all", methods=["POST"])
    @allow(Who.WRITE)
    async def apply_all(self, request: Request, viewer: Viewer) -> bytes:
        """Apply everything that waits, in every channel that is watched."""
        results: list[Row] = []
        failed: list[int] = []
        for channel_id, added, removed in await self._updates.pending():
            try:
                done = await self._updates.apply(channel_id, added, removed, ())
            except KnightError:
                failed.append(channel_id)
            else:
                results.append(_shown(channel_id, done))
        told = {
            "processed_channels": len(results),
            "added_models": sum(len(one["added_models"]) for one in results),
            "removed_models": sum(len(one["removed_models"]) for one in results),
            "failed_channel_ids": failed,
        }
        self._audit.write(request, viewer, "channel.model_update_all", told)
        return ok({**told, "results": results})

    @app.route("/api/channel/upstream_updates/detect_all", methods=["POST"])
    @allow(Who.OPERATE)
    async def detect_all(self, request: Request, viewer: Viewer) -> bytes:
        """Begin to ask every upstream that is watched."""
        payload = {"manual": True, "username": viewer.username}
        try:
            row = await self._jobs.start(updates.JOB, self._updates.run, payload)
        except JobRunning as running:
            raise Refusal(running.message, code="job_running") from None
        return ok({"task_id": row["task_id"], "status": "pending"})


def _names(body: Mapping[str, Any], member: str) -> list[str]:
    """A list of model names; empty when absent.

    Raises:
        Refusal: anything else.
    """
    given = body.get(member) or []
    good = isinstance(given, list) and all(
        isinstance(name, str) and 0 < len(name) <= _NAME_LENGTH and "," not in name
        for name in given
    )
    if not good or len(given) > MOST_NAMES:
        raise invalid(member, "a list of model names")
    return list(given)


def _shown(channel_id: int, done: Applied) -> Row:
    return {
        "id": channel_id,
        "added_models": list(done.added),
        "removed_models": list(done.removed),
        "ignored_models": list(done.ignored),
        "remaining_models": list(done.left),
        "remaining_remove_models": list(done.left_removed),
        "models": done.row["models"],
        "settings": done.row["settings"],
    }
