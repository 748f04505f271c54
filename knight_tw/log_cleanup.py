"""Deleting old log rows: in small transactions, so that calls never wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define

from knight_tw.jobs import Job, Jobs
from knight_tw.storage import log_queries
from knight_tw.storage.database import Database

JOB = "log_cleanup"
CHUNK = 500
"""Rows deleted in one transaction."""


@define(eq=False)
class LogCleanup:
    """Deletes log rows in the background."""

    _db: Database
    _jobs: Jobs

    async def start(self, moment: int) -> tuple[Mapping[str, Any], int]:
        """Begin to delete the rows older than `moment` (unix seconds).

        Returns: the job's row, and how many rows there are to delete.

        Raises:
            JobRunning: a deletion is under way.
        """
        total = await self._db.read(log_queries.older_than, moment)

        async def work(job: Job) -> dict[str, int]:
            job.total = total
            return await self._delete(job, moment)

        payload = {"batch_size": CHUNK, "target_timestamp": moment}
        return await self._jobs.start(JOB, work, payload), total

    async def _delete(self, job: Job, moment: int) -> dict[str, int]:
        deleted = 0
        while True:
            gone = await self._db.run(log_queries.delete_older, moment, CHUNK)
            deleted += gone
            job.advance(gone)
            if gone < CHUNK:
                return {"deleted_count": deleted}
