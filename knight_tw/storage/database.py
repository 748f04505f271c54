"""The way from the reactor to a database: one transaction per call, in our own threads.

`Database.run` may write, `Database.read` only reads; on SQLite they go different ways
(one writer, several readers), elsewhere they share a pool. The functions they call are
plain: a `Connection` in, plain values out, no other effect, because a transaction that
met a deadlock or a broken connection runs again.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from attrs import define, field
from sqlalchemy import exc
from twisted.internet.defer import CancelledError, Deferred, execute, succeed
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from knight_tw.errors import DatabaseAway, ShuttingDown
from knight_tw.storage import connections, dsn, schema
from knight_tw.storage.faults import Fault, classify

P = ParamSpec("P")
T = TypeVar("T")

RETRY_DELAYS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Seconds before each further attempt of a transaction that met a lock."""

AWAY_SECONDS = 1.0
"""After a failed connect, how long calls fail at once instead of trying again."""

QUEUE_LIMIT = 5_000
"""Calls that may wait for a thread; more are refused."""

SQLITE_READERS = 4
"""Reading threads on SQLite: more only contend for the interpreter."""

_STATEMENT_LENGTH = 500

log = Logger()


@define(eq=False)
class Load:
    """What the database work of this process amounts to so far; for metrics.

    Attributes:
        outstanding: Calls submitted and not yet over.
        waiting: Those of them for which no thread is free.
        calls: Finished transactions, failed ones included.
        queued_seconds, busy_seconds: Their waiting and working time, summed.
        retries: Attempts after the first.
        away: Calls refused or failed because the database was away.
        observe: Called with the seconds queued and worked of each attempt.
    """

    outstanding: int = 0
    waiting: int = 0
    calls: int = 0
    queued_seconds: float = 0.0
    busy_seconds: float = 0.0
    retries: int = 0
    away: int = 0
    observe: Callable[[float, float], None] | None = None

    def over(self, queued: float, busy: float) -> None:
        """Counts one finished attempt."""
        self.calls += 1
        self.queued_seconds += queued
        self.busy_seconds += busy
        if self.observe is not None:
            self.observe(queued, busy)


class _Failed(Exception):
    """A transaction that a database error ended, with what may be done about it."""

    def __init__(self, fault: Fault, error: exc.SQLAlchemyError, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault
        self.error = error
        self.reason = reason


def _transact(engine: sa.Engine, commit: bool, work: Callable[[sa.Connection], T]) -> T:
    """The result of `work` in one transaction, committed or (reading) rolled back.

    Raises:
        _Failed: the database's fault. A connection lost in COMMIT is AWAY, not LOST:
            nobody knows whether it happened, so it must not run again.
    """
    try:
        connection = engine.connect()
    except exc.DBAPIError as error:
        busy = classify(error) is Fault.BUSY
        raise _Failed(Fault.BUSY if busy else Fault.AWAY, error, "connect") from error
    with connection:
        try:
            transaction = connection.begin()
            result = work(connection)
        except exc.DBAPIError as error:
            if (fault := classify(error)) is Fault.OURS:
                raise
            raise _Failed(fault, error, "statement") from error
        try:
            if commit:
                transaction.commit()
        except exc.DBAPIError as error:
            fault = Fault.BUSY if classify(error) is Fault.BUSY else Fault.AWAY
            raise _Failed(fault, error, "commit") from error
    return result


@define(eq=False)
class Lane:
    """Transactions on one engine, in the threads that belong to it.

    Without threads (tests) they run at once, in the caller's.
    """

    _reactor: Any
    _engine: sa.Engine
    _threads: ThreadPool | None
    _size: int
    _load: Load
    _outstanding: int = 0
    _away_until: float = 0.0
    _idle: list[Deferred[None]] = field(factory=list)

    @property
    def engine(self) -> sa.Engine:
        """The engine, for what must not be a transaction of ours (backups)."""
        return self._engine

    async def run(self, work: Callable[[sa.Connection], T], commit: bool) -> T:
        """The result of `work`, after as many attempts as it may need.

        Raises:
            DatabaseAway: connection, server or disk failed, a lock never came free, or
                too many calls wait already.
        """
        delays = iter(RETRY_DELAYS)
        lost = False
        while True:
            self._refuse_when_hopeless()
            try:
                return await self._attempt(work, commit)
            except _Failed as failed:
                last = failed
            if last.fault is Fault.BUSY and (delay := next(delays, None)) is not None:
                self._load.retries += 1
                if self._threads is not None:
                    await deferLater(self._reactor, delay)
            elif last.fault is Fault.LOST and not lost:
                self._load.retries += 1
                lost = True
            else:
                raise self._away(last) from last.error

    def _refuse_when_hopeless(self) -> None:
        crowded = self._outstanding >= self._size + QUEUE_LIMIT
        if crowded or self._reactor.seconds() < self._away_until:
            self._load.away += 1
            raise DatabaseAway(
                "the database is not available",
                retry_after=AWAY_SECONDS,
                detail="too many calls wait for the database" if crowded else "",
            )

    def _away(self, failed: _Failed) -> DatabaseAway:
        """The error for callers; a failed connect spares the next ones the wait."""
        if failed.reason == "connect" and failed.fault is Fault.AWAY:
            self._away_until = self._reactor.seconds() + AWAY_SECONDS
        self._load.away += 1
        original = getattr(failed.error, "orig", None) or failed.error
        return DatabaseAway(
            "the database is not available",
            retry_after=AWAY_SECONDS,
            detail=f"{failed.reason}: {type(original).__name__}: {original}"[:500],
        )

    def _attempt(self, work: Callable[[sa.Connection], T], commit: bool) -> Deferred[T]:
        submitted = time.monotonic()
        started = submitted
        context = copy_context()

        def transaction() -> T:
            nonlocal started
            started = time.monotonic()
            return context.run(_transact, self._engine, commit, work)

        def over(result: T | Failure) -> T | Failure:
            self._count(-1)
            self._load.over(started - submitted, time.monotonic() - started)
            if not self._outstanding:
                while self._idle:
                    self._idle.pop().callback(None)
            return result

        self._count(1)
        if self._threads is None:
            return execute(transaction).addBoth(over)
        running = deferToThreadPool(self._reactor, self._threads, transaction)
        return running.addBoth(over)

    def _count(self, change: int) -> None:
        before = max(0, self._outstanding - self._size)
        self._outstanding += change
        self._load.outstanding += change
        self._load.waiting += max(0, self._outstanding - self._size) - before

    def idle(self) -> Deferred[None]:
        """Fires when no transaction of this lane is under way."""
        if not self._outstanding:
            return succeed(None)
        self._idle.append(waiting := Deferred[None]())
        return waiting

    async def close(self) -> None:
        """Waits for what is under way, then gives back connections and threads."""
        await self.idle()
        if self._threads is None:
            self._engine.dispose()
            return
        # The last SQLite connection writes the WAL back: not in the reactor's thread.
        await deferToThreadPool(self._reactor, self._threads, self._engine.dispose)
        self._threads.stop()


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
        writes = _lane(reactor, writer, 1, load, slow_ms)
        reading = connections.sqlite_readers(url, readers)
        reads = _lane(reactor, reading, readers, load, slow_ms)
        return Database(dialect, location, writes, reads, load)
    engine = connections.server(url, idle=idle, limit=size, lifetime=lifetime)
    location = f"{url.host or 'local socket'}:{url.port or ''}/{url.database}"
    lane = _lane(reactor, engine, size, load, slow_ms)
    return Database(dialect, location, lane, lane, load)


class _DaemonThread(threading.Thread):
    """A thread that does not keep an exiting process alive when `close` was missed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, daemon=True)


def _lane(
    reactor: Any, engine: sa.Engine, size: int, load: Load, slow_ms: float
) -> Lane:
    threads = ThreadPool(0, size, f"knight-{engine.dialect.name}")
    threads.threadFactory = _DaemonThread
    threads.start()
    if slow_ms > 0:
        _log_slow(engine, slow_ms / 1000)
    return Lane(reactor, engine, threads, size, load)


def _log_slow(engine: sa.Engine, seconds: float) -> None:
    """Logs statements that take longer, without their values."""

    def before(*event: Any) -> None:
        event[4].knight_began = time.monotonic()

    def after(*event: Any) -> None:
        took = time.monotonic() - event[4].knight_began
        if took >= seconds:
            statement = " ".join(event[2].split())[:_STATEMENT_LENGTH]
            log.warn(
                "slow statement, {seconds:.3f} s: {statement}",
                seconds=took,
                statement=statement,
            )

    sa.event.listen(engine, "before_cursor_execute", before)
    sa.event.listen(engine, "after_cursor_execute", after)


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
