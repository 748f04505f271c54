"""Processes tell each other what changed."""

from __future__ import annotations

import threading

import sqlalchemy as sa
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from knight_tw.storage import changes, schema
from tests.engines import ConnectionCase, DatabaseCase, for_engines


@for_engines
class ChangeTests(ConnectionCase):
    """`announce`, `since`, `last`, `prune`."""

    def test_since(self) -> None:
        """A reader gets what came after the number it knows, oldest first."""
        changes.announce(self.connection, "option", "", 1)
        known = changes.last(self.connection)
        changes.announce(self.connection, "channel", "3", 2)
        changes.announce(self.connection, "user", "4", 3)
        found = changes.since(self.connection, known)
        self.assertEqual([row[1:] for row in found], [("channel", "3"), ("user", "4")])
        self.assertEqual(changes.last(self.connection), found[-1][0])

    def test_none(self) -> None:
        """Without changes there is nothing, and the newest number is 0."""
        self.assertEqual(changes.since(self.connection, 0), [])
        self.assertEqual(changes.last(self.connection), 0)

    def test_long_reference(self) -> None:
        """A reference too long for its column is cut."""
        changes.announce(self.connection, "purge", "x" * 99, 1)
        self.assertEqual(changes.since(self.connection, 0)[0][2], "x" * 64)

    def test_prune(self) -> None:
        """Old rows go; the newest stays, so that no number comes twice."""
        for now in (1, 2, 1_000):
            changes.announce(self.connection, "user", str(now), now)
        self.assertEqual(changes.prune(self.connection, 1_000), 2)
        self.assertEqual(changes.prune(self.connection, 9_000), 0)
        refs = [row["ref"] for row in self.rows(schema.knight_changes)]
        self.assertEqual(refs, ["1000"])

    def test_prune_nothing(self) -> None:
        """An empty table is no trouble."""
        self.assertEqual(changes.prune(self.connection, 1_000), 0)


@for_engines
class OrderTests(DatabaseCase):
    """Numbers become visible in their order."""

    async def test_order(self) -> None:
        """A second writer waits until the first has committed its number."""
        entered, leave = threading.Event(), threading.Event()

        def slow(connection: sa.Connection) -> None:
            changes.announce(connection, "user", "first", 1)
            entered.set()
            leave.wait(5)

        first = Deferred.fromCoroutine(self.db.run(slow))
        while not entered.is_set():
            await deferLater(reactor, 0.01)
        second = Deferred.fromCoroutine(
            self.db.run(changes.announce, "user", "second", 2)
        )
        await deferLater(reactor, 0.1)
        self.assertNoResult(second)
        leave.set()
        await first
        await second
        found = await self.db.read(changes.since, 0)
        self.assertEqual([row[2] for row in found], ["first", "second"])
