"""Tests of how accounts are found by a keyword."""

from __future__ import annotations

from knight_tw.storage import user_queries
from knight_tw.storage.schema import users
from knight_tw.storage.user_queries import Search
from tests.engines import ConnectionCase, for_engines


@for_engines
class SearchTests(ConnectionCase):
    """Five accounts, of which two are new enough for their parts to be searched."""

    def setUp(self) -> None:
        """The first is the oldest."""
        super().setUp()
        self.patch(user_queries, "SEARCHED", 2)
        self.ids = [
            self.insert(
                users,
                username=f"person{number}",
                password="",
                email=f"p{number}@example.org",
                display_name=f"Number {number}",
                aff_code=f"a{number}",
            )
            for number in range(5)
        ]

    def found(self, keyword: str) -> list[int]:
        """Which of the five a keyword finds, newest first."""
        asked = Search(keyword=keyword)
        rows, total = user_queries.search(self.connection, asked, 0, 10)
        self.assertEqual(total, len(rows))
        return [self.ids.index(row["id"]) for row in rows]

    def test_parts(self) -> None:
        """Part of a name, an address or a display name, of the newest."""
        for part in ("ERSON", "@example", "umber "):
            self.assertEqual(self.found(part), [4, 3], part)

    def test_whole(self) -> None:
        """A whole name, address, display name or id finds an old account, too."""
        for whole in ("person0", "p0@example.org", "Number 0", str(self.ids[0])):
            self.assertIn(0, self.found(whole), whole)

    def test_nobody(self) -> None:
        """What nobody has finds nobody."""
        self.assertEqual(self.found("nobody"), [])

    def test_together(self) -> None:
        """Other conditions hold as well."""
        asked = Search(keyword="person", status=2)
        self.assertEqual(user_queries.search(self.connection, asked, 0, 10), ([], 0))
