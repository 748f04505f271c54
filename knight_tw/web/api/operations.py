"""`/api/performance` and `/api/system-info`: the machine, its files, its fellows
(management API, section 15)."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

from attrs import define, field, frozen
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw import log_files, machine
from knight_tw.log_files import File, Gone
from knight_tw.options import Options
from knight_tw.storage import node_queries
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import Refusal, install, invalid, ok, query
from knight_tw.web.api.answers import query_integer as number
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]

MEGABYTE = 1_048_576
DAY = 86_400
BY_COUNT, BY_DAYS = "by_count", "by_days"
MOST = 100_000

CONFIG = (
    "disk_cache_enabled",
    "disk_cache_threshold_mb",
    "disk_cache_max_size_mb",
    "disk_cache_path",
    "monitor_enabled",
    "monitor_cpu_threshold",
    "monitor_memory_threshold",
    "monitor_disk_threshold",
)
"""Options of the group `performance_setting`, as they are shown."""

_FLAGS, _TEXTS = ("disk_cache_enabled", "monitor_enabled"), ("disk_cache_path",)


class Traffic(Protocol):
    """What is going on in this process."""

    def calls(self) -> int:
        """Calls answered since the process began."""
        ...

    def open(self) -> int:
        """Calls under way."""
        ...


@define(eq=False)
class Since:
    """From where counters are shown."""

    calls: int = 0


@frozen(eq=False)
class Operations:
    """The pages for those who run the machine.

    Args:
        logs: The folder of log files; empty when there is none.
        folder: `DATA_DIR`.
    """

    _guard: Guard
    _db: Database
    _clock: IReactorTime
    _options: Callable[[], Options]
    _in_thread: Callable[..., Deferred[Any]]
    _traffic: Traffic
    _audit: Audit
    _folder: str
    _logs: str = ""
    _since: Since = field(factory=Since)

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/performance/stats", methods=["GET"])
    @allow(Who.ROOT)
    async def stats(self, request: Request, viewer: Viewer) -> bytes:
        """Memory, disk and settings of this process."""
        path = self._bodies()
        kept: Sequence[File] = await self._in_thread(log_files.bodies, path)
        size = sum(one.size for one in kept)
        memory = await self._in_thread(machine.process_memory)
        config = self._config()
        told = {
            "cache_stats": self._cache(kept, size, config),
            "memory_stats": {**memory, "num_goroutine": self._traffic.open()},
            "disk_cache_info": {
                "path": path,
                "exists": Path(path).is_dir(),
                "file_count": len(kept),
                "total_size": size,
            },
            "disk_space_info": await self._in_thread(machine.storage, self._folder),
            "config": config,
        }
        return ok(told, message=None)

    def _cache(self, kept: Sequence[File], size: int, config: Row) -> Row:
        """Bodies are kept in memory, so each call found its own there."""
        return {
            "active_disk_files": len(kept),
            "current_disk_usage_bytes": size,
            "active_memory_buffers": self._traffic.open(),
            "current_memory_usage_bytes": 0,
            "disk_cache_hits": 0,
            "memory_cache_hits": self._traffic.calls() - self._since.calls,
            "disk_cache_max_bytes": config["disk_cache_max_size_mb"] * MEGABYTE,
            "disk_cache_threshold_bytes": config["disk_cache_threshold_mb"] * MEGABYTE,
        }

    def _config(self) -> Row:
        options = self._options()
        told: Row = {"is_running_in_container": machine.in_container()}
        for name in CONFIG:
            key = f"performance_setting.{name}"
            if name in _FLAGS:
                told[name] = options.flag(key)
            elif name in _TEXTS:
                told[name] = options.text(key)
            else:
                told[name] = options.integer(key)
        return told

    def _bodies(self) -> str:
        chosen = self._options().text("performance_setting.disk_cache_path")
        return str(Path(chosen or self._folder) / log_files.BODIES)

    @app.route("/api/performance/disk_cache", methods=["DELETE"])
    @allow(Who.ROOT)
    async def forget_bodies(self, request: Request, viewer: Viewer) -> bytes:
        """Delete bodies on disk that nobody has touched for ten minutes."""
        now = self._clock.seconds()
        gone: Gone = await self._in_thread(log_files.forget_idle, self._bodies(), now)
        self._audit.write(request, viewer, "system.disk_cache", {"count": gone.count})
        return ok(message=f"{gone.count} files were deleted")

    @app.route("/api/performance/reset_stats", methods=["POST"])
    @allow(Who.ROOT)
    async def reset(self, request: Request, viewer: Viewer) -> bytes:
        """Counters of `stats` begin anew; those of `/metrics` go on."""
        self._since.calls = self._traffic.calls()
        self._audit.write(request, viewer, "system.reset_stats", {})
        return ok(message="the counters begin anew")

    @app.route("/api/performance/gc", methods=["POST"])
    @allow(Who.ROOT)
    async def collect(self, request: Request, viewer: Viewer) -> bytes:
        """Have cycles collected now. Nothing else runs meanwhile, in whatever thread
        it is done: a tenth of a second on a large process."""
        found = gc.collect()
        self._audit.write(request, viewer, "system.gc", {"count": found})
        return ok(message=f"{found} unreachable objects were found")

    @app.route("/api/performance/logs", methods=["GET"])
    @allow(Who.ROOT)
    async def log_list(self, request: Request, viewer: Viewer) -> bytes:
        """The log files, the newest first."""
        if not self._logs:
            return ok(_folder("", ()))
        found = await self._in_thread(log_files.logs, self._logs)
        return ok(_folder(self._logs, found))

    @app.route("/api/performance/logs", methods=["DELETE"])
    @allow(Who.ROOT)
    async def forget_logs(self, request: Request, viewer: Viewer) -> bytes:
        """Delete old log files, never the one that is written."""
        mode, value = query(request, "mode"), number(request, "value", 0)
        if mode not in (BY_COUNT, BY_DAYS):
            raise invalid("mode", f"{BY_COUNT} or {BY_DAYS}")
        if not 1 <= value <= MOST:
            raise invalid("value", f"1 to {MOST}")
        if not self._logs:
            raise Refusal("no log folder is set (--log-dir)", code="not_configured")
        gone: Gone
        if mode == BY_COUNT:
            gone = await self._in_thread(log_files.forget_but, self._logs, value)
        else:
            before = self._now() - value * DAY
            gone = await self._in_thread(log_files.forget_before, self._logs, before)
        told = {"mode": mode, "value": value, "count": gone.count}
        self._audit.write(request, viewer, "system.log_files", told)
        return ok(
            {
                "deleted_count": gone.count,
                "freed_bytes": gone.size,
                "failed_files": list(gone.failed) or None,
            }
        )

    @app.route("/api/system-info/instances", methods=["GET"])
    @allow(Who.ROOT)
    async def nodes(self, request: Request, viewer: Viewer) -> bytes:
        """The nodes of the installation."""
        rows = await self._db.read(node_queries.every)
        return ok([_node(row, self._now()) for row in rows])

    @app.route("/api/system-info/stale-instances", methods=["DELETE"])
    @allow(Who.ROOT)
    async def forget_stale(self, request: Request, viewer: Viewer) -> bytes:
        """Forget the nodes that have been silent."""
        count = await self._db.run(node_queries.forget_stale, self._now())
        self._audit.write(request, viewer, "system.stale_nodes", {"count": count})
        return ok({"deleted_count": count})

    @app.route("/api/system-info/instances/<name>", methods=["DELETE"])
    @allow(Who.ROOT)
    async def forget(self, request: Request, viewer: Viewer, name: str) -> bytes:
        """Forget one node that has been silent."""
        if not await self._db.run(node_queries.forget_stale, self._now(), name):
            raise Refusal("this node is not stale, or there is none", code="not_found")
        self._audit.write(request, viewer, "system.stale_nodes", {"name": name})
        return ok({"deleted_count": 1})

    def _now(self) -> int:
        return int(self._clock.seconds())


def _folder(path: str, files: Sequence[File]) -> Row:
    told: Row = {
        "log_dir": path,
        "enabled": bool(path),
        "file_count": len(files),
        "total_size": sum(one.size for one in files),
    }
    if files:
        told["oldest_time"] = _moment(min(one.changed for one in files))
        told["newest_time"] = _moment(max(one.changed for one in files))
    told["files"] = [
        {"name": one.path.name, "size": one.size, "mod_time": _moment(one.changed)}
        for one in files
    ]
    return told


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _node(row: Row, now: int) -> Row:
    seen = row["last_seen_at"] or 0
    return {
        "node_name": row["node_name"],
        "status": "online" if now - seen <= node_queries.STALE_SECONDS else "stale",
        "stale_after_seconds": node_queries.STALE_SECONDS,
        "started_at": row["started_at"] or 0,
        "last_seen_at": seen,
        "info": row["info"],
    }
