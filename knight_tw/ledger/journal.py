"""The append-only file of one process: what happened to money, before it is applied.

Files
-----
`DATA_DIR/journal/` holds, for a journal with the random id `I`,

* `I.lock`: locked (`flock`) as long as the process lives. Whoever gets the lock may
  replay and delete the journal.
* `I.000001.log`, `I.000002.log`, …: the parts. The first line of each is a header
  (`{"journal":"I","part":1,"version":1}`), every further one an entry (`entries`).
  A part that has grown to 64 MiB is followed by the next, and deleted once everything
  in it is applied.

When is a line safe?
--------------------
`append` puts it into memory, and everything appended in one turn of the reactor is
written by one `write` at the end of that turn (a `write` costs as much as a fifth of a
call). The last byte of an answer is sent by what `when_safe` calls. From then on a
killed process loses nothing. A killed machine may lose what was not synced: with the
policy `interval` the last second or so, with `never` what the kernel had not written by
itself; with `always` nothing that `when_safe` was asked about. Syncing happens in a
thread.

A disk that refuses (full, broken) does not stop calls that are under way: their lines
wait in memory and are written when it takes them again. New holds are refused meanwhile
(`full`).

A crash in the middle of a write leaves a torn last line, which never happened. Any
other line that does not read back means a damaged file: what comes before it is
applied, what comes after it in that file is not, and the file is kept with the suffix
`.bad`.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from knight_tw.ledger.entries import Draft, Entry, mended, to_line
from knight_tw.ledger.parts import VERSION, Header, Part, locked, read_entries, remove

T = TypeVar("T")

InThread = Callable[[Callable[[], Any]], Deferred[Any]]
"""Runs a function in some thread that is not the reactor's."""

Then = Callable[[], None]
"""What waits until an entry is safe."""

ALWAYS, INTERVAL, NEVER = "always", "interval", "never"
"""Policies of JOURNAL_FSYNC."""

PART_BYTES = 64 * 1024 * 1024
"""A part that has grown to this is followed by the next."""

BENT = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)
"""What a row raises that cannot be written as it is."""

_RETRY_SECONDS = 1.0

log = Logger()


@define(eq=False)
class _Closed:
    """A part that is complete: it goes once `last` is applied."""

    part: Part
    last: int


@define(eq=False)
class Journal:
    """The journal of this process. `open` before use.

    Args:
        directory: `DATA_DIR/journal`.
        policy: `always`, `interval` or `never`.
        interval: Seconds between two syncs of the policy `interval`.
        limit: Unapplied bytes beyond which `full` is true.
        part_bytes: Size at which a part is followed by the next.
        write: `os.write`, or a disk that refuses.
    """

    _directory: Path
    _clock: IReactorTime
    _in_thread: InThread
    _policy: str = INTERVAL
    _interval: float = 1.0
    _limit: int = 1 << 30
    _part_bytes: int = PART_BYTES
    _write: Callable[[int, bytes | bytearray], int] = os.write
    id: str = ""
    last: int = 0
    """Sequence number of the newest entry."""
    records: dict[str, int] = field(factory=dict)
    """Entries made so far, by kind."""
    _lock: int | None = None
    _file: int | None = None
    _part: Part | None = None
    _part_size: int = 0
    _buffer: bytearray = field(factory=bytearray)
    _turn: IDelayedCall | None = None
    _waiters: list[Then] = field(factory=list)
    _refused: bool = False
    _new_name: bool = False
    """A file was made since the directory was last synced."""
    _total: int = 0
    _applied: int = 0
    _mark: tuple[int, int] = (0, 0)
    _closed: list[_Closed] = field(factory=list)
    _damaged: set[Part] = field(factory=set)
    _syncing: Deferred[None] | None = None
    _sync_again: bool = False
    _sync_timer: IDelayedCall | None = None
    _sync_waiters: list[Then] = field(factory=list)

    def open(self) -> None:
        """Begin a journal with a new id.

        Raises:
            OSError: the directory cannot be written.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        while self._lock is None:
            self.id = secrets.token_hex(16)
            self._lock = locked(self._directory, self.id)
        self._begin_part(1)

    def _begin_part(self, number: int) -> None:
        path = self._directory / f"{self.id}.{number:06d}.log"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        file = os.open(path, flags, 0o600)
        header = msgspec.json.encode(Header(self.id, number, VERSION)) + b"\n"
        try:
            if self._write(file, header) < len(header):
                raise OSError(errno.ENOSPC, "no room for a header")
        except OSError:
            os.close(file)
            path.unlink()
            raise
        self._file, self._part, self._part_size = file, Part(self.id, number, path), 0
        self._new_name = True

    @property
    def full(self) -> bool:
        """True when no hold may be given: too much waits, or the disk refuses."""
        return self._refused or self._total - self._applied >= self._limit

    @property
    def unapplied_bytes(self) -> int:
        """Bytes of entries that no database has seen yet."""
        return self._total - self._applied

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait for the end of this turn, or for the disk."""
        return len(self._buffer)

    def append(self, draft: Draft) -> Entry:
        """Adds an entry; it is written at the end of this turn.

        A row that does not fit its columns is made to fit, with an error in the log:
        the money of the call matters more.
        """
        if self._file is None:
            raise RuntimeError("the journal is closed")
        draft.seq = self.last + 1
        try:
            line, entry = to_line(draft)
        except BENT as error:
            log.error("a log row was bent to fit: {kind}", kind=type(error).__name__)
            draft.row = mended(draft.row or {})
            line, entry = to_line(draft)
        self.last = draft.seq
        self._buffer += line
        self._total += len(line)
        self.records[draft.kind] = self.records.get(draft.kind, 0) + 1
        if self._turn is None:
            self._turn = self._clock.callLater(0, self._end_of_turn)
        return entry

    def _end_of_turn(self) -> None:
        self._turn = None
        waiters, self._waiters = self._waiters, []
        if self._policy == ALWAYS:
            self._sync_waiters += waiters
            waiters = []
        self.flush_now()
        if self._sync_waiters:
            self._sync()
        _call(waiters)

    def when_safe(self, then: Then) -> None:
        """Calls `then` once a killed process does not take along what was appended so
        far, with the policy `always` a killed machine neither; at once when that is so.

        A disk that refuses is not waited for.
        """
        if self._refused:
            self.flush_now()
        if self._file is not None:
            if self._buffer and not self._refused:
                self._waiters.append(then)
                return
            if self._policy == ALWAYS:
                self._sync_waiters.append(then)
                self._sync()
                return
        then()

    def flush_now(self) -> None:
        """Hands everything appended so far to the kernel; costs nothing when idle."""
        if self._file is None or not (self._buffer or self._refused):
            return
        try:
            while self._buffer:
                written = self._write(self._file, self._buffer)
                self._part_size += written
                del self._buffer[:written]
            if self._part_size >= self._part_bytes:
                self._rotate()
        except OSError as error:
            self._refuse(error)
            return
        if self._refused:
            self._refused = False
            log.warn("the journal can be written again")
        self._want_sync()

    def _refuse(self, error: OSError) -> None:
        if not self._refused:
            log.critical("the journal cannot be written: {error}", error=str(error))
        self._refused = True
        if self._turn is None:
            self._turn = self._clock.callLater(_RETRY_SECONDS, self._end_of_turn)

    def _rotate(self) -> None:
        part, old = self._part, self._file
        if part is None or old is None:
            return
        self._begin_part(part.number + 1)
        self._closed.append(_Closed(part, self.last))
        if self._policy == NEVER:
            os.close(old)
        else:
            self._in_thread(lambda: _sync_and_close([old])).addErrback(_not_synced)

    def _want_sync(self) -> None:
        if self._policy == ALWAYS:
            self._sync()
        elif self._policy == INTERVAL and self._sync_timer is None:
            self._sync_timer = self._clock.callLater(self._interval, self._sync_due)

    def _sync_due(self) -> None:
        self._sync_timer = None
        self._sync()

    def _sync(self) -> None:
        """Syncs in a thread; what is written while it runs is synced once more."""
        if self._syncing is not None:
            self._sync_again = True
            return
        if self._file is None:
            return
        # A descriptor of its own: rotation may close ours meanwhile.
        descriptors = [os.dup(self._file)]
        if self._new_name:
            self._new_name = False
            descriptors.append(os.open(self._directory, os.O_RDONLY))
        waiters, self._sync_waiters = self._sync_waiters, []
        self._syncing = self._in_thread(lambda: _sync_and_close(descriptors))
        self._syncing.addErrback(_not_synced)
        self._syncing.addCallback(self._synced, waiters)

    def _synced(self, _: None, waiters: list[Then]) -> None:
        self._syncing = None
        if self._sync_again:
            self._sync_again = False
            self._sync()
        _call(waiters)

    def mark(self) -> int:
        """The boundary of a flush: the newest entry. `applied` is told of it later."""
        self.flush_now()
        self._mark = (self.last, self._total)
        return self.last

    def applied(self, sequence: int) -> None:
        """Everything up to `sequence` is in the database: its files may go."""
        boundary, total = self._mark
        if boundary <= sequence:
            self._applied = max(self._applied, total)
        while self._closed and self._closed[0].last <= sequence:
            part = self._closed.pop(0).part
            remove(part, keep=part in self._damaged)

    def unapplied(self, after: int) -> Iterator[Entry]:
        """Reads entries back from disk, for a writer that does not remember them."""
        parts = [it.part for it in self._closed if it.last > after]
        if self._part is not None:
            parts.append(self._part)
        return read_entries(parts, after, self._damage)

    def _damage(self, part: Part) -> None:
        log.critical("journal file {path} is damaged", path=str(part.path))
        self._damaged.add(part)

    def close(self, *, keep: bool) -> Deferred[bool]:
        """Ends the journal; True when its files are gone, for everything is applied.

        A journal with unapplied entries stays for the next start; with `keep` any.
        """
        turn = self._turn
        self._end_of_turn()
        for timer in (turn, self._turn, self._sync_timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._turn = self._sync_timer = None
        return Deferred.fromCoroutine(self._close(keep))

    async def _close(self, keep: bool) -> bool:
        while self._syncing is not None:
            done: Deferred[None] = Deferred()
            self._sync_waiters.append(partial(done.callback, None))
            self._sync_again = True
            await done
        file, self._file = self._file, None
        # Asked only now: an entry may have come while the last sync ran.
        finished = not keep and self.unapplied_bytes == 0
        if file is not None:
            if not finished and self._policy != NEVER:
                await self._in_thread(lambda: os.fsync(file)).addErrback(_not_synced)
            os.close(file)
        if finished:
            self._remove_files()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        return finished

    def _remove_files(self) -> None:
        for closed in self._closed:
            remove(closed.part, keep=closed.part in self._damaged)
        if self._part is not None:
            remove(self._part, keep=self._part in self._damaged)
        (self._directory / f"{self.id}.lock").unlink(missing_ok=True)


def _call(waiters: list[Then]) -> None:
    for then in waiters:
        try:
            then()
        except Exception:  # noqa: BLE001 - the others wait, too
            log.failure("what had waited for the journal failed")


def _sync_and_close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _not_synced(failure: Any) -> None:
    log.failure("the journal could not be synced", failure)
