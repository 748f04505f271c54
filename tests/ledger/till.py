"""What the ledger's tests share: a small world of users and tokens, and its books."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from attrs import define, field
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import DatabaseAway
from knight_tw.ledger import Hold, Ledger
from knight_tw.ledger.journal import NEVER
from knight_tw.storage import schema
from knight_tw.storage.database import Database, memory_database

T = TypeVar("T")

NOW = 1_764_000_000
TRUST = 5_000_000
RICH = 1_000_000_000
USER, TOKEN, CHANNEL = 1, 2, 3


def seed(
    connection: sa.Connection,
    quota: int = RICH,
    remain: int = RICH,
    unlimited: bool = False,
    user: int = USER,
    token: int = TOKEN,
) -> None:
    """A user with a token; the channel when there is none."""
    connection.execute(
        sa.insert(schema.users).values(
            id=user, username=f"u{user}", password="", quota=quota, aff_code=f"a{user}"
        )
    )
    connection.execute(
        sa.insert(schema.tokens).values(
            id=token,
            user_id=user,
            key=f"k{token}",
            remain_quota=remain,
            unlimited_quota=unlimited,
        )
    )
    if connection.scalar(sa.select(sa.func.count(schema.channels.c.id))) == 0:
        connection.execute(
            sa.insert(schema.channels).values(id=CHANNEL, type=1, key="k", name="c")
        )


def row(call: str = "call", **columns: Any) -> dict[str, Any]:
    """A log row as the relay makes it."""
    return {
        "user_id": USER,
        "created_at": NOW,
        "type": 2,
        "content": "",
        "username": "u1",
        "token_name": "t",
        "model_name": "gpt-4o",
        "prompt_tokens": 400,
        "completion_tokens": 10,
        "use_time": 1,
        "is_stream": False,
        "channel_id": CHANNEL,
        "token_id": TOKEN,
        "group": "default",
        "request_id": call,
        "status": 200,
        "other": {"model_ratio": 1.25, "frt": 120, "cache_tokens": 3},
        **columns,
    }


def table(connection: sa.Connection, name: str) -> list[dict[str, Any]]:
    """Every row of a table, by primary key."""
    it: sa.Table = getattr(schema, name)
    query = sa.select(it).order_by(*it.primary_key)
    return [dict(found) for found in connection.execute(query).mappings()]


@define
class Books:
    """What the database says about the money of one user and one token."""

    quota: int
    used: int
    count: int
    remain: int
    token_used: int
    channel_used: int
    charged: int
    """Sum of the log rows of type 2, less those of type 6."""
    calls: list[str]
    """Request ids of the rows of type 2."""
    held: int


def books(connection: sa.Connection, user: int = USER, token: int = TOKEN) -> Books:
    """The books as they are."""
    users, tokens, logs = schema.users, schema.tokens, schema.logs
    owner = connection.execute(sa.select(users).where(users.c.id == user)).one()
    card = connection.execute(sa.select(tokens).where(tokens.c.id == token)).one()
    channel = connection.execute(sa.select(schema.channels)).first()
    rows = connection.execute(
        sa.select(logs.c.type, logs.c.quota, logs.c.request_id).where(
            logs.c.user_id == user
        )
    ).all()
    held = schema.knight_holds.c
    query = sa.select(sa.func.sum(held.amount)).where(held.user_id == user)
    return Books(
        quota=owner.quota,
        used=owner.used_quota,
        count=owner.request_count,
        remain=card.remain_quota,
        token_used=card.used_quota,
        channel_used=channel.used_quota if channel is not None else 0,
        charged=sum(it.quota * {2: 1, 6: -1}.get(it.type, 0) for it in rows),
        calls=[it.request_id for it in rows if it.type == 2],
        held=int(connection.scalar(query) or 0),
    )


@define(eq=False)
class Shaky:
    """A database that may be away, before a transaction or right after its commit.

    With `late` a list, answers wait there until the test fires them.
    """

    inner: Database
    away: bool = False
    read_only: bool = False
    lose_commits: int = 0
    transactions: int = 0
    late: list[Deferred[None]] | None = None

    async def run(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """As `Database.run`, when it is there."""
        self._check()
        if self.read_only:
            raise DatabaseAway("away", detail="read-only")
        self.transactions += 1
        result = await self.inner.run(work, *args, **kwargs)
        if self.late is not None:
            waiting: Deferred[None] = Deferred()
            self.late.append(waiting)
            await waiting
        if self.lose_commits:
            self.lose_commits -= 1
            raise DatabaseAway("lost", detail="commit")
        return result

    async def read(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """As `Database.read`, when it is there."""
        self._check()
        return await self.inner.read(work, *args, **kwargs)

    def answer(self) -> None:
        """Lets every late answer arrive, and is quick from then on."""
        late, self.late = self.late or [], None
        for waiting in late:
            waiting.callback(None)

    def _check(self) -> None:
        if self.away:
            raise DatabaseAway("away", detail="connect")


def in_thread(work: Callable[[], Any]) -> Deferred[Any]:
    """Runs file work at once."""
    return execute(work)


@define(eq=False)
class World:
    """A database in memory, a clock, a journal directory, and ledgers over them."""

    directory: Path
    clock: Clock = field(factory=Clock)
    main: Shaky = field(init=False)
    logs: Shaky | None = None
    trust: int = TRUST
    export: bool = True
    processes: int = 1

    def __attrs_post_init__(self) -> None:
        self.clock.advance(NOW)
        self.main = Shaky(memory_database(self.clock))

    def add_log_database(self) -> None:
        """Log rows go to a second database from now on."""
        self.logs = Shaky(memory_database(self.clock))

    def ledger(self, **options: Any) -> Ledger:
        """A new ledger, not started."""
        settings = {"strict": True, "fsync": NEVER, "node": "n", **options}
        return Ledger(
            cast(Database, self.main),
            cast(Database, self.logs) if self.logs else None,
            cast(IReactorTime, self.clock),
            in_thread,
            self.directory,
            lambda: self.trust,
            lambda: self.export,
            lambda: self.processes,
            **settings,
        )

    def leave(self, ledger: Ledger) -> None:
        """The turn ends, and an answer that waits for its barrier leaves."""
        left: list[None] = []
        ledger.barrier(lambda: left.append(None))
        self.clock.advance(0)
        assert left


def kill(ledger: Ledger) -> None:
    """What SIGKILL leaves of a ledger: files and nothing else.

    The kernel drops the lock; entries that were not written are gone.
    """
    journal = ledger._journal
    for timer in (journal._turn, journal._sync_timer):
        if timer is not None and timer.active():
            timer.cancel()
    journal._turn = journal._sync_timer = None
    journal._buffer.clear()
    for descriptor in (journal._file, journal._lock):
        if descriptor is not None:
            os.close(descriptor)
    journal._file = journal._lock = None
    ledger._writer.stop()


class LedgerCase(SynchronousTestCase):
    """Tests of a ledger in memory; `self.ledger` has been started."""

    world: World
    ledger: Ledger

    def setUp(self) -> None:
        """An empty world with a running ledger."""
        self.world = World(Path(self.mktemp()))
        self.ledger = self.started()

    def started(self, **options: Any) -> Ledger:
        """Another ledger on the same database and directory."""
        ledger = self.world.ledger(**options)
        self.done(ledger.start())
        self.addCleanup(ledger._writer.stop)
        return ledger

    def done(self, waiting: Any) -> Any:
        """The value, or the result of a Deferred that has fired."""
        if isinstance(waiting, Deferred):
            return self.successResultOf(waiting)
        return waiting

    def sql(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Runs a thread-side function on the main database, away or not."""
        running = self.world.main.inner.run(work, *args, **kwargs)
        return cast(T, self.done(Deferred.fromCoroutine(running)))

    def seed(self, quota: int = RICH, remain: int = RICH, **more: Any) -> None:
        """A user with a token."""
        self.sql(seed, quota, remain, **more)

    def books(self) -> Books:
        """What the database says."""
        return self.sql(books)

    def table(self, name: str) -> list[dict[str, Any]]:
        """Every row of a table."""
        return self.sql(table, name)

    def hold(self, call: str = "call", need: int = 1875, hold: int = 5625) -> Hold:
        """A hold that is granted."""
        return cast(Hold, self.done(self.ask(call, need, hold)))

    def ask(
        self, call: str = "call", need: int = 1875, hold: int = 5625, **more: Any
    ) -> Hold | Deferred[Hold]:
        """A hold of the user by the token, whatever comes of it."""
        return self.ledger.hold(call, USER, TOKEN, False, need, hold, **more)

    def flush(self) -> None:
        """Applies everything."""
        self.done(self.ledger.flushed())

    def leave(self, ledger: Ledger | None = None) -> None:
        """An answer leaves, and the turn ends."""
        self.world.leave(ledger or self.ledger)
