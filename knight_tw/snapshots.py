"""What every call reads and nobody changes: options, prices, channels, routes.

Each is an immutable value, swapped whole. A write in this process calls `changed`,
which re-reads what it concerns and tells the other processes (Redis, or the change
table that each process polls every second). Everything is read again every
`SYNC_FREQUENCY` seconds, since a Go program may write to the same database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from knight_tw.background import Background
from knight_tw.cache import Cache
from knight_tw.errors import DatabaseAway
from knight_tw.options import Options
from knight_tw.price_book import PriceBook
from knight_tw.records import Channel
from knight_tw.relay.knobs import Knobs
from knight_tw.routing import RoutingTable
from knight_tw.settings import Settings
from knight_tw.storage import changes, channels, options
from knight_tw.storage.database import Database

Told = Callable[[str, str], None]
"""Called with (kind, reference) of a change: `user`, `token`, `session`, ..."""


@define(eq=False)
class Snapshots:
    """Today's options, prices and channels; kept fresh while started."""

    _db: Database
    _cache: Cache
    _clock: IReactorTime
    _background: Background
    _settings: Settings
    _sync_seconds: float = 60.0
    _poll_seconds: float = 1.0
    options: Options = field(factory=lambda: Options.from_rows({}))
    prices: PriceBook = field(init=False)
    knobs: Knobs = field(init=False)
    channels: Mapping[int, Channel] = field(factory=dict)
    routes: RoutingTable = field(factory=lambda: RoutingTable.build(()))
    _told: list[Told] = field(factory=list)
    _loops: list[LoopingCall] = field(factory=list)
    _last_change: int = 0
    _lock: DeferredLock = field(factory=DeferredLock)
    _log: Logger = field(factory=Logger)

    @prices.default
    def _first_prices(self) -> PriceBook:
        return PriceBook.from_options(self.options)

    @knobs.default
    def _first_knobs(self) -> Knobs:
        return Knobs.read(self.options, self._settings)

    @property
    def self_use(self) -> bool:
        """Unpriced models may be used by everybody."""
        return self.knobs.self_use

    def on_change(self, told: Told) -> None:
        """`told(kind, ref)` for every change of something that is cached elsewhere."""
        self._told.append(told)

    async def start(self) -> None:
        """Read everything once, then keep it fresh."""
        self._last_change = await self._db.read(changes.last)
        await self.reload()
        self._cache.subscribe(self._announced)
        self._loop(self._sync_seconds, "reload", self.reload)
        self._loop(self._poll_seconds, "poll", self._poll)

    def stop(self) -> None:
        """No further reading."""
        for loop in self._loops:
            loop.stop()
        self._loops.clear()

    async def reload(self) -> None:
        """Options and channels from the database, whole."""
        await self._locked(self._read_options, self._read_channels)

    async def changed(self, kind: str, ref: str = "") -> None:
        """Something was written here: refresh it, and let other processes know."""
        await self._refresh(kind, ref)
        if not self._cache.publish(kind, ref):
            now = int(self._clock.seconds())
            await self._db.run(changes.announce, kind, ref, now)

    def _loop(self, seconds: float, what: str, work: Callable[[], Any]) -> None:
        async def once() -> None:
            try:
                await work()
            except DatabaseAway as away:
                self._log.warn("{what} waits: {why}", what=what, why=away.message)
            except Exception:  # noqa: BLE001 - a loop must survive one bad round
                self._log.failure("{what} failed", what=what)

        loop = LoopingCall(lambda: Deferred.fromCoroutine(once()))
        loop.clock = self._clock
        loop.start(seconds, now=False)
        self._loops.append(loop)

    def _announced(self, kind: str, ref: str) -> None:
        """Another process wrote something (heard through Redis)."""
        self._background.spawn("refresh", self._refresh(kind, ref))

    async def _poll(self) -> None:
        """Changes that other processes wrote to the change table."""
        for number, kind, ref in await self._db.read(changes.since, self._last_change):
            self._last_change = max(self._last_change, number)
            await self._refresh(kind, ref)

    async def _refresh(self, kind: str, ref: str) -> None:
        if kind in ("option", "price"):
            await self._locked(self._read_options)
        elif kind == "channel":
            await self._locked(self._read_channels)
        if kind != "option":  # the reading tells it
            self._tell(kind, ref)

    def _tell(self, kind: str, ref: str) -> None:
        for told in self._told:
            told(kind, ref)

    async def _locked(self, *reads: Callable[[], Any]) -> None:
        """One reading at a time, so that an older result never replaces a newer one."""
        await self._lock.acquire()
        try:
            for read in reads:
                await read()
        finally:
            self._lock.release()

    async def _read_options(self) -> None:
        rows = await self._db.read(options.load)
        settings = self._settings
        fresh = Options.from_rows(
            rows, defaults=_defaults(settings), forced=_forced(settings)
        )
        if fresh.rows() == self.options.rows():
            return
        for problem in fresh.problems:
            self._log.warn("option row ignored: {problem}", problem=problem)
        self.prices = PriceBook.from_options(fresh)
        self.knobs = Knobs.read(fresh, self._settings)
        self.options = fresh
        self._tell("option", "")

    async def _read_channels(self) -> None:
        rows = await self._db.read(channels.load_all)
        self.routes = RoutingTable.build(rows)
        self.channels = {channel.id: channel for channel in rows}


def _defaults(settings: Settings) -> dict[str, str]:
    """What the environment says of options that the table does not have."""
    return {
        "SMTPStartTLSEnabled": str(settings.smtp_starttls_enable).lower(),
        "SMTPInsecureSkipVerify": str(settings.smtp_insecure_skip_verify).lower(),
    }


def _forced(settings: Settings) -> dict[str, str]:
    """Options that the environment decides, whatever the table says."""
    minutes, enabled = settings.channel_test_frequency, settings.channel_test_enabled
    forced: dict[str, str] = {}
    if minutes:
        forced["monitor_setting.auto_test_channel_minutes"] = f"{minutes:g}"
        forced["monitor_setting.auto_test_channel_enabled"] = "true"
    if enabled is not None:
        forced["monitor_setting.auto_test_channel_enabled"] = str(enabled).lower()
    return forced
