"""The originals' databases: loads them, opens them as the gateway does, reads them."""

from __future__ import annotations

import atexit
import functools
import json
import lzma
import random
import tarfile
import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pymysql
import sqlalchemy as sa
from attrs import define, frozen
from pymysql.constants import CLIENT
from twisted.internet.task import Clock

from knight_tw.storage import dsn, schema, steps
from knight_tw.storage.database import Database
from knight_tw.storage.lanes import Lane, Load
from knight_tw.storage.one_api import upgrade
from knight_tw.storage.one_api.report import Report
from knight_tw.storage.one_api.upgrade import Terms
from tests.engines import engine_for, fresh_database

FOLDER = Path(__file__).parent / "databases"
ENGINES = {"sqlite": "sqlite", "postgres": "postgresql", "mariadb": "mysql"}
ZONE = "Asia/Shanghai"
"""Where the originals ran: the zone of times that carry none."""

ONE_API = tuple(f"oneapi-{engine}" for engine in ENGINES)
NEW_API = (
    *(f"newapi-old-{engine}" for engine in ENGINES),
    *(f"newapi-{engine}" for engine in ENGINES),
    *(f"newapi-old-then-newapi-{engine}" for engine in ENGINES),
    "oneapi-then-newapi-sqlite",
)
ALL = (*ONE_API, *NEW_API)
"""The databases that were closed in order."""

KILLED = (
    "oneapi-sqlite-killed-journal",
    "newapi-old-sqlite-killed-journal",
    "newapi-sqlite-killed-wal",
)
"""SQLite files with what lay beside them when the program was killed."""

Row = dict[str, Any]


def kind_of(name: str) -> str:
    """The kind of engine that a database is for."""
    for engine, kind in ENGINES.items():
        if f"-{engine}" in name:
            return kind
    raise ValueError(name)


def title(name: str) -> str:
    """A class name for a database."""
    return "".join(part.title() for part in name.split("-"))


@functools.cache
def manifest(name: str) -> dict[str, Any]:
    """What must hold after the database was opened."""
    loaded: dict[str, Any] = json.loads(_read(f"{name}.json"))
    return loaded


def time_of(name: str) -> int:
    """When the tests open a database: an hour after it was made."""
    return int(manifest(name)["made_at"]) + 3600


def _read(file: str) -> bytes:
    with lzma.open(FOLDER / f"{file}.xz") as packed:
        return packed.read()


def load(name: str) -> str:
    """The address of a fresh database with everything the original left in it."""
    kind = kind_of(name)
    if name in KILLED:
        return f"sqlite:///{unpack(name)}"
    address = fresh_database(kind)
    if kind == "sqlite":
        Path(address.removeprefix("sqlite:///")).write_bytes(_read(f"{name}.db"))
        return address
    script = _read(f"{name}.sql").decode()
    if kind == "postgresql":
        _run_on_postgres(dsn.parse(address), script)
        return address
    _run_on_mysql(dsn.parse(address), script)
    return f"{address}&loc={ZONE}"


def unpack(name: str) -> str:
    """The path of a file of a killed program, what lay beside it included."""
    folder = tempfile.TemporaryDirectory(prefix="knight-test-")
    atexit.register(folder.cleanup)
    with tarfile.open(FOLDER / f"{name}.tar.xz") as archive:
        archive.extractall(folder.name, filter="data")
    (path,) = Path(folder.name).glob("*.db")
    return str(path)


def _run_on_postgres(url: sa.URL, script: str) -> None:
    with psycopg.connect(
        host=url.host,
        port=url.port or 5432,
        user=url.username,
        password=url.password,
        dbname=url.database,
        autocommit=True,
    ) as connection:
        connection.execute(script.encode())


def _run_on_mysql(url: sa.URL, script: str) -> None:
    with closing(
        pymysql.connect(
            host=url.host,
            port=url.port or 3306,
            user=url.username,
            password=url.password or "",
            database=url.database,
            charset="utf8mb4",
            client_flag=CLIENT.MULTI_STATEMENTS,
        )
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(script)
        while cursor.nextset():
            pass
        connection.commit()


def terms(
    now: int,
    after: Callable[[str], None] | None = None,
    backed_up: bool = True,
) -> Terms:
    """How the tests open databases: always by the same chance."""
    chance = random.Random(5)  # noqa: S311 - referral codes of a test
    made = Terms(now, "v-test", chance, backed_up)
    return made if after is None else Terms(now, "v-test", chance, backed_up, after)


def bring(engine: sa.Engine, asked: Terms) -> Report | None:
    """Opens a database as the start of the gateway does."""
    with engine.begin() as connection:
        report = upgrade.open_main(connection, asked)
    with engine.begin() as connection:
        steps.run_missing(connection, asked.now)
    return report


def contents(
    engine: sa.Engine, tables: Collection[str] | None = None
) -> dict[str, list[Row]]:
    """Every row of every table, by primary key: typed columns as we read them."""
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        return {
            name: _rows(connection, inspector, name)
            for name in sorted(tables or inspector.get_table_names())
        }


Index = tuple[tuple[str, ...], bool]
"""The columns of an index, and whether it is unique."""


@frozen
class Schema:
    """Tables with their reflected columns, and their indexes."""

    columns: Mapping[str, dict[str, Row]]
    indexes: Mapping[str, set[Index]]

    @classmethod
    def of(cls, engine: sa.Engine) -> Schema:
        """The schema of a database."""
        inspector = sa.inspect(engine)
        sqlite = engine.dialect.name == "sqlite"
        auto = {"include_auto_indexes": True} if sqlite else {}
        columns, indexes = {}, {}
        for table in inspector.get_table_names():
            found = inspector.get_columns(table)
            columns[table] = {column["name"]: dict(column) for column in found}
            indexes[table] = {
                (tuple(map(str, index["column_names"])), bool(index["unique"]))
                for index in inspector.get_indexes(table, **auto)
            }
        return cls(columns, indexes)


def _rows(connection: sa.Connection, inspector: sa.Inspector, name: str) -> list[Row]:
    known = schema.metadata.tables.get(name)
    names = [column["name"] for column in inspector.get_columns(name)]
    columns: list[Any] = [
        known.c[column]
        if known is not None and column in known.c
        else sa.column(column)
        for column in names
    ]
    key = inspector.get_pk_constraint(name)["constrained_columns"]
    asked = sa.select(*columns).select_from(sa.table(name) if known is None else known)
    rows = connection.execute(asked.order_by(*(sa.column(part) for part in key)))
    return [dict(row) for row in rows.mappings()]


@define(eq=False)
class Opened:
    """A database that was opened once.

    Attributes:
        before: Its schema as the original left it.
        rows: Every row right after the opening.
    """

    name: str
    engine: sa.Engine
    before: Schema
    rows: Mapping[str, list[Row]]
    report: Report | None

    @property
    def manifest(self) -> dict[str, Any]:
        """What must hold."""
        return manifest(self.name)

    @property
    def one_api(self) -> bool:
        """Whether its rows were upgraded."""
        return self.name.startswith("oneapi-") and "then" not in self.name

    @property
    def now(self) -> int:
        """When it was opened."""
        return time_of(self.name)

    def by_key(self, table: str) -> dict[Any, Row]:
        """The rows of a table by their first key column."""
        (key, *_) = schema.metadata.tables[table].primary_key
        return {row[key.name]: row for row in self.rows[table]}

    def database(self, clock: Clock) -> Database:
        """The database as the gateway's parts take it; everything happens at once."""
        load = Load()
        lane = Lane(clock, self.engine, None, 1, load)
        return Database(self.engine.dialect.name, self.name, lane, lane, load)


@functools.cache
def opened(name: str) -> Opened:
    """The database, loaded and opened once per process. Tests may use it up."""
    engine = engine_for(load(name))
    atexit.register(engine.dispose)
    before = Schema.of(engine)
    report = bring(engine, terms(time_of(name)))
    return Opened(name, engine, before, contents(engine), report)


def zone() -> ZoneInfo:
    """The zone of the originals."""
    return ZoneInfo(ZONE)
