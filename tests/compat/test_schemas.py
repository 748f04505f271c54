"""A database that we opened still opens in new-api, and opens again here.

The originals are not run here. They need what they would have made themselves: each
table, column, index and type of their newest generation; nothing of their own dropped
or narrowed; no column of ours that an insert of theirs would fail on.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import sqlalchemy as sa

from knight_tw.storage import channel_queries, schema, widths
from tests.compat import originals
from tests.compat.manifests import ManifestCase, for_originals
from tests.compat.originals import Row, Schema, bring, terms

JSON_COLUMNS = [
    (table.name, column.name)
    for table in schema.metadata.sorted_tables
    for column in table.columns
    if type(column.type).__name__ == "Document"
]


@for_originals
class EverySchema(ManifestCase):
    """The schema after the opening."""

    @property
    def engine(self) -> sa.Engine:
        """The opened database."""
        return self.opened.engine

    @property
    def newest(self) -> Schema:
        """What the newest new-api makes on the same engine."""
        kind = originals.kind_of(self.original)
        engine = next(e for e, its in originals.ENGINES.items() if its == kind)
        return originals.opened(f"newapi-{engine}").before

    def kind(self, column: Row) -> str:
        return str(column["type"].compile(dialect=self.engine.dialect)).upper()

    def wide_enough(self, ours: Row, theirs: Row) -> bool:
        """Whether our column holds what theirs does, in the same manner."""
        has, wants = self.kind(ours), self.kind(theirs)
        if self.engine.dialect.name == "sqlite":
            return _affinity(has) == _affinity(wants)
        if widths.wider_type(has, wants, self.engine.dialect.name):
            return False
        return _family(has) == _family(wants)

    def column(self, where: str, ours: Row | None, theirs: Row) -> None:
        """A column of theirs is here, wide enough."""
        if ours is None:
            self.fail("missing")
        self.assertTrue(
            self.wide_enough(ours, theirs), f"{self.kind(ours)}, {self.kind(theirs)}"
        )

    def columns(self, theirs: Schema) -> None:
        """Each column of theirs."""
        ours = Schema.of(self.engine)
        self.each(
            (f"{table}.{name}", partial(self.column, name, found.get(name), column))
            for table, columns in theirs.columns.items()
            for found in [ours.columns.get(table, {})]
            for name, column in columns.items()
        )

    def test_nothing_missing(self) -> None:
        """Every table, column and index of the newest new-api is there."""
        self.columns(self.newest)
        ours = Schema.of(self.engine)
        for table, wanted in self.newest.indexes.items():
            found = ours.indexes[table]
            # An index that is unique serves as one that need not be.
            lacking = {(c, u) for c, u in wanted if not {(c, u), (c, True)} & found}
            self.assertEqual(lacking, set(), table)

    def test_nothing_lost(self) -> None:
        """Nothing that was there is gone, narrower or less free."""
        self.columns(self.opened.before)
        ours = Schema.of(self.engine)
        for table, columns in self.opened.before.columns.items():
            nullable = {name: column["nullable"] for name, column in columns.items()}
            found = {name: ours.columns[table][name]["nullable"] for name in nullable}
            self.assertEqual(found, nullable, table)
            before = self.opened.before.indexes[table]
            self.assertLessEqual(before, ours.indexes[table], table)

    def test_nothing_demanded(self) -> None:
        """No column of ours must be filled by an insert that does not know it."""
        ours = Schema.of(self.engine)
        for theirs in (self.opened.before, self.newest):
            for table, known in theirs.columns.items():
                demanded = [
                    name
                    for name, column in ours.columns[table].items()
                    if name not in known
                    and not (column["nullable"] or column["default"] is not None)
                ]
                self.assertEqual(self.demanded_by_both(table, demanded), [], table)

    def demanded_by_both(self, table: str, names: list[str]) -> list[str]:
        """Those that the newest new-api does not know either."""
        return [n for n in names if n not in self.newest.columns.get(table, {})]

    def test_again(self) -> None:
        """Opening it once more writes nothing."""
        written: list[str] = []

        def executed(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if re.match(r"\s*(INSERT|UPDATE|DELETE|ALTER|CREATE|DROP)", statement):
                written.append(statement)

        self.opened  # noqa: B018 - opens it
        sa.event.listen(self.engine, "before_cursor_execute", executed)
        bring(self.engine, terms(originals.time_of(self.original) + 100))
        sa.event.remove(self.engine, "before_cursor_execute", executed)
        self.assertEqual(written, [])

    def test_json_as_blobs(self) -> None:
        """On SQLite the originals read JSON columns as blobs only."""
        if self.engine.dialect.name != "sqlite":
            return
        info = '{"is_multi_key":false}'
        with self.engine.begin() as connection:
            (first, *_) = channel_queries.every_id(connection)
            connection.execute(
                sa.update(schema.channels)
                .where(schema.channels.c.id == first)
                .values(channel_info=info)
            )
            for table, column in JSON_COLUMNS:
                kinds = connection.exec_driver_sql(
                    f"SELECT DISTINCT typeof({column}) FROM {table}"  # noqa: S608
                )
                found = set(kinds.scalars())
                self.assertLessEqual(found, {"blob", "null"}, f"{table}.{column}")


def _affinity(kind: str) -> str:
    """SQLite's rules, in their order."""
    for affinity, words in (
        ("integer", ("INT",)),
        ("text", ("CHAR", "CLOB", "TEXT")),
        ("blob", ("BLOB",)),
        ("real", ("REAL", "FLOA", "DOUB")),
    ):
        if any(word in kind for word in words):
            return affinity
    return "numeric"


def _family(kind: str) -> str:
    """Texts of any width are one family, whole numbers are one, the rest itself."""
    if re.match(r"(VAR)?CHAR|(TINY|MEDIUM|LONG)?TEXT", kind):
        return "text"
    if re.match(r"TINYINT\(1\)|BOOL", kind):
        return "flag"
    if re.match(r"(TINY|SMALL|MEDIUM|BIG)?INT", kind):
        return "integer"
    if re.match(r"NUMERIC|DECIMAL", kind):
        return "numeric"
    return re.match(r"[A-Z ]*", kind)[0].strip()  # type: ignore[index]  # matches ""
