"""What dead processes left behind: their journals are applied, their holds released.

The order makes every crash in between harmless: apply (each batch moves the position),
release the holds that are left, delete the files, mark the journal as closed, delete
its lock file. Starting over finds less to do each time.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from knight_tw.ledger import posting
from knight_tw.ledger.entries import Entry
from knight_tw.ledger.holds import CLOSED, release_journal
from knight_tw.ledger.journal import InThread
from knight_tw.ledger.parts import Part, locked, parts_in, read_entries, remove
from knight_tw.ledger.posting import Batch
from knight_tw.ledger.store import Store
from knight_tw.storage.database import Database

BATCH = 2_000

log = Logger()


@define(eq=False)
class Replay:
    """Applies every journal in a directory whose process is dead.

    Args:
        export: The option `DataExportEnabled`.
        perf: Seconds of a bucket of `perf_metrics`; 0 = not filled.
    """

    _directory: Path
    _db: Database
    _logs: Database | None
    _clock: IReactorTime
    _in_thread: InThread
    _export: Callable[[], bool]
    _node: str
    _perf: Callable[[], int] = lambda: 0
    _damaged: set[Part] = field(factory=set)

    async def run(self) -> int:
        """The number of entries that were applied.

        Raises:
            DatabaseAway: nothing is lost, the next start goes on.
        """
        if not self._directory.is_dir():
            return 0
        applied = 0
        names = {path.stem for path in self._directory.glob("*.lock")}
        for journal in sorted(names | parts_in(self._directory).keys()):
            lock = locked(self._directory, journal)
            if lock is None:
                continue
            try:
                applied += await self._replay(journal)
                (self._directory / f"{journal}.lock").unlink(missing_ok=True)
            finally:
                os.close(lock)
        return applied

    async def _replay(self, journal: str) -> int:
        # Looked up again under the lock: somebody else may just have been through.
        parts = parts_in(self._directory).get(journal, [])
        at = await self._db.read(posting.position, journal)
        applied = await self._apply(journal, parts, at)
        released = await self._db.run(release_journal, journal)
        for part in parts:
            remove(part, keep=part in self._damaged)
        if at is not None:
            await close_journal(self._db, self._logs, journal, self._now())
        if applied or released:
            log.info(
                "journal {journal} of a dead process: {applied} entries applied, "
                "{released} holds released",
                journal=journal,
                applied=applied,
                released=len(released),
            )
        return applied

    async def _apply(self, journal: str, parts: list[Part], at: int | None) -> int:
        if at is None:
            self._distrust(parts)
            return 0
        if self._logs is not None:
            known = await self._logs.read(posting.position, journal)
            if known is None:
                await self._logs.run(posting.set_position, journal, at, self._now())
        store = Store(self._db, self._logs, journal)
        after = await store.applied()
        entries = read_entries(parts, after, self._damage)
        applied = 0
        while some := await self._in_thread(
            lambda: list(itertools.islice(entries, BATCH))
        ):
            await store.commit(self._batch(journal, some))
            applied += len(some)
        return applied

    def _distrust(self, parts: list[Part]) -> None:
        """Sets entries aside that no database knows: a process makes its journal known
        before it writes one, so these come from elsewhere, or the database does."""
        for part in parts:
            if next(read_entries([part], 0, self._damage), None) is not None:
                log.critical(
                    "journal file {path} is unknown to this database",
                    path=str(part.path),
                )
                self._damaged.add(part)

    def _damage(self, part: Part) -> None:
        log.critical(
            "journal file {path} is damaged: what follows the damage is not applied",
            path=str(part.path),
        )
        self._damaged.add(part)

    def _batch(self, journal: str, entries: list[Entry]) -> Batch:
        return Batch(
            journal=journal,
            before=0,
            last=entries[-1].seq,
            entries=entries,
            now=self._now(),
            node=self._node,
            export=self._export(),
            perf=self._perf(),
        )

    def _now(self) -> int:
        return int(self._clock.seconds())


async def close_journal(
    db: Database, logs: Database | None, journal: str, now: int
) -> None:
    """Marks a journal as closed in every database: its files are gone."""
    await db.run(posting.set_position, journal, CLOSED, now)
    if logs is not None:
        await logs.run(posting.set_position, journal, CLOSED, now)
