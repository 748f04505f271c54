"""Any order of holds, charges, flushes, failures and crashes: the books stay right."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import DatabaseAway, TokenQuotaShort, UserQuotaShort
from knight_tw.ledger import Hold, Ledger
from knight_tw.storage import schema
from tests.ledger.till import CHANNEL, TOKEN, USER, World, books, kill, row, seed

QUOTA, REMAIN = 2000, 1500
AMOUNTS = st.integers(0, 300)
MARGIN = 400


class Machine(RuleBasedStateMachine):
    """Ledgers over one database, and what must be true of it.

    `must` holds the calls whose answer left: they are charged exactly once. `may` holds
    those that were settled in a turn that has not ended.
    """

    processes: ClassVar[int] = 1
    two_databases: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(
            Path(self.folder.name), trust=MARGIN, processes=self.processes
        )
        if self.two_databases:
            self.world.add_log_database()
        self.sql(seed, QUOTA, REMAIN)
        self.ledgers = [self.begin() for _ in range(self.processes)]
        self.open: list[list[Hold]] = [[] for _ in self.ledgers]
        self.must: dict[str, int] = {}
        self.may: list[dict[str, int]] = [{} for _ in self.ledgers]
        self.covered: set[str] = set()
        self.added = 0
        self.lowered = False
        self.calls = 0

    def teardown(self) -> None:
        """Everything comes to its end; then nothing may be missing."""
        self.calm()
        for number in range(len(self.ledgers)):
            self.crash(number)
        try:
            self.check_end()
        finally:
            for ledger in self.ledgers:
                kill(ledger)
            self.folder.cleanup()

    def sql(self, work: Any, *args: Any) -> Any:
        """Runs a function on the main database, away or not."""
        return outcome(Deferred.fromCoroutine(self.world.main.inner.run(work, *args)))

    def begin(self) -> Ledger:
        """A process starts."""
        ledger = self.world.ledger()
        outcome(ledger.start())
        return ledger

    def rows(self) -> list[Any]:
        """The log rows."""
        database = self.world.logs or self.world.main
        reading = database.inner.run(_charges)
        return outcome(Deferred.fromCoroutine(reading))  # type: ignore[no-any-return]

    # What happens

    @rule(data=st.data(), need=AMOUNTS, more=AMOUNTS, in_sql=st.booleans())
    def hold(self, data: st.DataObject, need: int, more: int, in_sql: bool) -> None:
        """A call is admitted, or refused for a reason."""
        number = data.draw(st.integers(0, len(self.ledgers) - 1))
        ledger = self.ledgers[number]
        self.calls += 1
        call = f"c{self.calls}"
        asked = ledger.hold(call, USER, TOKEN, False, need, need + more, in_sql=in_sql)
        held = outcome(asked)
        if isinstance(held, Hold):
            assert held.amount >= need
            self.open[number].append(held)
        elif isinstance(held, UserQuotaShort | TokenQuotaShort):
            self.check_refusal(ledger, need, token=isinstance(held, TokenQuotaShort))
        else:
            assert isinstance(held, DatabaseAway), held

    def check_refusal(self, ledger: Ledger, need: int, *, token: bool) -> None:
        """A refusal is true: what is not promised in memory does not cover the need."""
        account = ledger._balances.users.get(USER)
        left = self.sql(books).quota - account.kept
        if token:
            account = ledger._balances.tokens.get(TOKEN)
            left = self.sql(books).remain - account.kept
        assert left < max(need, 1), (left, need)

    @precondition(lambda self: any(self.open))
    @rule(data=st.data(), amount=AMOUNTS, leaves=st.booleans())
    def settle(self, data: st.DataObject, amount: int, leaves: bool) -> None:
        """A call ends; its answer leaves at once or later in the turn."""
        number, hold = self.pick(data)
        self.ledgers[number].settle(hold, amount, row(hold.call_id), CHANNEL)
        self.may[number][hold.call_id] = amount
        if amount <= hold.amount:
            self.covered.add(hold.call_id)
        if leaves:
            self.world.leave(self.ledgers[number])
            self.left(number)

    @precondition(lambda self: any(self.open))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """A call fails."""
        number, hold = self.pick(data)
        self.ledgers[number].release(hold)

    def pick(self, data: st.DataObject) -> tuple[int, Hold]:
        """An open hold and its process."""
        numbers = [it for it, open_ in enumerate(self.open) if open_]
        number = data.draw(st.sampled_from(numbers))
        at = data.draw(st.integers(0, len(self.open[number]) - 1))
        return number, self.open[number].pop(at)

    def left(self, number: int) -> None:
        """The answers of this turn are out."""
        self.must.update(self.may[number])
        self.may[number] = {}

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.2, 1.0, 7.0, 100.0]))
    def wait(self, seconds: float) -> None:
        """Time passes: turns end, timers run."""
        self.world.clock.advance(seconds)
        for number in range(len(self.ledgers)):
            self.left(number)

    @rule(data=st.data())
    def flush(self, data: st.DataObject) -> None:
        """Somebody waits for a flush."""
        number = data.draw(st.integers(0, len(self.ledgers) - 1))
        outcome(self.ledgers[number].flushed())
        self.left(number)

    @rule(away=st.booleans(), logs=st.booleans(), lose=st.integers(0, 2))
    def trouble(self, away: bool, logs: bool, lose: int) -> None:
        """A database goes, or comes back, or loses an answer."""
        self.world.main.away = away
        self.world.main.lose_commits = lose
        if self.world.logs is not None:
            self.world.logs.away = logs
            self.world.logs.lose_commits = lose // 2

    @rule(data=st.data())
    def crash(self, data: Any) -> None:
        """A process is killed and started again, when the databases are there."""
        number = data
        if not isinstance(number, int):
            number = data.draw(st.integers(0, len(self.ledgers) - 1))
        kill(self.ledgers[number])
        self.open[number], self.may[number] = [], {}
        self.calm()
        self.ledgers[number] = self.begin()

    def calm(self) -> None:
        """The databases are there."""
        self.trouble(away=False, logs=False, lose=0)

    @rule(amount=st.integers(-1500, 1500))
    def someone_else(self, amount: int) -> None:
        """A top-up, or an administrator who lowers the balance."""
        before = self.sql(books).quota
        amount = max(amount, -before)
        self.added += amount
        self.lowered = self.lowered or amount < 0
        self.sql(_add, amount)
        for ledger in self.ledgers:
            ledger.forget(user_id=USER)

    # What must be true

    @invariant()
    def nothing_below_zero(self) -> None:
        """Neither user nor token is ever below zero."""
        it = self.sql(books)
        assert it.quota >= 0
        assert it.remain >= 0

    @invariant()
    def nothing_lost(self) -> None:
        """Balance, holds and charges add up to what there was, at any moment."""
        it = self.sql(books)
        assert it.quota + it.held + it.used == QUOTA + self.added
        assert it.remain + it.held + it.token_used == REMAIN
        assert it.used == it.token_used == it.channel_used
        if not self.two_databases:
            assert it.used == it.charged

    def check_end(self) -> None:
        """Each call whose answer left is charged once, in full if it could be."""
        it = self.sql(books)
        rows = self.rows()
        charged = {request: (quota, other) for request, quota, other in rows}
        assert len(charged) == len(rows) == it.count
        assert self.must.keys() <= charged.keys()
        assert it.held == 0
        assert sum(quota for quota, _ in charged.values()) == it.used
        for call, amount in self.must.items():
            quota, other = charged[call]
            assert quota + json.loads(other).get("uncollected_quota", 0) == amount
            if call in self.covered and not self.lowered and self.processes == 1:
                assert quota == amount


def outcome(waiting: Any) -> Any:
    """The value of a Deferred that has fired, or its exception."""
    if not isinstance(waiting, Deferred):
        return waiting
    results: list[Any] = []
    waiting.addBoth(results.append)
    assert results, "nothing here may wait"
    (result,) = results
    return result.value if isinstance(result, Failure) else result


def _charges(connection: sa.Connection) -> list[tuple[str, int, str]]:
    c = schema.logs.c
    query = sa.select(c.request_id, c.quota, c.other).where(c.type == 2)
    return [(it[0], it[1], it[2]) for it in connection.execute(query)]


def _add(connection: sa.Connection, amount: int) -> None:
    quota = schema.users.c.quota
    connection.execute(sa.update(schema.users).values(quota=quota + amount))


class TwoProcesses(Machine):
    """Two processes on one database."""

    processes = 2


class TwoDatabases(Machine):
    """Log rows in a database of their own."""

    two_databases = True


class MachineTests(SynchronousTestCase):
    """The machines, run."""

    def run_machine(self, machine: type[Machine], examples: int) -> None:
        """Runs it with settings that suit a machine shared by many."""
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

    def test_one_process(self) -> None:
        """One process: every promise is kept to the unit."""
        self.run_machine(Machine, 25)

    def test_two_processes(self) -> None:
        """Two processes: the books are right and nothing is below zero."""
        self.run_machine(TwoProcesses, 20)

    def test_two_databases(self) -> None:
        """Two databases: exactly once in both."""
        self.run_machine(TwoDatabases, 20)
