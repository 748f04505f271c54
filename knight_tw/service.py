"""The gateway as a service: builds every object once, starts and stops in order.

Nothing else constructs collaborators. Start: database, cache, snapshots, ledger (which
replays what a killed process left), surfaces, ports. Stop: ports, calls in flight,
background work, ledger, upstream connections, database.
"""

from __future__ import annotations

import gc
import os
import secrets as chance
import socket
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from knight_tw import __version__
from knight_tw.accounts.callers import Callers
from knight_tw.addresses import AddressGuard
from knight_tw.background import Background
from knight_tw.cache import PURGE, Cache, RedisCache, open_cache
from knight_tw.chores import Chore, Chores
from knight_tw.ledger import Ledger
from knight_tw.management import Management
from knight_tw.management.parts import Parts
from knight_tw.options import Options
from knight_tw.protocols.client_pool import PoolLimits
from knight_tw.protocols.server import Lanes, Limits
from knight_tw.readings import Lag, Readings
from knight_tw.relaying import Relaying
from knight_tw.secrets import session_secret
from knight_tw.settings import Settings
from knight_tw.snapshots import Snapshots
from knight_tw.startup import CannotStart
from knight_tw.storage import changes, meta, schema, steps, tokens
from knight_tw.storage.database import Database, open_database
from knight_tw.storage.dsn import DsnError
from knight_tw.storage.one_api import report, upgrade
from knight_tw.storage.one_api.upgrade import Terms
from knight_tw.upstream import Timeouts, Upstream
from knight_tw.web.addresses import Proxies

T = TypeVar("T")

HOUR = 3600.0
GOODBYE = 0.5
"""Seconds that realtime sessions have for their last words when time is up."""
CPU_THREADS = 4
SHARING = 8
"""Processes that may share a server database, for the ledger's rule of comfort: each
promises in memory at most this part of a balance."""
MEGABYTE = 1024 * 1024
PERF_SECONDS = {"minute": 60, "5min": 300, "hour": 3600}
"""The values of the option `perf_metrics_setting.bucket_time`."""


def build(settings: Settings, log_folder: str = "") -> Knight:
    """The gateway that the settings describe; nothing is opened yet.

    Args:
        log_folder: The folder of log files; empty when there is none.
    """
    from twisted.internet import reactor

    return Knight(settings, reactor, log_folder)


@define(eq=False, slots=False)
class Knight(Service):
    """The running gateway."""

    _settings: Settings
    _reactor: Any
    _log_folder: str = ""
    _log: Logger = field(factory=Logger)
    _ports: list[IListeningPort] = field(factory=list)
    _stops: list[Any] = field(factory=list)
    """What `stopService` undoes, latest first: functions that may return Deferreds."""

    def startService(self) -> Deferred[None]:
        """Fires when the gateway serves."""
        super().startService()  # type: ignore[no-untyped-call]  # bare there
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Fires when everything is flushed and closed."""
        super().stopService()  # type: ignore[no-untyped-call]  # bare there
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        settings, reactor = self._settings, self._reactor
        folder = Path(settings.data_dir)
        secret = session_secret(settings.session_secret, folder)
        in_thread = self._cpu()
        background = Background()
        db, logs = await self._databases()
        cache = await self._cache()
        snapshots = Snapshots(
            db, cache, reactor, background, settings, settings.sync_frequency
        )
        await snapshots.start()
        self._undo(snapshots.stop)
        ledger = self._ledger(folder, db, logs, in_thread, snapshots)
        await ledger.start()
        self._undo(ledger.stop)
        upstream = self._upstream(snapshots)
        self._undo(upstream.close)
        callers = self._callers(db, snapshots, ledger, background)
        node = settings.node_name or socket.gethostname()
        holder = f"{node}/{os.getpid()}/{chance.token_hex(4)}"

        def ready() -> str:
            if relaying.surface.draining:
                return "draining"
            return "journal full" if ledger.full else ""

        relaying = Relaying.build(
            settings,
            reactor,
            secret=settings.crypto_secret or secret,
            db=db,
            cache=cache,
            snapshots=snapshots,
            ledger=ledger,
            upstream=upstream,
            callers=callers,
            background=background,
            in_thread=in_thread,
        )
        parts = Parts(
            settings=settings,
            reactor=reactor,
            secret=secret,
            version=f"v{__version__}",
            holder=holder,
            ready=ready,
            db=db,
            logs=logs or db,
            cache=cache,
            snapshots=snapshots,
            ledger=ledger,
            upstream=upstream,
            callers=callers,
            background=background,
            in_thread=in_thread,
            relaying=relaying,
            metrics=lambda: readings.page(),
            log_folder=self._log_folder,
        )
        management = Management.of(parts)
        self._undo(management.close)
        await management.first_start(self._address())
        chores = self._chores(db, background, ledger, management, holder)
        chores.start()
        self._undo(chores.stop)
        self._undo(partial(self._drain_background, background))
        lanes = self._lanes(relaying, management)
        readings = Readings(
            relaying,
            ledger,
            (db, logs) if logs else (db,),
            cache,
            snapshots,
            upstream,
            lanes,
            lambda: chores.leading,
            Lag(reactor),
            left_out=management.left_out,
        )
        readings.start()
        self._undo(readings.stop)
        self._undo(partial(self._drain, lanes, relaying))
        management.begin()
        self._undo(management.end)
        await self._listen(lanes)
        _spare_collector()
        self._undo(gc.unfreeze)

    # parts -------------------------------------------------------------------

    def _cpu(self) -> Any:
        """Runs functions in threads for processor work (hashes, token counts)."""
        pool = ThreadPool(1, CPU_THREADS, "cpu")
        pool.start()
        self._undo(pool.stop)
        return partial(deferToThreadPool, self._reactor, pool)

    async def _databases(self) -> tuple[Database, Database | None]:
        """The main database, and the one for logs where there is one; both complete."""
        settings = self._settings
        terms = Terms(
            int(self._reactor.seconds()),
            f"v{__version__}",
            chance.SystemRandom(),
            settings.knight_migrate_one_api,
            lambda step: self._log.info("upgrade from one-api: {step}", step=step),
        )
        db = self._database(settings.sql_dsn)
        if settings.node_type == "slave":
            await _accepted(db.run(meta.require_version))
        else:
            upgraded = await _accepted(db.run(upgrade.open_main, terms))
            for line in report.lines(upgraded) if upgraded else ():
                self._log.info("upgraded from one-api: {line}", line=line.strip())
            await db.run(steps.run_missing, terms.now)
        if not settings.log_sql_dsn:
            return db, None
        logs = self._database(settings.log_sql_dsn)
        await _accepted(logs.run(upgrade.open_logs, terms))
        return db, logs

    def _database(self, address: str) -> Database:
        settings = self._settings
        try:
            db = open_database(
                address,
                reactor=self._reactor,
                sqlite_path=settings.sqlite_path,
                data_dir=settings.data_dir,
                pool_size=settings.sql_max_open_conns,
                idle=settings.sql_max_idle_conns,
                lifetime=settings.sql_max_lifetime,
                slow_ms=settings.sql_slow_threshold_ms,
            )
        except DsnError as error:
            raise CannotStart(str(error)) from None
        self._undo(db.close)
        self._log.info(
            "database: {dialect} {where}", dialect=db.dialect, where=db.location
        )
        return db

    async def _cache(self) -> Cache:
        """Redis, or memory without one; a Redis that is away does not stop us."""
        settings = self._settings
        try:
            cache = open_cache(
                settings.redis_conn_string,
                reactor=self._reactor,
                prefix=settings.redis_key_prefix,
                timeout=settings.redis_timeout_ms / 1000,
                pool_size=settings.redis_pool_size,
            )
        except ValueError as error:
            raise CannotStart(f"REDIS_CONN_STRING: {error}") from None
        self._undo(cache.close)
        if isinstance(cache, RedisCache) and not await cache.ready():
            self._log.warn("Redis does not answer: memory stands in until it does")
        return cache

    def _ledger(
        self,
        folder: Path,
        db: Database,
        logs: Database | None,
        in_thread: Any,
        snapshots: Snapshots,
    ) -> Ledger:
        settings = self._settings

        def option(read: Any, key: str) -> Any:
            return lambda: read(snapshots.options, key)

        return Ledger(
            db,
            logs,
            self._reactor,
            in_thread,
            folder / "journal",
            option(Options.integer, "TrustQuota"),
            option(Options.flag, "DataExportEnabled"),
            processes=lambda: 1 if db.dialect == "sqlite" else SHARING,
            node=settings.node_name or socket.gethostname(),
            fsync=settings.journal_fsync,
            fsync_seconds=settings.journal_fsync_seconds,
            max_bytes=settings.journal_max_mb * MEGABYTE,
            flush_seconds=settings.ledger_flush_seconds,
            perf=lambda: perf_seconds(snapshots.options),
        )

    def _upstream(self, snapshots: Snapshots) -> Upstream:
        settings = self._settings
        upstream = Upstream(
            self._reactor,
            limits=PoolLimits(
                connections=settings.relay_max_conns_per_host,
                idle=settings.relay_max_idle_conns,
                idle_per_pool=settings.relay_max_idle_conns_per_host,
                idle_timeout=settings.relay_idle_conn_timeout,
            ),
            timeouts=Timeouts(
                connect=settings.upstream_connect_timeout,
                first_byte=settings.relay_first_byte_timeout,
            ),
            proxies=os.environ,
            insecure=settings.tls_insecure_skip_verify,
        )

        def guard(kind: str, ref: str = "") -> None:
            if kind == "option":
                upstream.guard = AddressGuard.from_options(
                    snapshots.options, settings.address_guard_allow
                )

        guard("option")
        snapshots.on_change(guard)
        return upstream

    def _callers(
        self,
        db: Database,
        snapshots: Snapshots,
        ledger: Ledger,
        background: Background,
    ) -> Callers:
        async def store(token_id: int, status: int) -> None:
            await db.run(tokens.mark, token_id, status)

        def expired(token_id: int, status: int) -> None:
            background.spawn("mark a token", store(token_id, status))

        callers = Callers(
            db,
            snapshots,
            ledger,
            self._reactor,
            expired,
            float(self._settings.sync_frequency),
        )

        def told(kind: str, ref: str) -> None:
            number = int(ref) if ref.isdecimal() else 0
            if kind == "token":
                callers.forget(token_id=number)
                ledger.forget(token_id=number)
            elif kind == "user":
                callers.forget(user_id=number)
                ledger.forget(user_id=number)
            elif kind == PURGE:
                callers.forget()
                background.spawn("reload", snapshots.reload())

        snapshots.on_change(told)
        return callers

    def _chores(
        self,
        db: Database,
        background: Background,
        ledger: Ledger,
        management: Management,
        holder: str,
    ) -> Chores:
        clock = self._reactor

        async def prune() -> None:
            await db.run(changes.prune, int(clock.seconds()))

        async def release_lost() -> None:
            await ledger.release_lost(int(clock.seconds()))

        ours = (
            Chore("prune changes", 600.0, prune),
            Chore("release lost holds", HOUR, release_lost),
        )
        chores = (*management.chores, *ours)
        may_lead = self._settings.node_type != "slave"
        return Chores(db, clock, background, holder, chores, may_lead)

    # ports -------------------------------------------------------------------

    def _address(self) -> str:
        return f"http://localhost:{self._settings.port}"

    def _lanes(self, relaying: Relaying, management: Management) -> Lanes:
        settings = self._settings
        proxies = Proxies.of(settings.trusted_proxies)
        return Lanes(
            relaying.surface,
            management.site,
            client_address=proxies.client,
            clock=self._reactor,
            limits=Limits(
                body=settings.max_request_body_mb * MEGABYTE,
                head_timeout=settings.client_head_timeout,
                idle_timeout=settings.client_idle_timeout,
                write_timeout=settings.client_write_timeout,
            ),
            fast=settings.fast_lane,
        )

    async def _listen(self, lanes: Lanes) -> None:
        for text in self._settings.listen:
            endpoint = serverFromString(  # type: ignore[no-untyped-call]  # bare there
                self._reactor, text
            )
            self._ports.append(await endpoint.listen(lanes))
        for port in self._ports:
            self._log.info("listening on {where}", where=port.getHost())

    # the end -----------------------------------------------------------------

    def _undo(self, stop: Any) -> None:
        self._stops.append(stop)

    async def _stop(self) -> None:
        """Undo what was started, latest first; one failure does not stop the rest."""
        while self._stops:
            stop = self._stops.pop()
            try:
                result = stop()
                if result is not None:
                    await result
            except Exception:  # noqa: BLE001 - the ledger must be flushed whatever fails
                self._log.failure("stopping: {what} failed", what=str(stop))

    async def _drain(self, lanes: Lanes, relaying: Relaying) -> None:
        """No new connections; calls in flight may finish, bounded."""
        relaying.surface.draining = True
        ports, self._ports = self._ports, []
        await gatherResults([_stopped(port) for port in ports])
        sessions = relaying.sessions
        sessions.drain()
        drained = lanes.drain()
        timeout = self._settings.drain_timeout
        limits = [
            self._reactor.callLater(timeout, sessions.close),
            self._reactor.callLater(timeout + GOODBYE, lanes.abort_all),
        ]
        if lanes.calls or len(sessions):
            self._log.info(
                "waiting for {calls} calls, {sessions} realtime sessions",
                calls=lanes.calls,
                sessions=len(sessions),
            )
        await drained
        for limit in limits:
            if limit.active():
                limit.cancel()

    async def _drain_background(self, background: Background) -> None:
        """Detached work gets a moment, then it is told to end."""
        limit = self._reactor.callLater(10.0, background.cancel)
        await background.drained()
        if limit.active():
            limit.cancel()


async def _accepted(opening: Coroutine[Any, Any, T]) -> T:
    """The result of opening a database.

    Raises:
        CannotStart: it cannot be used as it is; the message says what to do.
    """
    try:
        return await opening
    except schema.SchemaRefused as refused:
        raise CannotStart(str(refused)) from None


def perf_seconds(options: Options) -> int:
    """Seconds of a bucket of `perf_metrics`; 0 while they are not wanted."""
    if not options.flag("perf_metrics_setting.enabled"):
        return 0
    return PERF_SECONDS.get(options.text("perf_metrics_setting.bucket_time"), 3600)


def _spare_collector() -> None:
    """Lets the cyclic collector look at less, and less often: 5 % of a busy process.

    What exists after the start stays, so it need not be looked at again. A call makes
    hardly any cycles: counting references frees nearly all of it, and the collector
    would run every few calls for nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _stopped(port: IListeningPort) -> Deferred[Any]:
    stopped = port.stopListening()
    return stopped if isinstance(stopped, Deferred) else DeferredList([])
