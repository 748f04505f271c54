"""`ensure` completes whatever database it meets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import completion, meta, schema
from tests.engines import ConnectionCase, engine_for, for_engines, fresh_database

Columns = dict[str, str]

OLD = [schema.tokens, schema.logs, schema.top_ups]
"""The tables that `old_tables` has too."""


def old_tables() -> sa.MetaData:
    """A few tables as an early program made them: narrow, bare, indexed otherwise."""
    old = sa.MetaData()
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    sa.Table(
        "tokens",
        old,
        sa.Column("id", number, primary_key=True),
        sa.Column("key", sa.CHAR(48), quote=True),
        sa.Column("name", sa.String(191)),
        sa.Column("model_limits", sa.String(1024), server_default=""),
        sa.Column("remain_quota", sa.Integer, server_default=sa.text("0")),
        sa.Column("subnet", sa.String(64)),
        sa.Index("uni_tokens_key", "key", unique=True),
        sa.Index("odd_name", "name"),
    )
    sa.Table(
        "logs",
        old,
        sa.Column("id", number, primary_key=True),
        sa.Column("user_id", number),
        sa.Column("created_at", number),
        sa.Column("type", number),
        sa.Index("idx_created_at_id", "id", "created_at"),
    )
    sa.Table(
        "top_ups",
        old,
        sa.Column("id", number, primary_key=True),
        sa.Column("trade_no", sa.Text),
    )
    return old


@for_engines
class EnsureTests(ConnectionCase):
    """On a database of the test's own."""

    def setUp(self) -> None:
        """An empty database instead of the class's."""
        self.place = fresh_database(self.kind)
        self.engine = engine_for(self.place)
        self.addCleanup(self.engine.dispose)

    def _ensure(self, tables: list[sa.Table] | None = None) -> list[str]:
        """Runs `ensure`; the statements that changed something."""
        changes = []

        def executed(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if statement.strip().startswith(("CREATE", "ALTER", "DROP")):
                changes.append(statement)

        sa.event.listen(self.engine, "before_cursor_execute", executed)
        with self.engine.begin() as connection:
            schema.ensure(connection, tables)
        sa.event.remove(self.engine, "before_cursor_execute", executed)
        return changes

    def test_options_of_one_engine(self) -> None:
        """Our own texts are compared exactly on MySQL, and a deleted row's name is free
        again where an index can say so."""
        changes = self._ensure()
        ours = next(it for it in changes if "TABLE knight_meta" in it)
        self.assertEqual("utf8mb4_bin" in ours, self.kind == "mysql")
        index = next(it for it in changes if "uk_prefill_name" in it)
        self.assertEqual("deleted_at IS NULL" in index, self.kind != "mysql")

    def _old(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            old_tables().create_all(connection)
            for statement in statements:
                connection.exec_driver_sql(statement)

    def _indexes(self, table: str) -> list[tuple[list[str | None], bool]]:
        found = sa.inspect(self.engine).get_indexes(table)
        return [(index["column_names"], bool(index["unique"])) for index in found]

    def _types(self, table: str) -> Columns:
        return {
            column["name"]: str(column["type"]).upper()
            for column in sa.inspect(self.engine).get_columns(table)
        }

    def test_empty(self) -> None:
        """An empty database gets every table, column and index."""
        self._ensure()
        inspector = sa.inspect(self.engine)
        tables = schema.metadata.tables
        self.assertEqual(set(inspector.get_table_names()), set(tables))
        for name, table in tables.items():
            self.assertEqual(set(self._types(name)), set(table.c.keys()), name)
        self.assertIn((["created_at", "id"], False), self._indexes("logs"))

    def test_again(self) -> None:
        """A second run changes nothing."""
        self._ensure()
        self.assertEqual(self._ensure(), [])

    def test_columns_added(self) -> None:
        """Missing columns are added, foreign ones and the rows stay."""
        self._old("INSERT INTO logs (user_id, type) VALUES (7, 2)")
        self._ensure(OLD)
        self.assertIn("subnet", self._types("tokens"))
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(schema.logs)).mappings().one()
        self.assertEqual((row["user_id"], row["quota"]), (7, 0))
        self.assertEqual((row["status"], row["other"]), (None, None))

    def test_again_on_old(self) -> None:
        """An old database is complete after one run."""
        self._old()
        self._ensure(OLD)
        self.assertEqual(self._ensure(OLD), [])

    def test_widened(self) -> None:
        """Narrow texts and numbers are widened where the engine enforces widths."""
        self._old("INSERT INTO tokens (name) VALUES ('kept')")
        self._ensure(OLD)
        types = self._types("tokens")
        if self.kind != "sqlite":
            self.assertTrue(types["key"].startswith("VARCHAR(128)"), types["key"])
            self.assertTrue(types["model_limits"].startswith("TEXT"))
            self.assertTrue(types["remain_quota"].startswith("BIGINT"))
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(schema.tokens)).mappings().one()
        self.assertEqual((row["name"], row["remain_quota"]), ("kept", 0))

    def test_padding_goes(self) -> None:
        """A blank-padded key is found by itself after widening."""
        self._old()
        old = old_tables().tables["tokens"]
        with self.engine.begin() as connection:
            connection.execute(sa.insert(old).values(key="short"))
        self._ensure(OLD)
        with self.engine.connect() as connection:
            asked = sa.select(schema.tokens).where(schema.tokens.c.key == "short")
            self.assertEqual(len(connection.execute(asked).all()), 1)

    def test_index_names(self) -> None:
        """Indexes count by their columns; a taken name on other columns is no bar."""
        self._old()
        self._ensure(OLD)
        self.assertEqual(self._indexes("tokens").count((["name"], False)), 1)
        self.assertEqual(self._indexes("tokens").count((["key"], True)), 1)
        logs = self._indexes("logs")
        self.assertIn((["id", "created_at"], False), logs)
        self.assertIn((["created_at", "id"], False), logs)

    def test_duplicates(self) -> None:
        """Rows that contradict a unique index get a plain one."""
        self._old(*["INSERT INTO top_ups (trade_no) VALUES ('same')"] * 2)
        self._ensure(OLD)
        self.assertEqual(self._indexes("top_ups").count((["trade_no"], False)), 1)
        self.assertNotIn((["trade_no"], True), self._indexes("top_ups"))

    def test_unique(self) -> None:
        """A unique index is added where the rows allow it, also on a long text."""
        self._old("INSERT INTO top_ups (trade_no) VALUES ('one')")
        self._ensure(OLD)
        self.assertIn((["trade_no"], True), self._indexes("top_ups"))

    def test_some_tables(self) -> None:
        """A database for logs gets the tables of logs only, and no version."""
        self._ensure(list(schema.LOG_TABLES))
        names = set(sa.inspect(self.engine).get_table_names())
        self.assertEqual(names, {"logs", "knight_journal"})

    def test_foreign_table(self) -> None:
        """A table of the same name without our key is refused."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE logs (message VARCHAR(10))")
        error = self.assertRaises(schema.SchemaRefused, self._ensure)
        self.assertIn("logs", str(error))

    def test_concurrent(self) -> None:
        """Two processes that start at once both get through."""
        engines = [engine_for(self.place) for _ in range(3)]

        def start(engine: sa.Engine) -> None:
            with engine.begin() as connection:
                schema.ensure(connection)
            engine.dispose()

        with ThreadPoolExecutor(3) as threads:
            list(threads.map(start, engines))
        self.assertEqual(self._ensure(), [])

    def test_one_api(self) -> None:
        """A one-api database is completed only when its upgrade has begun."""
        old = sa.MetaData()
        sa.Table("users", old, sa.Column("id", sa.BigInteger, primary_key=True))
        sa.Table("channels", old, sa.Column("id", sa.BigInteger, primary_key=True))
        with self.engine.begin() as connection:
            old.create_all(connection)
            self.assertTrue(completion.is_one_api(connection))
        self.assertRaises(schema.SchemaRefused, self._ensure)
        self._ensure([schema.knight_meta])
        with self.engine.begin() as connection:
            meta.put(connection, completion.ONE_API_KEY, "started")
        self._ensure()
        with self.engine.begin() as connection:
            self.assertFalse(completion.is_one_api(connection))

    def test_not_one_api(self) -> None:
        """A column that only new-api adds tells that it has been here."""
        old = sa.MetaData()
        sa.Table("users", old, sa.Column("id", sa.BigInteger, primary_key=True))
        sa.Table(
            "channels",
            old,
            sa.Column("id", sa.BigInteger, primary_key=True),
            sa.Column("auto_ban", sa.BigInteger),
        )
        with self.engine.begin() as connection:
            old.create_all(connection)
            self.assertFalse(completion.is_one_api(connection))

    def test_version(self) -> None:
        """The schema version is noted; a newer one stays. A slave needs it."""
        with self.engine.connect() as connection:
            self.assertRaises(schema.SchemaRefused, meta.require_version, connection)
        self._ensure()
        with self.engine.begin() as connection:
            meta.require_version(connection)
            meta.put(connection, completion.VERSION_KEY, "0")
            self.assertRaises(schema.SchemaRefused, meta.require_version, connection)
            meta.put(connection, completion.VERSION_KEY, "999")
        self._ensure()
        with self.engine.connect() as connection:
            self.assertEqual(meta.schema_version(connection), 999)

    def test_nul_version(self) -> None:
        """A version that is no number counts as none."""
        self.assertEqual(completion.version_number("x"), 0)


class CharacterSetTests(SynchronousTestCase):
    """Databases that cannot hold every text are refused."""

    def _refused(self, place: str, *statements: str) -> str:
        engine = engine_for(place)
        self.addCleanup(engine.dispose)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
            return str(
                self.assertRaises(schema.SchemaRefused, schema.ensure, connection)
            )

    def test_mysql_database(self) -> None:
        """A MySQL database with another default character set."""
        place = fresh_database("mysql", "CHARACTER SET latin1")
        self.assertIn("latin1", self._refused(place))

    def test_mysql_table(self) -> None:
        """A table of ours with another character set, named in the message."""
        make = "CREATE TABLE options (a VARCHAR(9)) CHARACTER SET latin1"
        self.assertIn("options", self._refused(fresh_database("mysql"), make))

    def test_postgres(self) -> None:
        """A PostgreSQL database in another encoding."""
        options = "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        place = fresh_database("postgresql", options)
        self.assertIn("SQL_ASCII", self._refused(place))
