"""Engines: how a connection to each database is opened and what it is set to.

* **SQLite**: WAL (readers never wait for the writer), `synchronous=NORMAL` (a power cut
  may lose the last commits, never the file; the ledger's journal holds them), the busy
  timeout of the path. Two engines on one file: a writer with a single connection whose
  transactions begin IMMEDIATE, so that a lock is waited for at the start and never
  found in the middle, and readers that are `query_only`.
* **MySQL**: utf8mb4, READ COMMITTED (as PostgreSQL has it: no gap locks, so concurrent
  upserts and conditional UPDATEs do not deadlock, and a read after an UPDATE sees the
  truth), session time zone UTC, so that times computed in SQL do not depend on the
  server's.
* **PostgreSQL**: READ COMMITTED, its default; TCP keep-alive, so that a vanished server
  is noticed.
"""

from __future__ import annotations

import socket
import ssl
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from knight_tw.storage import dsn
from knight_tw.storage.columns import ZONE_ATTRIBUTE

CONNECT_SECONDS = 5
"""How long a connection may take to open."""

_GREETING_SECONDS = 10
"""How long MySQL may take from the open connection to a finished login."""

_ANSWER_SECONDS = 3_600
"""How long MySQL may take for a statement; a schema change of a large table is slow."""

_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "journal_size_limit=67108864")
"""For every SQLite connection; the last cuts a WAL file that a long read let grow."""

_SILENCE_MS = 30_000
"""How long sent bytes may stay unacknowledged before a connection counts as dead."""


def server(url: sa.URL, *, idle: int, limit: int, lifetime: float) -> sa.Engine:
    """An engine for PostgreSQL or MySQL with a pool of `limit` connections.

    Args:
        idle: Connections kept open when unused.
        lifetime: Seconds after which a connection is replaced; 0 means never.
    """
    private = (dsn.ZONE, dsn.TLS, dsn.PREPARE)
    mysql = url.get_backend_name() == "mysql"
    bare = url.difference_update_query(private + (("read_timeout",) if mysql else ()))
    keep = min(idle, limit)
    engine = sa.create_engine(
        bare,
        connect_args=_mysql_arguments(url) if mysql else _postgres_arguments(url),
        pool_size=keep,
        max_overflow=limit - keep,
        pool_recycle=round(lifetime) if lifetime > 0 else -1,
        pool_use_lifo=True,
        **({"isolation_level": "READ COMMITTED"} if mysql else {}),
    )
    if mysql:
        _set_zone(engine, url.query.get(dsn.ZONE))
        answer = float(str(url.query.get("read_timeout", _ANSWER_SECONDS)))
        sa.event.listen(engine, "connect", partial(_mysql_connected, answer))
    else:
        sa.event.listen(engine, "connect", _postgres_connected)
    return engine


def _mysql_arguments(url: sa.URL) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "init_command": "SET time_zone = '+00:00'",
        "connect_timeout": CONNECT_SECONDS,
        # PyMySQL's connect timeout ends before the greeting; raised once connected.
        "read_timeout": _GREETING_SECONDS,
        "write_timeout": _SILENCE_MS // 1000,
    }
    for key in arguments.keys() & url.query.keys() - {"read_timeout"}:
        del arguments[key]
    if tls := url.query.get(dsn.TLS):
        context = ssl.create_default_context()
        if tls == "skip":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        arguments["ssl"] = context
    return arguments


def _postgres_arguments(url: sa.URL) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "knight",
        "client_encoding": "utf8",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": _SILENCE_MS,
    }
    arguments = {key: it for key, it in defaults.items() if key not in url.query}
    if dsn.PREPARE in url.query:
        arguments["prepare_threshold"] = None
    return arguments


def _set_zone(engine: sa.Engine, name: str | tuple[str, ...] | None) -> None:
    if not name:
        return
    try:
        zone = ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError):
        raise dsn.DsnError(
            f"loc in the database address is no time zone: {name}"
        ) from None
    setattr(engine.dialect, ZONE_ATTRIBUTE, zone)


def _mysql_connected(answer: float, connection: Any, _record: Any) -> None:
    """Gives statements their time, and lets the system notice a vanished server.

    PyMySQL has one timeout for greeting and statements, and only switches keep-alive
    on.
    """
    connection._read_timeout = answer
    sock = getattr(connection, "_sock", None)
    if not isinstance(sock, socket.socket) or sock.family == socket.AF_UNIX:
        return
    for option, value in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", _SILENCE_MS),
    ):
        if (number := getattr(socket, option, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, number, value)


def _postgres_connected(connection: Any, _record: Any) -> None:
    """Leaves `json` values as text: they are passed on, not looked into."""
    from psycopg.types.string import TextLoader

    connection.adapters.register_loader("json", TextLoader)


def sqlite_writer(url: sa.URL) -> sa.Engine:
    """The one connection that writes; its transactions begin IMMEDIATE."""
    return _sqlite(url, "BEGIN IMMEDIATE", pool_size=1, max_overflow=0)


def sqlite_readers(url: sa.URL, limit: int) -> sa.Engine:
    """Up to `limit` connections that cannot write."""
    return _sqlite(url, "BEGIN", "query_only=ON", pool_size=limit, max_overflow=0)


def sqlite_memory() -> sa.Engine:
    """A fresh database in memory, on one connection."""
    url = sa.URL.create("sqlite", database=":memory:")
    return _sqlite(url, "BEGIN", poolclass=StaticPool)


def _sqlite(url: sa.URL, begin: str, *pragmas: str, **pool: Any) -> sa.Engine:
    engine = sa.create_engine(
        url.difference_update_query(["timeout"]),
        connect_args={
            "timeout": float(str(url.query.get("timeout", 30))),
            "check_same_thread": False,
            # Transactions are ours alone: the module would begin them by itself.
            "isolation_level": None,
        },
        **pool,
    )

    def connected(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    sa.event.listen(engine, "connect", connected)
    sa.event.listen(engine, "begin", begun)
    return engine
