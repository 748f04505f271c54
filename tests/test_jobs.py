"""Jobs: one of a kind, with progress, cancellable."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.background import Background
from knight_tw.errors import InvalidRequest
from knight_tw.jobs import HEARTBEAT_SECONDS, Job, JobRunning, Jobs
from knight_tw.log_cleanup import LogCleanup
from knight_tw.storage import job_queries, log_queries, logs
from knight_tw.storage.database import memory_database
from knight_tw.storage.log_queries import LogFilter
from tests.web.api.rows import NOW, log_row, result


class Case(SynchronousTestCase):
    """Jobs of one node."""

    def setUp(self) -> None:
        """A database, and work that waits."""
        self.clock = Clock()
        self.clock.advance(NOW)
        self.db = memory_database(self.clock)
        self.background = Background()
        self.jobs = Jobs(self.db, self.clock, self.background, "node")
        self.gate: Deferred[Any] = Deferred()
        self.running: list[Job] = []

    async def work(self, job: Job) -> Any:
        """Wait for the gate."""
        self.running.append(job)
        job.total = 4
        job.advance()
        answer = await self.gate
        job.check()
        return answer

    def start(self, work: Any = None, kind: str = "kind") -> str:
        """Begin a job; its id."""
        row = result(self.jobs.start(kind, work or self.work, {"a": 1}))
        return str(row["task_id"])

    def row(self, task_id: str) -> dict[str, Any]:
        """A job's row."""
        found = result(self.db.read(job_queries.find, task_id))
        assert found is not None
        return found


class JobTests(Case):
    """The life of a job."""

    def test_success(self) -> None:
        """A job's row tells its result."""
        made = self.start()
        self.assertEqual(self.row(made)["status"], "running")
        self.gate.callback({"n": 1})
        row = self.row(made)
        self.assertEqual((row["status"], row["result"]), ("succeeded", {"n": 1}))
        self.assertEqual(row["state"]["progress"], 100)

    def test_one_of_a_kind(self) -> None:
        """The second of a kind is told about the first; other kinds go on."""
        made = self.start()
        with self.assertRaises(JobRunning) as caught:
            self.start()
        self.assertEqual(caught.exception.row["task_id"], made)
        self.start(kind="other")
        self.gate.callback(None)
        self.gate = Deferred()
        self.gate.callback(None)
        self.start()

    def test_heartbeat(self) -> None:
        """A running job shows that it is alive, and how far it is."""
        made = self.start()
        self.clock.advance(HEARTBEAT_SECONDS)
        row = self.row(made)
        self.assertEqual(row["updated_at"], NOW + int(HEARTBEAT_SECONDS))
        self.assertEqual(row["state"]["processed"], 1)
        self.assertEqual(row["state"]["progress"], 25)
        self.gate.callback(None)

    def test_cancelled(self) -> None:
        """A job hears within a heartbeat that it was cancelled."""
        made = self.start()
        self.assertTrue(result(self.jobs.cancel(made)))
        self.assertFalse(result(self.jobs.cancel(made)))
        self.clock.advance(HEARTBEAT_SECONDS)
        self.assertTrue(self.running[0].cancelled)
        self.gate.callback(None)
        self.assertEqual(self.row(made)["status"], "cancelled")

    def test_refused(self) -> None:
        """A failure with a message for people is kept."""
        made = self.start()
        self.gate.errback(InvalidRequest("no such thing"))
        row = self.row(made)
        self.assertEqual((row["status"], row["error"]), ("failed", "no such thing"))

    def test_crashed(self) -> None:
        """A fault in our own code is logged and says nothing."""
        made = self.start()
        self.gate.errback(ValueError("secret"))
        self.assertEqual(self.row(made)["error"], "internal error")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_stopped(self) -> None:
        """A job that the process gives up is marked as failed."""
        made = self.start()
        self.background.cancel()
        self.assertEqual(self.row(made)["status"], "failed")


class LogCleanupTests(Case):
    """Deleting old rows."""

    def test_in_pieces(self) -> None:
        """All old rows go, however many, and the count is told beforehand."""
        rows = [log_row(created_at=NOW - 5000 + n) for n in range(1200)]
        result(self.db.run(logs.insert, rows))
        cleanup = LogCleanup(self.db, self.jobs)
        row, total = result(cleanup.start(NOW - 5000 + 1100))
        self.assertEqual(total, 1100)
        done = self.row(row["task_id"])
        self.assertEqual(done["result"], {"deleted_count": 1100})
        left = result(self.db.read(log_queries.approximate_total, LogFilter(), 9999))
        self.assertEqual(left, 100)
