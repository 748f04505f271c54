"""How models did, and what was used of them."""

from __future__ import annotations

from typing import Any

from knight_tw.storage import perf_queries as queries
from knight_tw.storage import schema
from knight_tw.storage.usage_queries import DAY, HOUR, MONDAY, WEEK, Buckets
from tests.engines import ConnectionCase, for_engines

AT = MONDAY + 2_900 * WEEK


@for_engines
class PerfQueries(ConnectionCase):
    """Sums of `perf_metrics`."""

    def setUp(self) -> None:
        """Two models in two groups."""
        super().setUp()
        self.add("a", "default", AT, 3)
        self.add("a", "vip", AT, 1)
        self.add("a", "default", AT + HOUR, 2)
        self.add("b", "default", AT, 9)

    def add(self, model: str, group: str, at: int, calls: int) -> None:
        """Calls, half a second each."""
        values: dict[str, Any] = {"model_name": model, "group": group, "bucket_ts": at}
        values |= {"request_count": calls, "total_latency_ms": 500 * calls}
        self.insert(schema.perf_metrics, **values)

    def test_by_model(self) -> None:
        """The model with the most calls is first."""
        found = queries.by_model(self.connection, AT, None)
        self.assertEqual([(it.model, it.sums[0]) for it in found], [("b", 9), ("a", 6)])
        self.assertEqual(found[0].sums[2], 4500)

    def test_since(self) -> None:
        """Older buckets do not count."""
        found = queries.by_model(self.connection, AT + 1, None)
        self.assertEqual([(it.model, it.sums[0]) for it in found], [("a", 2)])

    def test_groups(self) -> None:
        """Only the groups that may be seen."""
        found = queries.by_model(self.connection, AT, ["vip", "other"])
        self.assertEqual([(it.model, it.sums[0]) for it in found], [("a", 1)])
        self.assertEqual(queries.by_model(self.connection, AT, []), [])

    def test_by_group(self) -> None:
        """One model's buckets, group by group."""
        found = queries.by_group(self.connection, "a", AT, None, Buckets(1))
        self.assertEqual(
            [(it.group, it.bucket, it.sums[0]) for it in found],
            [("default", AT, 3), ("default", AT + HOUR, 2), ("vip", AT, 1)],
        )

    def test_wider_buckets(self) -> None:
        """Minutes are added up to what is asked for."""
        self.add("a", "vip", AT + HOUR - 60, 5)
        found = queries.by_group(self.connection, "a", AT, ["vip"], Buckets(HOUR))
        self.assertEqual([(it.bucket, it.sums[0]) for it in found], [(AT, 6)])

    def test_prune(self) -> None:
        """Old buckets go."""
        self.assertEqual(queries.prune(self.connection, AT + HOUR), 3)
        self.assertEqual(len(self.rows(schema.perf_metrics)), 1)


@for_engines
class UsedQueries(ConnectionCase):
    """Tokens by model and bucket."""

    def test_exported(self) -> None:
        """The reference's table, which older gateways filled too."""
        for at, model in ((AT, "a"), (AT + HOUR, "a"), (AT + DAY, "b"), (AT - 1, "a")):
            row = {"created_at": at, "model_name": model, "token_used": 5, "count": 2}
            self.insert(schema.quota_data, **row)
        found = queries.used(self.connection, AT, Buckets(DAY), exported=True)
        self.assertEqual(found, [("a", AT, 10, 4), ("b", AT + DAY, 5, 2)])

    def test_too_many(self) -> None:
        """When there are too many rows the oldest are left out."""
        self.patch(queries, "MOST_ROWS", 2)
        for at in (AT, AT + DAY, AT + 2 * DAY):
            row = {"created_at": at, "model_name": "a", "token_used": 5, "count": 2}
            self.insert(schema.quota_data, **row)
        found = queries.used(self.connection, AT, Buckets(DAY), exported=True)
        self.assertEqual([row[1] for row in found], [AT + DAY, AT + 2 * DAY])

    def test_own(self) -> None:
        """Our own table; weeks begin on Monday."""
        for at in (AT + HOUR, AT + 6 * DAY, AT + 7 * DAY):
            self.insert(
                schema.knight_usage,
                bucket_ts=at,
                user_id=1,
                token_id=1,
                channel_id=1,
                model_name="a",
                use_group="g",
                status=200,
                count=1,
                prompt_tokens=3,
                completion_tokens=4,
            )
        found = queries.used(self.connection, AT, Buckets(WEEK), exported=False)
        self.assertEqual(found, [("a", AT, 14, 2), ("a", AT + WEEK, 7, 1)])
