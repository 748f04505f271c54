"""The catalogue's queries, and those of the hourly sums and of jobs."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import channel_queries, job_queries, quota_queries
from knight_tw.storage import model_queries as queries
from knight_tw.storage.model_queries import ModelFilter
from knight_tw.storage.schema import models, quota_data, tokens, vendors
from tests.engines import ConnectionCase, for_engines
from tests.web.api.rows import NOW, channel_row, token_row


@for_engines
class ModelQueries(ConnectionCase):
    """What is offered and what is described."""

    def test_offers_of_enabled_channels(self) -> None:
        """Only enabled channels offer, the highest priority first."""
        rows = [
            channel_row(models="m-1", priority=1, name="low"),
            channel_row(models="m-1", priority=2, name="high", type=24),
            channel_row(models="m-2", status=2),
        ]
        channel_queries.insert(self.connection, rows)
        offers = queries.offers(self.connection)
        self.assertEqual([offer.channel_name for offer in offers], ["high", "low"])
        self.assertEqual(offers[0].channel_type, 24)
        self.assertEqual(queries.enabled_models(self.connection), ["m-1"])

    def test_descriptions(self) -> None:
        """Descriptions are filtered by words, vendor, status and origin."""
        vendor = self.insert(vendors, name="Google")
        self.insert(models, model_name="gemini", vendor_id=vendor, sync_official=0)
        self.insert(models, model_name="gpt", status=0, tags="fast")

        def named(**chosen: Any) -> list[str]:
            asked = ModelFilter(**chosen)
            rows, _ = queries.described(self.connection, asked, 0, 10)
            return [row["model_name"] for row in rows]

        self.assertEqual(named(), ["gpt", "gemini"])
        self.assertEqual(named(keyword="fast"), ["gpt"])
        self.assertEqual(named(vendor="goog"), ["gemini"])
        self.assertEqual(named(vendor=str(vendor)), ["gemini"])
        self.assertEqual(named(status="disabled"), ["gpt"])
        self.assertEqual(named(sync="no"), ["gemini"])
        counts = queries.vendor_counts(self.connection, ModelFilter())
        self.assertEqual(counts, {0: 1, vendor: 1})

    def test_a_deleted_description(self) -> None:
        """What was deleted is not there, and its name is free."""
        row = queries.insert(self.connection, models, {"model_name": "m"})
        self.assertTrue(queries.delete(self.connection, models, row["id"], 1.0))
        self.assertFalse(queries.delete(self.connection, models, row["id"], 2.0))
        self.assertIsNone(queries.model(self.connection, row["id"]))
        self.assertIsNone(queries.model_named(self.connection, "m"))
        self.assertIsNone(
            queries.update(self.connection, models, row["id"], {"status": 1})
        )

    def test_vendors(self) -> None:
        """Vendors by words, in the order of their making."""
        for name in ("Acme", "Beta"):
            queries.insert(self.connection, vendors, {"name": name})
        rows, total = queries.vendor_page(self.connection, "", 0, 1)
        self.assertEqual(([row["name"] for row in rows], total), (["Acme"], 2))
        rows, total = queries.vendor_page(self.connection, "bet", 0, 9)
        self.assertEqual([row["name"] for row in rows], ["Beta"])
        self.assertEqual(len(queries.every_vendor(self.connection)), 2)


class Matching(SynchronousTestCase):
    """Which models a description is about."""

    def test_rules(self) -> None:
        """By the very name, its beginning, any part, or its end."""
        names = ["gpt-4", "gpt-4o", "my-gpt-4"]
        found = [
            queries.matched({"model_name": "gpt-4", "name_rule": rule}, names)
            for rule in range(4)
        ]
        self.assertEqual(
            found, [["gpt-4"], ["gpt-4", "gpt-4o"], names, ["gpt-4", "my-gpt-4"]]
        )


@for_engines
class QuotaQueries(ConnectionCase):
    """Hourly sums."""

    def setUp(self) -> None:
        """Two users' calls in two hours."""
        super().setUp()
        token = self.insert(tokens, **token_row(name="logkey"))
        channel = channel_queries.insert(self.connection, [channel_row(name="main")])
        self.token, self.channel = token, channel[0]
        for hour, user, model in (
            (0, 11, "a"),
            (0, 12, "a"),
            (1, 11, "a"),
            (1, 11, "b"),
        ):
            self.insert(
                quota_data,
                user_id=user,
                username=f"user-{user}",
                model_name=model,
                created_at=NOW + hour * 3600,
                use_group="default",
                token_id=token if user == 11 else 0,
                channel_id=self.channel,
                node_name="node",
                token_used=10,
                count=1,
                quota=hour + 1,
            )

    def test_by_model(self) -> None:
        """Everybody's sums per model and hour, the hours in order."""
        rows = quota_queries.by_model(self.connection, NOW, NOW + 3600)
        sums = [
            (row["created_at"] - NOW, row["model_name"], row["quota"]) for row in rows
        ]
        self.assertEqual(sums, [(0, "a", 2), (3600, "a", 2), (3600, "b", 2)])
        self.assertNotIn("user_id", rows[0])

    def test_by_model_of_one_user(self) -> None:
        """One user's sums carry the user."""
        rows = quota_queries.by_model(self.connection, NOW, NOW + 60, user_id=12)
        self.assertEqual([(row["user_id"], row["count"]) for row in rows], [(12, 1)])
        named = quota_queries.by_model(self.connection, 0, 0, username="user-12")
        self.assertEqual([row["username"] for row in named], ["user-12"])

    def test_by_user(self) -> None:
        """Sums per user and hour."""
        rows = quota_queries.by_user(self.connection, NOW + 1, 0)
        self.assertEqual([(r["username"], r["count"]) for r in rows], [("user-11", 2)])

    def test_flow(self) -> None:
        """The ways calls took, with names, the dearest first."""
        rows = quota_queries.flow(self.connection, 0, 0)
        first = rows[0]
        told = (first["token_name"], first["channel_name"], first["node_name"])
        self.assertEqual(told, ("logkey", "main", "node"))
        self.assertEqual([row["quota"] for row in rows], [3, 2, 1])
        self.assertIsInstance(first["quota"], int)

    def test_flow_of_one_user(self) -> None:
        """A user's own flow says nothing about channels and nodes."""
        rows = quota_queries.flow(self.connection, 0, 0, 11)
        self.assertNotIn("channel_id", rows[0])
        self.assertEqual([row["model_name"] for row in rows], ["a", "b"])


@for_engines
class JobQueries(ConnectionCase):
    """Rows of long work."""

    def start(self, task_id: str, now: int = NOW) -> tuple[dict[str, Any], bool]:
        """Start a job of one kind."""
        return job_queries.start(
            self.connection, "kind", task_id, "node", {"a": 1}, now
        )

    def test_one_at_a_time(self) -> None:
        """While a job is under way, no other of its kind begins."""
        row, ours = self.start("one")
        self.assertTrue(ours)
        self.assertEqual((row["status"], row["payload"]), ("running", {"a": 1}))
        again, ours = self.start("two")
        self.assertEqual((again["task_id"], ours), ("one", False))

    def test_after_the_end(self) -> None:
        """A finished job keeps its result and makes room."""
        self.start("one")
        job_queries.finish(self.connection, "one", "succeeded", {"n": 2}, "", NOW)
        row = job_queries.find(self.connection, "one")
        self.assertEqual(row and row["result"], {"n": 2})
        self.assertTrue(self.start("two")[1])
        self.assertFalse(
            job_queries.finish(self.connection, "one", "failed", None, "", NOW)
        )

    def test_a_dead_job(self) -> None:
        """A job that nobody has touched for long is taken for dead."""
        self.start("one")
        _, ours = self.start("two", NOW + job_queries.STALE_SECONDS + 1)
        self.assertTrue(ours)
        dead = job_queries.find(self.connection, "one")
        self.assertEqual(dead and dead["status"], "failed")
        self.assertFalse(job_queries.touch(self.connection, "one", None, NOW))
        self.assertTrue(
            job_queries.touch(self.connection, "two", {"processed": 1}, NOW)
        )

    def test_pages(self) -> None:
        """Jobs by kind and status, newest first."""
        self.start("one")
        job_queries.finish(self.connection, "one", "cancelled", None, "", NOW)
        self.start("two")
        rows, total = job_queries.page(self.connection, ["kind"], [], 0, 1)
        self.assertEqual(([row["task_id"] for row in rows], total), (["two"], 2))
        rows, _ = job_queries.page(self.connection, [], ["cancelled"], 0, 9)
        self.assertEqual([row["task_id"] for row in rows], ["one"])
        current = job_queries.current(self.connection, "kind")
        self.assertEqual(current and current["task_id"], "two")
