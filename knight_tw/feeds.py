"""Things that change while somebody watches: jobs, and balances.

What happens on another node is seen in the database alone, so it is asked, once for all
readers and only while there are any. A reader is told of what changed from then on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from knight_tw.errors import DatabaseAway
from knight_tw.storage import feed_queries
from knight_tw.storage.database import Database

Row = Mapping[str, Any]

JOB_SECONDS, BALANCE_SECONDS = 1.0, 5.0

SKEW = 30
"""Seconds by which the clock of another node may be behind."""


@define(eq=False)
class Rounds:
    """Does something every few seconds while it is wanted."""

    _clock: IReactorTime
    _seconds: float
    _work: Callable[[], Awaitable[None]]
    _loop: LoopingCall | None = None
    _log: Logger = field(factory=Logger)

    def begin(self) -> None:
        """From now on."""
        if self._loop is None:
            self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._round()))
            self._loop.clock = self._clock
            self._loop.start(self._seconds)

    def end(self) -> None:
        """Not any more."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    async def _round(self) -> None:
        try:
            await self._work()
        except DatabaseAway:
            return
        except Exception:  # noqa: BLE001 - the next round may go well
            self._log.failure("looking for news failed")


@define(eq=False)
class JobFeed:
    """Tells of jobs that began, went on or ended, on any node."""

    _db: Database
    _clock: IReactorTime
    _readers: list[Callable[[Row], None]] = field(factory=list)
    _known: dict[str, Row] | None = None
    _rounds: Rounds = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._rounds = Rounds(self._clock, JOB_SECONDS, self._look)

    def join(self, tell: Callable[[Row], None]) -> None:
        """`tell(row)` for each job that changes from now on."""
        if not self._readers:
            self._known = None
        self._readers.append(tell)
        self._rounds.begin()

    def leave(self, tell: Callable[[Row], None]) -> None:
        """No more of that."""
        if tell in self._readers:
            self._readers.remove(tell)
        if not self._readers:
            self._rounds.end()

    async def _look(self) -> None:
        """Asks for what changed of late; the first answer is where telling begins."""
        since = int(self._clock.seconds() - JOB_SECONDS) - SKEW
        rows = await self._db.read(feed_queries.jobs_since, since)
        before, self._known = self._known, {row["task_id"]: row for row in rows}
        if before is None:
            return
        for row in rows:
            if before.get(row["task_id"]) != row:
                for tell in list(self._readers):
                    tell(row)


@define(eq=False)
class BalanceFeed:
    """Tells users what they have left, when that changes."""

    _db: Database
    _clock: IReactorTime
    _readers: list[tuple[int, Callable[[int], None]]] = field(factory=list)
    _known: dict[int, int] = field(factory=dict)
    _rounds: Rounds = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._rounds = Rounds(self._clock, BALANCE_SECONDS, self._look)

    async def join(self, user_id: int, tell: Callable[[int], None]) -> None:
        """`tell(quota)` now, and whenever the user's quota changes."""
        self._readers.append((user_id, tell))
        found = await self._db.read(feed_queries.balances, [user_id])
        if user_id in found:
            self._known[user_id] = found[user_id]
            tell(found[user_id])
        self._rounds.begin()

    def leave(self, user_id: int, tell: Callable[[int], None]) -> None:
        """No more of that."""
        if (user_id, tell) in self._readers:
            self._readers.remove((user_id, tell))
        if not self._readers:
            self._rounds.end()

    async def _look(self) -> None:
        ids = {user_id for user_id, _ in self._readers}
        before, self._known = (
            self._known,
            await self._db.read(feed_queries.balances, ids),
        )
        for user_id, tell in list(self._readers):
            quota = self._known.get(user_id)
            if quota is not None and quota != before.get(user_id):
                tell(quota)
