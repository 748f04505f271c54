"""`/api/mj` and `/api/task`: the lists of drawings and of asynchronous tasks
(management API, section 13)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.options import Options
from knight_tw.storage import work_queries
from knight_tw.storage.database import Database
from knight_tw.storage.work_queries import DrawingFilter, TaskFilter
from knight_tw.web.api.answers import install, page, paging, query, query_integer
from knight_tw.web.api.status import LOCAL_ADDRESS
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]

_DRAWING_NUMBERS = (
    *("id", "code", "user_id", "submit_time", "start_time", "finish_time"),
    *("channel_id", "quota"),
)
_DRAWING_TEXTS = (
    *("action", "mj_id", "prompt", "prompt_en", "description", "state"),
    *("image_url", "video_url", "video_urls", "status", "progress", "fail_reason"),
    *("buttons", "properties"),
)
_TASK_NUMBERS = (
    *("id", "created_at", "updated_at", "user_id", "channel_id", "quota"),
    *("submit_time", "start_time", "finish_time"),
)
_TASK_TEXTS = (
    *("task_id", "platform", "group", "action", "status", "fail_reason"),
    "progress",
)


@frozen(eq=False)
class Works:
    """Drawings and tasks; everybody sees the own ones."""

    _guard: Guard
    _db: Database
    _options: Callable[[], Options]

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/mj/", methods=["GET"])
    @allow(Who.ADMIN)
    async def drawings(self, request: Request, viewer: Viewer) -> bytes:
        """One page of everybody's drawings, newest first."""
        return await self._drawings(request, None)

    @app.route("/api/mj/self", methods=["GET"])
    @allow(Who.USER)
    async def own_drawings(self, request: Request, viewer: Viewer) -> bytes:
        """One page of the own drawings, newest first."""
        return await self._drawings(request, viewer.id)

    @app.route("/api/task/", methods=["GET"])
    @allow(Who.ADMIN)
    async def tasks(self, request: Request, viewer: Viewer) -> bytes:
        """One page of everybody's tasks, newest first."""
        return await self._tasks(request, None)

    @app.route("/api/task/self", methods=["GET"])
    @allow(Who.USER)
    async def own_tasks(self, request: Request, viewer: Viewer) -> bytes:
        """One page of the own tasks, newest first."""
        return await self._tasks(request, viewer.id)

    async def _drawings(self, request: Request, user_id: int | None) -> bytes:
        asked = paging(request)
        chosen = DrawingFilter(
            user_id=user_id,
            mj_id=query(request, "mj_id"),
            channel_id=_channel(request) if user_id is None else 0,
            start=_moment(request, "start_timestamp"),
            end=_moment(request, "end_timestamp"),
        )
        rows, total = await self._db.read(
            work_queries.drawings, chosen, asked.offset, asked.size
        )
        options = self._options()
        site = ""
        if options.flag("MjForwardUrlEnabled"):
            site = options.text("ServerAddress").rstrip("/") or LOCAL_ADDRESS
        return page([drawing(row, site) for row in rows], total, asked)

    async def _tasks(self, request: Request, user_id: int | None) -> bytes:
        asked = paging(request)
        chosen = TaskFilter(
            user_id=user_id,
            platform=query(request, "platform"),
            task_id=query(request, "task_id"),
            status=query(request, "status"),
            action=query(request, "action"),
            channel_id=_channel(request) if user_id is None else 0,
            start=_moment(request, "start_timestamp"),
            end=_moment(request, "end_timestamp"),
        )
        rows, total = await self._db.read(
            work_queries.task_page, chosen, asked.offset, asked.size
        )
        return page([task(row, site=user_id is None) for row in rows], total, asked)


def drawing(row: Mapping[str, Any], site: str) -> Row:
    """A drawing as it is shown.

    Args:
        site: Our own address, through which pictures are shown; empty for the
            addresses that the provider gave.
    """
    told: Row = {name: row[name] or 0 for name in _DRAWING_NUMBERS}
    told.update({name: row[name] or "" for name in _DRAWING_TEXTS})
    if site and told["image_url"]:
        told["image_url"] = f"{site}/mj/image/{told['mj_id']}"
    return told


def task(row: Mapping[str, Any], *, site: bool) -> Row:
    """A task as it is shown: never what is private in it; to its owner not the channel,
    to administrators (`site`) the owner's name too."""
    told: Row = {name: row[name] or 0 for name in _TASK_NUMBERS}
    told.update({name: row[name] or "" for name in _TASK_TEXTS})
    told["properties"] = _read(row["properties"]) or {}
    told["data"] = _read(row["data"])
    url = _result_url(row)
    if url:
        told["result_url"] = url
    if site:
        told["username"] = row["username"]
    else:
        told["channel_id"] = 0
    return told


def _result_url(row: Mapping[str, Any]) -> str:
    """Where the result is. Older rows have it as their reason, and the reference shows
    that of a failure in its place too."""
    private = _read(row["private_data"])
    url = private.get("result_url") if isinstance(private, dict) else None
    if isinstance(url, str) and url:
        return url
    return str(row["fail_reason"] or "")


def _read(text: str | None) -> Any:
    """JSON in a column; None when it is none."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def _channel(request: Request) -> int:
    return max(query_integer(request, "channel_id", 0), 0)


def _moment(request: Request, name: str) -> int:
    return max(query_integer(request, name, 0), 0)
