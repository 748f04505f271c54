"""Tests of what keeps our tables from growing without end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.chores import Chore
from knight_tw.management import operations, statistics
from knight_tw.options import Options
from knight_tw.storage import job_queries, node_queries, schema
from knight_tw.storage.database import memory_database
from tests.web.api.rows import NOW, result

DAY, HOUR = 86_400, 3600


class PruningTests(SynchronousTestCase):
    """The chores of statistics and operations."""

    def setUp(self) -> None:
        """An empty database."""
        clock = Clock()
        clock.advance(NOW)
        self.db = memory_database(clock)
        self.options = Options.from_rows({})
        self.parts: Any = SimpleNamespace(
            db=self.db, reactor=clock, options=lambda: self.options
        )

    def add(self, table: sa.Table, **values: Any) -> None:
        """A row."""

        def insert(connection: sa.Connection) -> None:
            connection.execute(sa.insert(table).values(**values))

        result(self.db.run(insert))

    def ages(self, column: sa.Column[Any]) -> list[int]:
        """How old the rows of a table are."""

        def read(connection: sa.Connection) -> list[int]:
            return [NOW - at for at in connection.scalars(sa.select(column))]

        return sorted(result(self.db.read(read)))

    def do(self, chores: tuple[Chore, ...]) -> None:
        """A round."""
        for chore in chores:
            result(chore.work())

    def test_hours(self) -> None:
        """Hours are kept for 400 days, minutes of channels for a day."""
        usage = {"token_id": 1, "channel_id": 1, "model_name": "m", "use_group": "g"}
        for age in (0, 400 * DAY, 401 * DAY, 500 * DAY):
            row = {"bucket_ts": NOW - age, "user_id": 1, "status": 200}
            self.add(schema.knight_usage, **usage, **row)
        for age in (0, DAY, DAY + HOUR + 1):
            self.add(schema.knight_channel_minutes, channel_id=1, minute=NOW - age)
        self.do(statistics.chores(self.parts))
        self.assertEqual(self.ages(schema.knight_usage.c.bucket_ts), [0, 400 * DAY])
        minutes = self.ages(schema.knight_channel_minutes.c.minute)
        self.assertEqual(minutes, [0, DAY])

    def test_measurements(self) -> None:
        """Measurements of models are kept for ever, or as long as the option says."""
        for age in (0, 9 * DAY):
            self.add(
                schema.perf_metrics, model_name="m", group="g", bucket_ts=NOW - age
            )
        self.do(statistics.chores(self.parts))
        self.assertEqual(len(self.ages(schema.perf_metrics.c.bucket_ts)), 2)
        self.options = Options.from_rows({"perf_metrics_setting.retention_days": "7"})
        self.do(statistics.chores(self.parts))
        self.assertEqual(self.ages(schema.perf_metrics.c.bucket_ts), [0])

    def test_nodes_and_jobs(self) -> None:
        """Silent nodes for 30 days, jobs that are over for 90."""
        for age in (0, 31 * DAY):
            seen = NOW - age
            result(self.db.run(node_queries.seen, f"n{age}", {}, seen, seen))
        for age in (0, 91 * DAY):
            name, at = f"j{age}", NOW - age
            result(self.db.run(job_queries.start, name, name, "n", {}, at))
            result(self.db.run(job_queries.finish, name, "failed", None, "", at))
        self.do(operations.chores(self.parts))
        self.assertEqual(self.ages(schema.system_instances.c.last_seen_at), [0])
        self.assertEqual(self.ages(schema.system_tasks.c.updated_at), [0])
