"""Tests of the pages for those who run the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import node_queries
from tests.web.api.shapes import misfit, number
from tests.web.api.watched import Watched
from tests.web.gateway import NOW, Answer, now

STATS = {
    "cache_stats": {
        "active_disk_files": int,
        "current_disk_usage_bytes": int,
        "active_memory_buffers": int,
        "current_memory_usage_bytes": int,
        "disk_cache_hits": int,
        "memory_cache_hits": int,
        "disk_cache_max_bytes": int,
        "disk_cache_threshold_bytes": int,
    },
    "memory_stats": {
        "alloc": int,
        "total_alloc": int,
        "sys": int,
        "num_gc": int,
        "num_goroutine": int,
    },
    "disk_cache_info": {
        "path": str,
        "exists": bool,
        "file_count": int,
        "total_size": int,
    },
    "disk_space_info": {
        "total": int,
        "free": int,
        "used": int,
        "used_percent": number,
    },
    "config": {
        "disk_cache_enabled": bool,
        "disk_cache_threshold_mb": int,
        "disk_cache_max_size_mb": int,
        "disk_cache_path": str,
        "is_running_in_container": bool,
        "monitor_enabled": bool,
        "monitor_cpu_threshold": int,
        "monitor_memory_threshold": int,
        "monitor_disk_threshold": int,
    },
}
LOGS = {
    "log_dir": str,
    "enabled": bool,
    "file_count": int,
    "total_size": int,
    "oldest_time": str,
    "newest_time": str,
    "files": [{"name": str, "size": int, "mod_time": str}],
}
NODE = {
    "node_name": str,
    "status": str,
    "stale_after_seconds": int,
    "started_at": int,
    "last_seen_at": int,
    "info": dict,
}


class OperationsCase(SynchronousTestCase):
    """A gateway with folders of its own."""

    def setUp(self) -> None:
        """Root and an administrator."""
        self.folder, self.logs = Path(self.mktemp()), Path(self.mktemp())
        self.folder.mkdir()
        self.logs.mkdir()
        self.gateway = Watched(folder=str(self.folder), logs_folder=str(self.logs))
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.root = self.gateway.bearer("root")
        self.gateway.notes.clear()

    def ask(self, method: str, path: str) -> Answer:
        """Root's request."""
        return self.root.ask(method, f"/api/{path}")


class PerformanceTests(OperationsCase):
    """Memory, disk and counters."""

    def stats(self) -> Any:
        """The figures."""
        return self.ask("GET", "performance/stats").data

    def test_shape(self) -> None:
        """As the reference has it, without a message."""
        answer = self.ask("GET", "performance/stats")
        self.assertNotIn("message", answer.json)
        self.assertEqual(misfit(answer.data, STATS), "")
        self.assertEqual(answer.data["cache_stats"]["disk_cache_max_bytes"], 1 << 30)

    def test_counters(self) -> None:
        """Calls under way, and those answered since the counters began anew."""
        self.gateway.traffic.answered, self.gateway.traffic.under_way = 5, 2
        self.assertEqual(self.stats()["cache_stats"]["memory_cache_hits"], 5)
        self.assertEqual(self.stats()["memory_stats"]["num_goroutine"], 2)
        self.assertTrue(self.ask("POST", "performance/reset_stats").json["success"])
        self.gateway.traffic.answered = 8
        self.assertEqual(self.stats()["cache_stats"]["memory_cache_hits"], 3)

    def test_bodies(self) -> None:
        """Only bodies of ours are counted and deleted, whatever the option says."""
        home = self.folder / "elsewhere"
        (home / "body-cache").mkdir(parents=True)
        old, other = home / "body-cache" / "a", home / "one-api.db"
        old.write_bytes(b"xyz")
        other.write_bytes(b"xyz")
        self.gateway.set_option("performance_setting.disk_cache_path", str(home))
        told = self.stats()["disk_cache_info"]
        self.assertEqual(
            (told["exists"], told["file_count"], told["total_size"]), (True, 1, 3)
        )
        self.gateway.clock.advance(10**9)
        root = self.gateway.bearer("root")
        answer = root.delete("/api/performance/disk_cache")
        self.assertTrue(answer.json["success"])
        self.assertNotIn("data", answer.json)
        self.assertFalse(old.exists())
        self.assertTrue(other.exists())

    def test_collect(self) -> None:
        """The collector of cycles may be asked to work."""
        answer = self.ask("POST", "performance/gc")
        self.assertTrue(answer.json["success"])
        self.assertNotIn("data", answer.json)

    def test_audited(self) -> None:
        """What changes something is written down."""
        for method, path in (
            ("POST", "performance/gc"),
            ("POST", "performance/reset_stats"),
            ("DELETE", "performance/disk_cache"),
            ("DELETE", "performance/logs?mode=by_count&value=1"),
            ("DELETE", "system-info/stale-instances"),
        ):
            self.assertTrue(self.ask(method, path).json["success"])
        self.assertEqual(
            self.gateway.audited(),
            [
                "system.gc",
                "system.reset_stats",
                "system.disk_cache",
                "system.log_files",
                "system.stale_nodes",
            ],
        )

    def test_only_root(self) -> None:
        """Administrators may not."""
        adm = self.gateway.bearer("adm")
        for method, path in (
            ("GET", "performance/stats"),
            ("DELETE", "performance/disk_cache"),
            ("POST", "performance/reset_stats"),
            ("POST", "performance/gc"),
            ("GET", "performance/logs"),
            ("DELETE", "performance/logs"),
            ("GET", "system-info/instances"),
            ("DELETE", "system-info/stale-instances"),
            ("DELETE", "system-info/instances/x"),
        ):
            answer = adm.ask(method, f"/api/{path}")
            self.assertEqual(
                (answer.status, answer.code), (403, "AUTH_INSUFFICIENT_PRIVILEGE")
            )


class LogFileTests(OperationsCase):
    """The log on disk."""

    def test_listed(self) -> None:
        """Names, sizes and times."""
        for name in ("knight.log", "knight.log.1"):
            (self.logs / name).write_bytes(b"12345")
        data = self.ask("GET", "performance/logs").data
        self.assertEqual(misfit(data, LOGS), "")
        self.assertEqual((data["file_count"], data["total_size"]), (2, 10))
        self.assertRegex(data["files"][0]["mod_time"], r"^\d{4}-\d\d-\d\dT.*Z$")

    def test_empty(self) -> None:
        """Without files there are no times."""
        data = self.ask("GET", "performance/logs").data
        self.assertEqual(data["files"], [])
        self.assertNotIn("oldest_time", data)

    def test_deleted(self) -> None:
        """The oldest go, the one that is written stays."""
        for name in ("knight.log", "knight.log.1", "knight.log.2"):
            (self.logs / name).write_bytes(b"12345")
        data = self.ask("DELETE", "performance/logs?mode=by_count&value=1").data
        self.assertLessEqual(data["deleted_count"], 2)
        self.assertIsNone(data["failed_files"])
        self.assertEqual(data["freed_bytes"], 5 * data["deleted_count"])
        self.assertTrue((self.logs / "knight.log").exists())

    def test_by_days(self) -> None:
        """Young files stay."""
        (self.logs / "knight.log.1").write_bytes(b"1")
        data = self.ask("DELETE", "performance/logs?mode=by_days&value=36500").data
        self.assertEqual(
            data, {"deleted_count": 0, "freed_bytes": 0, "failed_files": None}
        )

    def test_refused(self) -> None:
        """Another mode, or no number."""
        for asked in ("mode=nonsense&value=0", "mode=by_days&value=0", "mode=by_count"):
            answer = self.ask("DELETE", f"performance/logs?{asked}")
            self.assertEqual((answer.status, answer.code), (200, "invalid_field"))

    def test_no_folder(self) -> None:
        """A gateway that logs to its output only has no files."""
        self.gateway.logs_folder = ""
        self.gateway.site = self.gateway._site()
        data = self.ask("GET", "performance/logs").data
        self.assertEqual((data["enabled"], data["log_dir"]), (False, ""))
        answer = self.ask("DELETE", "performance/logs?mode=by_count&value=1")
        self.assertEqual(answer.code, "not_configured")


class NodeTests(OperationsCase):
    """The machines of the installation."""

    def seen(self, name: str, seconds_ago: int) -> None:
        """A node was alive."""
        at = NOW - seconds_ago
        now(self.gateway.db.run(node_queries.seen, name, {"a": 1}, at, at))

    def test_listed(self) -> None:
        """Who has been silent is stale."""
        self.seen("a", 90)
        self.seen("b", 91)
        data = self.ask("GET", "system-info/instances").data
        self.assertEqual(misfit(data, [NODE]), "")
        self.assertEqual([it["status"] for it in data], ["online", "stale"])

    def test_forget(self) -> None:
        """Only stale ones can be forgotten."""
        self.seen("a", 10)
        self.seen("b", 100)
        answer = self.ask("DELETE", "system-info/instances/a")
        self.assertEqual((answer.status, answer.code), (200, "not_found"))
        self.assertTrue(self.ask("DELETE", "system-info/instances/b").json["success"])
        data = self.ask("DELETE", "system-info/stale-instances").data
        self.assertEqual(data, {"deleted_count": 0})
        self.assertEqual(len(self.ask("GET", "system-info/instances").data), 1)
