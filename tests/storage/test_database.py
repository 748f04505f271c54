"""Transactions in threads: committed or not, run again or given up, never lost."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from typing import Any
from unittest import skipUnless

import sqlalchemy as sa
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from knight_tw.errors import DatabaseAway, ShuttingDown
from knight_tw.storage import connections, lanes
from knight_tw.storage.database import Database, memory_database, open_database
from knight_tw.storage.schema import options, users
from tests.engines import DatabaseCase, for_engines, for_servers


def put(connection: sa.Connection, key: str, value: str = "") -> str:
    """Inserts an option; its key."""
    connection.execute(sa.insert(options).values(key=key, value=value))
    return key


def count(connection: sa.Connection) -> int:
    """How many options there are."""
    return connection.scalar(sa.select(sa.func.count()).select_from(options)) or 0


def started(coroutine: Any) -> Deferred[Any]:
    """The coroutine under way."""
    return Deferred.fromCoroutine(coroutine)


def unused_port() -> int:
    """A loopback port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MemoryTests(SynchronousTestCase):
    """`memory_database` runs at once."""

    def test_at_once(self) -> None:
        """A call has fired when it returns, with every table there."""
        db = memory_database(Clock())
        self.assertEqual(self.successResultOf(started(db.run(put, "a"))), "a")
        self.assertEqual(self.successResultOf(started(db.read(count))), 1)

    def test_apart(self) -> None:
        """Two databases do not see each other's rows."""
        self.successResultOf(started(memory_database(Clock()).run(put, "a")))
        other = memory_database(Clock())
        self.assertEqual(self.successResultOf(started(other.read(count))), 0)

    def test_rolled_back(self) -> None:
        """What a failed call wrote is gone."""
        db = memory_database(Clock())

        def fails(connection: sa.Connection) -> None:
            put(connection, "a")
            raise KeyError("a")

        self.failureResultOf(started(db.run(fails)), KeyError)
        self.assertEqual(self.successResultOf(started(db.read(count))), 0)

    def test_closed(self) -> None:
        """After `close` there are no calls."""
        db = memory_database(Clock())
        self.successResultOf(db.close())
        self.failureResultOf(started(db.run(put, "a")), ShuttingDown)

    def test_keywords(self) -> None:
        """Arguments pass by name too."""
        db = memory_database(Clock())
        call = db.run(put, key="a", value="b")
        self.assertEqual(self.successResultOf(started(call)), "a")


@for_engines
class DatabaseTests(DatabaseCase):
    """A real database on every engine."""

    async def test_commit(self) -> None:
        """What `run` wrote is seen by later reads."""
        await self.db.run(put, "a")
        self.assertEqual(await self.db.read(count), 1)
        self.assertEqual(self.db.dialect, self.kind)

    async def test_rollback(self) -> None:
        """An error passes through, and nothing stays."""

        def fails(connection: sa.Connection) -> None:
            put(connection, "a")
            raise KeyError("a")

        with self.assertRaises(KeyError):
            await self.db.run(fails)
        self.assertEqual(await self.db.read(count), 0)

    async def test_constraint(self) -> None:
        """A violated constraint is the caller's to handle, and is not tried again."""
        await self.db.run(put, "a")
        with self.assertRaises(sa.exc.IntegrityError):
            await self.db.run(put, "a")
        self.assertEqual(self.db.load.retries, 0)

    async def test_read_commits_nothing(self) -> None:
        """A write in `read` fails or is forgotten."""
        try:
            await self.db.read(put, "a")
        except sa.exc.OperationalError:
            self.assertEqual(self.kind, "sqlite")
        self.assertEqual(await self.db.read(count), 0)

    async def test_cancelled(self) -> None:
        """A cancelled call is committed, then raises."""
        entered, leave = threading.Event(), threading.Event()

        def slow(connection: sa.Connection) -> None:
            entered.set()
            leave.wait(5)
            put(connection, "a")

        call = started(self.db.run(slow))
        while not entered.is_set():
            await deferLater(reactor, 0.01)
        call.cancel()
        call.cancel()
        self.assertNoResult(call)
        leave.set()
        with self.assertRaises(CancelledError):
            await call
        self.assertEqual(await self.db.read(count), 1)

    async def test_many(self) -> None:
        """More calls than threads all get through, and the counters agree."""
        await gatherResults([started(self.db.run(put, str(n))) for n in range(50)])
        self.assertEqual(await self.db.read(count), 50)
        load = self.db.load
        self.assertEqual((load.calls, load.outstanding, load.waiting), (51, 0, 0))
        self.assertGreater(load.busy_seconds, 0)

    async def test_waiting(self) -> None:
        """Calls without a free thread are counted as waiting."""
        leave = threading.Event()
        db = self.open(pool_size=1)
        calls = [started(db.run(lambda _: leave.wait(5))) for _ in range(3)]
        self.assertEqual((db.load.outstanding, db.load.waiting), (3, 2))
        leave.set()
        await gatherResults(calls)

    async def test_full_queue(self) -> None:
        """Too many waiting calls are refused at once."""
        self.patch(lanes, "QUEUE_LIMIT", 1)
        leave = threading.Event()
        db = self.open(pool_size=1)
        calls = [started(db.run(lambda _: leave.wait(5))) for _ in range(2)]
        with self.assertRaises(DatabaseAway) as caught:
            await db.run(count)
        self.assertIsNotNone(caught.exception.retry_after)
        leave.set()
        await gatherResults(calls)

    async def test_close_waits(self) -> None:
        """`close` lets work under way finish and refuses new work."""
        leave = threading.Event()

        def slow(connection: sa.Connection) -> None:
            leave.wait(5)
            put(connection, "late")

        other = self.open()
        call = started(other.run(slow))
        closing = other.close()
        with self.assertRaises(ShuttingDown):
            await other.run(count)
        self.assertNoResult(closing)
        leave.set()
        await call
        await closing
        self.assertEqual(await self.db.read(count), 1)

    async def test_slow_statement(self) -> None:
        """A slow statement is logged, without its values."""
        db = self.open(slow_ms=0.000001)
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        await db.run(put, "a", "private")
        said = [event for event in events if "statement" in event]
        self.assertTrue(any("INSERT INTO options" in e["statement"] for e in said))
        self.assertEqual({event["log_level"] for event in said}, {LogLevel.warn})
        self.assertNotIn("private", str(said))

    async def test_observed(self) -> None:
        """Each attempt's waiting and working time is told."""
        seen: list[tuple[float, float]] = []
        self.db.load.observe = lambda *times: seen.append(times)
        await self.db.run(count)
        self.assertEqual(len(seen), 1)
        self.assertTrue(all(seconds >= 0 for seconds in seen[0]))


@for_servers
class ServerTests(DatabaseCase):
    """What only servers do."""

    async def test_lost_connection(self) -> None:
        """A connection that the server closed meanwhile costs one more attempt."""
        ask = "pg_backend_pid()" if self.kind == "postgresql" else "CONNECTION_ID()"
        db = self.open(pool_size=1)
        number = await db.run(lambda c: c.scalar(sa.text(f"SELECT {ask}")))
        kill = "SELECT pg_terminate_backend({})" * (self.kind == "postgresql")
        kill = (kill or "KILL {}").format(number)
        await self.db.run(lambda c: c.exec_driver_sql(kill).close())
        await db.run(put, "a")
        self.assertEqual(db.load.retries, 1)
        self.assertEqual(await self.db.read(count), 1)

    async def test_deadlock(self) -> None:
        """Of two transactions that lock crosswise, the victim runs again."""
        await self.db.run(put, "a", "0")
        await self.db.run(put, "b", "0")
        both = threading.Barrier(2)

        def cross(connection: sa.Connection, first: str, second: str) -> None:
            for key in (first, second):
                more = sa.update(options).where(options.c.key == key)
                connection.execute(more.values(value=options.c.value + "1"))
                if key == first and both.n_waiting < 2 and not both.broken:
                    # The second attempt goes alone.
                    with contextlib.suppress(threading.BrokenBarrierError):
                        both.wait(1)

        await gatherResults(
            [
                started(self.db.run(cross, "a", "b")),
                started(self.db.run(cross, "b", "a")),
            ]
        )
        self.assertGreaterEqual(self.db.load.retries, 1)


class SqliteFileTests(DatabaseCase):
    """What is SQLite's own."""

    async def test_reads_beside_the_writer(self) -> None:
        """A long write does not hold a read up, which sees the state before."""
        entered, leave = threading.Event(), threading.Event()

        def slow(connection: sa.Connection) -> None:
            put(connection, "a")
            entered.set()
            leave.wait(5)

        call = started(self.db.run(slow))
        while not entered.is_set():
            await deferLater(reactor, 0.01)
        self.assertEqual(await self.db.read(count), 0)
        leave.set()
        await call
        self.assertEqual(await self.db.read(count), 1)

    async def test_readers_cannot_write(self) -> None:
        """A write on the reading side is an error, not a lost row."""
        with self.assertRaises(sa.exc.OperationalError):
            await self.db.read(put, "a")

    async def test_modes(self) -> None:
        """WAL and `synchronous=NORMAL` on every connection."""

        def modes(connection: sa.Connection) -> tuple[Any, Any]:
            ask = connection.exec_driver_sql
            journal = ask("PRAGMA journal_mode").scalar()
            return journal, ask("PRAGMA synchronous").scalar()

        self.assertEqual(await self.db.run(modes), ("wal", 1))
        self.assertEqual(await self.db.read(modes), ("wal", 1))

    async def test_lock_of_another(self) -> None:
        """A lock of another process is waited for, again and again, up to a bound."""
        self.patch(lanes, "RETRY_DELAYS", (0.01, 0.01))
        path = self.place.removeprefix("sqlite:///")
        short = open_database(
            "", reactor=reactor, sqlite_path=f"{path}?_busy_timeout=1"
        )
        self.addCleanup(short.close)
        await short.run(count)
        entered, leave = threading.Event(), threading.Event()

        def hold(connection: sa.Connection) -> None:
            entered.set()
            leave.wait(5)

        call = started(self.db.run(hold))
        while not entered.is_set():
            await deferLater(reactor, 0.01)
        with self.assertRaises(DatabaseAway):
            await short.run(put, "a")
        self.assertEqual(short.load.retries, 2)
        leave.set()
        await call
        await short.run(put, "a")
        self.assertEqual(await self.db.read(count), 1)

    async def test_no_folder(self) -> None:
        """A file that cannot be opened is a database that is away."""
        db = open_database("", reactor=reactor, sqlite_path="/nowhere/at/all.db")
        self.addCleanup(db.close)
        with self.assertRaises(DatabaseAway):
            await db.run(count)


class NicenessTests(DatabaseCase):
    """Who runs first when there is one core for all."""

    @skipUnless(sys.platform == "linux", "elsewhere threads have no niceness")
    async def test_behind_the_reactor(self) -> None:
        """Reading and writing threads are nicer than the reactor's."""
        own = os.getpriority(os.PRIO_PROCESS, 0)
        wanted = min(own + lanes.NICER, 19)
        for run in (self.db.read, self.db.run):
            found = await run(lambda _: os.getpriority(os.PRIO_PROCESS, 0))
            self.assertEqual(found, wanted)
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, 0), own)


class AwayTests(TestCase):
    """A server that is not there."""

    def _opened(self, address: str) -> Database:
        db = open_database(address, reactor=reactor)
        self.addCleanup(db.close)
        return db

    async def test_unreachable(self) -> None:
        """The error says when to come back and keeps the password to itself."""
        port = unused_port()
        for address in (
            f"postgres://u:sesame@127.0.0.1:{port}/d",
            f"u:sesame@tcp(127.0.0.1:{port})/d",
        ):
            with self.assertRaises(DatabaseAway) as caught:
                await self._opened(address).run(count)
            error = caught.exception
            self.assertEqual((error.status, error.retry_after), (503, 1.0))
            self.assertNotIn("sesame", error.message + error.detail)
            self.assertIn("connect", error.detail)

    async def test_not_tried_at_once(self) -> None:
        """For a moment after a failed connect, calls fail without trying."""
        db = self._opened(f"postgres://u@127.0.0.1:{unused_port()}/d")
        for _ in range(2):
            with self.assertRaises(DatabaseAway):
                await db.run(count)
        self.assertEqual((db.load.calls, db.load.away), (1, 2))

    async def test_silent_server(self) -> None:
        """A server that accepts and says nothing is given up after the timeout."""
        self.patch(connections, "_GREETING_SECONDS", 1)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            for address in (
                f"postgres://u@127.0.0.1:{port}/d?connect_timeout=2",
                f"u@tcp(127.0.0.1:{port})/d?timeout=1s",
            ):
                with self.assertRaises(DatabaseAway):
                    await self._opened(address).run(count)


class CommitTests(SynchronousTestCase):
    """A connection lost during COMMIT."""

    def test_not_repeated(self) -> None:
        """Nobody knows whether it happened, so it does not run again."""
        db = memory_database(Clock())
        calls = []

        def breaks(*_: Any) -> None:
            raise sa.exc.OperationalError(
                "COMMIT", {}, Exception("gone"), connection_invalidated=True
            )

        sa.event.listen(db.engine, "commit", breaks)
        self.failureResultOf(started(db.run(calls.append)), DatabaseAway)
        self.assertEqual(len(calls), 1)


class UserRowTests(SynchronousTestCase):
    """Tables in memory are those of the schema."""

    def test_columns(self) -> None:
        """Every column of a table can be selected."""
        db = memory_database(Clock())
        found = db.read(lambda connection: connection.execute(sa.select(users)).all())
        self.assertEqual(self.successResultOf(started(found)), [])
