"""The log as it is written: the newest rows, for those who watch.

`LogTail.seen` is called with every entry of the ledger, so it only puts the row into a
ring. Everything else happens a few times a second, and only while somebody watches:
rows are filtered for each reader and handed over. With Redis every process that has a
reader says so now and then, and the others then send what they write in batches on the
channel `tail`; without Redis a reader sees what its own process does.

Nothing here is the log. Rows have no number yet, ids of events are
`<time>-<number>-<process>`, and what a reader cannot take is left out and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from knight_tw.cache import Cache
from knight_tw.ledger.entries import Entry, Row
from knight_tw.storage.log_queries import LogFilter

RING = 5_000
"""The newest rows that are kept for readers who come back."""

TICK_SECONDS = 0.2
PER_TICK = 100
"""Rows that one reader, or all other processes together, are given in a tick."""

CATCH_UP = 500
"""Rows that a reader is given who comes back, the newest."""

ROWS, WANTED = "tail", "tail:wanted"
"""Channels of the cache: rows of other processes, and the word that somebody reads."""

ASK_SECONDS, WANTED_SECONDS = 20.0, 45.0
"""How often readers are announced, and how long that is believed."""


class Seen(NamedTuple):
    """A row that was written, with the process that wrote it and its number there."""

    origin: str
    number: int
    row: Row

    @property
    def id(self) -> str:
        """The id of its event."""
        return f"{self.row.created_at}-{self.number}-{self.origin}"


class _Batch(msgspec.Struct):
    """Rows as processes send them to each other."""

    origin: str
    first: int
    rows: list[Row]
    lost: int = 0


Accept = Callable[[Row], bool]
Tell = Callable[[Sequence[Seen], int], None]
"""Called with rows and the number of those that were left out."""


@define(eq=False)
class Reader:
    """Somebody who watches."""

    accept: Accept
    tell: Tell


@define(eq=False)
class LogTail:
    """The newest rows of this process and, while somebody reads, of the others.

    Attributes:
        dropped: Rows that some reader was not given.
    """

    _cache: Cache
    _clock: IReactorTime
    _origin: str
    _ring: deque[Seen] = field(factory=lambda: deque(maxlen=RING))
    _number: int = 0
    _arrived: int = 0
    _told: int = 0
    _readers: list[Reader] = field(factory=list)
    _wanted_until: float = 0.0
    _asked_at: float = -ASK_SECONDS
    _loop: LoopingCall | None = None
    dropped: int = 0

    def start(self) -> None:
        """Hear from other processes."""
        if self._cache.shared:
            self._cache.listen(ROWS, self._heard)
            self._cache.listen(WANTED, self._asked)

    def stop(self) -> None:
        """No more ticks."""
        self._readers.clear()
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    def seen(self, entry: Entry) -> None:
        """The ledger wrote an entry."""
        row = entry.row
        if row is not None and not entry.hidden and entry.instalment <= 1:
            self._number += 1
            self._arrived += 1
            self._ring.append(Seen(self._origin, self._number, row))

    def join(self, accept: Accept, tell: Tell, after: str = "") -> Reader:
        """Give somebody the rows from now on, and those behind the event `after`."""
        reader = Reader(accept, tell)
        self._tick()
        if after:
            self._catch_up(reader, after)
        self._readers.append(reader)
        self._watch()
        return reader

    def leave(self, reader: Reader) -> None:
        """Somebody does not watch any more."""
        if reader in self._readers:
            self._readers.remove(reader)

    # within the process ------------------------------------------------------

    def _watch(self) -> None:
        if self._loop is None:
            self._told = self._arrived
            self._loop = LoopingCall(self._tick)
            self._loop.clock = self._clock
            self._loop.start(TICK_SECONDS, now=False)

    def _tick(self) -> None:
        """Hands out what came since the last time."""
        if self._loop is None:
            return
        now = self._clock.seconds()
        wanted = now < self._wanted_until
        if not self._readers and not wanted:
            self._loop.stop()
            self._loop = None
            return
        fresh = self._since(self._told)
        missed = self._arrived - self._told - len(fresh)
        self._told = self._arrived
        for reader in list(self._readers):
            self._give(reader, fresh, missed)
        if self._cache.shared:
            if self._readers and now - self._asked_at >= ASK_SECONDS:
                self._asked_at = now
                self._cache.broadcast(WANTED, self._origin)
            self._pass_on(fresh if wanted else (), missed if wanted else 0)

    def _since(self, place: int) -> list[Seen]:
        """What came behind a place, as far as the ring has it."""
        skip = len(self._ring) - (self._arrived - place)
        return list(islice(self._ring, max(skip, 0), None))

    def _give(self, reader: Reader, rows: Sequence[Seen], missed: int) -> None:
        """The rows that a reader wants, as many as it may have."""
        found = [one for one in rows if reader.accept(one.row)]
        missed += max(len(found) - PER_TICK, 0)
        self.dropped += missed
        if found or missed:
            reader.tell(found[:PER_TICK], missed)

    def _catch_up(self, reader: Reader, after: str) -> None:
        """What a reader missed who comes back; rows of the same second may come again
        when another process, or another life of this one, had given it the last."""
        rows = list(self._ring)
        place = next((n for n, one in enumerate(rows) if one.id == after), None)
        moment, _, _ = after.partition("-")
        if place is not None:
            rows = rows[place + 1 :]
        elif moment.isdecimal() and len(moment) <= 12:
            rows = [one for one in rows if one.row.created_at >= int(moment)]
        else:
            return
        found = [one for one in rows if reader.accept(one.row)]
        reader.tell(found[-CATCH_UP:], max(len(found) - CATCH_UP, 0))

    # between processes -------------------------------------------------------

    def _asked(self, origin: str) -> None:
        """Some process has readers."""
        if origin != self._origin:
            self._wanted_until = self._clock.seconds() + WANTED_SECONDS
            self._watch()

    def _pass_on(self, rows: Sequence[Seen], missed: int) -> None:
        """Our own rows for the readers of others."""
        own = [one for one in rows if one.origin == self._origin]
        kept = own[:PER_TICK]
        lost = missed + len(own) - len(kept)
        if not kept and not lost:
            return
        batch = _Batch(
            self._origin,
            kept[0].number if kept else 0,
            [one.row for one in kept],
            lost,
        )
        self._cache.broadcast(ROWS, msgspec.json.encode(batch).decode())

    def _heard(self, text: str) -> None:
        """Rows of another process."""
        try:
            batch = msgspec.json.decode(text, type=_Batch)
        except (msgspec.MsgspecError, ValueError):
            return
        if batch.origin == self._origin:
            return
        for place, row in enumerate(batch.rows):
            self._arrived += 1
            self._ring.append(Seen(batch.origin, batch.first + place, row))
        for reader in self._readers if batch.lost else ():
            self.dropped += batch.lost
            reader.tell((), batch.lost)


def accepts(chosen: LogFilter) -> Accept:
    """The filter of the log pages for rows that are not in the database yet.

    Whose a row is comes first, and texts last: every row of the process is looked at
    for every reader.
    """
    checks: list[Accept] = []
    if chosen.user_id is not None:
        checks.append(_among("user_id", frozenset((chosen.user_id,))))
    for name, numbers in (
        ("type", chosen.kinds),
        ("channel_id", chosen.channels),
        ("status", chosen.status_codes),
    ):
        if numbers:
            checks.append(_among(name, frozenset(numbers)))
    for name, least in (
        ("use_time", chosen.least_duration),
        ("quota", chosen.least_cost),
        ("created_at", chosen.start),
    ):
        if least:
            checks.append(_at_least(name, least))
    if chosen.end:
        end = chosen.end
        checks.append(lambda row: row.created_at <= end)
    for name, texts in (
        ("username", chosen.usernames),
        ("token_name", chosen.tokens),
        ("model_name", chosen.models),
        ("group", chosen.groups),
        ("request_id", chosen.request_ids),
        ("upstream_request_id", chosen.upstream_request_ids),
        ("session_id", chosen.session_ids),
    ):
        if texts:
            checks.append(_matching(name, texts))
    if chosen.content:
        part = chosen.content.lower()
        checks.append(lambda row: part in row.content.lower())
    return lambda row: all(check(row) for check in checks)


def _matching(name: str, texts: Sequence[str]) -> Accept:
    """The text equals one of `texts`, in which each `%` stands for anything."""
    exact = frozenset(text for text in texts if "%" not in text)
    patterns = [text.split("%") for text in texts if "%" in text]

    def check(row: Row) -> bool:
        text = getattr(row, name) or ""
        return text in exact or any(_like(text, one) for one in patterns)

    return check


def _like(text: str, pieces: Sequence[str]) -> bool:
    """True when `text` is the pieces in their order with anything between them."""
    if len(pieces) == 1:
        return text == pieces[0]
    first, *middle, last = pieces
    end = len(text) - len(last)
    if not text.startswith(first) or not text.endswith(last) or end < len(first):
        return False
    place = len(first)
    for piece in middle:
        place = text.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True


def _among(name: str, numbers: frozenset[int]) -> Accept:
    return lambda row: getattr(row, name) in numbers


def _at_least(name: str, least: int) -> Accept:
    return lambda row: int(getattr(row, name)) >= least


def columns(row: Row) -> dict[str, Any]:
    """The row as the log pages read it from the database; it has no id yet."""
    found = msgspec.structs.asdict(row)
    found["other"] = bytes(row.other).decode()
    return {"id": 0, **found}
