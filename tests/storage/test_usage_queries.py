"""Sums of the hourly statistics."""

from __future__ import annotations

from typing import Any

from knight_tw.storage import schema
from knight_tw.storage import usage_queries as queries
from knight_tw.storage.usage_queries import (
    DAY,
    HOUR,
    METRICS,
    MONDAY,
    WEEK,
    Buckets,
    Scope,
)
from tests.engines import ConnectionCase, for_engines

NOON = MONDAY + 2_900 * WEEK + 12 * HOUR
"""A Monday's noon."""


def usage(**columns: Any) -> dict[str, Any]:
    """A row of calls that took between 0.5 and 1 s."""
    calls = columns.get("count", 1)
    return {
        "bucket_ts": NOON,
        "user_id": 1,
        "token_id": 5,
        "channel_id": 7,
        "model_name": "gpt-a",
        "use_group": "default",
        "status": 200,
        "count": calls,
        "quota": 10 * calls,
        "lat_3": calls,
        "ttft_0": calls,
        **columns,
    }


@for_engines
class UsageQueries(ConnectionCase):
    """Wholes, parts and lines."""

    def setUp(self) -> None:
        """Two users' calls of three models on two days."""
        super().setUp()
        for row in (
            usage(count=3),
            usage(bucket_ts=NOON + HOUR, model_name="gpt-b", token_id=6),
            usage(bucket_ts=NOON + DAY, user_id=2, model_name="gpt-b", count=4),
            usage(status=429, count=2, quota=0, lat_3=0, lat_11=2, ttft_0=0),
            usage(bucket_ts=NOON + DAY, model_name="o%x", use_group="vip"),
        ):
            self.insert(schema.knight_usage, **row)
        for token, user in ((5, 1), (6, 1), (9, 2)):
            name = "ci" if token == 5 else "dev_1"
            values = {"id": token, "user_id": user, "name": name, "key": str(token)}
            self.insert(schema.tokens, **values)
        for user in (1, 2):
            self.insert(
                schema.users,
                id=user,
                username=f"user{user}",
                password="",
                aff_code=str(user),
            )
        self.insert(schema.channels, id=7, name="main", key="k")

    def scope(self, **chosen: Any) -> Scope:
        """Both days, or what a test asks for."""
        return Scope(**{"start": NOON, "end": NOON + 2 * DAY, **chosen})

    def whole(self, *columns: str, **chosen: Any) -> tuple[int, ...]:
        """Sums over a scope."""
        names = columns or ("count",)
        return queries.whole(self.connection, self.scope(**chosen), names)

    def test_whole(self) -> None:
        """Everything in the range adds up, errors among it."""
        self.assertEqual(self.whole("count", "quota", "errors"), (11, 90, 2))

    def test_nothing(self) -> None:
        """A range without rows sums to nothing."""
        self.assertEqual(self.whole("count", "quota", start=1, end=2), (0, 0))

    def test_range(self) -> None:
        """A range begins with the whole hour of its start and excludes its end."""
        self.assertEqual(self.whole(start=NOON + 1800, end=NOON + HOUR), (5,))
        self.assertEqual(self.whole(start=NOON + 1800, end=NOON + HOUR + 1), (6,))

    def test_filters(self) -> None:
        """Each filter takes the rows that it names."""
        for chosen, calls in (
            ({"user_id": 2}, 4),
            ({"user_ids": (1, 2)}, 11),
            ({"usernames": ("user2",)}, 4),
            ({"models": ("gpt-%",)}, 10),
            ({"models": ("gpt-a", "gpt-b")}, 10),
            ({"models": ("gpt_a",)}, 0),
            ({"groups": ("vip",)}, 1),
            ({"channels": (7,)}, 11),
            ({"channels": (8,)}, 0),
            ({"tokens": ("dev%",)}, 1),
            ({"tokens": ("dev_1",), "user_id": 2}, 0),
            ({"token_ids": (5,)}, 10),
        ):
            self.assertEqual(self.whole(**chosen), (calls,), chosen)

    def test_parts(self) -> None:
        """The largest part comes first, and there are no more than asked for."""
        spend = METRICS["spend"]
        found = queries.parts(self.connection, self.scope(), "model", spend, 2)
        self.assertEqual(
            [(it.key, it.sums) for it in found], [("gpt-b", (50,)), ("gpt-a", (30,))]
        )

    def test_parts_among(self) -> None:
        """Only the parts that are named."""
        spend = METRICS["spend"]
        found = queries.parts(
            self.connection, self.scope(), "model", spend, 9, ["gpt-a", "none"]
        )
        self.assertEqual([it.key for it in found], ["gpt-a"])

    def test_percentile(self) -> None:
        """Half of the calls within a class end in its middle."""
        metric = METRICS["latency_p50"]
        scope = self.scope(models=("gpt-b",))
        sums = queries.whole(self.connection, scope, metric.columns)
        self.assertEqual(metric.value(sums), 0.75)
        self.assertIsNone(metric.value((0,) * 12))

    def test_percentile_ranks_by_calls(self) -> None:
        """The parts of a percentile are those with the most calls."""
        metric = METRICS["latency_p95"]
        found = queries.parts(self.connection, self.scope(), "user", metric, 1)
        self.assertEqual([it.key for it in found], [1])
        self.assertEqual(sum(found[0].sums), 7)

    def test_lines(self) -> None:
        """Hours of each part, hours without calls left out."""
        found = queries.over_time(
            self.connection, self.scope(), Buckets(HOUR), ("count",), "user", [1, 2]
        )
        self.assertEqual(found[2], {NOON + DAY: (4,)})
        self.assertEqual(found[1], {NOON: (5,), NOON + HOUR: (1,), NOON + DAY: (1,)})

    def test_all_lines(self) -> None:
        """All parts at once, unless there may be or are too many."""
        asked = (self.connection, self.scope(), Buckets(DAY), ("count",))
        found = queries.all_over_time(*asked, "group")
        assert found is not None
        self.assertEqual(
            {key: sum(it[0] for it in of.values()) for key, of in found.items()},
            {"default": 10, "vip": 1},
        )
        self.assertIsNone(queries.all_over_time(*asked, "user"))
        self.patch(queries, "MOST_GROUPS", 2)
        self.assertIsNone(queries.all_over_time(*asked, "group"))

    def test_days_of_a_clock(self) -> None:
        """Days begin at the reader's midnight."""
        shift = 11 * HOUR + 1800
        found = queries.over_time(
            self.connection, self.scope(), Buckets(DAY, shift), ("count",)
        )
        midnight = NOON + 12 * HOUR - shift
        self.assertEqual(found, {None: {midnight - DAY: (5,), midnight: (6,)}})

    def test_weeks(self) -> None:
        """Weeks begin on Monday."""
        found = queries.over_time(
            self.connection, self.scope(), Buckets(WEEK), ("count",)
        )
        self.assertEqual(found, {None: {NOON - 12 * HOUR: (11,)}})

    def test_hour_of_week(self) -> None:
        """Monday's first hour is 0, in the reader's clock."""
        for shift, noon in ((0, 12), (2 * HOUR, 14), (-13 * HOUR, 167)):
            found = queries.by_hour_of_week(
                self.connection, self.scope(), shift, ("count",)
            )
            self.assertEqual(found[noon], (5,), shift)
            self.assertEqual(sum(it[0] for it in found.values()), 11)

    def test_minutes(self) -> None:
        """Minutes are of channels."""
        for channel, minute, calls in ((7, NOON, 2), (7, NOON + 60, 1), (8, NOON, 5)):
            self.insert(
                schema.knight_channel_minutes,
                channel_id=channel,
                minute=minute,
                count=calls,
            )
        scope = self.scope(channels=(7,))
        found = queries.minutes(self.connection, scope, ("count", "errors"))
        self.assertEqual(found, {7: {NOON: (2, 0), NOON + 60: (1, 0)}})

    def test_labels(self) -> None:
        """Ids have today's names; what is gone has none."""
        c = self.connection
        self.assertEqual(queries.labels(c, "token", [5, 77]), {5: "ci", 77: ""})
        self.assertEqual(queries.labels(c, "user", [2]), {2: "user2"})
        self.assertEqual(queries.labels(c, "channel", [7]), {7: "main"})
        self.assertEqual(queries.labels(c, "status", [429]), {429: "429"})
        self.assertEqual(queries.labels(c, None, [None]), {None: ""})

    def test_prune(self) -> None:
        """The oldest hours go one by one, and what is young enough stays."""
        before = NOON + DAY
        rounds = [queries.prune(self.connection, before) for _ in range(3)]
        self.assertEqual(rounds, [True, True, False])
        left = {row["bucket_ts"] for row in self.rows(schema.knight_usage)}
        self.assertEqual(left, {NOON + DAY})

    def test_prune_minutes(self) -> None:
        """Old minutes go."""
        for minute in (NOON, NOON + 60):
            self.insert(schema.knight_channel_minutes, channel_id=1, minute=minute)
        self.assertEqual(queries.prune_minutes(self.connection, NOON + 60), 1)
