"""The way from the reactor to a database: one transaction per call, in our own threads.

`Database.run` may write, `Database.read` only reads; on SQLite they go different ways
(one writer, several readers), elsewhere they share a pool. The functions they call are
plain: a `Connection` in, plain values out, no other effect, because a transaction that
met a deadlock or a broken connection runs again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from knight_tw.errors import ShuttingDown
from knight_tw.storage import connections, dsn, schema
from knight_tw.storage.lanes import Lane, Load, threaded

P = ParamSpec("P")
T = TypeVar("T")

SQLITE_READERS = 4
"""Reading threads on SQLite: more only contend for the interpreter."""


@define(eq=False)
class Database:
    """One database, main or logs.

    Attributes:
        dialect: `sqlite`, `postgresql` or `mysql` (MariaDB too).
        location: Where it is, for people: the file, or `host:port/name`.
        load: Counters of its use.
    """

    dialect: str
    location: str
    _writes: Lane
    _reads: Lane
    load: Load
    _closed: bool = False
    _closing: Deferred[None] | None = None

    async def run(
        self,
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The result of `work(connection, …)` in one transaction, which may write.

        It is committed even when the caller is cancelled meanwhile, and may be run
        again after a deadlock or a broken connection.

        Raises:
            DatabaseAway: the database cannot be used now; `retry_after` says when to
                try again. After a connection lost during COMMIT the work may have
                happened all the same.
        """
        return await self._in(self._writes, True, work, args, kwargs)

    async def read(
        self,
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """As `run`, for work that does not write: nothing is committed.

        On SQLite reads run beside each other and beside the writer, and see one
        consistent state; a write fails there.
        """
        return await self._in(self._reads, False, work, args, kwargs)

    async def _in(
        self,
        lane: Lane,
        commit: bool,
        work: Callable[..., T],
        args: Any,
        kwargs: Any,
    ) -> T:
        if self._closed:
            raise ShuttingDown("the database is closed")
        bound = functools.partial(_call, work, args, kwargs)
        return await to_the_end(Deferred.fromCoroutine(lane.run(bound, commit)))

    @property
    def engine(self) -> sa.Engine:
        """The writing engine, for what must not be a transaction of ours (backups)."""
        return self._writes.engine

    def close(self) -> Deferred[None]:
        """Refuses new work, waits for what is under way and closes every connection.

        A second call waits for the first one's end.
        """
        self._closed = True
        if self._closing is None:
            self._closing = Deferred.fromCoroutine(self._close())
        over: Deferred[None] = Deferred()

        def ended(result: Failure | None) -> Failure | None:
            over.callback(None)
            return result

        self._closing.addBoth(ended)
        return over

    async def _close(self) -> None:
        await self._reads.close()
        if self._writes is not self._reads:
            await self._writes.close()


def _call(
    work: Callable[..., T], args: Any, kwargs: Any, connection: sa.Connection
) -> T:
    return work(connection, *args, **kwargs)


async def to_the_end(work: Deferred[T]) -> T:
    """The result of `work`; a cancellation meanwhile is raised only once it is over."""
    outcome: list[T | Failure] = []
    waiting: list[Deferred[None]] = []
    cancelled = False

    def over(result: T | Failure) -> None:
        outcome.append(result)
        if waiting:
            waiting.pop().callback(None)

    work.addBoth(over)
    while not outcome:
        waiting[:] = [Deferred()]
        try:
            await waiting[0]
        except CancelledError:
            cancelled = True
    if cancelled:
        raise CancelledError
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


def open_database(
    dsn_text: str,
    *,
    reactor: Any,
    sqlite_path: str = dsn.DEFAULT_SQLITE_PATH,
    data_dir: str = ".",
    pool_size: int = 16,
    idle: int = 4,
    lifetime: float = 60.0,
    slow_ms: float = 200.0,
) -> Database:
    """The database that the settings name; nothing is connected yet.

    Args:
        dsn_text: SQL_DSN or LOG_SQL_DSN, see `dsn.parse`.
        pool_size: Connections, and threads, at most (SQL_MAX_OPEN_CONNS).
        idle: Connections kept open when unused (SQL_MAX_IDLE_CONNS).
        lifetime: Seconds a connection is used (SQL_MAX_LIFETIME).
        slow_ms: Statements that take longer are logged; 0 means none.

    Raises:
        DsnError: the text means no database.
    """
    url = dsn.parse(dsn_text, sqlite_path=sqlite_path, data_dir=data_dir)
    size = max(1, pool_size)
    load = Load()
    dialect = url.get_backend_name()
    if dialect == "sqlite":
        location = str(url.database)
        readers = min(size, SQLITE_READERS)
        writer = connections.sqlite_writer(url)
        writes = threaded(reactor, writer, 1, load, slow_ms)
        reading = connections.sqlite_readers(url, readers)
        reads = threaded(reactor, reading, readers, load, slow_ms)
        return Database(dialect, location, writes, reads, load)
    engine = connections.server(url, idle=idle, limit=size, lifetime=lifetime)
    location = f"{url.host or 'local socket'}:{url.port or ''}/{url.database}"
    lane = threaded(reactor, engine, size, load, slow_ms)
    return Database(dialect, location, lane, lane, load)


@functools.cache
def empty_image() -> bytes:
    """A SQLite image with every table, made once: creating them takes 40 ms."""
    engine = connections.sqlite_memory()
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
    with engine.connect() as connection:
        return bytes(_raw(connection).serialize())


def _raw(connection: sa.Connection) -> Any:
    """The `sqlite3.Connection` beneath."""
    return connection.connection.driver_connection


def memory_database(reactor: Any) -> Database:
    """A fresh SQLite database in memory with every table, for tests.

    Its transactions run at once, in the caller's thread, so the Deferred of a call has
    fired already; `reactor` may be a `task.Clock`.
    """
    engine = connections.sqlite_memory()
    with engine.connect() as connection:
        _raw(connection).rollback()
        _raw(connection).deserialize(empty_image())
    load = Load()
    lane = Lane(reactor, engine, None, 1, load)
    return Database("sqlite", ":memory:", lane, lane, load)
