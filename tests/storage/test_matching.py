"""Tests of knight_tw.storage.matching."""

from __future__ import annotations

import sqlalchemy as sa

from knight_tw.storage import matching
from knight_tw.storage.schema import users
from tests.engines import ConnectionCase, for_engines

NAMES = ("Ann_100%", "ann 1000", "it's", "back\\slash", "bang!", "Zoë")


@for_engines
class MatchingTests(ConnectionCase):
    """Accounts with every character that a pattern could mistake."""

    def setUp(self) -> None:
        """The names are display names, which need not differ."""
        super().setUp()
        for number, name in enumerate(NAMES):
            self.insert(
                users,
                username=f"u{number}",
                password="",
                display_name=name,
                aff_code=f"a{number}",
            )

    def found(self, condition: matching.Condition) -> list[str]:
        """The names that a condition takes."""
        asked = sa.select(users.c.display_name).where(condition).order_by(users.c.id)
        return list(self.connection.execute(asked).scalars())

    def test_contains(self) -> None:
        """Part of the text, in upper or lower case; no character is special."""
        name = users.c.display_name
        for text, hits in (
            ("ANN", ["Ann_100%", "ann 1000"]),
            ("100%", ["Ann_100%"]),
            ("n_1", ["Ann_100%"]),
            ("!", ["bang!"]),
            ("\\", ["back\\slash"]),
            ("'", ["it's"]),
            ("zo", ["Zoë"]),
            ("nobody", []),
        ):
            self.assertEqual(self.found(matching.contains(name, text)), hits, text)

    def test_matches(self) -> None:
        """The whole text, or what stands around each `%`."""
        name = users.c.display_name
        self.assertEqual(self.found(matching.matches(name, "bang!")), ["bang!"])
        self.assertEqual(self.found(matching.matches(name, "ba%!")), ["bang!"])
        self.assertEqual(self.found(matching.matches(name, "b_ng%")), [])
