"""Tests of the streams of events."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.jobs import Job
from knight_tw.storage import schema
from tests.web.api.watched import Watched
from tests.web.gateway import now

JOB = {
    "id",
    "kind",
    "status",
    "progress",
    "username",
    "created_at",
    "updated_at",
}


class LiveCase(SynchronousTestCase):
    """A gateway with root, an administrator and Ann."""

    def setUp(self) -> None:
        """Everybody is logged in."""
        self.gateway = Watched()
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.ann = self.gateway.add_user("ann", quota=500)
        self.root = self.gateway.bearer("root")
        self.adm = self.gateway.bearer("adm")
        self.own = self.gateway.bearer("ann")

    def wait(self, seconds: float = 0.5) -> None:
        """Time goes by."""
        self.gateway.clock.pump([0.1] * round(seconds * 10))

    def assert_quiet(self) -> None:
        """Nothing looks for news any more."""
        calls = self.gateway.clock.getDelayedCalls()
        loops = [it for it in calls if isinstance(it.func, LoopingCall)]
        self.assertEqual(loops, [])


class LogTests(LiveCase):
    """The log as it is written."""

    def test_site(self) -> None:
        """Administrators see everybody's rows as the log shows them."""
        channel = self.gateway.add_channel(name="main")
        reader = self.gateway.watch(self.adm, "/api/log/stream")
        self.gateway.write(user_id=1, channel_id=channel, username="root")
        self.gateway.write(user_id=self.ann)
        self.wait()
        names = [name for name, _ in reader.events()]
        self.assertEqual(names, ["call", "call"])
        row = reader.events()[0][1]
        self.assertEqual((row["username"], row["channel_name"]), ("root", "main"))
        listed = self.gateway
        listed.add_log()
        shown = self.adm.get("/api/log/").data["items"][0]
        self.assertEqual(set(row), set(shown))
        self.assertIn("admin_info", row["other"])
        reader.leave()

    def test_own(self) -> None:
        """Users see the own rows, without what is not for them."""
        reader = self.gateway.watch(self.own, "/api/log/self/stream?username=root")
        self.gateway.write(user_id=1)
        self.gateway.write(user_id=self.ann, quota=3)
        self.wait()
        ((_, row),) = reader.events()
        self.assertEqual(row["quota"], 3)
        self.assertNotIn("admin_info", row["other"])
        self.assertEqual(row["channel_name"], "")
        reader.leave()

    def test_filter(self) -> None:
        """The filters of the log hold."""
        asked = "/api/log/stream?model=pt-%25&min_cost=10&type=2"
        reader = self.gateway.watch(self.adm, asked)
        for columns in ({"quota": 9}, {"model_name": "x"}, {"type": 5}, {"quota": 10}):
            self.gateway.write(**columns)
        self.wait()
        self.assertEqual([row["quota"] for _, row in reader.events()], [10])
        reader.leave()

    def test_last_event(self) -> None:
        """Who comes back goes on where it was."""
        reader = self.gateway.watch(self.adm, "/api/log/stream")
        for quota in (1, 2, 3):
            self.gateway.write(quota=quota)
        self.wait()
        reader.leave()
        last = {"Last-Event-ID": reader.ids()[0]}
        again = self.gateway.watch(self.adm, "/api/log/stream", **last)
        self.assertEqual([row["quota"] for _, row in again.events()], [2, 3])
        again.leave()

    def test_slow(self) -> None:
        """A reader who takes nothing loses rows and is told so."""
        reader = self.gateway.watch(self.adm, "/api/log/stream")
        reader.pause()
        for _ in range(8):
            for _ in range(100):
                self.gateway.write()
            self.wait(0.2)
        self.assertEqual(reader.events(), [])
        reader.resume()
        events = reader.events()
        self.assertEqual(events[0], ("dropped", {"count": 300}))
        self.assertEqual(len(events), 501)
        reader.leave()

    def test_left(self) -> None:
        """When the reader leaves nothing stays behind."""
        reader = self.gateway.watch(self.adm, "/api/log/stream")
        self.assertEqual(len(self.gateway.streams), 1)
        reader.leave()
        self.assertEqual(len(self.gateway.streams), 0)
        self.wait()
        self.assert_quiet()

    def test_stopped(self) -> None:
        """When the gateway stops the answer ends as it should."""
        reader = self.gateway.watch(self.adm, "/api/log/stream")
        self.gateway.streams.stop()
        self.assertTrue(reader.over)
        answer = self.adm.get("/api/log/stream")
        self.assertEqual((answer.status, answer.code), (503, "database_unavailable"))

    def test_too_many(self) -> None:
        """A user has only so many streams."""
        readers = [
            self.gateway.watch(self.own, "/api/log/self/stream") for _ in range(10)
        ]
        answer = self.own.get("/api/log/self/stream")
        self.assertEqual((answer.status, answer.code), (429, "rate_limited"))
        for reader in readers:
            reader.leave()

    def test_logged_out(self) -> None:
        """Who logs out reads on for a minute at most."""
        browser = self.gateway.browser("ann")
        reader = self.gateway.watch(browser, "/api/log/self/stream")
        self.wait(46)
        browser.post("/api/user/auth/logout")
        self.assertFalse(reader.over)
        self.wait(20)
        self.assertTrue(reader.over)

    def test_who(self) -> None:
        """Guests see nothing, users not everybody's."""
        self.assertEqual(self.own.get("/api/log/stream").status, 403)
        self.assertEqual(self.own.get("/api/jobs/stream").status, 403)
        for path in ("log/self", "jobs", "events", "log"):
            answer = self.gateway.ask("GET", f"/api/{path}/stream")
            self.assertEqual(answer.status, 401)


class JobTests(LiveCase):
    """Jobs as they go on."""

    def start(self, kind: str) -> Deferred[None]:
        """A job that ends when the Deferred fires."""
        end: Deferred[None] = Deferred()

        async def work(job: Job) -> dict[str, int]:
            job.total = 2
            job.advance()
            await end
            return {"good": 1}

        now(self.gateway.jobs.start(kind, work))
        return end

    def test_job(self) -> None:
        """Its beginning, its progress and its end."""
        reader = self.gateway.watch(self.adm, "/api/jobs/stream")
        end = self.start("channel_test")
        self.wait(7)
        end.callback(None)
        self.wait(2)
        events = reader.events()
        self.assertEqual({name for name, _ in events}, {"job"})
        rows = [row for _, row in events]
        self.assertLessEqual(JOB, set(rows[0]))
        self.assertEqual(rows[0]["kind"], "test_channels")
        statuses = [row["status"] for row in rows]
        self.assertEqual(statuses, ["running", "running", "succeeded"])
        self.assertEqual(rows[1]["progress"], {"done": 1, "total": 2})
        reader.leave()

    def test_before(self) -> None:
        """What was over before is not told."""
        self.start("channel_test").callback(None)
        reader = self.gateway.watch(self.adm, "/api/jobs/stream")
        self.wait(3)
        self.assertEqual(reader.events(), [])
        reader.leave()

    def test_kinds(self) -> None:
        """Administrators do not see the jobs of root."""
        adm = self.gateway.watch(self.adm, "/api/jobs/stream")
        root = self.gateway.watch(self.root, "/api/jobs/stream")
        end = self.start("log_cleanup")
        self.wait(2)
        end.callback(None)
        self.assertEqual(adm.events(), [])
        self.assertEqual(root.events()[0][1]["kind"], "log_cleanup")
        adm.leave()
        root.leave()
        self.wait(10)
        self.assert_quiet()


class EventTests(LiveCase):
    """What concerns the viewer."""

    def quota(self, left: int) -> None:
        """Ann's balance changes."""
        users = schema.users
        changed = sa.update(users).where(users.c.id == self.ann).values(quota=left)
        self.gateway.execute(changed)

    def changed(self, kind: str, ref: str = "") -> None:
        """Something changed."""
        self.gateway.news.changed(kind, ref)

    def test_balance(self) -> None:
        """The balance at once, and when it changes."""
        reader = self.gateway.watch(self.own, "/api/events/stream")
        self.wait(6)
        self.quota(400)
        self.wait(12)
        told: list[Any] = [("balance", {"quota": 500}), ("balance", {"quota": 400})]
        self.assertEqual(reader.events(), told)
        reader.leave()
        self.assert_quiet()

    def test_announcements(self) -> None:
        """New announcements are told whole; other options are not."""
        reader = self.gateway.watch(self.own, "/api/events/stream")
        self.gateway.set_option("SystemName", "x")
        self.changed("option")
        entry = '[{"content":"hi","publishDate":"2026-01-01T00:00:00Z"}]'
        self.gateway.set_option("console_setting.announcements", entry)
        self.changed("option")
        self.changed("option")
        events = reader.events()[1:]
        self.assertEqual([name for name, _ in events], ["announcements"])
        self.assertEqual(events[0][1][0]["content"], "hi")
        reader.leave()

    def test_channels(self) -> None:
        """Administrators are told which channel changed, users are not."""
        channel = self.gateway.add_channel(name="main")
        own = self.gateway.watch(self.own, "/api/events/stream")
        adm = self.gateway.watch(self.adm, "/api/events/stream")
        self.changed("channel", str(channel))
        self.changed("channel", "")
        told = {"id": channel, "name": "main", "status": 1}
        self.assertEqual(
            adm.events()[1:], [("channel", told), ("channel", {"id": None})]
        )
        self.assertEqual(len(own.events()), 1)
        own.leave()
        adm.leave()

    def test_jobs(self) -> None:
        """Administrators are told of jobs, users are not."""
        own = self.gateway.watch(self.own, "/api/events/stream")
        adm = self.gateway.watch(self.adm, "/api/events/stream")

        async def work(job: Job) -> None:
            return

        now(self.gateway.jobs.start("channel_test", work))
        self.wait(2)
        self.assertEqual([name for name, _ in adm.events()], ["balance", "job"])
        self.assertEqual([name for name, _ in own.events()], ["balance"])
        own.leave()
        adm.leave()
        self.wait(1)
        self.assert_quiet()
