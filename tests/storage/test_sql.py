"""Statements that engines spell differently."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema, sql
from tests.engines import ConnectionCase, for_engines

MINUTES = schema.knight_channel_minutes


def minute(channel: int, count: int, errors: int = 0) -> dict[str, Any]:
    """A row of the minute table."""
    return {"channel_id": channel, "minute": 1, "count": count, "errors": errors}


@for_engines
class UpsertTests(ConnectionCase):
    """`upsert`, `insert_new`, `new_id`."""

    def _upsert(self, *rows: dict[str, Any]) -> None:
        keys = ("channel_id", "minute")
        sql.upsert(self.connection, MINUTES, rows, keys, add=("count",))

    def _found(self) -> list[tuple[int, int, int]]:
        return [
            (row["channel_id"], row["count"], row["errors"])
            for row in self.rows(MINUTES)
        ]

    def test_new_rows(self) -> None:
        """Rows that do not exist are inserted."""
        self._upsert(minute(2, 5), minute(1, 3))
        self.assertEqual(self._found(), [(1, 3, 0), (2, 5, 0)])

    def test_add_and_replace(self) -> None:
        """Columns named in `add` are summed, the others replaced."""
        self._upsert(minute(1, 3, errors=9))
        self._upsert(minute(1, 4, errors=2))
        self.assertEqual(self._found(), [(1, 7, 2)])

    def test_same_key_twice(self) -> None:
        """Two rows with one key in one call count both."""
        self._upsert(minute(1, 3), minute(1, 4))
        self.assertEqual(self._found(), [(1, 7, 0)])

    def test_nothing(self) -> None:
        """No rows, no statement."""
        self._upsert()
        self.assertEqual(self._found(), [])

    def test_reserved_words(self) -> None:
        """Columns named `key` and `value` work."""
        for value in ("a", "b"):
            row = {"key": "k", "value": value}
            sql.upsert(self.connection, schema.options, [row], ["key"])
        self.assertEqual(self.rows(schema.options), [{"key": "k", "value": "b"}])

    def test_only_keys(self) -> None:
        """A row of keys alone is kept when it exists."""
        row = {"channel_id": 1, "minute": 1}
        for _ in range(2):
            sql.upsert(self.connection, MINUTES, [row], ("channel_id", "minute"))
        self.assertEqual(self._found(), [(1, 0, 0)])

    def test_insert_new(self) -> None:
        """Rows that exist already are passed over and not counted."""
        self.assertEqual(sql.insert_new(self.connection, MINUTES, [minute(1, 3)]), 1)
        rows = [minute(1, 9), minute(2, 1)]
        self.assertEqual(sql.insert_new(self.connection, MINUTES, rows), 1)
        self.assertEqual(self._found(), [(1, 3, 0), (2, 1, 0)])

    def test_new_id(self) -> None:
        """The id of an inserted row."""
        made = sql.new_id(self.connection, schema.tokens, {"key": "k"})
        self.assertEqual(self.rows(schema.tokens)[0]["id"], made)


class ReadingTests(SynchronousTestCase):
    """Lenient reading of columns."""

    def test_json_object(self) -> None:
        """An object; anything else is empty."""
        self.assertEqual(sql.json_object('{"a": 1}'), {"a": 1})
        self.assertEqual(sql.json_object(b'{"a": 1}'), {"a": 1})
        for text in (None, "", "[1]", "plain", "null", "{", "[" * 100_000):
            self.assertEqual(sql.json_object(text), {})

    def test_listed(self) -> None:
        """Entries without blanks, empty ones dropped."""
        self.assertEqual(sql.listed(" a, ,b,"), ("a", "b"))
        self.assertEqual(sql.listed(None), ())

    def test_chunks(self) -> None:
        """Slices of at most the size asked for."""
        self.assertEqual(list(sql.chunks([1, 2, 3], 2)), [[1, 2], [3]])

    def test_json_value(self) -> None:
        """SQLite gets bytes, the others text, nothing becomes None."""
        sqlite, mysql = schema_dialect("sqlite"), schema_dialect("mysql")
        self.assertEqual(sql.json_value(sqlite, {"a": 1}), b'{"a":1}')
        self.assertEqual(sql.json_value(mysql, {"a": 1}), '{"a":1}')
        self.assertIsNone(sql.json_value(mysql, ""))


def schema_dialect(name: str) -> Any:
    """A dialect without an engine."""
    from sqlalchemy.dialects import mysql, sqlite

    return {"sqlite": sqlite, "mysql": mysql}[name].dialect()
