"""Which option rows a one-api database needs besides its own."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.options.table import OPTIONS
from knight_tw.storage.one_api.option_rows import (
    RENAMED,
    added_prices,
    needed,
    unreadable,
)

CHATS = OPTIONS["Chats"].default


class NeededTests(SynchronousTestCase):
    """`needed`."""

    def test_none(self) -> None:
        """Rows that mean the same in both ask for nothing."""
        self.assertEqual(needed({"GroupRatio": '{"default":1}', "Theme": "x"}), {})

    def test_renamed(self) -> None:
        """Each renamed key gets its text; ours is a known option."""
        for old, new in RENAMED.items():
            self.assertIn(new, OPTIONS)
            self.assertEqual(needed({old: "true"}), {new: "true"})
            self.assertEqual(needed({old: ""}), {})
            self.assertEqual(needed({old: "a", new: "b"}), {})

    def test_display(self) -> None:
        """Amounts stay tokens where they were no currency."""
        key = "general_setting.quota_display_type"
        self.assertEqual(needed({"DisplayInCurrencyEnabled": "false"}), {key: "TOKENS"})
        self.assertEqual(needed({"DisplayInCurrencyEnabled": "true"}), {})

    def test_chat_link(self) -> None:
        """The chat link joins the default chats, or those there are; once."""
        made = json.loads(needed({"ChatLink": "https://c.test"})["Chats"])
        self.assertEqual(made, [*json.loads(CHATS), {"Chat": "https://c.test"}])
        rows = {"ChatLink": "https://c.test", "Chats": '[{"Mine":"https://m.test"}]'}
        made = needed(rows)["Chats"]
        expected = [{"Mine": "https://m.test"}, {"Chat": "https://c.test"}]
        self.assertEqual(json.loads(made), expected)
        self.assertEqual(needed({**rows, "Chats": made}), {})
        self.assertEqual(needed({**rows, "Chats": "no JSON"}), {})

    def test_prices(self) -> None:
        """A stored price table gets the models it lacks, and keeps its own spelling."""
        made = needed({"ModelRatio": '{"gpt-4o": 1.50, "mine": 2}'})["ModelRatio"]
        self.assertTrue(made.startswith('{"gpt-4o":1.50,"mine":2,'))
        table = json.loads(made)
        shipped = json.loads(OPTIONS["ModelRatio"].default)
        self.assertEqual(table, {**shipped, "gpt-4o": 1.5, "mine": 2})
        self.assertEqual(needed({"ModelRatio": made}), {})
        self.assertEqual(added_prices('{"gpt-4o": 1, "mine": 2}', made), len(table) - 2)

    def test_channel_suffix(self) -> None:
        """A price for one of one-api's channel types serves where there is no other."""
        stored = '{"a(33)":3,"b(33)":4,"b":5,"gpt-4o(5)":6,"c(x)":7}'
        table = json.loads(needed({"ModelRatio": stored})["ModelRatio"])
        self.assertEqual((table["a"], table["a(33)"], table["b"]), (3, 3, 5))
        self.assertEqual(table["gpt-4o"], 6)
        self.assertNotIn("c", table)

    def test_unreadable(self) -> None:
        """A table that is none stays, and is told."""
        rows = {"ModelRatio": "[]", "CompletionRatio": '{"gpt-4-all":2}'}
        self.assertNotIn("ModelRatio", needed(rows))
        self.assertEqual(unreadable(rows), ["ModelRatio"])
