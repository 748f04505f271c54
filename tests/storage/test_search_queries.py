"""What the command palette finds."""

from __future__ import annotations

from knight_tw.storage import schema
from knight_tw.storage import search_queries as queries
from tests.engines import ConnectionCase, for_engines


@for_engines
class SearchQueries(ConnectionCase):
    """A few rows of each kind."""

    def setUp(self) -> None:
        """Some of each."""
        super().setUp()
        for number, name in ((1, "ann"), (2, "anna"), (3, "bob_1")):
            self.insert(
                schema.users,
                id=number,
                username=name,
                display_name=name.upper(),
                email=f"{name}@example.com",
                password="",
                aff_code=name,
            )
            self.insert(
                schema.tokens, id=number, user_id=1, name=name, key=f"key{number}"
            )
        self.insert(
            schema.channels, id=12, name="main", key="k", base_url="https://a.test"
        )
        self.insert(schema.channels, id=13, name="spare", key="k", tag="main")

    def users(self, text: str, limit: int = 5) -> list[int]:
        """Ids of accounts."""
        return [it["id"] for it in queries.found_users(self.connection, text, limit)]

    def tokens(self, text: str, user: int = 1) -> list[int]:
        """Ids of tokens."""
        rows = queries.found_tokens(self.connection, user, text, 5)
        return [it["id"] for it in rows]

    def channels(self, text: str) -> list[int]:
        """Ids of channels."""
        return [it["id"] for it in queries.found_channels(self.connection, text, 5)]

    def test_users(self) -> None:
        """By name, address or id; what is meant to the letter comes first."""
        self.assertEqual(self.users("ANN"), [1, 2])
        self.assertEqual(self.users("anna@"), [2])
        self.assertEqual(self.users("3"), [3])
        self.assertEqual(self.users("_1"), [3])
        self.assertEqual(self.users("b%b"), [])
        self.assertEqual(len(self.users("an", 1)), 1)

    def test_tokens(self) -> None:
        """Only the user's own, also by the whole key."""
        self.assertEqual(self.tokens("ann"), [1, 2])
        self.assertEqual(self.tokens("sk-key3"), [3])
        self.assertEqual(self.tokens("key"), [])
        self.assertEqual(self.tokens("ann", user=2), [])

    def test_channels(self) -> None:
        """By name, tag, address or id."""
        self.assertEqual(self.channels("main"), [12, 13])
        self.assertEqual(self.channels("a.test"), [12])
        self.assertEqual(self.channels("13"), [13])
        self.assertEqual(self.channels("9" * 16), [])
