"""`ensure`: gives a database what the tables of `schema` have and it lacks.

The same database may be opened by the Go programs before and after us, so there is no
revision history to follow: what is there is inspected and compared. Only missing
tables, columns and indexes are added and too narrow columns widened; nothing is
dropped, renamed or narrowed. Indexes are compared by their columns, because each
original names them otherwise.

MySQL commits every DDL statement, so each must be harmless when repeated; there all
changes of one table go into one ALTER, which rebuilds a large table once at most.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import sqlalchemy as sa
from attrs import define, frozen
from sqlalchemy.schema import CreateColumn, CreateTable
from twisted.logger import Logger

from knight_tw.storage import widths
from knight_tw.storage.columns import ENGINES, metadata
from knight_tw.storage.sql import insert_new
from knight_tw.storage.tables_knight import knight_meta

SCHEMA_VERSION = 1
"""Raised when a process needs tables or columns that an older one does not make."""

VERSION_KEY = "schema_version"
"""Where `knight_meta` holds the version that a database was completed to."""

ONE_API_KEY = "one_api_migration"
"""Where `knight_meta` tells how far the upgrade of a one-api database is."""

ONE_API_STARTED = "started"
"""Stored there until the upgrade is done."""

_LATER_MARKS = {"users": "aff_quota", "channels": "auto_ban", "tokens": "model_limits"}
"""Columns that new-api adds to a one-api database when it opens it."""

LOCK_SECONDS = 120
"""How long a start waits for another process that completes the same database."""

_ADVISORY_LOCK = 0x6B6E69676874
"""PostgreSQL's lock number: `knight` in ASCII."""

_INDEX_PREFIX = 191
"""Characters of a MySQL text column that an index takes."""

log = Logger()


class SchemaRefused(RuntimeError):
    """A database that cannot be used as it is; the message says what to do."""


def ensure(connection: sa.Connection, tables: Sequence[sa.Table] | None = None) -> None:
    """Completes the database to `tables`, all of them by default; idempotent.

    With all of them the schema version is noted, which `meta.require_version` reads,
    and an untouched one-api database is refused: its channel types have other numbers,
    and completing it would hide where it comes from (data-model.md section 7).

    Processes that start together wait for each other.

    Raises:
        SchemaRefused: the character set cannot hold every text, a table of ours has a
            primary key that is not ours, or the upgrade from one-api has not begun.
    """
    require_unicode(connection)
    if tables is None and is_one_api(connection) and not one_api_started(connection):
        raise SchemaRefused(
            "this is a database of one-api, whose channel types have other numbers: "
            "it must be upgraded, not just completed; nothing has been changed"
        )
    wanted = metadata.sorted_tables if tables is None else list(tables)
    _give_options(wanted, connection.dialect.name)
    with alone(connection):
        present = set(sa.inspect(connection).get_table_names())
        new = {table.name for table in wanted if table.name not in present}
        for table in wanted:
            if table.name in new:
                connection.execute(CreateTable(table))
        names = [table.name for table in wanted]
        found = _Found.read(sa.inspect(connection), names, new)
        for table in wanted:
            _complete(connection, table, found)
        if tables is None:
            _mark_version(connection)


def _give_options(tables: Iterable[sa.Table], engine: str) -> None:
    """Gives tables and indexes the options that they have on one engine (`ENGINES`)."""
    for table in tables:
        items: tuple[sa.Table | sa.Index, ...] = (table, *table.indexes)
        for item in items:
            for name, value in item.info.get(ENGINES, {}).items():
                if name.startswith(engine):
                    item.dialect_kwargs[name] = value


def is_one_api(connection: sa.Connection) -> bool:
    """True for a database that only one-api has opened so far."""
    inspector = sa.inspect(connection)
    tables = set(inspector.get_table_names())
    if "users" not in tables or "setups" in tables:
        return False
    return not any(
        column["name"] == mark
        for name, mark in _LATER_MARKS.items()
        if name in tables
        for column in inspector.get_columns(name)
    )


def one_api_started(connection: sa.Connection) -> bool:
    """True while an upgrade from one-api has begun and is not done."""
    if not sa.inspect(connection).has_table(knight_meta.name):
        return False
    asked = sa.select(knight_meta.c.value).where(knight_meta.c.key == ONE_API_KEY)
    return connection.scalar(asked) == ONE_API_STARTED


def _mark_version(connection: sa.Connection) -> None:
    """Notes that the schema is complete; a newer program's version stays."""
    here = knight_meta.c.key == VERSION_KEY
    stored = connection.scalar(sa.select(knight_meta.c.value).where(here))
    if stored is None:
        row = {"key": VERSION_KEY, "value": str(SCHEMA_VERSION)}
        insert_new(connection, knight_meta, [row])
    elif version_number(stored) < SCHEMA_VERSION:
        changed = sa.update(knight_meta).where(here)
        connection.execute(changed.values(value=str(SCHEMA_VERSION)))


def version_number(text: str | None) -> int:
    """The schema version in a stored value; 0 when there is none."""
    return int(text) if text and text.isdecimal() else 0


@contextmanager
def alone(connection: sa.Connection) -> Iterator[None]:
    """Keeps other processes from completing the same database meanwhile.

    May be nested. SQLite needs nothing: the writer's transaction begins IMMEDIATE.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(
            sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK}
        )
    if dialect != "mysql":
        yield
        return
    name = sa.func.concat("knight:", sa.func.database())
    if not connection.scalar(sa.select(sa.func.get_lock(name, LOCK_SECONDS))):
        raise SchemaRefused("another process has been changing the schema for too long")
    try:
        yield
    finally:
        connection.execute(sa.select(sa.func.release_lock(name)))


def require_unicode(connection: sa.Connection) -> None:
    """Raises SchemaRefused when the database's character set cannot hold every text."""
    if connection.dialect.name == "postgresql":
        encoding = connection.scalar(sa.text("SHOW server_encoding"))
        if encoding != "UTF8":
            raise SchemaRefused(
                f"the PostgreSQL database is encoded as {encoding}; create it anew"
                " with ENCODING 'UTF8'"
            )
    elif connection.dialect.name == "mysql":
        _require_utf8mb4(connection)


def _require_utf8mb4(connection: sa.Connection) -> None:
    charset = connection.scalar(sa.text("SELECT @@character_set_database"))
    if charset != "utf8mb4":
        raise SchemaRefused(
            f"the MySQL database uses the character set {charset}; run: ALTER DATABASE"
            " … CHARACTER SET utf8mb4, and convert its tables"
        )
    rows = connection.execute(
        sa.text(
            "SELECT table_name, table_collation FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
            " AND table_collation NOT LIKE 'utf8mb4%'"
        )
    )
    if wrong := sorted(row[0] for row in rows if row[0] in metadata.tables):
        raise SchemaRefused(
            f"tables without the character set utf8mb4: {', '.join(wrong)}; run for"
            " each: ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4"
        )


@frozen
class _Index:
    """An index that exists: its columns in order, and whether they are unique."""

    columns: tuple[str, ...]
    unique: bool


@define(eq=False)
class _Found:
    """What the database has: columns and indexes per table, and the index names.

    Attributes:
        index_names: With the table on MySQL, where a name is the table's own.
        new: Tables made a moment ago, which have no rows.
    """

    columns: dict[str, dict[str, Any]]
    indexes: dict[str, list[_Index]]
    index_names: set[tuple[str, str]]
    new: Collection[str]
    local_names: bool

    @classmethod
    def read(
        cls, inspector: sa.Inspector, names: Collection[str], new: Collection[str]
    ) -> _Found:
        found = cls({}, {}, set(), new, inspector.dialect.name == "mysql")
        # SQLite's dialect hides the indexes of UNIQUE constraints unless asked.
        auto: dict[str, Any] = {}
        if inspector.dialect.name == "sqlite":
            auto["include_auto_indexes"] = True
        for name in names:
            found.columns[name] = {
                column["name"].lower(): column for column in inspector.get_columns(name)
            }
            indexes = inspector.get_indexes(name, **auto)
            key = inspector.get_pk_constraint(name)["constrained_columns"]
            found.indexes[name] = [_Index(tuple(key), True)]
            for index in indexes:
                columns = tuple(column or "" for column in index["column_names"])
                found.indexes[name].append(_Index(columns, bool(index["unique"])))
                found.take_name(name, str(index["name"]))
        return found

    def take_name(self, table: str, name: str) -> bool:
        """Marks an index name as taken; False when it was taken already."""
        key = (table if self.local_names else "", name.lower())
        free = key not in self.index_names
        self.index_names.add(key)
        return free

    def serves(self, table: str, columns: tuple[str, ...], unique: bool) -> bool:
        """Whether an index on exactly these columns exists, unique if need be."""
        return any(
            index.columns == columns and index.unique >= unique
            for index in self.indexes[table]
        )


@frozen
class Gap:
    """What one table of the database lacks.

    Attributes:
        new: There is no such table; the rest is empty then.
    """

    table: sa.Table
    new: bool = False
    columns: Sequence[sa.Column[Any]] = ()
    narrow: Sequence[widths.Narrow] = ()
    indexes: Sequence[sa.Index] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.columns or self.narrow or self.indexes)


def gaps(
    connection: sa.Connection, tables: Sequence[sa.Table] | None = None
) -> list[Gap]:
    """What `ensure` would add to each table; reads only.

    Raises:
        SchemaRefused: as `ensure`, one-api's databases apart.
    """
    require_unicode(connection)
    inspector = sa.inspect(connection)
    present = set(inspector.get_table_names())
    wanted = metadata.sorted_tables if tables is None else tables
    there = [table for table in wanted if table.name in present]
    found = _Found.read(inspector, [table.name for table in there], ())
    lacking = [_gap(connection.dialect, table, found) for table in there]
    lacking += [Gap(table, new=True) for table in wanted if table.name not in present]
    return [gap for gap in lacking if gap]


def _gap(dialect: sa.Dialect, table: sa.Table, found: _Found) -> Gap:
    """What one existing table lacks; its indexes count as found from now on."""
    existing = found.columns[table.name]
    if lost := [c.name for c in table.primary_key if c.name.lower() not in existing]:
        raise SchemaRefused(f"table {table.name} exists, without {', '.join(lost)}")
    return Gap(
        table,
        columns=[column for column in table.columns if column.name not in existing],
        narrow=list(widths.narrow(dialect, table, existing)),
        indexes=list(_missing_indexes(table, found)),
    )


def _complete(connection: sa.Connection, table: sa.Table, found: _Found) -> None:
    """Adds what one existing table lacks."""
    gap = _gap(connection.dialect, table, found)
    if not gap:
        return
    mysql = connection.dialect.name == "mysql"
    change = _change_mysql if mysql else _change_one_by_one
    change(connection, table, gap.columns, gap.narrow, gap.indexes, found)
    if gap.columns or gap.narrow:
        log.info(
            "table {table}: columns added: {added}, widened: {widened}",
            table=table.name,
            added=", ".join(column.name for column in gap.columns) or "none",
            widened=", ".join(each.column for each in gap.narrow) or "none",
        )


def _missing_indexes(table: sa.Table, found: _Found) -> Iterator[sa.Index]:
    """The indexes that the table lacks, unique ones first: they serve as plain ones."""
    wanted = [
        _detached(table, tuple(column.name for column in constraint.columns))
        for constraint in table.constraints
        if isinstance(constraint, sa.UniqueConstraint)
    ]
    wanted += sorted(table.indexes, key=lambda each: (not each.unique, str(each.name)))
    for index in wanted:
        columns = tuple(column.name for column in index.columns)
        if not found.serves(table.name, columns, bool(index.unique)):
            found.indexes[table.name].append(_Index(columns, bool(index.unique)))
            yield index


def _detached(table: sa.Table, columns: tuple[str, ...]) -> sa.Index:
    """A unique index as later upgrades of the originals name it."""
    copy = table.to_metadata(sa.MetaData())
    name = f"uni_{table.name}_{'_'.join(columns)}"
    return sa.Index(name, *(copy.c[column] for column in columns), unique=True)


def _free_name(table: sa.Table, index: sa.Index, found: _Found) -> str:
    """The index's name, or another when an index on other columns has taken it."""
    name = str(index.name)
    while not found.take_name(table.name, name):
        name = f"knight_{name}"
    return name


def _column_sql(connection: sa.Connection, column: sa.Column[Any]) -> str:
    """The column's definition: nullable unless it has a default, for the old rows."""
    if not column.nullable and column.server_default is None:
        copy = column.table.to_metadata(sa.MetaData())
        column = copy.c[column.name]
        column.nullable = True
    return str(CreateColumn(column).compile(dialect=connection.dialect))


def _index_sql(
    connection: sa.Connection, index: sa.Index, existing: dict[str, Any]
) -> str:
    """The index's column list, quoted; a prefix of columns that MySQL calls text."""
    quote = connection.dialect.identifier_preparer.quote
    parts = []
    for column in index.columns:
        found = existing.get(column.name)
        kind = str(found["type"]).upper() if found else ""
        long = connection.dialect.name == "mysql" and re.search("TEXT|BLOB", kind)
        parts.append(quote(column.name) + (f"({_INDEX_PREFIX})" if long else ""))
    return ", ".join(parts)


def _change_one_by_one(
    connection: sa.Connection,
    table: sa.Table,
    missing: Iterable[sa.Column[Any]],
    narrow: Iterable[widths.Narrow],
    indexes: Iterable[sa.Index],
    found: _Found,
) -> None:
    """SQLite and PostgreSQL: a statement for each change, in the transaction."""
    quote = connection.dialect.identifier_preparer.quote
    name = quote(table.name)
    for column in missing:
        definition = _column_sql(connection, column)
        connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {definition}")
    for each in narrow:
        connection.exec_driver_sql(
            f"ALTER TABLE {name} ALTER COLUMN {quote(each.column)} TYPE {each.type}"
        )
    for index in indexes:
        columns = _index_sql(connection, index, {})
        _create_index(connection, table, index, columns, found)


def _create_index(
    connection: sa.Connection,
    table: sa.Table,
    index: sa.Index,
    columns: str,
    found: _Found,
) -> None:
    """Creates one index; where rows contradict a unique one, a plain one instead."""
    quote = connection.dialect.identifier_preparer.quote
    dialect = connection.dialect.name
    mysql = dialect == "mysql"
    where = None if mysql else index.dialect_options[dialect].get("where")
    tail = f" WHERE {where}" if where is not None else ""
    name = quote(_free_name(table, index, found))
    body = f"INDEX {name} ON {quote(table.name)} ({columns}){tail}"
    try:
        # MySQL commits at DDL, its savepoint would be gone.
        with nullcontext() if mysql else connection.begin_nested():
            unique = "UNIQUE " if index.unique else ""
            connection.exec_driver_sql(f"CREATE {unique}{body}")
    except sa.exc.IntegrityError:
        log.warn(
            "rows of {table} repeat {columns}: its index is not unique",
            table=table.name,
            columns=columns,
        )
        connection.exec_driver_sql(f"CREATE {body}")


def _change_mysql(
    connection: sa.Connection,
    table: sa.Table,
    missing: Iterable[sa.Column[Any]],
    narrow: Iterable[widths.Narrow],
    indexes: Iterable[sa.Index],
    found: _Found,
) -> None:
    """MySQL: one ALTER for everything but unique indexes, which rows may contradict."""
    quote = connection.dialect.identifier_preparer.quote
    existing = found.columns[table.name]
    parts = [f"ADD COLUMN {_column_sql(connection, column)}" for column in missing]
    parts += [
        f"MODIFY COLUMN {quote(each.column)} {each.definition}" for each in narrow
    ]
    risky = []
    for index in indexes:
        if index.unique and table.name not in found.new:
            risky.append(index)
            continue
        unique = "UNIQUE " if index.unique else ""
        columns = _index_sql(connection, index, existing)
        name = quote(_free_name(table, index, found))
        parts.append(f"ADD {unique}INDEX {name} ({columns})")
    if parts:
        connection.exec_driver_sql(
            f"ALTER TABLE {quote(table.name)} {', '.join(parts)}"
        )
    for index in risky:
        columns = _index_sql(connection, index, existing)
        _create_index(connection, table, index, columns, found)
