"""What `/metrics` says: the figures of every part, read when somebody asks.

The parts count for themselves (`Meter`, `ledger.Figures`, `storage.lanes.Load`, ...);
only what must be watched all the time is watched here: the times of transactions and of
the ledger's batches, and how late the reactor is.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from knight_tw import __version__, providers
from knight_tw.cache import Cache
from knight_tw.ledger import Ledger
from knight_tw.metrics import (
    CHANNELS,
    OTHER,
    SIZES,
    Attempts,
    Histogram,
    Labels,
    Meter,
    Page,
    Times,
)
from knight_tw.protocols.server import Lanes
from knight_tw.relaying import Relaying
from knight_tw.snapshots import Snapshots
from knight_tw.storage.database import Database
from knight_tw.upstream import Upstream

LAG_SECONDS = 0.5
"""How often the reactor's lateness is measured."""

STAT = Path("/proc/self/stat")
DESCRIPTORS = Path("/proc/self/fd")
BOOT = Path("/proc/stat")


@define(eq=False)
class Lag:
    """Measures how late timers are: what a busy reactor costs everybody."""

    _clock: IReactorTime
    late: Histogram = field(factory=Histogram)
    _due: float = 0.0
    _timer: IDelayedCall | None = None

    def start(self) -> None:
        """Measures until `stop`."""
        self._due = self._clock.seconds() + LAG_SECONDS
        self._timer = self._clock.callLater(LAG_SECONDS, self._tick)

    def stop(self) -> None:
        """No more timers."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _tick(self) -> None:
        self.late.observe(self._clock.seconds() - self._due)
        self.start()


@define(eq=False)
class Readings:
    """The figures of one process.

    Args:
        databases: The main one, and the one for logs where there is one.
        leading: True while this process holds the lease of the chores.
        left_out: Rows of the log that some reader of its stream was not given.
    """

    _relaying: Relaying
    _ledger: Ledger
    _databases: tuple[Database, ...]
    _cache: Cache
    _snapshots: Snapshots
    _upstream: Upstream
    _lanes: Lanes
    _leading: Callable[[], bool]
    lag: Lag
    _database_seconds: Histogram = field(factory=Histogram)
    _flush_seconds: Histogram = field(factory=Histogram)
    _flush_records: Histogram = field(factory=lambda: Histogram(SIZES))
    _left_out: Callable[[], int] = lambda: 0

    def start(self) -> None:
        """Begin to watch."""
        self._ledger.figures.observe = self._flushed
        for db in self._databases:
            db.load.observe = self._transacted
        self.lag.start()

    def stop(self) -> None:
        """No more timers."""
        self.lag.stop()

    def _flushed(self, seconds: float, records: int) -> None:
        self._flush_seconds.observe(seconds)
        self._flush_records.observe(records)

    def _transacted(self, queued: float, worked: float) -> None:
        self._database_seconds.observe(queued + worked)

    def page(self) -> bytes:
        """All of it, in Prometheus' text format."""
        page = Page()
        _calls(page, self._relaying.meter)
        self._channels(page)
        self._money(page)
        self._open(page)
        self._storage(page)
        _process(page)
        return page.encoded()

    def _channels(self, page: Page) -> None:
        meter, states = self._relaying.meter, self._snapshots.channels
        page.counter(
            "knight_attempts_total",
            "Attempts by type of provider.",
            _attempts("provider", meter.providers, _provider),
        )
        page.counter(
            "knight_channel_attempts_total",
            "Attempts by channel.",
            _attempts("channel", meter.channels, lambda one: str(one or OTHER)),
        )
        page.gauge(
            "knight_channel_state",
            "1 enabled, 2 disabled by a person, 3 disabled by the gateway.",
            [
                ({"channel": str(number)}, states[number].status)
                for number in sorted(states)[:CHANNELS]
            ],
        )
        page.counter(
            "knight_retries_total",
            "Attempts that were followed by another one, by the reason.",
            _by("reason", meter.retries),
        )
        page.counter(
            "knight_hedges_total",
            "Second attempts beside a silent one, by what became of them.",
            _by("outcome", meter.hedges),
        )

    def _money(self, page: Page) -> None:
        figures = self._ledger.figures
        page.counter(
            "knight_quota_charged_total",
            "Quota that was taken, by what the charge rests on.",
            _by("evidence", figures.charged),
        )
        page.counter(
            "knight_quota_uncollected_total",
            "Quota that nobody had any more.",
            figures.uncollected,
        )
        page.counter(
            "knight_holds_total",
            "Holds given in memory and in SQL, and those refused.",
            _by("place", figures.holds),
        )
        page.gauge("knight_holds_open", "Holds that are open.", figures.holds_open)
        page.gauge("knight_holds_quota", "Quota in them.", figures.holds_quota)
        self._journal(page)

    def _journal(self, page: Page) -> None:
        ledger = self._ledger
        page.counter(
            "knight_journal_records_total",
            "Entries of the journal.",
            _by("kind", ledger.records),
        )
        page.gauge(
            "knight_journal_bytes",
            "Bytes of it that no database has.",
            ledger.journal_bytes,
        )
        page.gauge(
            "knight_journal_lag_seconds", "Age of the oldest of them.", ledger.lag
        )
        page.histogram(
            "knight_flush_seconds",
            "Time of a batch of the journal in the database.",
            [({}, self._flush_seconds)],
        )
        page.histogram(
            "knight_flush_records",
            "Entries of a batch.",
            [({}, self._flush_records)],
        )

    def _open(self, page: Page) -> None:
        relaying, lanes = self._relaying, self._lanes
        page.gauge(
            "knight_drains_open",
            "Calls that are read to their end although the client has left.",
            relaying.relay.drains,
        )
        page.gauge("knight_streams_open", "Streams under way.", relaying.meter.streams)
        page.gauge(
            "knight_sockets_open", "Realtime sessions open.", len(relaying.sessions)
        )
        idle, busy, waiting = self._upstream.load()
        page.gauge(
            "knight_upstream_connections",
            "Connections to providers, and calls that wait for one.",
            _by("state", {"idle": idle, "busy": busy, "waiting": waiting}),
        )
        page.counter(
            "knight_log_tail_dropped_total",
            "Rows of the log that a reader of its stream was not given.",
            self._left_out(),
        )
        held = {"request": lanes.held, "journal": self._ledger.buffered_bytes}
        page.gauge("knight_bytes_held", "Bytes in memory.", _by("what", held))

    def _storage(self, page: Page) -> None:
        page.histogram(
            "knight_db_seconds",
            "Time of a transaction, its waiting for a thread included.",
            [({}, self._database_seconds)],
        )
        page.gauge(
            "knight_db_queue",
            "Transactions that wait for a thread.",
            sum(db.load.waiting for db in self._databases),
        )
        if self._cache.shared:
            page.gauge("knight_redis_up", "1 while Redis answers.", self._cache.up)
        page.gauge(
            "knight_leader", "1 while it does the background work.", self._leading()
        )
        page.histogram(
            "knight_reactor_lag_seconds",
            "How late timers are.",
            [({}, self.lag.late)],
        )


def _calls(page: Page, meter: Meter) -> None:
    page.counter(
        "knight_calls_total",
        "Calls that were answered.",
        [
            (
                {
                    "dialect": dialect.value,
                    "mode": mode.value if mode else OTHER,
                    "stream": _flag(stream),
                    "code": str(status),
                },
                number,
            )
            for (dialect, mode, stream, status), number in meter.calls.items()
        ],
    )
    for name, help, one in (
        ("knight_call_seconds", "From a call's head to its answer's end.", "whole"),
        (
            "knight_first_byte_seconds",
            "From a call's head until the provider began to answer.",
            "first_byte",
        ),
        ("knight_overhead_seconds", "Our own share of a call's time.", "overhead"),
    ):
        page.histogram(name, help, list(_times(meter, one)))
    tokens = {
        kind: getattr(meter, kind)
        for kind in ("prompt", "completion", "cached", "written", "reasoning")
    }
    page.counter("knight_tokens_total", "Tokens charged.", _by("kind", tokens))
    page.counter(
        "knight_interrupted_total",
        "Streams that broke off.",
        [
            ({"by": by, "policy": policy}, number)
            for (by, policy), number in meter.interrupted.items()
        ],
    )


def _times(meter: Meter, which: str) -> Iterator[tuple[Labels, Histogram]]:
    times: Times
    for (dialect, stream), times in meter.times.items():
        labels = {"dialect": dialect.value, "stream": _flag(stream)}
        yield labels, getattr(times, which)


def _attempts(
    label: str, counted: Mapping[int, Attempts], name: Callable[[int], str]
) -> Iterator[tuple[Labels, float]]:
    for number, one in counted.items():
        for outcome in ("ok", "retried", "failed"):
            yield {label: name(number), "outcome": outcome}, getattr(one, outcome)


def _provider(channel_type: int) -> str:
    found = providers.find(channel_type)
    return found.name if found else OTHER


def _by(label: str, figures: Mapping[str, Any]) -> list[tuple[Labels, float]]:
    return [({label: name}, figure) for name, figure in figures.items()]


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _process(page: Page) -> None:
    """What Prometheus' own clients call `process_*`."""
    page.gauge(
        "knight_info", "1; the label says what runs.", [({"version": __version__}, 1)]
    )
    spent = resource.getrusage(resource.RUSAGE_SELF)
    page.counter(
        "process_cpu_seconds_total", "Processor time.", spent.ru_utime + spent.ru_stime
    )
    for name, help, figure in _linux():
        page.gauge(name, help, figure)


def _linux() -> Iterable[tuple[str, str, float]]:
    """What the kernel says; nothing where it is not Linux."""
    if not STAT.exists():
        return
    # The name in brackets may hold blanks; the fields behind it are numbered from 3.
    fields = STAT.read_text().rpartition(")")[2].split()
    ticks, pages = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    started = _booted() + int(fields[19]) / ticks
    yield "process_start_time_seconds", "When it began, unix time.", started
    yield "process_virtual_memory_bytes", "Address space.", int(fields[20])
    yield "process_resident_memory_bytes", "Memory in use.", int(fields[21]) * pages
    yield "process_open_fds", "Open descriptors.", len(os.listdir(DESCRIPTORS))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield "process_max_fds", "Descriptors it may open.", most


def _booted() -> float:
    for line in BOOT.read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
