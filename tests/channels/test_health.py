"""Disabling and re-enabling, tests of channels, runs and their schedule."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.channels import schedule
from knight_tw.channels.health import ChannelHealth
from knight_tw.channels.keys import ALL_DISABLED
from knight_tw.channels.schedule import TestSchedule
from knight_tw.channels.testing import ChannelTester, Tester, TestResult
from knight_tw.errors import InvalidRequest, KnightError, UpstreamRefused
from knight_tw.jobs import Job
from knight_tw.records import Channel
from knight_tw.storage import channels, schema
from tests.web.api.management import Management
from tests.web.gateway import NOW, now

BAD_KEY = UpstreamRefused(
    "Incorrect API key sk-000000000000000000000000",
    status=401,
    code="invalid_api_key",
    upstream=True,
)
FLAKY = UpstreamRefused("try again", status=503, upstream=True)


class Case(SynchronousTestCase):
    """A database, today's options, and a scripted probe."""

    def setUp(self) -> None:
        """Both options on."""
        self.gateway = Management()
        for key in ("AutomaticDisableChannelEnabled", "AutomaticEnableChannelEnabled"):
            self.gateway.set_option(key, "true")
        self.gateway.changes.clear()
        self.health = ChannelHealth(
            self.gateway.db, self.gateway, self.gateway.clock, self.gateway.changed
        )
        self.tester: ChannelTester = self.gateway.tester

    def record(self, channel_id: int) -> Channel:
        """A channel as the relay sees it."""
        found = now(self.gateway.db.read(channels.load, channel_id))
        assert found is not None
        return found

    def many(self, keys: str = "k-1\nk-2", **info: Any) -> int:
        """A channel with several keys."""
        told = {"is_multi_key": True, **info}
        return self.gateway.add_channel(name="many", key=keys, channel_info=told)

    def info(self, channel_id: int) -> Any:
        """What a channel's row says about its keys."""
        return json.loads(self.gateway.channel(channel_id)["channel_info"])


class Disabling(Case):
    """What a failure comes to."""

    def failed(
        self, channel_id: int, error: KnightError = BAD_KEY, key: int = 0
    ) -> bool:
        """Report a failed call."""
        return now(self.health.failed(self.record(channel_id), key, error))

    def test_channel(self) -> None:
        """A fatal failure takes the channel out, with reason and time, and says so."""
        made = self.gateway.add_channel()
        self.assertTrue(self.failed(made))
        row = self.gateway.channel(made)
        told = json.loads(row["other_info"])
        self.assertEqual((row["status"], told["status_time"]), (3, NOW))
        self.assertIn("status_code=401", told["status_reason"])
        self.assertNotIn("sk-0000", told["status_reason"])
        offered = self.gateway.rows(sa.select(schema.abilities))
        self.assertFalse(any(row["enabled"] for row in offered))
        self.assertEqual(self.gateway.changes, [("channel", str(made))])

    def test_only_once(self) -> None:
        """A channel that is out already is left alone."""
        made = self.gateway.add_channel()
        before = self.record(made)
        self.failed(made)
        self.assertFalse(now(self.health.failed(before, 0, BAD_KEY)))
        self.assertEqual(len(self.gateway.changes), 1)

    def test_not_fatal(self) -> None:
        """Other failures, protected channels and the option off change nothing."""
        self.assertFalse(self.failed(self.gateway.add_channel(), FLAKY))
        self.assertFalse(self.failed(self.gateway.add_channel(auto_ban=0)))
        self.gateway.set_option("AutomaticDisableChannelEnabled", "false")
        self.assertFalse(self.failed(self.gateway.add_channel()))

    def test_one_key(self) -> None:
        """Only the key that failed goes."""
        made = self.many()
        self.assertTrue(self.failed(made, key=1))
        self.assertEqual(self.info(made)["multi_key_status_list"], {"1": 3})
        self.assertEqual(self.info(made)["multi_key_disabled_time"], {"1": NOW})
        self.assertEqual(self.gateway.channel(made)["status"], 1)

    def test_a_key_disabled_by_hand(self) -> None:
        """A call that was under way does not make it come back by itself."""
        made = self.many(multi_key_status_list={"1": 2})
        self.assertFalse(self.failed(made, key=1))
        self.assertEqual(self.info(made)["multi_key_status_list"], {"1": 2})

    def test_the_last_key(self) -> None:
        """Without a key the channel goes too."""
        made = self.many(multi_key_status_list={"0": 2})
        self.failed(made, key=1)
        row = self.gateway.channel(made)
        self.assertEqual(row["status"], 3)
        self.assertEqual(json.loads(row["other_info"])["status_reason"], ALL_DISABLED)

    def test_a_key_that_moved(self) -> None:
        """The key is found by its value; one that is gone harms nobody."""
        made = self.many()
        before = self.record(made)
        table = schema.channels
        self.gateway.execute(sa.update(table).values(key="k-2\nk-3"))
        self.assertFalse(now(self.health.failed(before, 0, BAD_KEY)))
        self.assertTrue(now(self.health.failed(before, 1, BAD_KEY)))
        self.assertEqual(self.info(made)["multi_key_status_list"], {"0": 3})

    def test_a_channel_that_is_gone(self) -> None:
        """Nothing is left to disable."""
        made = self.gateway.add_channel()
        before = self.record(made)
        self.gateway.execute(sa.delete(schema.channels))
        self.assertFalse(now(self.health.failed(before, 0, BAD_KEY)))


class Testing(Case):
    """One channel tested."""

    def test(self, channel_id: int, **options: Any) -> TestResult:
        """Test a channel."""
        return now(self.tester.test(self.record(channel_id), **options))

    def test_good(self) -> None:
        """A good answer stores time and moment."""
        made = self.gateway.add_channel()
        self.gateway.probe.waiting = waiting = Deferred()
        done: Deferred[TestResult] = Deferred.fromCoroutine(
            self.tester.test(self.record(made))
        )
        self.gateway.clock.advance(1.5)
        waiting.callback(None)
        self.assertIsNone(self.successResultOf(done).error)
        row = self.gateway.channel(made)
        self.assertEqual((row["response_time"], row["test_time"]), (1500, NOW + 1))

    def test_log_row(self) -> None:
        """The tester gets a log row that costs nothing."""
        self.test(self.gateway.add_channel(), tester=Tester(7, "adm", "default"))
        row = self.gateway.notes[-1]
        told = (row["type"], row["quota"], row["user_id"], row["token_name"])
        self.assertEqual(told, (2, 0, 7, "model test"))
        self.assertEqual((row["prompt_tokens"], row["model_name"]), (8, "pt-ok"))

    def test_no_log_row(self) -> None:
        """Without a tester, or when calls are not logged, there is none."""
        made = self.gateway.add_channel()
        self.test(made)
        self.gateway.set_option("LogConsumeEnabled", "false")
        self.test(made, tester=Tester(7, "adm", "default"))
        self.assertEqual(self.gateway.notes, [])

    def test_fatal(self) -> None:
        """A fatal failure disables, unless the test is only a question."""
        made = self.gateway.add_channel(name="bad")
        self.gateway.probe.errors["bad"] = BAD_KEY
        self.assertEqual(self.test(made, judge=False).changed, "")
        self.assertEqual(self.test(made).changed, "disabled")

    def test_fatal_on_a_channel_that_is_off(self) -> None:
        """A test of a channel that is out of service leaves its keys alone."""
        made = self.many()
        self.gateway.execute(sa.update(schema.channels).values(status=2))
        self.gateway.probe.errors["many"] = BAD_KEY
        self.assertEqual(self.test(made).changed, "")
        self.assertNotIn("multi_key_status_list", self.info(made))

    def test_too_slow(self) -> None:
        """An answer later than the threshold is fatal."""
        self.gateway.set_option("ChannelDisableThreshold", "2")
        made = self.gateway.add_channel()
        self.gateway.probe.waiting = waiting = Deferred()
        done: Deferred[TestResult] = Deferred.fromCoroutine(
            self.tester.test(self.record(made))
        )
        self.gateway.clock.advance(2.5)
        waiting.callback(None)
        self.assertEqual(self.successResultOf(done).changed, "disabled")

    def test_never(self) -> None:
        """A test that gets no answer ends."""
        self.gateway.probe.waiting = Deferred()
        done: Deferred[TestResult] = Deferred.fromCoroutine(
            self.tester.test(self.record(self.gateway.add_channel()))
        )
        self.gateway.clock.advance(121)
        error = self.successResultOf(done).error
        self.assertEqual(error and error.status, 504)

    def test_recovery(self) -> None:
        """What was disabled automatically comes back, never what was by hand."""
        auto = self.gateway.add_channel(status=3)
        hand = self.gateway.add_channel(status=2)
        self.assertEqual(self.test(auto).changed, "enabled")
        self.assertEqual(self.gateway.channel(auto)["status"], 1)
        self.assertEqual(self.test(hand).changed, "")
        self.assertEqual(self.gateway.channel(hand)["status"], 2)

    def test_no_recovery(self) -> None:
        """The option can forbid it."""
        self.gateway.set_option("AutomaticEnableChannelEnabled", "false")
        self.assertEqual(self.test(self.gateway.add_channel(status=3)).changed, "")

    def test_recovery_of_a_key(self) -> None:
        """The tested key comes back, and the channel with it."""
        made = self.many(multi_key_status_list={"0": 2, "1": 3})
        self.gateway.execute(sa.update(schema.channels).values(status=3))
        self.assertEqual(self.test(made, key_index=1).changed, "enabled")
        self.assertEqual(self.info(made)["multi_key_status_list"], {"0": 2})
        self.assertEqual(self.gateway.channel(made)["status"], 1)

    def test_a_crash(self) -> None:
        """A fault in our own code is a failed test, and logged."""
        made = self.gateway.add_channel(name="bad")
        self.gateway.probe.errors["bad"] = ValueError("bug")  # type: ignore[assignment]
        error = self.test(made).error
        self.assertEqual(error and error.message, "internal error")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_untestable(self) -> None:
        """Some types cannot be tested."""
        with self.assertRaises(InvalidRequest):
            self.test(self.gateway.add_channel(type=36))


class Runs(Case):
    """All channels at once."""

    def run_(self, recovery_only: bool = False) -> dict[str, int]:
        """A whole run."""
        return now(self.tester.run(Job("one"), recovery_only))

    def tested(self) -> list[tuple[str, int]]:
        """Which channels and keys were asked."""
        return sorted((name, key) for name, key, _ in self.gateway.probe.asked)

    def test_all(self) -> None:
        """Everything but what was disabled by hand or cannot be tested."""
        self.gateway.add_channel(name="good")
        self.gateway.add_channel(name="bad")
        self.gateway.add_channel(name="back", status=3)
        self.gateway.add_channel(name="hand", status=2)
        self.gateway.add_channel(name="task", type=36)
        self.gateway.probe.errors["bad"] = BAD_KEY
        told = self.run_()
        self.assertEqual(
            told,
            {"tested": 3, "succeeded": 2, "failed": 1, "disabled": 1, "enabled": 1},
        )
        self.assertEqual(self.tested(), [("back", 0), ("bad", 0), ("good", 0)])

    def test_keys(self) -> None:
        """One key in use, and those that may come back."""
        self.many("a\nb\nc\nd", multi_key_status_list={"0": 2, "2": 3, "3": 3})
        told = self.run_()
        self.assertEqual(self.tested(), [("many", 1), ("many", 2), ("many", 3)])
        self.assertEqual(told["enabled"], 2)

    def test_recovery_only(self) -> None:
        """Only what was disabled automatically."""
        self.gateway.add_channel(name="good")
        self.gateway.add_channel(name="back", status=3)
        self.many("a\nb", multi_key_status_list={"1": 3})
        self.run_(recovery_only=True)
        self.assertEqual(self.tested(), [("back", 0), ("many", 1)])

    def test_at_most_so_many_at_once(self) -> None:
        """A run asks a few channels at a time, and stops when it is cancelled."""
        for number in range(9):
            self.gateway.add_channel(name=f"c-{number}")
        self.gateway.probe.waiting = waiting = Deferred()
        job = Job("one")
        done: Deferred[Any] = Deferred.fromCoroutine(self.tester.run(job, False))
        self.assertEqual(len(self.gateway.probe.asked), 4)
        job.cancelled = True
        waiting.callback(None)
        self.failureResultOf(done)
        self.assertEqual(len(self.gateway.probe.asked), 4)


class Schedules(Case):
    """When a run begins by itself."""

    def setUp(self) -> None:
        """A run every ten minutes."""
        super().setUp()
        self.gateway.set_option("monitor_setting.auto_test_channel_enabled", "true")
        self.gateway.add_channel(name="good")
        self.schedule = TestSchedule(
            self.gateway, self.tester, self.gateway.jobs, self.gateway.clock
        )

    def after(self, minutes: int) -> bool:
        """Whether a tick so much later begins a run."""
        self.gateway.clock.advance(60 * minutes)
        return now(self.schedule.tick())

    def test_every_period(self) -> None:
        """The first run comes one period after the start, then one each period."""
        self.assertEqual([self.after(m) for m in (0, 9, 1, 9, 1)], [
            False, False, True, False, True,
        ])  # fmt: skip
        self.assertEqual(len(self.gateway.probe.asked), 2)

    def test_switched_off(self) -> None:
        """Nothing happens, and switching on begins a new period."""
        self.after(0)
        self.gateway.set_option("monitor_setting.auto_test_channel_enabled", "false")
        self.assertFalse(self.after(20))
        self.gateway.set_option("monitor_setting.auto_test_channel_enabled", "true")
        self.assertFalse(self.after(0))

    def test_while_another_runs(self) -> None:
        """A run under way, here by hand, is not joined by another."""

        async def work(job: Job) -> None:
            await Deferred()

        now(self.gateway.jobs.start(schedule.JOB, work))
        self.after(0)
        self.assertFalse(self.after(10))
        self.gateway.background.cancel()
