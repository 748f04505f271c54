"""`Ledger`: what everybody else sees of the money."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from knight_tw.errors import KnightError
from knight_tw.ledger import holds, posting
from knight_tw.ledger.admission import Admission
from knight_tw.ledger.balances import Account, Balances
from knight_tw.ledger.entries import (
    NOTE,
    REFUND,
    RELEASE,
    SETTLE,
    WALLET,
    Draft,
    Entry,
)
from knight_tw.ledger.figures import Figures
from knight_tw.ledger.hold import Hold, Place
from knight_tw.ledger.journal import INTERVAL, InThread, Journal
from knight_tw.ledger.replay import Replay, close_journal
from knight_tw.ledger.store import Store
from knight_tw.ledger.writer import Writer
from knight_tw.storage.database import Database

PROVIDER, COUNTED, ESTIMATED = "provider", "counted", "estimated"
"""Evidence: what a charge rests on."""

log = Logger()


class HoldIsOver(RuntimeError):
    """A hold was settled or released a second time: a mistake of the program."""


@define(eq=False)
class Ledger:
    """Holds, settles and releases; exactly once, whatever kills the process.

    `start` before anything else. After `settle`, and before the last byte of the answer
    leaves, the `barrier`.

    Args:
        db: The main database.
        logs: The second database, for log rows; None when there is one.
        in_thread: Runs file work in a thread: `partial(deferToThreadPool, …)`.
        directory: `DATA_DIR/journal`.
        trust: The option `TrustQuota`.
        export: The option `DataExportEnabled`.
        processes: How many processes spend from this database.
        node: `NODE_NAME`.
        fsync, fsync_seconds, max_bytes: JOURNAL_FSYNC, JOURNAL_FSYNC_SECONDS,
            JOURNAL_MAX_MB.
        flush_seconds: LEDGER_FLUSH_SECONDS.
        strict: Raise `HoldIsOver` (tests) instead of logging it and doing nothing.
        perf: Seconds of a bucket of `perf_metrics`; 0 = not filled.
        watch: Called with every entry; it must be quick.
    """

    _db: Database
    _logs: Database | None
    _clock: IReactorTime
    _in_thread: InThread
    _directory: Path
    _trust: Callable[[], int]
    _export: Callable[[], bool]
    _processes: Callable[[], int] = lambda: 1
    _node: str = ""
    _fsync: str = INTERVAL
    _fsync_seconds: float = 1.0
    _max_bytes: int = 1 << 30
    _flush_seconds: float = 0.1
    _capacity: int = 100_000
    _strict: bool = False
    _perf: Callable[[], int] = lambda: 0
    watch: Callable[[Entry], None] | None = None
    figures: Figures = field(factory=Figures)
    _balances: Balances = field(init=False)
    _journal: Journal = field(init=False)
    _writer: Writer = field(init=False)
    _admission: Admission = field(init=False)
    _started: bool = False

    def __attrs_post_init__(self) -> None:
        self._balances = Balances(self._trust, self._processes, self._capacity)
        self._journal = Journal(
            self._directory,
            self._clock,
            self._in_thread,
            self._fsync,
            self._fsync_seconds,
            self._max_bytes,
        )
        self._writer = Writer(
            self._journal,
            Store(self._db, self._logs),
            self._balances,
            self.figures,
            self._clock,
            self._in_thread,
            self._export,
            self._node,
            self._flush_seconds,
            self._perf,
        )
        self._admission = Admission(
            self._db,
            self._clock,
            self._balances,
            self._journal,
            self._writer,
            self.figures,
        )

    # Life

    def start(self) -> Deferred[None]:
        """Applies what dead processes left, then opens a journal of our own.

        Fails with:
            DatabaseAway, OSError: nothing is lost; start again.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        await Replay(
            self._directory,
            self._db,
            self._logs,
            self._clock,
            self._in_thread,
            self._export,
            self._node,
            self._perf,
        ).run()
        self._journal.open()
        now = int(self._clock.seconds())
        for db in (self._db, self._logs):
            if db is not None:
                await db.run(posting.set_position, self._journal.id, 0, now)
        self._writer.start()
        self._started = True

    def stop(self) -> Deferred[None]:
        """Applies everything and closes the journal.

        With the database away the journal stays, for the next start. Holds that are
        still open are given back; settling them afterwards fails.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if not self._started:
            return
        self._started = False
        try:
            await self._writer.flush()
            await self._db.run(holds.release_journal, self._journal.id)
            keep = False
        except Exception as error:  # noqa: BLE001 - the files must be closed
            if not isinstance(error, KnightError):
                log.failure("the ledger cannot be applied")
            log.warn("the ledger stops; the next start applies what is left")
            keep = True
        self._writer.stop()
        if await self._journal.close(keep=keep):
            await self._forget_journal()

    async def _forget_journal(self) -> None:
        """Marks our journal as closed. When that fails its row stays, and no harm."""
        now = int(self._clock.seconds())
        try:
            await close_journal(self._db, self._logs, self._journal.id, now)
        except KnightError:
            log.warn("the row of a closed journal stays")

    def flushed(self) -> Deferred[None]:
        """Fires when everything so far is applied; fails as the database does."""
        return self._writer.flush()

    def barrier(self, then: Callable[[], None]) -> None:
        """Calls `then` once no entry so far is lost with a killed process.

        What sends the last byte of an answer goes through here after its `settle`: the
        entries of a turn of the reactor are written together at its end. Without such
        entries `then` is called at once; with JOURNAL_FSYNC=always once the disk has
        them.
        """
        self._journal.when_safe(then)

    def release_lost(self, now: int) -> Deferred[int]:
        """For the holder of the lease: gives back holds of machines lost for a day.

        Returns:
            How many there were.
        """
        return Deferred.fromCoroutine(self._release_lost(now))

    async def _release_lost(self, now: int) -> int:
        released = await self._db.run(holds.release_lost, now)
        if self._logs is not None:
            await self._logs.run(holds.forget_closed, now)
        for user_id, token_id in released:
            self.forget(user_id=user_id, token_id=token_id)
        return len(released)

    # Balances

    def learn(
        self,
        user_id: int,
        quota: int,
        token_id: int,
        remain: int,
        unlimited: bool,
        began: int | None = None,
    ) -> None:
        """A reading of both balances from the database.

        Args:
            began: What `moment()` said when the reading began. Without it the reading
                counts where nothing is known, else only as an upper bound.
        """
        user, token = self._accounts(user_id, token_id, unlimited)
        now = self._clock.seconds()
        self._learn(user, quota, began, now)
        if token is not None:
            self._learn(token, remain, began, now)

    def _learn(
        self, account: Account, balance: int, began: int | None, now: float
    ) -> None:
        if began is None:
            stale = self._balances.stale(account, now)
            began = account.learnt_at if stale else -1
        self._balances.learn(account, balance, began, now)

    def moment(self) -> int:
        """A mark for `learn`, to be taken before a reading begins."""
        return self._balances.moment()

    def forget(self, *, user_id: int = 0, token_id: int = 0) -> None:
        """Someone else changed these rows: they are read again before they count."""
        user = self._balances.users.peek(user_id)
        token = self._balances.tokens.peek(token_id)
        for account in (user, token):
            if account is not None:
                self._balances.forget(account)

    def user_left(self, user_id: int) -> int | None:
        """A user's balance with our open holds still in it, None when unknown."""
        account = self._balances.users.peek(user_id)
        return None if account is None else account.owned

    def token_left(self, token_id: int) -> int | None:
        """The same for a limited token."""
        account = self._balances.tokens.peek(token_id)
        return None if account is None else account.owned

    def comfortable(
        self, user_id: int, token_id: int, unlimited: bool, amount: int
    ) -> bool:
        """True when a hold of `amount` would be granted in memory now."""
        user, token = self._accounts(user_id, token_id, unlimited)
        now = self._clock.seconds()
        return self._balances.comfortable(user, token, amount, now)

    def comfort(
        self, user_id: int, token_id: int, unlimited: bool, amount: int
    ) -> bool | Deferred[bool]:
        """As `comfortable`, after reading balances that are unknown or too old.

        A caller who comes back after a while is not known to have comfort; this asks
        before something expensive is done because of that. Never fails: while the
        database is away it answers by what was last known.
        """
        user, token = self._accounts(user_id, token_id, unlimited)
        return self._admission.comfort(user, token, amount)

    def _accounts(
        self, user_id: int, token_id: int, unlimited: bool
    ) -> tuple[Account, Account | None]:
        """User and token; no token when none limits the call."""
        user = self._balances.users.get(user_id)
        if unlimited or not token_id:
            return user, None
        return user, self._balances.tokens.get(token_id)

    # Money

    def hold(
        self,
        call_id: str,
        user_id: int,
        token_id: int,
        unlimited: bool,
        need: int,
        hold: int,
        *,
        in_sql: bool = False,
    ) -> Hold | Deferred[Hold]:
        """Sets money aside for one call.

        Args:
            token_id: 0 when no token pays (the playground).
            unlimited: The token limits nothing.
            need: What the caller must own; 0 still asks for a balance above 0.
            hold: What is set aside if there is as much; less, but not less than the
                need, if there is not. Never below need.
            in_sql: Never in memory (tasks).

        Returns:
            The hold itself when it was granted in memory.

        Raises (or the Deferred fails with):
            TokenQuotaShort, UserQuotaShort: checked in this order.
            LedgerFull: the journal is at its limit.
            DatabaseAway: the caller has no comfort and the database cannot be asked.
        """
        user, token = self._accounts(user_id, token_id, unlimited)
        return self._admission.hold(
            call_id, user, token, token_id, need, hold, in_sql=in_sql
        )

    def quick_hold(
        self, call_id: str, user_id: int, token_id: int, unlimited: bool, amount: int
    ) -> Hold | None:
        """The hold when the caller has comfort for `amount`, as nearly always. None
        says nothing about the caller: `hold` decides.

        Args:
            amount: What is set aside, not below the need.
        """
        user, token = self._accounts(user_id, token_id, unlimited)
        return self._admission.quick_hold(call_id, user, token, token_id, amount)

    def free_hold(
        self, call_id: str, user_id: int, token_id: int, unlimited: bool
    ) -> Hold:
        """A hold of nothing without a look at any balance: for free models, and for
        charges that come later. Settling it takes as much as there is."""
        user, token = self._accounts(user_id, token_id, unlimited)
        return self._admission.open(call_id, user, token, token_id, 0, Place.NOWHERE)

    def settle(
        self,
        hold: Hold,
        amount: int,
        row: dict[str, Any],
        channel_id: int = 0,
        evidence: str = PROVIDER,
        instalment: int = 0,
        keep: bool = True,
    ) -> int:
        """Charges a call, once, in place of its hold.

        What lies above the hold is taken as far as user and limited token have it, the
        rest goes into the row as `other.uncollected_quota`. The row's `quota` is what
        was taken, as are the changes of user, token, channel and statistics.

        Args:
            amount: What the call costs; 0 still counts as a request.
            row: Columns of the log row, `other` as a dict, and perhaps `duration_ms`
                for the statistics. It belongs to the ledger from now on; `quota` and
                `other.evidence` are set here.
            instalment: Which one this is, from 1, of a call that is charged in several,
                each with a hold and a call id of its own. They add up to one log row,
                found by its `request_id`, and count as one request (`instalments`).
            keep: False charges and counts, but writes no log row.

        Returns:
            What is charged. When `amount` exceeds the hold and the caller has no
            comfort this is the best knowledge at this moment; the row in the database
            has the last word.
        """
        if amount < 0:
            raise ValueError(f"a charge of {amount}")
        if hold.done:
            self._over(hold)
            return hold.charged
        self._close(hold)
        sure, charged = self._promise(hold, amount)
        hold.charged = charged
        self._move(hold, charged)
        row["quota"] = charged
        row.setdefault("other", {})["evidence"] = evidence
        in_sql = hold.place is Place.SQL
        self._add(
            Draft(
                seq=0,
                kind=SETTLE,
                call=hold.call_id,
                user=hold.user_id,
                token=hold.token_id,
                channel=channel_id,
                source=WALLET,
                held=hold.amount,
                sql=in_sql,
                sure=sure,
                amount=amount,
                evidence=evidence,
                at=int(self._clock.seconds()),
                instalment=instalment,
                hidden=not keep,
                row=row,
            )
        )
        if in_sql and charged < hold.amount:
            self._writer.nudge()
        return charged

    def _promise(self, hold: Hold, amount: int) -> tuple[int, int]:
        """The part of `amount` that is certain, and what will probably be taken."""
        covered = hold.amount
        if amount <= covered:
            return amount, amount
        extra = amount if hold.place is Place.MEMORY else amount - covered
        now = self._clock.seconds()
        if self._balances.comfortable(hold.user, hold.token, extra, now):
            return amount, amount
        return covered, covered + min(amount - covered, hold.spare())

    def release(self, hold: Hold) -> None:
        """Gives a hold up: nothing is charged and no row is written."""
        if hold.done:
            self._over(hold)
            return
        self._close(hold)
        if hold.place is not Place.SQL:
            return
        self._move(hold, 0)
        self._add(
            Draft(
                seq=0,
                kind=RELEASE,
                call=hold.call_id,
                user=hold.user_id,
                token=hold.token_id,
                source=WALLET,
                held=hold.amount,
                sql=True,
                at=int(self._clock.seconds()),
            )
        )
        self._writer.nudge()

    def refund(
        self,
        call_id: str,
        user_id: int,
        token_id: int,
        channel_id: int,
        amount: int,
        row: dict[str, Any],
    ) -> None:
        """Gives a charge back (tasks): balances rise, used quota falls, log type 6."""
        if amount < 0:
            raise ValueError(f"a refund of {amount}")
        user = self._balances.users.peek(user_id)
        token = self._balances.tokens.peek(token_id)
        for account in (user, token):
            if account is not None:
                account.coming += amount
                self._balances.touch(account)
        row["quota"] = amount
        self._add(
            Draft(
                seq=0,
                kind=REFUND,
                call=call_id,
                user=user_id,
                token=token_id,
                channel=channel_id,
                source=WALLET,
                amount=amount,
                at=int(self._clock.seconds()),
                row=row,
            )
        )
        self._writer.nudge()

    def note(self, row: dict[str, Any], *, keep: bool = True) -> None:
        """A log row without money: errors, logins, administration.

        Args:
            keep: False counts a failed call (a row with a `status`) in the statistics
                without a row in the log.
        """
        call = str(row.get("request_id") or "")
        self._add(Draft(seq=0, kind=NOTE, call=call, hidden=not keep, row=row))

    def attempt_failed(self, channel_id: int, seconds: float) -> None:
        """One attempt on a channel failed after so long; for the channel's health."""
        self._writer.attempt_failed(channel_id, seconds)

    def tell_spent(self, told: Callable[[dict[int, int]], None]) -> None:
        """`told(user id to balance)` after each transaction that charged users."""
        self._writer.spent = told

    def _add(self, draft: Draft) -> Entry:
        entry = self._journal.append(draft)
        self._writer.add(entry)
        if self.watch is not None:
            self.watch(entry)
        return entry

    def _close(self, hold: Hold) -> None:
        hold.close()
        self.figures.holds_open -= 1
        self.figures.holds_quota -= hold.amount

    def _move(self, hold: Hold, charged: int) -> None:
        hold.charge(charged)
        for account in hold.accounts:
            self._balances.touch(account)

    def _over(self, hold: Hold) -> None:
        if self._strict:
            raise HoldIsOver(hold.call_id)
        log.error("hold {call} was settled or released twice", call=hold.call_id)

    # Measures

    @property
    def full(self) -> bool:
        """True when no hold is given: the journal is at its limit or unwritable."""
        return self._journal.full

    @property
    def away(self) -> bool:
        """True while the database does not take what is charged."""
        return self._writer.away

    @property
    def lag(self) -> float:
        """Age in seconds of the oldest entry that no database has."""
        return self._writer.lag

    @property
    def journal_bytes(self) -> int:
        """Bytes in the journal that no database has."""
        return self._journal.unapplied_bytes

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait for the end of this turn or for the disk."""
        return self._journal.buffered_bytes

    @property
    def records(self) -> dict[str, int]:
        """Entries made so far, by kind."""
        return dict(self._journal.records)
