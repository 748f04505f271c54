"""Log rows are stored whatever is in them."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import logs, schema
from tests.engines import ConnectionCase, for_engines


@for_engines
class InsertTests(ConnectionCase):
    """`insert`."""

    def test_rows(self) -> None:
        """Rows in order, what they leave out as zero or null."""
        logs.insert(
            self.connection,
            [
                {"user_id": 1, "type": 2, "quota": 5, "is_stream": True},
                {"user_id": 2, "status": 200, "other": {"a": "é"}},
            ],
        )
        first, second = self.rows(schema.logs)
        self.assertEqual((first["user_id"], first["quota"]), (1, 5))
        self.assertEqual((first["status"], first["session_id"]), (None, None))
        self.assertEqual((first["content"], first["other"]), ("", ""))
        self.assertIs(first["is_stream"], True)
        self.assertEqual(json.loads(second["other"]), {"a": "é"})

    def test_nothing(self) -> None:
        """No rows, no statement."""
        logs.insert(self.connection, [])
        self.assertEqual(self.rows(schema.logs), [])

    def test_hostile(self) -> None:
        """NULs, lone surrogates, endless texts and numbers do not stop a batch."""
        logs.insert(
            self.connection,
            [
                {
                    "content": "a\0b\ud800c",
                    "model_name": "m" * 500,
                    "request_id": "r" * 500,
                    "prompt_tokens": 10**30,
                    "completion_tokens": -(10**30),
                    "other": {"x\0": "\ud800"},
                    "ip": None,
                }
            ],
        )
        row = self.rows(schema.logs)[0]
        self.assertEqual(row["content"], "ab?c")
        self.assertEqual((len(row["model_name"]), len(row["request_id"])), (191, 64))
        self.assertEqual(row["prompt_tokens"], 2**63 - 1)
        self.assertEqual(json.loads(row["other"]), {"x\0": "?"})


class CleanTests(SynchronousTestCase):
    """`clean`."""

    @settings(max_examples=100, deadline=None)
    @given(st.text(st.characters(), max_size=30), st.integers(0, 30))
    def test_any_text(self, text: str, limit: int) -> None:
        """The result has UTF-8, no NUL and no more than the limit."""
        cleaned = logs.clean(text, limit)
        cleaned.encode()
        self.assertNotIn("\0", cleaned)
        self.assertTrue(len(cleaned) <= limit)

    def test_untouched(self) -> None:
        """A text without trouble stays as it is."""
        self.assertEqual(logs.clean("Grüße 🎉"), "Grüße 🎉")
