"""The machines of the installation."""

from __future__ import annotations

from knight_tw.storage import job_queries, schema
from knight_tw.storage import node_queries as queries
from tests.engines import ConnectionCase, for_engines

NOW = 1_795_604_332


@for_engines
class NodeQueries(ConnectionCase):
    """One row for each."""

    def seen(self, name: str, at: int, **info: int) -> None:
        """A node says that it is alive."""
        queries.seen(self.connection, name, info, NOW - 500, at)

    def test_seen(self) -> None:
        """The row is made once and kept up to date."""
        self.seen("b", NOW, load=1)
        self.seen("b", NOW + 30, load=2)
        self.seen("a", NOW)
        rows = queries.every(self.connection)
        self.assertEqual([row["node_name"] for row in rows], ["a", "b"])
        self.assertEqual(rows[1]["info"], {"load": 2})
        self.assertEqual(
            (rows[1]["last_seen_at"], rows[1]["created_at"]), (NOW + 30, NOW)
        )
        self.assertEqual(rows[1]["started_at"], NOW - 500)

    def test_stale(self) -> None:
        """Only who has been silent is forgotten."""
        self.seen("old", NOW - 91)
        self.seen("young", NOW - 90)
        self.assertEqual(queries.forget_stale(self.connection, NOW, "young"), 0)
        self.assertEqual(queries.forget_stale(self.connection, NOW, "none"), 0)
        self.assertEqual(queries.forget_stale(self.connection, NOW), 1)
        self.assertEqual(len(queries.every(self.connection)), 1)

    def test_prune(self) -> None:
        """Nodes that are long gone are forgotten."""
        self.seen("old", NOW - 1000)
        self.seen("young", NOW)
        self.assertEqual(queries.prune(self.connection, NOW - 10), 1)
        self.assertEqual(len(queries.every(self.connection)), 1)

    def test_jobs(self) -> None:
        """So are jobs that are long over, but none that may still run."""
        for kind in ("one", "two"):
            job_queries.start(self.connection, kind, kind, "n", {}, NOW)
        job_queries.finish(self.connection, "one", "failed", None, "", NOW)
        self.assertEqual(job_queries.prune(self.connection, NOW), 0)
        self.assertEqual(job_queries.prune(self.connection, NOW + 1), 1)
        self.assertIsNotNone(job_queries.find(self.connection, "two"))

    def test_unreadable(self) -> None:
        """What another program wrote there may be anything."""
        for name, text in (("a", "{"), ("b", "[]"), ("c", "")):
            self.insert(schema.system_instances, node_name=name, info=text)
        rows = queries.every(self.connection)
        self.assertEqual([row["info"] for row in rows], [{}, {}, {}])
