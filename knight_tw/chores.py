"""Work that one process of all must do: the lease that elects it, and the rounds.

The lease is a row in the database (design, section 7). Its holder renews it; when it
dies, another process takes over within seconds. Each chore has a period and is skipped
while its last round still runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from knight_tw.background import Background
from knight_tw.errors import DatabaseAway
from knight_tw.storage import leases
from knight_tw.storage.database import Database

NAME = "chores"
"""The lease's row."""


@frozen(eq=False)
class Chore:
    """Something to be done every `seconds`."""

    name: str
    seconds: float
    work: Callable[[], Awaitable[object]]


@define(eq=False)
class Chores:
    """Holds the lease if it can, and then does the chores.

    Args:
        holder: Names this process among all (node, process id, random).
        eligible: False on a slave, which never takes the lease.
    """

    _db: Database
    _clock: IReactorTime
    _background: Background
    _holder: str
    _chores: tuple[Chore, ...]
    _eligible: bool = True
    leading: bool = False
    _due: dict[str, float] = field(factory=dict)
    _busy: set[str] = field(factory=set)
    _loop: LoopingCall | None = None
    _log: Logger = field(factory=Logger)

    def start(self) -> None:
        """Begin to compete for the lease."""
        if not self._eligible:
            return
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.round()))
        self._loop.clock = self._clock
        self._loop.start(leases.RENEW_SECONDS)

    async def stop(self) -> None:
        """Give the lease up, so that another process need not wait for its end."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        if self.leading:
            self.leading = False
            try:
                await self._db.run(leases.release, NAME, self._holder)
            except DatabaseAway:
                self._log.info("the lease ends by itself: the database is away")

    async def round(self) -> None:
        """Renew or take the lease; as its holder start what is due."""
        now = self._clock.seconds()
        try:
            self.leading = await self._db.run(
                leases.take, NAME, self._holder, int(now * 1000)
            )
        except DatabaseAway:
            self.leading = False
        if not self.leading:
            return
        for chore in self._chores:
            if chore.name not in self._busy and now >= self._due.get(chore.name, 0):
                self._due[chore.name] = now + chore.seconds
                self._busy.add(chore.name)
                self._background.spawn(chore.name, self._do(chore))

    async def _do(self, chore: Chore) -> None:
        try:
            await chore.work()
        except CancelledError:
            raise
        except DatabaseAway as away:
            self._log.warn("{chore} waits: {why}", chore=chore.name, why=away.message)
        finally:
            self._busy.discard(chore.name)
