"""Where batches go, and how far the database has come: one place, or two for the rows.

A batch that a database refuses because of a value (and not because it is away) must not
stop everything behind it. Its entries are then applied one by one, and one that is
refused alone is applied without the texts of its row: the money is right, the row is
poor, the log says so.
"""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import define, evolve, field
from sqlalchemy import exc
from twisted.logger import Logger

from knight_tw.ledger.entries import Entry, Row
from knight_tw.ledger.posting import (
    Batch,
    Posted,
    kept_short,
    position,
    post,
    post_rows,
)
from knight_tw.ledger.statistics import remember
from knight_tw.storage.database import Database

REFUSED = (exc.DataError, exc.IntegrityError)
"""What a database raises about a value rather than about itself."""

log = Logger()


@define(eq=False)
class Store:
    """The databases of one journal, with their positions.

    After every failure it asks for the positions anew: a commit whose answer was lost
    may have happened.
    """

    _db: Database
    _logs: Database | None
    journal: str = ""
    _at: int | None = None
    _rows_at: int = 0
    _short: dict[int, int] = field(factory=dict)
    _hourly_ids: dict[tuple[Any, ...], int] = field(factory=dict)

    async def applied(self) -> int:
        """The last entry that needs nothing more, in either database."""
        return min(await self._position(), self._rows_at)

    async def _position(self) -> int:
        if self._at is None:
            at = await self._db.read(position, self.journal) or 0
            self._rows_at = at
            if self._logs is not None:
                known = await self._logs.read(position, self.journal)
                # Not known there: the journal is older than that database.
                self._rows_at = at if known is None else known
                self._short = await self._db.read(kept_short, self.journal)
            self._at = at
        return self._at

    async def commit(self, batch: Batch) -> list[Posted]:
        """Applies a batch that begins right behind `applied()`.

        Entries that a database has already are left out there. A batch without entries
        reads the balances it names and shows that the process lives.
        """
        try:
            return [await self._commit(batch)]
        except REFUSED as error:
            if not batch.entries:
                raise
            # Its values may be secrets of the database's operator: only its kind.
            log.error("a batch was refused: {kind}", kind=type(error.orig).__name__)
        posted = []
        for entry in batch.entries:
            alone = part_of(batch, [entry])
            posted.append(await self._commit_alone(alone, entry))
        return [*posted, await self._commit(evolve(batch, entries=[]))]

    async def _commit_alone(self, batch: Batch, entry: Entry) -> Posted:
        try:
            return await self._commit(batch)
        except REFUSED as error:
            log.critical(
                "the log row of call {call} was refused and is kept without its texts",
                call=entry.call,
                kind=type(error.orig).__name__,
            )
            return await self._commit(evolve(batch, entries=[_poor(entry)]))

    async def _commit(self, batch: Batch) -> Posted:
        at = await self._position()
        try:
            posted = await self._post(batch, at)
            if self._logs is not None and batch.last > self._rows_at:
                rest = [it for it in batch.entries if it.seq > self._rows_at]
                rows = evolve(batch, entries=rest, before=self._rows_at)
                await self._logs.run(post_rows, rows, self._short)
        except BaseException:
            self._at = None
            raise
        self._rows_at = max(self._rows_at, batch.last)
        return posted

    async def _post(self, batch: Batch, at: int) -> Posted:
        rest = [it for it in batch.entries if it.seq > at]
        last = max(batch.last, at)
        carried = {k: it for k, it in self._short.items() if k > self._rows_at}
        whole = evolve(
            batch,
            before=at,
            last=last,
            entries=rest,
            rows=self._logs is None,
            hourly_ids=self._hourly_ids,
            carried=carried,
        )
        posted = await self._db.run(post, whole)
        self._at = last
        self._short = {**carried, **posted.decision.short}
        remember(self._hourly_ids, posted.hourly_ids)
        return posted


def _poor(entry: Entry) -> Entry:
    """The entry with nothing in its row that a database could dislike; the request id
    is our own making, and stays."""
    row = entry.row or Row()
    poor = Row(
        user_id=row.user_id,
        created_at=row.created_at,
        type=row.type,
        quota=row.quota,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        channel_id=row.channel_id,
        token_id=row.token_id,
        request_id=row.request_id if row.request_id.isascii() else "",
    )
    return msgspec.structs.replace(entry, row=poor if entry.row else None)


def part_of(batch: Batch, entries: list[Entry]) -> Batch:
    """The same batch with only some entries, and nothing that belongs to its end."""
    last = entries[-1].seq
    return evolve(batch, entries=entries, last=last, users=(), tokens=(), attempts={})
