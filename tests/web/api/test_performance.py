"""Tests of how models do, and of their ranking."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.routing import RoutingTable
from knight_tw.storage import schema
from knight_tw.storage.usage_queries import DAY, HOUR, MONDAY, WEEK
from knight_tw.web.api.performance import measures, period_of
from knight_tw.web.api.ranking_fields import OTHERS, Period, Vendor, ranking
from tests.web.api.shapes import misfit, number
from tests.web.api.watched import Watched
from tests.web.gateway import NOW, Answer

maybe = (int, float, type(None))
MEASURES = {
    "request_count": int,
    "success_count": int,
    "success_rate": maybe,
    "avg_latency_ms": maybe,
    "avg_ttft_ms": maybe,
    "avg_tps": maybe,
}
RANKING = {
    "models": list,
    "vendors": list,
    "top_movers": list,
    "top_droppers": list,
    "models_history": {"points": list, "models": list, "buckets": int},
    "vendor_share_history": {"points": list, "vendors": list, "buckets": int},
}
RANKED = {
    "rank": int,
    "previous_rank": (int, type(None)),
    "model_name": str,
    "vendor": str,
    "vendor_icon": str,
    "total_tokens": int,
    "request_count": int,
    "share": number,
    "growth": maybe,
}


class PublicCase(SynchronousTestCase):
    """A gateway that offers `pt-ok` to everybody and `pt-secret` to few."""

    def setUp(self) -> None:
        """Two channels."""
        self.gateway = Watched()
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.gateway.add_user("ann")
        self.adm = self.gateway.bearer("adm")
        self.ann = self.gateway.bearer("ann")
        self.gateway.add_channel(models="pt-ok,pt-other")
        self.gateway.add_channel(models="pt-secret", group="inner")

    def guest(self, path: str) -> Answer:
        """A guest's request."""
        return self.gateway.ask("GET", f"/api/{path}")

    def hide(self, entry: str, **how: bool) -> None:
        """The navigation has a page for some, or for nobody."""
        self.gateway.set_option("HeaderNavModules", json.dumps({entry: how}))

    def check_navigation(self, entry: str, path: str) -> None:
        """The page is there as the navigation says."""
        self.assertEqual(self.guest(path).status, 200)
        self.hide(entry, enabled=True, requireAuth=True)
        self.assertEqual(self.guest(path).code, "AUTH_UNAUTHORIZED")
        self.assertEqual(self.ann.get(f"/api/{path}").status, 200)
        self.hide(entry, enabled=False)
        answer = self.adm.get(f"/api/{path}")
        self.assertEqual((answer.status, answer.code), (403, "not_configured"))


class MetricsTests(PublicCase):
    """`/api/perf-metrics`."""

    def setUp(self) -> None:
        """Calls of this hour and the last, and of a group that few may use."""
        super().setUp()
        self.hour = NOW - NOW % HOUR
        self.add("pt-ok", "default", self.hour, request_count=4, success_count=3)
        self.add("pt-ok", "default", self.hour - HOUR, request_count=1)
        self.add("pt-ok", "inner", self.hour, request_count=2)
        self.add("pt-secret", "inner", self.hour, request_count=9)

    def add(self, model: str, group: str, at: int, **sums: int) -> None:
        """A bucket."""
        row: dict[str, Any] = {"model_name": model, "group": group, "bucket_ts": at}
        self.gateway.execute(sa.insert(schema.perf_metrics).values(**row, **sums))

    def test_summary(self) -> None:
        """Models of groups that the caller may use; no message."""
        answer = self.guest("perf-metrics/summary")
        self.assertNotIn("message", answer.json)
        (row,) = answer.data["models"]
        self.assertEqual(misfit(row, {"model_name": str, **MEASURES}), "")
        self.assertEqual((row["request_count"], row["success_rate"]), (5, 0.6))
        rows = self.adm.get("/api/perf-metrics/summary").data["models"]
        found = [(it["model_name"], it["request_count"]) for it in rows]
        self.assertEqual(found, [("pt-secret", 9), ("pt-ok", 7)])

    def test_kept(self) -> None:
        """The summary is read again after some seconds, and of each group apart."""
        self.guest("perf-metrics/summary")
        self.add("pt-other", "default", self.hour, request_count=1)
        self.assertEqual(len(self.guest("perf-metrics/summary").data["models"]), 1)
        self.assertEqual(
            len(self.adm.get("/api/perf-metrics/summary").data["models"]), 3
        )
        self.gateway.clock.advance(16)
        self.assertEqual(len(self.guest("perf-metrics/summary").data["models"]), 2)

    def test_hours(self) -> None:
        """As many hours as asked for, within bounds."""
        old = self.hour - 700 * HOUR
        self.add("pt-old", "default", old, request_count=1)
        for hours, models in ((0, 1), (1, 1), (24, 1), (9999, 2)):
            data = self.guest(f"perf-metrics/summary?hours={hours}").data
            self.assertEqual(len(data["models"]), models, hours)

    def test_model(self) -> None:
        """One model by group, with its series."""
        data = self.guest("perf-metrics?model=pt-ok").data
        self.assertEqual(data["series_schema"], "dbcd0a3c01b55203")
        (group,) = data["groups"]
        shape = {"group": str, **MEASURES, "series": [{"ts": int, **MEASURES}]}
        self.assertEqual(misfit(group, shape), "")
        self.assertEqual(
            [it["ts"] for it in group["series"]], [self.hour - HOUR, self.hour]
        )
        self.assertEqual(group["request_count"], 5)
        both = self.adm.get("/api/perf-metrics?model=pt-ok").data["groups"]
        self.assertEqual([it["group"] for it in both], ["default", "inner"])

    def test_width(self) -> None:
        """A day is shown as finely as it was measured, more of them by the hour."""
        self.add("pt-ok", "default", self.hour + 60, request_count=1)
        for hours, points in ((24, 3), (25, 2)):
            data = self.guest(f"perf-metrics?model=pt-ok&hours={hours}").data
            (group,) = data["groups"]
            self.assertEqual(len(group["series"]), points)
            self.assertEqual(group["request_count"], 6)

    def test_group(self) -> None:
        """One group, if the caller may use it."""
        path = "perf-metrics?model=pt-ok&group=inner"
        self.assertEqual(self.guest(path).data["groups"], [])
        groups = self.adm.get(f"/api/{path}").data["groups"]
        self.assertEqual([it["request_count"] for it in groups], [2])

    def test_unknown(self) -> None:
        """A model that nobody called has no groups; none at all is a mistake."""
        self.assertEqual(self.guest("perf-metrics?model=x").data["groups"], [])
        answer = self.guest("perf-metrics")
        self.assertEqual((answer.status, answer.code), (400, "missing_field"))

    def test_off(self) -> None:
        """Without measuring nothing is shown."""
        self.gateway.set_option("perf_metrics_setting.enabled", "false")
        self.assertEqual(self.guest("perf-metrics/summary").data, {"models": []})
        self.assertEqual(self.guest("perf-metrics?model=pt-ok").data["groups"], [])

    def test_navigation(self) -> None:
        """The page of prices decides."""
        self.check_navigation("pricing", "perf-metrics/summary")

    def test_means(self) -> None:
        """What is divided by nothing is unknown."""
        self.assertEqual(
            measures((4, 3, 3000, 500, 2, 300, 6000)),
            {
                "request_count": 4,
                "success_count": 3,
                "success_rate": 0.75,
                "avg_latency_ms": 1000,
                "avg_ttft_ms": 250,
                "avg_tps": 50.0,
            },
        )
        nothing = measures((0,) * 7)
        self.assertEqual(
            {nothing[name] for name in MEASURES if "_count" not in name}, {None}
        )


class RankingsTests(PublicCase):
    """`/api/rankings`."""

    def add(self, model: str, at: int, tokens: int) -> None:
        """Tokens of an hour."""
        row = {"model_name": model, "created_at": at, "token_used": tokens, "count": 1}
        self.gateway.execute(sa.insert(schema.quota_data).values(**row))

    def test_empty(self) -> None:
        """As the reference has it."""
        for period in ("", "?period=day", "?period=month", "?period=all"):
            answer = self.guest(f"rankings{period}")
            self.assertNotIn("message", answer.json)
            self.assertEqual(misfit(answer.data, RANKING), "")
            self.assertEqual(answer.data["models_history"]["buckets"], 0)

    def test_period(self) -> None:
        """There are four."""
        answer = self.guest("rankings?period=nonsense")
        self.assertEqual((answer.status, answer.code), (400, "invalid_field"))

    def test_models(self) -> None:
        """The week's models, their makers, and how they moved."""
        vendors, models = schema.vendors, schema.models
        self.gateway.execute(sa.insert(vendors).values(id=3, name="Acme", icon="A"))
        described = {"model_name": "pt-", "name_rule": 1, "vendor_id": 3}
        self.gateway.execute(sa.insert(models).values(**described))
        for model, this, last in (
            ("pt-ok", 30, 5),
            ("pt-other", 10, 50),
            ("pt-secret", 99, 0),
        ):
            self.add(model, NOW - DAY, this)
            self.add(model, NOW - 8 * DAY, last)
        data = self.guest("rankings").data
        self.assertEqual(misfit(data, {**RANKING, "models": [RANKED]}), "")
        first = data["models"][0]
        self.assertEqual((first["model_name"], first["vendor"]), ("pt-ok", "Acme"))
        self.assertEqual((first["share"], first["growth"]), (0.75, 5.0))
        self.assertEqual([it["model_name"] for it in data["top_movers"]], ["pt-ok"])
        self.assertEqual([it["rank_delta"] for it in data["top_droppers"]], [-1])
        self.assertEqual(data["vendors"][0]["total_tokens"], 40)
        self.assertEqual(
            data["models_history"]["points"][0]["values"], {"pt-ok": 30, "pt-other": 10}
        )
        everything = self.adm.get("/api/rankings").data["models"]
        self.assertEqual(everything[0]["model_name"], "pt-secret")

    def test_own_table(self) -> None:
        """When the export is off our own sums are ranked."""
        self.gateway.set_option("DataExportEnabled", "false")
        self.gateway.add_usage(prompt_tokens=5, completion_tokens=6)
        (row,) = self.guest("rankings?period=day").data["models"]
        self.assertEqual(row["total_tokens"], 11)

    def test_kept(self) -> None:
        """An answer is made from the same rows for some minutes."""
        self.guest("rankings")
        self.add("pt-ok", NOW, 1)
        self.assertEqual(self.guest("rankings").data["models"], [])
        self.gateway.clock.advance(301)
        self.assertEqual(len(self.guest("rankings").data["models"]), 1)

    def test_made_once(self) -> None:
        """Who may see the same is given the same page, which a thread made; a channel
        that comes or goes makes it anew."""
        routes = self.gateway.routes
        self.patch(type(self.gateway), "routes", routes)
        for model in ("pt-ok", "pt-secret"):
            self.add(model, NOW, 1)
        for _ in range(3):
            self.assertEqual(len(self.guest("rankings").data["models"]), 1)
            self.assertEqual(len(self.adm.get("/api/rankings").data["models"]), 2)
        self.assertEqual(self.gateway.in_threads, ["_page", "_page"])
        self.patch(type(self.gateway), "routes", RoutingTable.build([]))
        self.assertEqual(self.guest("rankings").data["models"], [])

    def test_navigation(self) -> None:
        """The navigation's entry decides."""
        self.check_navigation("rankings", "rankings")


class PeriodTests(SynchronousTestCase):
    """Stretches of time."""

    def test_bounds(self) -> None:
        """A period ends with the bucket of now and has as much before it."""
        noon = MONDAY + 2_900 * WEEK + 12 * HOUR
        midnight = noon - 12 * HOUR
        for name, start, earlier in (
            ("day", noon - 23 * HOUR, noon - 47 * HOUR),
            ("week", midnight - 6 * DAY, midnight - 13 * DAY),
            ("month", midnight - 29 * DAY, midnight - 59 * DAY),
            ("all", midnight - 56 * WEEK, midnight - 56 * WEEK),
        ):
            period = period_of(name, noon + 5)
            self.assertEqual((period.start, period.earlier), (start, earlier), name)

    def test_moved(self) -> None:
        """Who rose or fell most comes first; who stayed is not there."""
        before = {"a": 50, "b": 40, "c": 30, "d": 20, "e": 10}
        today = {"e": 50, "d": 40, "c": 30, "a": 20, "b": 10}
        used = [(name, 0, many, 1) for name, many in before.items()]
        used += [(name, 10, many, 1) for name, many in today.items()]
        told = ranking(used, Period(10, 0, 10), lambda _: Vendor("v"), lambda _: True)
        rose = [(it["model_name"], it["rank_delta"]) for it in told["top_movers"]]
        fell = [(it["model_name"], it["rank_delta"]) for it in told["top_droppers"]]
        self.assertEqual(rose, [("e", 4), ("d", 2)])
        self.assertEqual(fell, [("a", -3), ("b", -3)])

    def test_many(self) -> None:
        """The history draws the largest, and the rest together."""
        used = [(f"m{n:02}", at, 100 - n, 1) for n in range(20) for at in (10, 20)]
        told = ranking(used, Period(10, 0, 10), lambda _: Vendor("v"), lambda _: True)
        history = told["models_history"]
        self.assertEqual((len(history["models"]), history["buckets"]), (10, 2))
        values = history["points"][0]["values"]
        self.assertEqual(values[OTHERS], sum(100 - n for n in range(10, 20)))
        shares = told["vendor_share_history"]["points"][0]["values"]
        self.assertEqual(shares, {"v": 1.0})
        self.assertEqual(told["top_movers"], [])
