"""The option table and its history."""

from __future__ import annotations

from knight_tw.storage import options, schema
from tests.engines import ConnectionCase, for_engines


@for_engines
class OptionRowTests(ConnectionCase):
    """`load`, `save`, `version`."""

    def _save(self, key: str, value: str | None, *, secret: bool = False) -> bool:
        return options.save(self.connection, key, value, 7, 100, secret=secret)

    def test_save(self) -> None:
        """What is saved is loaded, changed and unknown keys included."""
        self._save("RetryTimes", "3")
        self._save("RetryTimes", "4")
        self._save("made.up", "x")
        found = options.load(self.connection)
        self.assertEqual(found, {"RetryTimes": "4", "made.up": "x"})

    def test_null(self) -> None:
        """A row with NULL reads as an empty text."""
        self.insert(schema.options, key="a", value=None)
        self.assertEqual(options.load(self.connection), {"a": ""})

    def test_history(self) -> None:
        """Each change has a row with both values and who made it."""
        self._save("RetryTimes", "3")
        self._save("RetryTimes", None)
        rows = self.rows(schema.knight_option_history)
        self.assertEqual(
            [(row["key"], row["old_value"], row["new_value"]) for row in rows],
            [("RetryTimes", None, "3"), ("RetryTimes", "3", None)],
        )
        self.assertEqual((rows[0]["user_id"], rows[0]["created_at"]), (7, 100))
        self.assertEqual(options.load(self.connection), {})

    def test_unchanged(self) -> None:
        """The same value again is no change."""
        self.assertTrue(self._save("a", "1"))
        self.assertFalse(self._save("a", "1"))
        self.assertFalse(self._save("b", None))
        self.assertEqual(len(self.rows(schema.knight_option_history)), 1)

    def test_secrets(self) -> None:
        """Values of secrets stay out of the history."""
        self._save("SMTPToken", "hush")
        self._save("plain", "hush", secret=True)
        rows = self.rows(schema.knight_option_history)
        self.assertEqual({row["new_value"] for row in rows}, {None})

    def test_version(self) -> None:
        """The version grows with each change."""
        before = options.version(self.connection)
        self._save("a", "1")
        first = options.version(self.connection)
        self._save("b", "1")
        self.assertTrue(before < first < options.version(self.connection))
