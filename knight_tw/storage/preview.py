"""What opening a database would change, found out by reading alone.

The same values decide here and in the change itself: `completion.gaps` for the schema,
`one_api.reading.foresee` for the rows of a one-api database. On servers the connection
is read-only, a SQLite file is opened so that it stays as it is.
"""

from __future__ import annotations

import enum
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import sqlalchemy as sa
from attrs import frozen
from sqlalchemy.pool import StaticPool

from knight_tw import providers
from knight_tw.providers import identity
from knight_tw.records import ENABLED
from knight_tw.storage import backups, connections
from knight_tw.storage.completion import Gap, gaps, is_one_api, one_api_started
from knight_tw.storage.one_api import reading
from knight_tw.storage.one_api.channel_types import RULES
from knight_tw.storage.one_api.report import Report
from knight_tw.storage.schema import (
    LOG_TABLES,
    channels,
    knight_meta,
    metadata,
    users,
)


class Maker(enum.Enum):
    """Whose database it is, as people are told."""

    NOBODY = "nobody: it is empty, and every table would be made"
    ONE_API = "one-api; it would be upgraded in place"
    HALF = "one-api; an upgrade was interrupted, and would be finished"
    BOTH = "one-api, and new-api has opened it since; it would be completed"
    NEW_API = "new-api; it would be completed"
    OURS = "this program has opened it before"
    LOGS = "a database for logs alone; it would be completed"


@frozen
class Preview:
    """What opening a database would do.

    Attributes:
        rows: Rows of each table that exists and is ours.
        gaps: What the schema lacks.
        report: The upgrade of the rows; None when it is not one-api's.
        others: Tables that are nobody's here, and stay untouched.
    """

    maker: Maker
    rows: Mapping[str, int]
    gaps: tuple[Gap, ...]
    report: Report | None
    warnings: tuple[str, ...]
    others: tuple[str, ...] = ()


def preview(connection: sa.Connection, now: int) -> Preview:
    """What opening this database would change; reads only.

    Raises:
        SchemaRefused: it could not be opened.
    """
    present = set(sa.inspect(connection).get_table_names())
    maker = _maker(connection, present)
    report = None
    if maker in (Maker.ONE_API, Maker.HALF):
        report = reading.foresee(connection, now)
    tables = LOG_TABLES if maker is Maker.LOGS else None
    return Preview(
        maker=maker,
        rows=reading.count_all(connection, sorted(present & metadata.tables.keys())),
        gaps=tuple(gaps(connection, tables)),
        report=report,
        warnings=tuple(_warnings(connection, maker, report)),
        others=tuple(sorted(present - metadata.tables.keys())),
    )


def _maker(connection: sa.Connection, present: set[str]) -> Maker:
    if one_api_started(connection):
        return Maker.HALF
    if "users" not in present:
        return Maker.LOGS if logs_alone(present) else Maker.NOBODY
    if is_one_api(connection):
        return Maker.ONE_API
    if knight_meta.name in present:
        return Maker.OURS
    names = {column["name"] for column in sa.inspect(connection).get_columns("users")}
    return Maker.BOTH if "lark_id" in names else Maker.NEW_API


def logs_alone(tables: Collection[str]) -> bool:
    """True for the tables of a database that is for logs (LOG_SQL_DSN)."""
    return "logs" in tables and "users" not in tables


def _warnings(
    connection: sa.Connection, maker: Maker, report: Report | None
) -> Iterator[str]:
    if maker in (Maker.NOBODY, Maker.LOGS):
        return
    rows = connection.execute(
        sa.select(channels.c.id, channels.c.type, channels.c.status)
    )
    types = {row.id: row.type or 0 for row in rows if row.status == ENABLED}
    if maker is Maker.BOTH:
        yield from _doubtful(types)
    if report is not None:
        for move in report.moves:
            if move.id in types:
                types[move.id] = move.new_type
            if move.disabled:
                del types[move.id]
    yield from _silent(types)
    if report is None:
        yield from _claimed_twice(connection)


def _doubtful(types: Mapping[int, int]) -> Iterator[str]:
    """Channels whose number meant somebody else when one-api wrote it."""
    other = [
        str(channel)
        for channel, kind in types.items()
        if kind in RULES and RULES[kind].type != kind
    ]
    if other:
        yield (
            "new-api has not renumbered the channel types of one-api, and nobody can"
            " tell now which channels are older: look at the types of channels "
            + ", ".join(other)
        )


def _silent(types: Mapping[int, int]) -> Iterator[str]:
    """Types that nothing here calls yet; their channels are kept, and not chosen."""
    unknown: dict[int, list[str]] = {}
    for channel, kind in types.items():
        if providers.find(kind) is None:
            unknown.setdefault(kind, []).append(str(channel))
    if unknown:
        listed = (
            f"{identity.name_of(kind)} (channel {', '.join(ids)})"
            for kind, ids in sorted(unknown.items())
        )
        yield (
            "channels of types that this version does not call are kept, and not chosen"
            f" for calls: {', '.join(listed)}"
        )


def _claimed_twice(connection: sa.Connection) -> Iterator[str]:
    """Telegram identities of several accounts, of which the oldest account has it."""
    columns = sa.inspect(connection).get_columns(users.name)
    if not {"telegram_id", "deleted_at"} <= {column["name"] for column in columns}:
        return
    asked = sa.select(users.c.telegram_id).where(
        users.c.telegram_id != "", users.c.deleted_at.is_(None)
    )
    counted = Counter(connection.scalars(asked))
    for subject, count in counted.items():
        if count > 1:
            yield f"{count} accounts have the Telegram identity {subject}"


# reading without a trace -----------------------------------------------------


@contextmanager
def quiet_connection(url: sa.URL) -> Iterator[sa.Connection]:
    """A connection that cannot write, to a database that does not notice it.

    Raises:
        FileNotFoundError: there is no such SQLite file.
    """
    if url.get_backend_name() == "sqlite":
        with backups.address_for_reading(str(url.database)) as address:
            yield from _connected(_quiet_sqlite(address), "PRAGMA query_only=ON")
        return
    engine = connections.server(url, idle=1, limit=1, lifetime=0)
    mysql = engine.dialect.name == "mysql"
    whole = "SESSION" if mysql else "SESSION CHARACTERISTICS AS"
    yield from _connected(engine, f"SET {whole} TRANSACTION READ ONLY")


def _connected(engine: sa.Engine, order: str) -> Iterator[sa.Connection]:
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(order)
            connection.commit()
            yield connection
    finally:
        engine.dispose()


def _quiet_sqlite(address: str) -> sa.Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, isolation_level=None)

    return sa.create_engine("sqlite://", creator=connect, poolclass=StaticPool)
