"""Tests of the dashboards' numbers."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema, usage_queries
from tests.web.api.shapes import misfit, number
from tests.web.api.watched import Watched
from tests.web.gateway import NOW

HOUR, DAY = 3600, 86_400
THIS_HOUR = NOW - NOW % HOUR

maybe = (int, float, type(None))
TILES = {
    "spend": int,
    "requests": int,
    "errors": int,
    "tokens_in": int,
    "tokens_out": int,
    "cached": int,
    "success_rate": maybe,
    "latency_p50": maybe,
    "latency_p95": maybe,
    "ttft_p50": maybe,
}
LINE = {"key": (str, int), "label": str, "points": [list]}


class StatsCase(SynchronousTestCase):
    """A gateway with an administrator, Ann and Bob."""

    def setUp(self) -> None:
        """Some hours of both."""
        self.gateway = Watched()
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.ann = self.gateway.add_user("ann")
        self.bob = self.gateway.add_user("bob")
        self.adm = self.gateway.bearer("adm")
        self.own = self.gateway.bearer("ann")
        self.token = self.gateway.add_token(self.ann, name="ci")
        add = self.gateway.add_usage
        add(user_id=self.ann, count=4, prompt_tokens=40, token_id=self.token)
        add(
            user_id=self.ann,
            count=1,
            status=500,
            quota=0,
            lat_3=0,
            lat_11=1,
            ttft_0=0,
            token_id=self.token,
        )
        add(user_id=self.bob, count=10, model_name="pt-other", completion_tokens=9)
        add(user_id=self.ann, bucket_ts=THIS_HOUR - DAY, count=2)

    def data(self, path: str, own: bool = False) -> Any:
        """The data of a statistic."""
        return (self.own if own else self.adm).get(f"/api/stats/{path}").data

    def code(self, path: str, own: bool = False) -> str:
        """The code of a refusal."""
        return (self.own if own else self.adm).get(f"/api/stats/{path}").code


class SeriesTests(StatsCase):
    """Lines over time."""

    def test_shape(self) -> None:
        """A line has a point for every hour of the day."""
        data = self.data("series?group_by=model&metric=requests")
        self.assertEqual(misfit(data, {"bucket": str, "series": [LINE]}), "")
        self.assertEqual(data["bucket"], "hour")
        first = data["series"][0]
        self.assertEqual((first["key"], first["label"]), ("pt-other", "pt-other"))
        self.assertEqual(len(first["points"]), 25)
        self.assertEqual(first["points"][-1], [THIS_HOUR, 10])
        self.assertEqual(first["points"][0], [THIS_HOUR - DAY, 0])

    def test_one_line(self) -> None:
        """Without a part there is one line, of everything."""
        (line,) = self.data("series?metric=requests")["series"]
        self.assertEqual((line["key"], line["label"]), (None, ""))
        self.assertEqual(line["points"][-1][1], 15)

    def test_others(self) -> None:
        """What is beyond the limit is one line more."""
        data = self.data("series?group_by=user&limit=1&metric=requests")
        self.assertEqual([one["label"] for one in data["series"]], ["bob"])
        self.assertEqual(data["other"][-1], [THIS_HOUR, 5])

    def test_many_parts(self) -> None:
        """When there are too many parts to read at once the lines are the same."""
        asked = [
            f"series?group_by=model&limit={limit}&metric={metric}"
            for limit in (1, 2)
            for metric in ("requests", "latency_p95")
        ]
        quick = [self.data(one) for one in asked]
        self.patch(usage_queries, "MOST_GROUPS", 0)
        self.assertEqual([self.data(one) for one in asked], quick)
        self.assertIn("other", quick[0])
        self.assertNotIn("other", quick[2])

    def test_percentile_of_others(self) -> None:
        """The others' percentile is of their calls alone."""
        data = self.data("series?group_by=user&limit=1&metric=latency_p99")
        self.assertGreater(data["other"][-1][1], 120)
        self.assertLess(data["series"][0]["points"][-1][1], 1)

    def test_compare(self) -> None:
        """The time before is shown at today's hours."""
        start = THIS_HOUR - 23 * HOUR
        asked = f"series?metric=requests&compare=1&start_timestamp={start}"
        data = self.data(asked)
        before = data["previous"][0]["points"]
        self.assertEqual(
            [it[0] for it in before], [it[0] for it in data["series"][0]["points"]]
        )
        self.assertEqual(before[-1], [THIS_HOUR, 2])

    def test_errors(self) -> None:
        """Errors are the calls with such a status."""
        data = self.data("series?metric=errors&group_by=status")
        self.assertEqual(data["series"][0]["label"], "500")
        self.assertEqual(data["series"][0]["points"][-1][1], 1)

    def test_tokens_have_names(self) -> None:
        """A token's line has its name, and can be asked for by it."""
        data = self.data("series?group_by=token&metric=requests&token=ci", own=True)
        (line,) = data["series"]
        self.assertEqual((line["key"], line["label"]), (self.token, "ci"))

    def test_own(self) -> None:
        """Users see their own calls, whomever they ask for."""
        for asked in ("", "&username=bob", f"&user_id={self.bob}", "&scope=own"):
            data = self.data(f"series?metric=requests{asked}", own=True)
            self.assertEqual(data["series"][0]["points"][-1][1], 5)

    def test_administrators_own(self) -> None:
        """An administrator may look at the own calls."""
        data = self.data("series?metric=requests&scope=own")
        self.assertEqual(data["series"][0]["points"][-1][1], 0)

    def test_only_administrators(self) -> None:
        """Users part by nothing that tells of others, and do not see the site."""
        for by in ("user", "channel"):
            self.assertEqual(
                self.code(f"series?group_by={by}", own=True), "invalid_field"
            )
        answer = self.own.get("/api/stats/series?scope=site")
        self.assertEqual(answer.status, 403)
        self.assertEqual(answer.code, "AUTH_INSUFFICIENT_PRIVILEGE")

    def test_guests(self) -> None:
        """Without a login there are no numbers."""
        for path in ("series", "summary", "top", "heatmap"):
            answer = self.gateway.ask("GET", f"/api/stats/{path}")
            self.assertEqual(answer.code, "AUTH_UNAUTHORIZED")

    def test_refused(self) -> None:
        """What makes no sense is refused."""
        for asked in (
            "metric=nothing",
            "group_by=nothing",
            "bucket=year",
            "scope=other",
            "utc_offset=900",
            f"start_timestamp={NOW - 401 * DAY}",
            f"start_timestamp={NOW + 1}&end_timestamp={NOW}",
            f"bucket=hour&start_timestamp={NOW - 200 * DAY}",
            f"end_timestamp={2**50}",
        ):
            self.assertEqual(self.code(f"series?{asked}"), "invalid_field", asked)

    def test_many_points(self) -> None:
        """Many lines are not drawn of many buckets: what is left joins the others."""
        for place in range(40):
            self.gateway.add_usage(user_id=self.ann, model_name=f"m{place}")
        for days, most in ((100, 10), (10, 42)):
            start = f"bucket=hour&start_timestamp={NOW - days * DAY}"
            data = self.data(f"series?group_by=model&limit=50&{start}")
            self.assertEqual(len(data["series"]), most, days)
            self.assertEqual("other" in data, most < 42)

    def test_long_numbers(self) -> None:
        """Numbers that no id has are no numbers, however long."""
        for name in ("token_id", "channel", "user_id"):
            self.data(f"series?{name}={'9' * 5_000}")

    def test_buckets_suit_the_range(self) -> None:
        """Hours of a week, days of months, weeks of a year."""
        for days, bucket in ((7, "hour"), (8, "day"), (120, "day"), (399, "week")):
            data = self.data(f"series?start_timestamp={NOW - days * DAY + 60}")
            self.assertEqual(data["bucket"], bucket)

    def test_days_of_a_clock(self) -> None:
        """Days begin at midnight of the reader's clock."""
        asked = f"series?bucket=day&utc_offset=120&start_timestamp={NOW - DAY}"
        points = self.data(asked)["series"][0]["points"]
        self.assertEqual({(at + 2 * HOUR) % DAY for at, _ in points}, {0})


class MinuteTests(StatsCase):
    """The last day by minute and channel."""

    def setUp(self) -> None:
        """Two channels in this minute."""
        super().setUp()
        self.minute = NOW - NOW % 60
        self.main = self.gateway.add_channel(name="main")
        for channel, calls in ((self.main, 5), (77, 2)):
            row = {"channel_id": channel, "minute": self.minute, "lat_3": calls}
            row |= {"count": calls, "errors": 1}
            self.gateway.execute(sa.insert(schema.knight_channel_minutes).values(**row))

    def asked(self, more: str = "") -> str:
        """The last ten minutes."""
        start = NOW - 600
        return f"series?bucket=minute&start_timestamp={start}&group_by=channel{more}"

    def test_minutes(self) -> None:
        """The channels with the most calls come first."""
        data = self.data(self.asked("&metric=requests"))
        found = [(it["label"], it["points"][-1]) for it in data["series"]]
        self.assertEqual(found, [("main", [self.minute, 5]), ("", [self.minute, 2])])
        self.assertEqual(len(data["series"][0]["points"]), 11)

    def test_other_metrics(self) -> None:
        """Errors and percentiles are known of minutes too."""
        data = self.data(self.asked("&metric=errors&limit=1"))
        self.assertEqual([it["points"][-1][1] for it in data["series"]], [1])
        data = self.data(self.asked(f"&metric=latency_p50&channel={self.main}"))
        self.assertEqual([it["points"][-1][1] for it in data["series"]], [0.75])

    def test_refused(self) -> None:
        """Nothing else is: other parts, other metrics, other days, other people."""
        self.assertEqual(self.code(self.asked("&metric=spend")), "invalid_field")
        self.assertEqual(self.code("series?bucket=minute"), "invalid_field")
        old = f"&metric=requests&start_timestamp={NOW - 2 * DAY}"
        asked = f"series?bucket=minute&group_by=channel{old}"
        self.assertEqual(self.code(asked), "invalid_field")
        self.assertEqual(self.code(self.asked(), own=True), "invalid_field")
        for name in ("model", "token", "token_id", "group", "username", "user_id"):
            asked = self.asked(f"&metric=requests&{name}=7")
            self.assertEqual(self.code(asked), "invalid_field", name)


class SummaryTests(StatsCase):
    """The tiles."""

    def test_site(self) -> None:
        """Everybody's sums, and those of the day before."""
        data = self.data(f"summary?start_timestamp={THIS_HOUR - 23 * HOUR}")
        self.assertEqual(misfit(data, {**TILES, "previous": TILES}), "")
        self.assertEqual((data["requests"], data["errors"]), (15, 1))
        self.assertEqual((data["tokens_in"], data["tokens_out"]), (40, 9))
        self.assertEqual(data["success_rate"], 0.9333)
        self.assertEqual(data["previous"]["requests"], 2)

    def test_own(self) -> None:
        """The own sums, what is left and for how long."""
        self.gateway.execute(
            sa.update(schema.users)
            .where(schema.users.c.id == self.ann)
            .values(quota=400)
        )
        data = self.data(f"summary?start_timestamp={NOW - DAY + 1}", own=True)
        shape = {**TILES, "previous": TILES, "balance": int, "days_left": number}
        self.assertEqual(misfit(data, shape), "")
        self.assertEqual((data["spend"], data["balance"]), (60, 400))
        self.assertEqual(data["days_left"], 6.7)

    def test_nothing(self) -> None:
        """Without calls there are no rates, and no end in sight."""
        data = self.data("summary?scope=own")
        self.assertEqual(
            (data["requests"], data["success_rate"], data["latency_p50"]),
            (0, None, None),
        )
        self.assertIsNone(data["days_left"])


class TopTests(StatsCase):
    """The tables."""

    def test_shape(self) -> None:
        """Value, share of the whole, growth."""
        data = self.data("top?by=user&metric=requests")
        shape = {
            "key": int,
            "label": str,
            "value": int,
            "share": number,
            "delta": maybe,
        }
        self.assertEqual(misfit(data, [shape]), "")
        found = [(it["label"], it["value"], it["share"]) for it in data]
        self.assertEqual(found, [("bob", 10, 0.5882), ("ann", 7, 0.4118)])

    def test_growth(self) -> None:
        """Against as much time before; nothing to compare is null."""
        start = THIS_HOUR - 23 * HOUR
        data = self.data(f"top?by=user&metric=requests&start_timestamp={start}")
        self.assertEqual([it["delta"] for it in data], [None, 1.5])

    def test_percentile(self) -> None:
        """By a percentile the slowest is first, and there are no shares."""
        data = self.data("top?by=user&metric=latency_p99")
        self.assertEqual([it["label"] for it in data], ["ann", "bob"])
        self.assertEqual({it["share"] for it in data}, {None})

    def test_limit(self) -> None:
        """Not more than asked for."""
        self.assertEqual(len(self.data("top?limit=1")), 1)

    def test_only_administrators(self) -> None:
        """Users see nobody else."""
        self.assertEqual(self.code("top?by=user", own=True), "invalid_field")
        data = self.data("top?by=model&metric=requests", own=True)
        self.assertEqual([(it["key"], it["value"]) for it in data], [("pt-ok", 7)])


class HeatmapTests(StatsCase):
    """The week."""

    def test_shape(self) -> None:
        """Seven days of 24 hours, Monday first."""
        data = self.data("heatmap")
        self.assertEqual([len(day) for day in data], [24] * 7)
        hour = (THIS_HOUR - 4 * DAY) % (7 * DAY) // HOUR
        self.assertEqual(data[hour // 24][hour % 24], 15)

    def test_percentile(self) -> None:
        """Hours without calls have none."""
        data = self.data("heatmap?metric=latency_p50", own=True)
        known = [value for day in data for value in day if value is not None]
        self.assertEqual(len(known), 2)
