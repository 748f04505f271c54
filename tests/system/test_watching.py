"""Scripts of those who watch: dashboards, streams of events, the machine's pages."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from tests import engines
from tests.system.process import Process
from tests.system.test_scripts import CHARGE, Script


@define
class Stream:
    """Reads the events of a stream, one after the other."""

    connection: http.client.HTTPConnection
    answer: http.client.HTTPResponse

    @classmethod
    def of(cls, process: Process, path: str, **headers: str) -> Stream:
        """A stream that root reads."""
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=20)
        told = {"Cookie": process.cookie, "New-Api-User": "1", **headers}
        connection.request("GET", path, headers=told)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        return cls(connection, answer)

    def events(self) -> Iterator[tuple[str, Any]]:
        """Name and content of each event; ends with the stream."""
        name = ""
        while line := self.answer.readline():
            text = line.decode().rstrip("\n")
            if text.startswith("event: "):
                name = text[7:]
            elif text.startswith("data: "):
                yield name, json.loads(text[6:])

    def close(self) -> None:
        """Read no further."""
        self.connection.close()


@engines.for_engines
class Watching(Script):
    """One script for each group of routes."""

    def test_statistics(self) -> None:
        """A dashboard shows what a call came to, to its owner and to the site."""
        ann = self.person("ann-statistics")
        made = {"name": "stats", "unlimited_quota": True, "expired_time": -1}
        ann.call("POST", "/api/token/", made)
        token = ann.call("GET", "/api/token/")["items"][0]["key"]
        self.call(
            "POST",
            "/api/user/manage",
            {
                "id": ann.user_id,
                "action": "add_quota",
                "mode": "add",
                "value": 10**6,
            },
        )
        self.assertEqual(self.chat(f"sk-{token}")[0], 200)
        self.until(lambda: ann.call("GET", "/api/stats/summary")["requests"], 1)
        told = ann.call("GET", "/api/stats/summary")
        self.assertEqual(
            (told["spend"], told["tokens_in"], told["tokens_out"]), (CHARGE, 10, 5)
        )
        self.assertEqual((told["errors"], told["success_rate"]), (0, 1.0))
        self.assertIsInstance(told["latency_p50"], float)
        self.assertIsInstance(told["days_left"], float)
        series = ann.call("GET", "/api/stats/series?group_by=token&metric=spend")
        (line,) = series["series"]
        self.assertEqual((line["label"], line["points"][-1][1]), ("stats", CHARGE))
        asked = "/api/stats/top?by=user&metric=requests&username=ann-statistics"
        (row,) = self.call("GET", asked)
        self.assertEqual((row["label"], row["value"]), ("ann-statistics", 1))
        week = ann.call("GET", "/api/stats/heatmap")
        self.assertEqual(sum(map(sum, week)), 1)
        path = "/api/stats/series?bucket=minute&group_by=channel&metric=requests"
        start = int(time.time()) - 300
        minutes = self.call("GET", f"{path}&start_timestamp={start}")["series"]
        self.assertGreaterEqual(sum(point[1] for point in minutes[0]["points"]), 1)
        self.assertEqual(ann.ask("GET", "/api/stats/top?by=user")[1]["success"], False)

    def test_models(self) -> None:
        """The pages about models know of a call."""
        self.assertEqual(self.chat(self.key)[0], 200)

        def calls() -> int:
            rows = self.call("GET", "/api/perf-metrics/summary")["models"]
            return int(
                sum(it["success_count"] for it in rows if it["model_name"] == "gpt-4o")
            )

        end = time.monotonic() + 10
        while not calls() and time.monotonic() < end:
            time.sleep(0.05)
        groups = self.call("GET", "/api/perf-metrics?model=gpt-4o")["groups"]
        self.assertEqual(groups[0]["group"], "default")
        self.assertGreater(groups[0]["request_count"], 0)
        ranking = self.call("GET", "/api/rankings?period=day")
        self.assertEqual(
            set(ranking["models_history"]), {"points", "models", "buckets"}
        )

    def test_log_stream(self) -> None:
        """A call is seen as soon as it is over, and once more after coming back."""
        stream = Stream.of(self.process, "/api/log/stream?type=2&model=gpt-4o")
        self.assertEqual(self.chat(self.key)[0], 200)
        name, row = next(stream.events())
        self.assertEqual(
            (name, row["model_name"], row["quota"]), ("call", "gpt-4o", CHARGE)
        )
        self.assertIn("admin_info", row["other"])
        stream.close()
        last = f"{row['created_at']}-0-nobody"
        again = Stream.of(
            self.process, "/api/log/stream?type=2", **{"Last-Event-ID": last}
        )
        self.assertEqual(next(again.events())[0], "call")
        again.close()

    def test_events(self) -> None:
        """The balance at once; an announcement and a channel when they change."""
        stream = Stream.of(self.process, "/api/events/stream")
        events = stream.events()
        self.assertEqual(next(events)[0], "balance")
        entry = [{"content": "hello", "publishDate": "2026-01-01T00:00:00Z"}]
        key = "console_setting.announcements"
        self.call("PUT", "/api/option/", {"key": key, "value": json.dumps(entry)})
        told = next(content for name, content in events if name == "announcements")
        self.assertEqual(told[0]["content"], "hello")
        stream.close()

    def test_jobs(self) -> None:
        """A job is seen to its end."""
        stream = Stream.of(self.process, "/api/jobs/stream")
        time.sleep(1.2)
        self.call("POST", "/api/system-task/log-cleanup?target_timestamp=1000")
        for name, row in stream.events():
            self.assertEqual(name, "job")
            if row["kind"] == "log_cleanup" and row["status"] == "succeeded":
                break
        stream.close()

    def test_operations(self) -> None:
        """Root looks at the machine and at its fellows."""
        stats = self.call("GET", "/api/performance/stats")
        self.assertGreater(stats["memory_stats"]["alloc"], 10**7)
        self.assertEqual(self.call("GET", "/api/performance/logs")["enabled"], False)
        (node,) = self.call("GET", "/api/system-info/instances")
        self.assertEqual(
            (node["status"], node["info"]["role"]), ("online", {"is_master": True})
        )
        self.call("POST", "/api/performance/gc")
        self.call("POST", "/api/performance/reset_stats")
        self.call("DELETE", "/api/performance/disk_cache")
        told = self.call("DELETE", "/api/system-info/stale-instances")
        self.assertEqual(told, {"deleted_count": 0})
        for path in ("/api/mj/", "/api/mj/self", "/api/task/", "/api/task/self"):
            self.assertEqual(self.call("GET", path)["items"], [])

    def test_search(self) -> None:
        """The palette finds an account, a channel and a model."""
        self.person("ann-search")
        kinds = {hit["kind"] for hit in self.call("GET", "/api/search?q=ann-se")}
        self.assertEqual(kinds, {"user"})
        kinds = {hit["kind"] for hit in self.call("GET", "/api/search?q=gpt-4o")}
        self.assertIn("model", kinds)

    def test_account_changed(self) -> None:
        """A stream ends when its account changes: its reader must show who it is."""
        ann = self.person("ann-changed")
        headers = {"Cookie": ann.cookie, "New-Api-User": str(ann.user_id)}
        stream = Stream.of(self.process, "/api/events/stream", **headers)
        events = stream.events()
        self.assertEqual(next(events)[0], "balance")
        told = {"id": ann.user_id, "action": "disable"}
        self.call("POST", "/api/user/manage", told)
        self.assertEqual([name for name, _ in events if name != "balance"], [])
        stream.close()


class Stopping(SynchronousTestCase):
    """The end of the process."""

    def test_with_readers(self) -> None:
        """Streams end at once and nobody waits for them."""
        folder = Path(tempfile.mkdtemp(prefix="knight-watching-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        process = Process(folder)
        self.addCleanup(process.stop)
        process.start()
        process.set_up()
        stream = Stream.of(process, "/api/events/stream")
        events = stream.events()
        self.assertEqual(next(events)[0], "balance")
        began = time.monotonic()
        process.terminate()
        self.assertEqual(list(events), [])
        self.assertIn(process.ended(), (0, -signal.SIGTERM))
        self.assertLess(time.monotonic() - began, 10)
        self.assertNotIn("Traceback", process.log)
