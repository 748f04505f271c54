"""`/api/jobs` and `/api/system-task` over the real site."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.jobs import Job
from knight_tw.storage import job_queries
from tests.web.api.management import Management
from tests.web.api.shapes import misfit
from tests.web.gateway import NOW, now

TASK = {
    "id": int,
    "task_id": str,
    "type": str,
    "status": str,
    "payload": (dict, type(None)),
    "state": dict,
    "result": (dict, type(None)),
    "error": str,
    "locked_by": str,
    "created_at": int,
    "updated_at": int,
}
"""A task as the reference shows it."""


class Case(SynchronousTestCase):
    """`root` and the administrator `adm`."""

    def setUp(self) -> None:
        """Log in."""
        self.gateway = Management()
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.root = self.gateway.bearer("root")
        self.adm = self.gateway.bearer("adm")
        self.gateway.add_log(created_at=NOW - 50)

    def clean(self) -> Any:
        """The answer to a clean-up."""
        path = f"/api/system-task/log-cleanup?target_timestamp={NOW - 10}"
        return self.root.post(path)

    def waiting(self, kind: str = "channel_test") -> str:
        """A job that goes on; its id."""

        async def work(job: Job) -> None:
            await Deferred()

        row = now(self.gateway.jobs.start(kind, work, {"username": "adm"}))
        return str(row["task_id"])


class ReferenceTests(Case):
    """The reference's form."""

    def test_clean_up(self) -> None:
        """A clean-up is a task; old rows are gone in the end."""
        data = self.clean().data
        self.assertEqual(misfit(data, {**TASK, "active_key": str}), "")
        self.assertEqual(data["payload"]["target_timestamp"], NOW - 10)
        self.assertEqual(self.root.get("/api/log/").data["total"], 0)
        task = self.root.get(f"/api/system-task/{data['task_id']}").data
        self.assertEqual(misfit(task, TASK), "")
        self.assertEqual(task["status"], "succeeded")
        self.assertEqual(task["result"], {"deleted_count": 1})

    def test_lists(self) -> None:
        """The newest tasks, and the one under way."""
        self.clean()
        made = self.waiting()
        tasks = self.root.get("/api/system-task/list?limit=5").data
        self.assertEqual(misfit(tasks, [TASK]), "")
        self.assertEqual(len(tasks), 2)
        current = self.root.get("/api/system-task/current?type=channel_test").data
        self.assertEqual(current["task_id"], made)
        path = "/api/system-task/current?type=log_cleanup"
        self.assertIsNone(self.root.get(path).data)
        self.gateway.background.cancel()

    def test_refusals(self) -> None:
        """Moment and type must be named; unknown tasks are 404; root only."""
        self.assertEqual(
            self.root.post("/api/system-task/log-cleanup").code, "missing_field"
        )
        self.assertEqual(
            self.root.get("/api/system-task/current").code, "missing_field"
        )
        self.assertEqual(self.root.get("/api/system-task/unknown").status, 404)
        self.assertEqual(self.adm.get("/api/system-task/list").status, 403)
        self.waiting("log_cleanup")
        self.assertEqual(self.clean().code, "job_running")
        self.gateway.background.cancel()


class JobTests(Case):
    """The newer pages."""

    def test_list(self) -> None:
        """Jobs by kind and status, those that the caller may see."""
        self.clean()
        made = self.waiting()
        data = self.root.get("/api/jobs").data
        self.assertEqual(
            [one["kind"] for one in data["items"]], ["test_channels", "log_cleanup"]
        )
        item = data["items"][0]
        self.assertEqual((item["id"], item["username"]), (made, "adm"))
        self.assertEqual(item["progress"], {"done": 0, "total": 0})
        self.assertEqual(self.adm.get("/api/jobs").data["total"], 1)
        for query, total in (
            ("kind=log_cleanup", 1),
            ("status=running", 1),
            ("kind=nonsense", 0),
        ):
            self.assertEqual(self.root.get(f"/api/jobs?{query}").data["total"], total)
        self.gateway.background.cancel()

    def test_sorted(self) -> None:
        """By a field, up or down; by none that is not there."""
        first, last = self.waiting("channel_test"), self.waiting("log_cleanup")
        for sort, wanted in (
            ("", [last, first]),
            ("kind", [first, last]),
            ("-kind", [last, first]),
        ):
            items = self.root.get(f"/api/jobs?sort={sort}").data["items"]
            self.assertEqual([one["id"] for one in items], wanted, sort)
        refused = self.root.get("/api/jobs?sort=secret").json
        self.assertEqual(refused["params"]["field"], "sort")
        self.gateway.background.cancel()

    def test_cancel(self) -> None:
        """A cancelled job is over; a second time it cannot be."""
        made = self.waiting()
        self.assertEqual(
            self.adm.post(f"/api/jobs/{made}/cancel").data["status"], "cancelled"
        )
        self.assertEqual(
            self.adm.post(f"/api/jobs/{made}/cancel").code, "version_conflict"
        )
        self.assertEqual(self.adm.get(f"/api/jobs/{made}").data["status"], "cancelled")
        self.gateway.background.cancel()

    def test_not_theirs(self) -> None:
        """What is root's alone is not there for others."""
        self.clean()
        row = now(self.gateway.db.read(job_queries.page, [], [], 0, 1))[0][0]
        self.assertEqual(self.adm.get(f"/api/jobs/{row['task_id']}").code, "not_found")
        self.assertEqual(self.adm.get("/api/jobs/unknown").code, "not_found")
