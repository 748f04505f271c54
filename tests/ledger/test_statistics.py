"""Sums per hour and minute."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.ledger import statistics
from knight_tw.ledger.statistics import Attempts
from knight_tw.storage import schema
from tests.engines import ConnectionCase, for_engines
from tests.ledger.till import CHANNEL, NOW, TOKEN, USER, LedgerCase, row

HOUR, MINUTE = NOW - NOW % 3600, NOW - NOW % 60


class StatisticsTests(LedgerCase):
    """What a flush adds to the three tables."""

    def setUp(self) -> None:
        """A rich user."""
        super().setUp()
        self.seed()

    def charge(self, call: str, amount: int = 100, **columns: Any) -> None:
        """A settled call."""
        self.ledger.settle(self.hold(call), amount, row(call, **columns), CHANNEL)

    def only(self, name: str) -> dict[str, Any]:
        """The one row of a table, without zeros."""
        (found,) = self.table(name)
        return {key: value for key, value in found.items() if value}

    def test_usage(self) -> None:
        """Calls of one kind add up in one row, over several flushes."""
        self.charge("a", duration_ms=90)
        self.charge("b", 50, duration_ms=1500, other={"frt": 120, "cache_tokens": 3})
        self.flush()
        self.charge("c", duration_ms=130_000, other={"frt": -1000, "cache_tokens": 1.0})
        self.flush()
        self.assertEqual(
            self.only("knight_usage"),
            {
                "bucket_ts": HOUR,
                "user_id": USER,
                "token_id": TOKEN,
                "channel_id": CHANNEL,
                "model_name": "gpt-4o",
                "use_group": "default",
                "status": 200,
                "count": 3,
                "quota": 250,
                "prompt_tokens": 1200,
                "completion_tokens": 30,
                "cached_tokens": 7,
                "latency_ms": 131_590,
                "ttft_ms": 240,
                "ttft_count": 2,
                "lat_0": 1,
                "lat_4": 1,
                "lat_11": 1,
                "ttft_1": 2,
            },
        )

    def test_bounds_belong_to_the_lower_column(self) -> None:
        """A call of exactly 0.1 s is in the first column."""
        self.charge("a", duration_ms=100)
        self.charge("b", duration_ms=101)
        self.flush()
        usage = self.only("knight_usage")
        self.assertEqual((usage["lat_0"], usage["lat_1"]), (1, 1))

    def test_seconds_where_nothing_finer_is_known(self) -> None:
        """Without `duration_ms` the whole seconds of the row count."""
        self.charge("a", use_time=7)
        self.flush()
        self.assertEqual(self.only("knight_usage")["latency_ms"], 7000)

    def test_failed_calls(self) -> None:
        """A failed call counts under its status, without quota or channel's minute."""
        self.ledger.note(row("e", type=5, status=429, quota=0))
        self.ledger.note(row("login", type=7, status=None))
        self.flush()
        usage = self.only("knight_usage")
        self.assertEqual((usage["status"], usage["count"]), (429, 1))
        self.assertNotIn("quota", usage)
        self.assertEqual(self.table("knight_channel_minutes"), [])
        self.assertEqual(self.table("quota_data"), [])

    def test_minutes(self) -> None:
        """Settled calls and failed attempts meet in the channel's minute."""
        self.charge("a", duration_ms=90)
        self.ledger.attempt_failed(CHANNEL, 3.0)
        self.ledger.attempt_failed(0, 3.0)
        self.flush()
        self.assertEqual(
            self.only("knight_channel_minutes"),
            {
                "channel_id": CHANNEL,
                "minute": MINUTE,
                "count": 2,
                "errors": 1,
                "lat_0": 1,
                "lat_5": 1,
            },
        )

    def test_attempts_alone(self) -> None:
        """Failed attempts are written without a call that ends."""
        self.ledger.attempt_failed(CHANNEL, 0.05)
        self.world.clock.advance(0.2)
        self.assertEqual(self.only("knight_channel_minutes")["errors"], 1)

    def test_attempts_survive_a_failed_flush(self) -> None:
        """While the database is away they are kept."""
        self.world.main.away = True
        self.ledger.attempt_failed(CHANNEL, 0.05)
        self.world.clock.advance(0.2)
        self.ledger.attempt_failed(CHANNEL, 0.05)
        self.world.main.away = False
        self.flush()
        self.assertEqual(self.only("knight_channel_minutes")["errors"], 2)

    def test_quota_data(self) -> None:
        """The hourly row of the reference, with its newest columns."""
        self.charge("a")
        self.charge("b")
        self.flush()
        self.charge("c")
        self.flush()
        expected = {
            "id": 1,
            "user_id": USER,
            "username": "u1",
            "model_name": "gpt-4o",
            "created_at": HOUR,
            "use_group": "default",
            "token_id": TOKEN,
            "channel_id": CHANNEL,
            "node_name": "n",
            "token_used": 1230,
            "count": 3,
            "quota": 300,
        }
        self.assertEqual(self.only("quota_data"), expected)

    def test_quota_data_that_was_deleted(self) -> None:
        """A row deleted by somebody else is made anew."""
        self.charge("a")
        self.flush()
        self.sql(_delete_hourly)
        self.charge("b")
        self.charge("c", model_name="other")
        self.flush()
        rows = {it["model_name"]: it["count"] for it in self.table("quota_data")}
        self.assertEqual(rows, {"gpt-4o": 1, "other": 1})

    def test_quota_data_after_a_restart(self) -> None:
        """A new process goes on with the rows of its node."""
        self.charge("a")
        self.done(self.ledger.stop())
        self.ledger = self.started()
        self.charge("b")
        self.flush()
        self.assertEqual(self.only("quota_data")["count"], 2)

    def test_long_names(self) -> None:
        """Names are cut to what the columns hold."""
        self.charge("a", model_name="m" * 100, username="u" * 100, group="g" * 100)
        self.flush()
        hourly, usage = self.only("quota_data"), self.only("knight_usage")
        self.assertEqual((hourly["model_name"], usage["model_name"]), ("m" * 64,) * 2)
        self.assertEqual((hourly["use_group"], usage["use_group"]), ("g" * 64,) * 2)

    def test_export_disabled(self) -> None:
        """Without the option only our own tables are filled."""
        self.world.export = False
        self.charge("a")
        self.flush()
        self.assertEqual(self.table("quota_data"), [])
        self.assertEqual(self.only("knight_usage")["count"], 1)

    def test_uncollected_does_not_count(self) -> None:
        """Statistics carry what was charged, not what was asked."""
        self.sql(_set_quota, 30)
        self.ledger.forget(user_id=USER)
        self.ledger.settle(self.hold("a", 1, 30), 100, row("a"))
        self.flush()
        self.assertEqual(self.only("quota_data")["quota"], 30)
        self.assertEqual(self.only("knight_usage")["quota"], 30)

    def test_other_without_measures(self) -> None:
        """Values of another type in `other` are left out."""
        self.charge("a", other={"frt": "soon", "cache_tokens": None})
        self.flush()
        self.assertNotIn("ttft_count", self.only("knight_usage"))


class AttemptsTests(SynchronousTestCase):
    """`Attempts`."""

    def test_bound(self) -> None:
        """Only so many channels and minutes are kept."""
        attempts = Attempts(limit=2)
        for channel in range(1, 9):
            attempts.failed(channel, NOW, 1)
        self.assertEqual(len(attempts.take()), 2)
        self.assertEqual(attempts.take(), {})


@for_engines
class HourlyTests(ConnectionCase):
    """`write_hourly` on every engine."""

    def test_new_known_and_gone(self) -> None:
        """New keys are inserted, known ones added to, vanished ones made anew."""
        one, two = (1, "u", "m", HOUR, "g", 2, 3), (1, "u", "n", HOUR, "g", 2, 3)
        ids: dict[tuple[Any, ...], int] = {}
        for sums in ({one: [1, 1, 5]}, {one: [1, 1, 5], two: [2, 1, 7]}):
            found = statistics.write_hourly(self.connection, sums, "node", ids)
            statistics.remember(ids, found)
        self.connection.execute(
            sa.delete(schema.quota_data).where(schema.quota_data.c.id == ids[two])
        )
        sums = {one: [1, 1, 5], two: [2, 1, 7]}
        statistics.write_hourly(self.connection, sums, "node", ids)
        statistics.write_hourly(self.connection, sums, "node", {})
        rows = {it["model_name"]: it for it in self.rows(schema.quota_data)}
        self.assertEqual((rows["m"]["quota"], rows["m"]["count"]), (20, 4))
        self.assertEqual((rows["n"]["quota"], rows["n"]["token_used"]), (14, 4))
        self.assertEqual(len(self.rows(schema.quota_data)), 2)


def _delete_hourly(connection: sa.Connection) -> None:
    connection.execute(sa.delete(schema.quota_data))


def _set_quota(connection: sa.Connection, quota: int) -> None:
    connection.execute(sa.update(schema.users).values(quota=quota))
