"""Every row, count and sum of every manifest, after the database was opened."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial

from knight_tw.storage import schema
from tests.compat.comparing import as_upgraded, differences
from tests.compat.manifests import ManifestCase, for_originals
from tests.compat.originals import Row

CONSUMED, TESTED, SYSTEM = 2, 5, 4
GROWN = {"ModelRatio", "CompletionRatio"}
"""Options of one-api to which the upgrade adds."""


@for_originals
class EveryRow(ManifestCase):
    """Rows, counts and sums are what the manifest says."""

    def row(self, table: str, expected: Row) -> None:
        """One row holds what it held, or what the upgrade makes of it."""
        key = next(iter(schema.metadata.tables[table].primary_key)).name
        stored = self.opened.by_key(table)[expected[key]]
        if self.opened.one_api:
            expected = as_upgraded(table, expected)
        if table == "users":
            expected = {k: v for k, v in expected.items() if k != "password"}
        self.assertEqual(differences(expected, stored), {})

    def test_rows(self) -> None:
        """Every row of every table that the manifest lists."""
        tables = schema.metadata.tables.keys() & self.truth.keys() - {"options"}
        self.assertLessEqual({"users", "tokens", "channels", "redemptions"}, tables)
        self.each(
            (f"{table} {row.get('id')}", partial(self.row, table, row))
            for table in sorted(tables)
            for row in self.truth[table]
        )

    def option(self, expected: Row) -> None:
        """An option has its text; price tables of one-api have more entries."""
        key, value = expected["key"], expected["value"]
        stored = self.opened.by_key("options")[key]["value"]
        if self.opened.one_api and key in GROWN:
            before, after = json.loads(value), json.loads(stored)
            self.assertEqual({name: after[name] for name in before}, before)
            return
        self.assertEqual(stored, value)

    def test_options(self) -> None:
        """Every option."""
        self.each(
            (f"option {row['key']}", partial(self.option, row))
            for row in self.truth["options"]
        )

    def test_log_sample(self) -> None:
        """The log rows that the manifest shows whole."""
        self.each(
            (f"log row {row['id']}", partial(self.row, "logs", row))
            for row in self.truth["log_sample"]
        )

    def count(self, table: str, expected: int) -> None:
        """A table has as many rows as before; options may have more."""
        found = len(self.opened.rows[table])
        if table == "options":
            self.assertGreaterEqual(found, expected)
        else:
            self.assertEqual(found, expected)

    def test_counts(self) -> None:
        """The number of rows of every table."""
        self.each(
            (table, partial(self.count, table, count))
            for table, count in self.truth["rows_per_table"].items()
        )

    def total(self, name: str, expected: int) -> None:
        """A sum is equal to the unit; one-api's -1 of unlimited tokens became 0."""
        table, _, column = name.partition(".")
        if self.opened.one_api and name == "tokens.remain_quota":
            expected += sum(
                token["unlimited_quota"] and token["remain_quota"] == -1
                for token in self.truth["tokens"]
            )
        rows = self.opened.rows[table]
        self.assertEqual(sum(row[column] or 0 for row in rows), expected)

    def test_sums(self) -> None:
        """The sums of money."""
        self.each(
            (name, partial(self.total, name, total))
            for name, total in self.truth["sums"].items()
        )

    def log_sums(self, expected: Row) -> None:
        """Number and sums of the log rows of one type and user."""
        kind = expected["type"]
        if self.opened.one_api and kind == TESTED:
            kind = SYSTEM
        rows = [
            row
            for row in self.opened.rows["logs"]
            if (row["type"], row["user_id"]) == (kind, expected["user_id"])
        ]
        self.assertEqual(len(rows), expected["n"])
        for mine, theirs in (
            ("quota", "sum"),
            ("prompt_tokens", "prompt_tokens"),
            ("completion_tokens", "completion_tokens"),
        ):
            self.assertEqual(sum(row[mine] or 0 for row in rows), expected[theirs])

    def test_logs_by_type_and_user(self) -> None:
        """The log rows of each type and user."""
        self.each(
            (f"type {row['type']}, user {row['user_id']}", partial(self.log_sums, row))
            for row in self.truth["logs_by_type_and_user"]
        )

    def test_consumed(self) -> None:
        """What each user has consumed according to the log."""
        total: Counter[str] = Counter()
        for row in self.opened.rows["logs"]:
            if row["type"] == CONSUMED:
                total[row["username"]] += row["quota"]
        expected = self.truth["consumed_quota_per_user"]
        self.assertEqual({name: total[name] for name in expected}, expected)
