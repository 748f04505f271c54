"""Tests of a node's own row."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.nodes import BEAT_SECONDS, NodeReport
from knight_tw.storage import node_queries
from knight_tw.storage.database import memory_database
from tests.web.api.rows import result
from tests.web.api.shapes import misfit, number

NOW = 1_795_604_332
INFO = {
    "schema_version": int,
    "host": {"hostname": str},
    "node": {
        "name": str,
        "source": str,
        "manually_configured": bool,
        "should_configure_manually": bool,
    },
    "role": {"is_master": bool},
    "runtime": {"version": str, "goos": str, "goarch": str, "started_at": int},
    "resources": {
        "cpu": {"usage_percent": number},
        "memory": {"usage_percent": number},
        "storage": {
            "total_bytes": int,
            "used_bytes": int,
            "free_bytes": int,
            "used_percent": number,
        },
    },
}


class NodeTests(SynchronousTestCase):
    """It is written now and then."""

    def setUp(self) -> None:
        """A node with a name."""
        self.clock = Clock()
        self.clock.advance(NOW)
        self.db = memory_database(self.clock)
        self.thread: Any = maybeDeferred
        self.report = NodeReport(
            self.db,
            self.clock,
            lambda work: self.run_in_thread(work),
            "n1",
            "host",
            True,
            True,
            "v1",
            ".",
        )
        self.addCleanup(self.report.stop)

    def run_in_thread(self, work: Any) -> Deferred[Any]:
        """Stands for a thread."""
        done: Deferred[Any] = self.thread(work)
        return done

    def rows(self) -> list[dict[str, Any]]:
        """The nodes."""
        return result(self.db.read(node_queries.every))

    def test_row(self) -> None:
        """At the start, in the reference's form."""
        self.report.start()
        (row,) = self.rows()
        self.assertEqual(misfit(row["info"], INFO), "")
        self.assertEqual(row["info"]["node"]["source"], "env")
        self.assertEqual((row["node_name"], row["started_at"]), ("n1", NOW))

    def test_again(self) -> None:
        """Every half minute, until the process stops."""
        self.report.start()
        self.clock.advance(BEAT_SECONDS)
        self.assertEqual(self.rows()[0]["last_seen_at"], NOW + BEAT_SECONDS)
        self.report.stop()
        self.clock.advance(BEAT_SECONDS)
        self.assertEqual(self.rows()[0]["last_seen_at"], NOW + BEAT_SECONDS)

    def test_fault(self) -> None:
        """A beat that fails is told in the log, and the next one comes."""
        self.thread = lambda work: fail(OSError("disk"))
        self.report.start()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.thread = maybeDeferred
        self.clock.advance(BEAT_SECONDS)
        self.assertEqual(len(self.rows()), 1)
