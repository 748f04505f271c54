"""Credentials as the relay reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from knight_tw.storage import schema, tokens
from tests.engines import ConnectionCase, for_engines

KEY = "Kk" * 24
GONE = datetime(2026, 1, 1, tzinfo=UTC)


@for_engines
class FindTests(ConnectionCase):
    """`find_by_key`."""

    def _user(self, **more: Any) -> int:
        values = {"username": "ann", "password": "", "quota": 70, **more}
        return self.insert(schema.users, **values)

    def _token(self, user_id: int, **more: Any) -> int:
        return self.insert(schema.tokens, user_id=user_id, key=KEY, **more)

    def test_found(self) -> None:
        """Token and owner in one look-up."""
        user_id = self._user(setting='{"language": "fr"}', group="vip")
        token_id = self._token(user_id, name="mine", remain_quota=5)
        found = tokens.find_by_key(self.connection, KEY)
        assert found is not None
        token, user = found
        assert user is not None
        self.assertEqual((token.id, token.key, token.name), (token_id, KEY, "mine"))
        self.assertEqual((token.remain_quota, token.unlimited_quota), (5, False))
        self.assertEqual((user.id, user.username, user.quota), (user_id, "ann", 70))
        self.assertEqual((user.group, user.setting), ("vip", {"language": "fr"}))

    def test_unknown(self) -> None:
        """No such key."""
        self.assertIsNone(tokens.find_by_key(self.connection, KEY))

    def test_exact(self) -> None:
        """A key that differs in case is another key, also on MySQL."""
        self._token(self._user())
        self.assertIsNone(tokens.find_by_key(self.connection, KEY.lower()))

    def test_deleted(self) -> None:
        """A deleted token is no token."""
        self._token(self._user(), deleted_at=GONE)
        self.assertIsNone(tokens.find_by_key(self.connection, KEY))

    def test_deleted_owner(self) -> None:
        """A token whose owner is deleted or missing has no owner."""
        self._token(self._user(deleted_at=GONE))
        found = tokens.find_by_key(self.connection, KEY)
        assert found is not None
        self.assertIsNone(found[1])

    def test_missing_owner(self) -> None:
        """The same when there never was one."""
        self._token(999)
        found = tokens.find_by_key(self.connection, KEY)
        assert found is not None
        self.assertIsNone(found[1])

    def test_lists(self) -> None:
        """Models, addresses and groups are split; a broken group list is empty."""
        self._token(
            self._user(),
            model_limits="gpt-4o, ,o1",
            model_limits_enabled=True,
            allow_ips="10.0.0.0/8\n ::1 \n\n",
            auto_groups='["a","b",3]',
        )
        found = tokens.find_by_key(self.connection, KEY)
        assert found is not None
        token = found[0]
        self.assertEqual(token.model_limits, {"gpt-4o", "o1"})
        self.assertEqual(token.allow_ips, ("10.0.0.0/8", "::1"))
        self.assertEqual(token.auto_groups, ("a", "b"))

    def test_old_row(self) -> None:
        """A row with NULL in everything but its key reads as defaults."""
        columns = {column.name: None for column in schema.tokens.c}
        del columns["id"]
        self.insert(schema.tokens, **{**columns, "key": KEY})
        found = tokens.find_by_key(self.connection, KEY)
        assert found is not None
        token = found[0]
        self.assertEqual((token.user_id, token.expired_time), (0, -1))
        self.assertEqual((token.auto_groups, token.allow_ips), ((), ()))

    def test_broken_groups(self) -> None:
        """Group lists that are no JSON arrays."""
        for text in ("plain", "{}", "[" * 50_000):
            row = {column.name: None for column in schema.tokens.c}
            token = tokens.to_record({**row, "id": 1, "auto_groups": text})
            self.assertEqual(token.auto_groups, ())


@for_engines
class ListTests(ConnectionCase):
    """Look-ups by id."""

    def test_find_all(self) -> None:
        """Living tokens only."""
        first = self.insert(schema.tokens, key="a")
        second = self.insert(schema.tokens, key="b", deleted_at=GONE)
        found = tokens.find_all(self.connection, [first, second, 999])
        self.assertEqual({token.key for token in found.values()}, {"a"})

    def test_balances(self) -> None:
        """Deleted tokens too: their calls are still settled."""
        first = self.insert(schema.tokens, key="a", remain_quota=3)
        second = self.insert(
            schema.tokens, key="b", unlimited_quota=True, deleted_at=GONE
        )
        found = tokens.balances(self.connection, [first, second])
        self.assertEqual(found, {first: (3, False), second: (0, True)})

    def test_many(self) -> None:
        """More ids than one statement takes."""
        first = self.insert(schema.tokens, key="a")
        found = tokens.balances(self.connection, range(first, first + 1_200))
        self.assertEqual(found, {first: (0, False)})
