"""One-off moves of data."""

from __future__ import annotations

from typing import Any

from twisted.logger import globalLogPublisher

from knight_tw.storage import meta, schema, steps
from tests.engines import ConnectionCase, for_engines


@for_engines
class StepTests(ConnectionCase):
    """`run_missing`, and the steps."""

    def _user(self, name: str, telegram: str) -> int:
        return self.insert(
            schema.users, username=name, password="", telegram_id=telegram
        )

    def test_once(self) -> None:
        """Each step runs once and leaves its mark."""
        self.assertEqual(steps.run_missing(self.connection, 5), list(steps.STEPS))
        self.assertEqual(steps.run_missing(self.connection, 6), [])
        mark = meta.get(self.connection, "step:0001_identity_claims")
        self.assertEqual(mark, "5")

    def test_identity_claims(self) -> None:
        """Bound identities get their claim; of two owners the older keeps it."""
        ann = self._user("ann", "77")
        self._user("bob", "")
        copy = self._user("copy", "77")
        said: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        steps.run_missing(self.connection, 5)
        rows = self.rows(schema.external_identity_claims)
        self.assertEqual(
            [(row["provider"], row["subject"], row["user_id"]) for row in rows],
            [("telegram", "77", ann)],
        )
        self.assertIn(copy, [event.get("user_id") for event in said])

    def test_claims_there(self) -> None:
        """A claim that the original wrote stays as it is."""
        ann = self._user("ann", "77")
        self.insert(
            schema.external_identity_claims,
            provider="telegram",
            subject="77",
            user_id=ann,
        )
        steps.run_missing(self.connection, 5)
        self.assertEqual(len(self.rows(schema.external_identity_claims)), 1)
