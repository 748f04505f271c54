"""Test classes that run on SQLite, PostgreSQL and MySQL.

    @for_engines
    class OptionTests(ConnectionCase):
        def test_load(self) -> None:
            options.save(self.connection, ...)

makes `OptionTests` (SQLite), `OptionTestsOnPostgresql` and `OptionTestsOnMysql`. A test
process makes a database of its own on the servers that KNIGHT_TEST_POSTGRES and
KNIGHT_TEST_MYSQL name (`scripts/services.sh` starts them), leaves it empty after each
test and drops it in the end; `fresh_database` makes further ones. Without the variable
the tests are skipped, or fail if KNIGHT_TEST_REQUIRED=1.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import sys
import tempfile
from typing import Any, ClassVar, TypeVar
from unittest import SkipTest

import sqlalchemy as sa
from sqlalchemy.pool import NullPool
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from knight_tw.storage import completion, connections, dsn, schema
from knight_tw.storage.database import (
    Database,
    empty_image,
    memory_database,
    open_database,
)

VARIABLES = {"postgresql": "KNIGHT_TEST_POSTGRES", "mysql": "KNIGHT_TEST_MYSQL"}
KINDS = ("sqlite", *VARIABLES)

_numbers = itertools.count(1)
_C = TypeVar("_C", bound="type[ConnectionCase] | type[DatabaseCase]")


def for_engines(case: _C) -> _C:
    """The class for SQLite; those for the other engines join it in its module."""
    for_servers(case)
    return case


def for_servers(case: _C) -> None:
    """Puts the classes for PostgreSQL and MySQL into the module, none for SQLite."""
    module = sys.modules[case.__module__]
    for kind in VARIABLES:
        name = f"{case.__name__}On{kind.title()}"
        members = {"kind": kind, "__module__": case.__module__, "__doc__": case.__doc__}
        setattr(module, name, type(name, (case,), members))


def server_address(kind: str) -> str:
    """The address of the test server of that kind.

    Raises:
        SkipTest: none is named.
        AssertionError: none is named, and KNIGHT_TEST_REQUIRED=1.
    """
    variable = VARIABLES[kind]
    address = os.environ.get(variable, "")
    if address:
        return address
    if os.environ.get("KNIGHT_TEST_REQUIRED") == "1":
        raise AssertionError(f"{variable} is not set, and KNIGHT_TEST_REQUIRED=1")
    raise SkipTest(f"{variable} is not set; scripts/services.sh start makes a server")


def fresh_database(kind: str, options: str = "") -> str:
    """The address of a new, empty database; it goes when the process ends.

    Args:
        options: What follows the name in CREATE DATABASE.
    """
    if kind == "sqlite":
        folder = tempfile.TemporaryDirectory(prefix="knight-test-")
        atexit.register(folder.cleanup)
        return f"sqlite:///{folder.name}/one-api.db"
    url = dsn.parse(server_address(kind))
    name = f"knight_test_{os.getpid()}_{next(_numbers)}"
    if kind == "mysql" and not options:
        options = "CHARACTER SET utf8mb4"
    _administer(url, f"CREATE DATABASE {name} {options}")
    force = " WITH (FORCE)" if kind == "postgresql" else ""
    atexit.register(_administer, url, f"DROP DATABASE IF EXISTS {name}{force}")
    return url.set(database=name).render_as_string(hide_password=False)


def _administer(url: sa.URL, statement: str) -> None:
    engine = sa.create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={}
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


def engine_for(address: str) -> sa.Engine:
    """A writing engine as the program makes it; the caller disposes of it."""
    url = dsn.parse(address)
    if url.get_backend_name() == "sqlite":
        return connections.sqlite_writer(url)
    return connections.server(url, idle=2, limit=8, lifetime=0)


@functools.cache
def complete_database(kind: str) -> str:
    """The address of this process's database of that kind, with every table, empty."""
    address = fresh_database(kind)
    engine = engine_for(address)
    with engine.begin() as connection:
        schema.ensure(connection)
    engine.dispose()
    return address


class ConnectionCase(SynchronousTestCase):
    """Tests of thread-side functions: each in one transaction that is rolled back."""

    kind: ClassVar[str] = "sqlite"
    connection: sa.Connection

    def setUp(self) -> None:
        """Begins the test's transaction."""
        if self.kind == "sqlite":
            engine = memory_database(Clock()).engine
        else:
            engine = engine_for(complete_database(self.kind))
        self.addCleanup(engine.dispose)
        self.connection = engine.connect()
        self.addCleanup(self.connection.close)
        self.connection.begin()

    def insert(self, table: sa.Table, **values: Any) -> int:
        """Inserts one row; its first key column."""
        result = self.connection.execute(sa.insert(table).values(**values))
        key = result.inserted_primary_key
        return int(key[0]) if key and isinstance(key[0], int) else 0

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        """Every row, by primary key."""
        asked = sa.select(table).order_by(*table.primary_key)
        return [dict(row) for row in self.connection.execute(asked).mappings()]


class DatabaseCase(TestCase):
    """Tests of a real `Database`, with threads; `self.db` is empty at the start."""

    kind: ClassVar[str] = "sqlite"
    db: Database
    place: str
    """The address of the database."""

    def setUp(self) -> None:
        """Opens the database."""
        sqlite = self.kind == "sqlite"
        self.place = self._sqlite_file() if sqlite else complete_database(self.kind)
        self.db = self.open()

    def open(self, **options: Any) -> Database:
        """Another `Database` on the same place, closed after the test."""
        opened = open_database(self.place, reactor=reactor, **options)
        self.addCleanup(self._empty_and_close, opened)
        return opened

    def _sqlite_file(self) -> str:
        """A file of the test's own: copying one is cheaper than emptying it."""
        path = self.mktemp()
        os.makedirs(path)
        path = os.path.abspath(os.path.join(path, "one-api.db"))
        with open(path, "wb") as file:
            file.write(empty_image())
        return f"sqlite:///{path}"

    async def _empty_and_close(self, opened: Database) -> None:
        if self.kind != "sqlite" and opened is self.db:
            await opened.run(_empty)
        await opened.close()


def _empty(connection: sa.Connection) -> None:
    """Deletes every row of a test, the schema version apart."""
    tables = [t for t in schema.metadata.sorted_tables if t is not schema.knight_meta]
    filled = sa.union_all(
        *(
            sa.select(sa.literal(table.name)).where(sa.select(table).exists())
            for table in tables
        )
    )
    for name in connection.scalars(filled).all():
        connection.execute(sa.delete(schema.metadata.tables[name]))
    version = schema.knight_meta.c.key == completion.VERSION_KEY
    connection.execute(sa.delete(schema.knight_meta).where(~version))
