"""Work that goes on after the request that began it: one of a kind at a time, with
progress that every node can see, and cancellable from every node."""

from __future__ import annotations

import random
import string
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, field
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from knight_tw.background import Background
from knight_tw.errors import DatabaseAway, KnightError
from knight_tw.storage import job_queries
from knight_tw.storage.database import Database

HEARTBEAT_SECONDS = 5.0
"""How often a running job tells the database that it is alive, and hears whether it was
cancelled."""

_ALPHABET = string.ascii_letters + string.digits


class JobRunning(KnightError):
    """A job of this kind is under way; `row` is it."""

    status, code = 409, "job_running"

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__("a job of this kind is already running")
        self.row = row


class JobCancelled(Exception):
    """Raised inside a job's work once somebody cancelled it."""


@define(eq=False)
class Job:
    """A running job, as its work sees it."""

    task_id: str
    total: int = 0
    done: int = 0
    counts: dict[str, int] = field(factory=dict)
    cancelled: bool = False

    def advance(self, by: int = 1) -> None:
        """That much more is done.

        Raises:
            JobCancelled: somebody cancelled the job.
        """
        self.done += by
        self.check()

    def check(self) -> None:
        """Raises JobCancelled once the job was cancelled."""
        if self.cancelled:
            raise JobCancelled

    def count(self, what: str, by: int = 1) -> None:
        """Count something for the result."""
        self.counts[what] = self.counts.get(what, 0) + by

    def state(self) -> dict[str, Any]:
        """What the row says about progress."""
        share = 100 * self.done // self.total if self.total else 0
        return {
            "processed": self.done,
            "total": self.total,
            "remaining": max(self.total - self.done, 0),
            "progress": min(share, 100),
        }


Work = Callable[[Job], Awaitable[Any]]
"""Does a job and returns its result, which is kept as JSON."""


@define(eq=False)
class Jobs:
    """Starts jobs and keeps their rows."""

    _db: Database
    _clock: IReactorTime
    _background: Background
    _holder: str
    _random: random.Random = field(factory=random.SystemRandom)
    _log: Logger = field(factory=Logger)

    async def start(
        self, kind: str, work: Work, payload: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Begin `work` in the background; its row.

        Raises:
            JobRunning: one of this kind is under way, here or on another node.
        """
        token = "".join(self._random.choices(_ALPHABET, k=32))
        task_id = f"systask_{token}"
        asked = (kind, task_id, self._holder, dict(payload or {}), self._now())
        try:
            row, ours = await self._db.run(job_queries.start, *asked)
        except IntegrityError:  # another node was first
            row, ours = await self._db.run(job_queries.start, *asked)
        if not ours:
            raise JobRunning(row)
        self._background.spawn(kind, self._carry_out(Job(task_id), work))
        return row

    async def cancel(self, task_id: str) -> bool:
        """Have a job end soon, wherever it runs; False when it is over already."""
        return await self._db.run(
            job_queries.finish, task_id, "cancelled", None, "cancelled", self._now()
        )

    async def _carry_out(self, job: Job, work: Work) -> None:
        alive = LoopingCall(self._beat, job)
        alive.clock = self._clock
        beating = alive.start(HEARTBEAT_SECONDS, now=False)
        status, result, error = "failed", None, "interrupted"
        try:
            result = await work(job)
            status, error = "succeeded", ""
        except JobCancelled:
            status, error = "cancelled", "cancelled"
        except CancelledError:
            raise
        except KnightError as failed:
            error = failed.message
        except Exception:  # noqa: BLE001 - the row must say that it failed
            error = "internal error"
            self._log.failure("job {task_id} failed", task_id=job.task_id)
        finally:
            alive.stop()
            await beating
            await self._end(job, status, result, error)

    async def _end(self, job: Job, status: str, result: Any, error: str) -> None:
        now = self._now()
        if status == "succeeded":
            job.total = job.done = max(job.total, job.done)
        try:
            await self._db.run(job_queries.touch, job.task_id, job.state(), now)
            await self._db.run(
                job_queries.finish, job.task_id, status, result, error, now
            )
        except DatabaseAway:
            self._log.warn("the end of job {task_id} is lost", task_id=job.task_id)

    async def _beat(self, job: Job) -> None:
        try:
            alive = await self._db.run(
                job_queries.touch, job.task_id, job.state(), self._now()
            )
        except DatabaseAway:
            return
        job.cancelled = job.cancelled or not alive

    def _now(self) -> int:
        return int(self._clock.seconds())
