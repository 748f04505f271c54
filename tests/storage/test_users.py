"""Accounts as the relay reads them."""

from __future__ import annotations

from datetime import UTC, datetime

from knight_tw.storage import schema, users
from tests.engines import ConnectionCase, for_engines

GONE = datetime(2026, 1, 1, tzinfo=UTC)


@for_engines
class UserTests(ConnectionCase):
    """`find`, `find_all`, `balances`."""

    def test_find(self) -> None:
        """A living account; settings that are no JSON object read as none."""
        user_id = self.insert(
            schema.users, username="ann", password="", role=10, setting="plain"
        )
        user = users.find(self.connection, user_id)
        assert user is not None
        self.assertEqual((user.username, user.role, user.group), ("ann", 10, "default"))
        self.assertEqual(user.setting, {})

    def test_deleted(self) -> None:
        """A deleted account is not found; its balance is."""
        user_id = self.insert(
            schema.users, username="ann", password="", quota=5, deleted_at=GONE
        )
        self.assertIsNone(users.find(self.connection, user_id))
        self.assertEqual(users.balances(self.connection, [user_id]), {user_id: 5})

    def test_nulls(self) -> None:
        """NULLs of old rows read as zero values."""
        row = {column.name: None for column in users.COLUMNS}
        user = users.to_record({**row, "id": 3})
        self.assertEqual((user.id, user.quota, user.group), (3, 0, "default"))
