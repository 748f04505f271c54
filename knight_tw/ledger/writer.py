"""The batch writer: brings the journal's entries into the database, in order.

A flush takes everything up to a boundary, in batches of at most `BATCH` entries, each
one transaction (`posting.post`); one flush runs at a time. It begins `seconds` after
the first entry that waits, or at once when `EAGER` entries wait or somebody asks.

Entries are remembered until they are applied, but no more than `REMEMBERED`: when the
database is away for long they are forgotten and read back from the journal's files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from knight_tw.errors import DatabaseAway
from knight_tw.ledger.balances import Balances
from knight_tw.ledger.charges import Decision
from knight_tw.ledger.entries import Entry
from knight_tw.ledger.figures import Figures
from knight_tw.ledger.journal import InThread, Journal
from knight_tw.ledger.posting import Batch
from knight_tw.ledger.statistics import Attempts
from knight_tw.ledger.store import Store, part_of

BATCH = 2_000
"""Entries of one transaction at most."""

EAGER = 1_000
"""As many waiting entries begin a flush before its time."""

REMEMBERED = 20_000
"""Entries kept in memory; more are read back from disk."""

NUDGE_SECONDS = 0.01
"""How soon money that comes back is brought to the database."""

HEARTBEAT_SECONDS = 600.0
"""An idle journal shows that often that its process lives."""

STUCK_SECONDS = 5.0
"""A flush that takes longer counts as a database that is away."""

_RETRY_SECONDS, _RETRY_MOST = 0.2, 5.0

log = Logger()


@define(eq=False)
class Writer:
    """Applies what the journal holds.

    Args:
        export: The option `DataExportEnabled`.
        node: `NODE_NAME`, for `quota_data`.
        seconds: LEDGER_FLUSH_SECONDS.
        perf: Seconds of a bucket of `perf_metrics`; 0 = not filled.
    """

    _journal: Journal
    _store: Store
    _balances: Balances
    _figures: Figures
    _clock: IReactorTime
    _in_thread: InThread
    _export: Callable[[], bool]
    _node: str
    _seconds: float
    _perf: Callable[[], int] = lambda: 0
    attempts: Attempts = field(factory=Attempts)
    spent: Callable[[dict[int, int]], None] | None = None
    """Told, after each transaction, what is left to users that were charged."""
    _queue: list[Entry] = field(factory=list)
    _on_disk: int = 0
    """Entries up to this one may be on disk only; those in the queue are above."""
    _timer: IDelayedCall | None = None
    _heartbeat: IDelayedCall | None = None
    _running: bool = False
    _again: bool = False
    _failures: int = 0
    _waiters: list[tuple[int, Deferred[None]]] = field(factory=list)
    _waiting_since: float | None = None
    _flying_since: float | None = None
    _began: float | None = None
    """When the flush that runs now began."""

    def start(self) -> None:
        """The journal is open: show signs of life from now on."""
        self._store.journal = self._journal.id
        self._heartbeat = self._clock.callLater(HEARTBEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        self._heartbeat = self._clock.callLater(HEARTBEAT_SECONDS, self._beat)
        self._begin()

    def stop(self) -> None:
        """No timers any more."""
        for timer in (self._timer, self._heartbeat):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._heartbeat = None

    @property
    def away(self) -> bool:
        """True while the database does not take what we have."""
        if self._failures:
            return True
        began = self._began
        return began is not None and self._clock.seconds() - began > STUCK_SECONDS

    @property
    def lag(self) -> float:
        """Age in seconds of the oldest entry that is not applied."""
        since = self._flying_since or self._waiting_since
        return 0.0 if since is None else max(0.0, self._clock.seconds() - since)

    def add(self, entry: Entry) -> None:
        """A new entry of the journal; it is applied in due time."""
        queue = self._queue
        queue.append(entry)
        if self._waiting_since is None:
            self._waiting_since = self._clock.seconds()
        if len(queue) >= EAGER and not self._failures:
            self._begin()
        elif self._timer is None and not self._running:
            self._timer = self._clock.callLater(self._seconds, self._begin)
        if len(queue) > REMEMBERED:
            self._on_disk = entry.seq
            self._queue = []

    def nudge(self) -> None:
        """What was just added should not wait: others may need what it gives back."""
        if self._failures or self._running:
            return
        if self._timer is None:
            self._timer = self._clock.callLater(NUDGE_SECONDS, self._begin)
        elif self._timer.getTime() - self._clock.seconds() > NUDGE_SECONDS:
            self._timer.reset(NUDGE_SECONDS)

    def attempt_failed(self, channel_id: int, seconds: float) -> None:
        """One attempt on a channel failed after so long; for the channel's minutes."""
        self.attempts.failed(channel_id, self._clock.seconds(), seconds)
        if self._timer is None and not self._running:
            self._timer = self._clock.callLater(self._seconds, self._begin)

    def flush(self) -> Deferred[None]:
        """Fires when all entries so far are applied and the balances are read again.

        Fails with the first error on the way; the entries stay and are tried again.
        """
        waiter: Deferred[None] = Deferred()
        self._waiters.append((self._journal.last, waiter))
        self._begin()
        return waiter

    def _begin(self) -> None:
        if self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None
        if self._running:
            self._again = True
            return
        self._running = True
        running = Deferred.fromCoroutine(self._run())
        running.addErrback(lambda it: log.failure("the ledger's writer failed", it))

    async def _run(self) -> None:
        """Flushes until nobody is in a hurry."""
        try:
            while True:
                self._again = False
                await self._flush()
                self._failures = 0
                if not (self._again or self._waiters or len(self._queue) >= EAGER):
                    break
        except Exception as error:  # noqa: BLE001 - the entries must not be lost
            self._failed(error)
            delay = min(_RETRY_MOST, _RETRY_SECONDS * 2 ** min(self._failures, 10))
        else:
            delay = self._seconds if self._queue or self._on_disk else None
        finally:
            self._running = False
            self._began = self._flying_since = None
        if delay is not None and self._timer is None:
            self._timer = self._clock.callLater(delay, self._begin)

    def _failed(self, error: Exception) -> None:
        """The flush did not get through: tells who waits, and the log."""
        self._failures += 1
        self._figures.failed_flushes += 1
        if not isinstance(error, DatabaseAway):
            log.failure("the ledger cannot be applied, will try again")
        elif self._failures == 1:
            log.warn(
                "the database is away, the journal waits: {detail}", detail=error.detail
            )
        waiters, self._waiters = self._waiters, []
        for _, waiter in waiters:
            waiter.errback(error)

    async def _flush(self) -> None:
        """Applies everything up to now; on failure everything is as before."""
        boundary = self._journal.mark()
        users, tokens = self._balances.turn_over()
        began, as_of = self._balances.moment(), self._clock.seconds()
        work, self._queue = self._queue, []
        on_disk, attempts = self._on_disk, self.attempts.take()
        self._began = as_of
        self._flying_since = self._waiting_since or as_of
        self._waiting_since = None
        batch = Batch(
            journal=self._journal.id,
            before=0,
            last=boundary,
            entries=[],
            now=int(as_of),
            node=self._node,
            export=self._export(),
            perf=self._perf(),
            users=users,
            tokens=tokens,
            attempts=attempts,
        )
        try:
            decision = await self._apply(batch, work, on_disk)
        except BaseException:
            self._waiting_since = self._flying_since
            self.attempts.put_back(attempts)
            self._remember(work, on_disk)
            raise
        if self._on_disk == on_disk:
            self._on_disk = 0
        self._journal.applied(boundary)
        self._balances.landed(decision.user_left, decision.token_left, began, as_of)
        self._tell(boundary)

    def _remember(self, work: list[Entry], on_disk: int) -> None:
        """Puts entries back that were not applied, if there is room for them."""
        if self._on_disk != on_disk:
            return
        self._queue = work + self._queue
        if len(self._queue) > REMEMBERED:
            self._on_disk = self._queue[-1].seq
            self._queue = []

    def _tell(self, boundary: int) -> None:
        ready = [it for last, it in self._waiters if last <= boundary]
        self._waiters = [it for it in self._waiters if it[0] > boundary]
        for waiter in ready:
            waiter.callback(None)

    async def _apply(self, batch: Batch, work: list[Entry], on_disk: int) -> Decision:
        """Applies what is on disk only, then what is remembered.

        Returns:
            The decision of the last transaction, which read the balances.
        """
        at = await self._store.applied()
        if on_disk > at:
            await self._apply_from_disk(batch, at, on_disk)
        pieces = [work[it : it + BATCH] for it in range(0, len(work), BATCH)] or [[]]
        for piece in pieces[:-1]:
            await self._commit(part_of(batch, piece))
        return await self._commit(evolve(batch, entries=pieces[-1]))

    async def _apply_from_disk(self, batch: Batch, at: int, on_disk: int) -> None:
        entries: Iterator[Entry] = itertools.takewhile(
            lambda it: it.seq <= on_disk, self._journal.unapplied(at)
        )
        while some := await self._in_thread(
            lambda: list(itertools.islice(entries, BATCH))
        ):
            await self._commit(part_of(batch, some))
            at = some[-1].seq
        if at < on_disk and self._journal.buffered_bytes:
            raise DatabaseAway("the journal could not be written, nor read back")

    async def _commit(self, batch: Batch) -> Decision:
        began = self._clock.seconds()
        posted = await self._store.commit(batch)
        self._figures.flushed(
            self._clock.seconds() - began,
            len(batch.entries),
            [it.decision for it in posted],
        )
        if self.spent is not None:
            for it in posted:
                if left := it.decision.left_to_payers():
                    self.spent(left)
        return posted[-1].decision
