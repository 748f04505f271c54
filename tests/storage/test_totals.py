"""Tests of knight_tw.storage.totals."""

from __future__ import annotations

import sqlalchemy as sa

from knight_tw.storage import totals
from knight_tw.storage.schema import redemptions
from tests.engines import ConnectionCase, for_engines

KEY = redemptions.c.id


@for_engines
class TotalTests(ConnectionCase):
    """A table with ten rows whose ids go up to twelve."""

    def setUp(self) -> None:
        """Two rows of the middle are deleted."""
        super().setUp()
        ids = [
            self.insert(redemptions, key=f"{number:032x}", name="a", quota=number)
            for number in range(12)
        ]
        gone = redemptions.c.id.in_(ids[4:6])
        self.connection.execute(sa.delete(redemptions).where(gone))

    def test_exact_below_the_bound(self) -> None:
        """Few rows are counted."""
        self.assertEqual(totals.total(self.connection, KEY, [], 11), 10)
        self.assertEqual(totals.bounded(self.connection, KEY, [], 11), 10)

    def test_whole_table(self) -> None:
        """Beyond the bound the ids tell about how many there are."""
        self.assertEqual(totals.total(self.connection, KEY, [], 10), 12)
        self.assertEqual(totals.bounded(self.connection, KEY, [], 10), 10)

    def test_conditions(self) -> None:
        """With a condition a count ends at the bound."""
        small = [redemptions.c.quota < 4]
        self.assertEqual(totals.total(self.connection, KEY, small, 5), 4)
        self.assertEqual(totals.total(self.connection, KEY, small, 3), 3)

    def test_page_that_is_not_full(self) -> None:
        """The last page tells the number; one beyond the end, or a full one, not."""
        told = [(0, 20, 10), (8, 5, 2), (30, 5, 0), (0, 5, 5)]
        found = [totals.total(self.connection, KEY, [], 11, page=page) for page in told]
        self.assertEqual(found, [10, 10, 10, 10])
        self.connection.execute(sa.delete(redemptions))
        page = (0, 20, 3)
        self.assertEqual(totals.total(self.connection, KEY, [], 11, page=page), 3)

    def test_empty(self) -> None:
        """No rows are none."""
        self.connection.execute(sa.delete(redemptions))
        self.assertEqual(totals.total(self.connection, KEY, [], 5), 0)
