"""Lanes: transactions on one engine, in threads of their own, tried again if it helps.

A lane has as many threads as its engine has connections. What does not find a free
thread waits, up to a bound. A deadlock or a lock is tried again a few times with a
growing pause, a broken connection once, at once; a failed connect makes the calls of
the next second fail without waiting, so that a database that is away costs nobody time.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

import sqlalchemy as sa
from attrs import define, field
from sqlalchemy import exc
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from knight_tw.errors import DatabaseAway
from knight_tw.storage.faults import Fault, classify

T = TypeVar("T")

RETRY_DELAYS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Seconds before each further attempt of a transaction that met a lock."""

AWAY_SECONDS = 1.0
"""After a failed connect, how long calls fail at once instead of trying again."""

QUEUE_LIMIT = 5_000
"""Calls that may wait for a thread; more are refused."""

NICER = 5
"""By how much database threads are nicer than the reactor's: a third of its weight."""

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
            if not commit:
                transaction.rollback()
        except exc.DBAPIError as error:
            if (fault := classify(error)) is Fault.OURS:
                raise
            raise _Failed(fault, error, "statement") from error
        if not commit:
            return result
        try:
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
                detail="too many calls wait for the database"
                if crowded
                else "it could not be reached a moment ago",
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


class _DaemonThread(threading.Thread):
    """A thread that does not keep an exiting process alive when `close` was missed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, daemon=True)

    def run(self) -> None:
        """As any thread, behind the reactor's when both want the same core."""
        step_back()
        super().run()


def step_back() -> None:
    """Makes this thread yield to others of the process that want to run.

    A batch of rows keeps a core for some milliseconds: calls and events would wait for
    its end. Linux gives each thread a niceness of its own; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            own = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), own + NICER)


def threaded(
    reactor: Any, engine: sa.Engine, size: int, load: Load, slow_ms: float
) -> Lane:
    """A lane with `size` threads on an engine, which may open as many connections.

    Args:
        slow_ms: Statements that take longer are logged, without their values; 0 means
            none.
    """
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
