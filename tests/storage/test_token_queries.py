"""The token pages' queries."""

from __future__ import annotations

from typing import Any

from knight_tw.storage import token_queries as queries
from tests.engines import ConnectionCase, for_engines
from tests.web.api.rows import token_row


@for_engines
class TokenQueries(ConnectionCase):
    """What one owner sees and changes."""

    def setUp(self) -> None:
        """Two owners' tokens."""
        super().setUp()
        self.ids = [
            self.add(user_id=1, name="first", key="a" * 48)["id"],
            self.add(user_id=1, name="second", key="b" * 48)["id"],
            self.add(user_id=2, name="other", key="c" * 48)["id"],
        ]

    def add(self, **columns: Any) -> dict[str, Any]:
        """A new token's row."""
        made = queries.create(self.connection, [token_row(**columns)], 10)
        assert made is not None
        return made[0]

    def found(self, name: str = "", key: str = "") -> int:
        """How many tokens of the first owner a search finds."""
        return queries.search(self.connection, 1, name, key, 0, 9)[1]

    def test_page_is_the_owners_newest_first(self) -> None:
        """A page holds the owner's tokens, newest first, and counts all of them."""
        rows, total = queries.page(self.connection, 1, 0, 1)
        self.assertEqual([row["name"] for row in rows], ["second"])
        self.assertEqual(total, 2)

    def test_search_is_exact_without_wildcard(self) -> None:
        """A name without `%` matches as a whole."""
        self.assertEqual((self.found("fir"), self.found("first")), (0, 1))

    def test_search_takes_wildcards(self) -> None:
        """A `%` stands for anything, other pattern characters for themselves."""
        self.assertEqual((self.found("%ir%"), self.found("f_rst%")), (1, 0))

    def test_search_by_key(self) -> None:
        """The key of another owner is not found."""
        self.assertEqual((self.found(key="a%"), self.found(key="c" * 48)), (1, 0))

    def test_too_many_tokens(self) -> None:
        """Nothing is made beyond the limit."""
        more = [token_row(user_id=1, key="d" * 48)]
        self.assertIsNone(queries.create(self.connection, more, 2))
        self.assertEqual(queries.page(self.connection, 1, 0, 9)[1], 2)

    def test_change_writes_what_is_decided(self) -> None:
        """The row goes through the decision and comes back changed."""
        row = queries.change(self.connection, 1, self.ids[0], lambda row: {"name": "x"})
        self.assertEqual(row and row["name"], "x")
        stored = queries.find(self.connection, 1, self.ids[0])
        self.assertEqual(stored and stored["name"], "x")

    def test_change_of_somebody_elses_token(self) -> None:
        """Another owner's token is not there."""
        row = queries.change(self.connection, 1, self.ids[2], lambda row: {"name": "x"})
        self.assertIsNone(row)

    def test_deleted_tokens_are_gone(self) -> None:
        """Deleting counts the owner's tokens only and hides them everywhere."""
        gone = queries.delete(self.connection, 1, self.ids, 1_700_000_000.0)
        self.assertEqual(gone, 2)
        self.assertEqual(queries.page(self.connection, 1, 0, 9), ([], 0))
        self.assertIsNone(queries.by_id(self.connection, self.ids[0]))
        self.assertEqual(queries.keys(self.connection, 1, self.ids), {})

    def test_select_by_filter(self) -> None:
        """A filter takes by name, status and group."""
        chosen = queries.select(self.connection, 1, name="sec%", status=1, group="")
        self.assertEqual([row["name"] for row in chosen], ["second"])
        self.assertEqual(queries.select(self.connection, 1, group="vip"), [])

    def test_write_several(self) -> None:
        """Columns are set by id."""
        queries.write(self.connection, {self.ids[0]: {"status": 2}})
        chosen = queries.select(self.connection, 1, status=2)
        self.assertEqual([row["id"] for row in chosen], [self.ids[0]])

    def test_names_of_deleted_tokens(self) -> None:
        """Names are known after a token was deleted."""
        queries.delete(self.connection, 1, self.ids[:1], 1.0)
        names = queries.names(self.connection, self.ids[:1])
        self.assertEqual(names, {self.ids[0]: "first"})
