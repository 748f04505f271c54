"""The journal's files."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.ledger.entries import NOTE, Draft, Entry
from knight_tw.ledger.journal import ALWAYS, INTERVAL, NEVER, Journal
from knight_tw.ledger.parts import Part, locked, parts_in, read_entries


class Threads:
    """Threads that run when told."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def __call__(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Keeps the work for `run`."""
        done: Deferred[Any] = Deferred()
        self.waiting.append((work, done))
        return done

    def run(self) -> int:
        """Runs what waits; how much that was."""
        waiting, self.waiting = self.waiting, []
        for work, done in waiting:
            execute(work).chainDeferred(done)
        return len(waiting)


class JournalCase(SynchronousTestCase):
    """Tests of an open journal."""

    def setUp(self) -> None:
        """A journal that syncs nothing."""
        self.directory = Path(self.mktemp())
        self.clock = Clock()
        self.threads = Threads()
        self.writes: list[int] = []
        self.told: list[str] = []
        self.broken = 0
        self.journal = self.opened()
        self.writes.clear()
        self.damaged: list[Part] = []

    def opened(self, policy: str = NEVER, **options: Any) -> Journal:
        """Another journal in the same directory."""
        journal = Journal(
            self.directory,
            self.clock,
            self.threads,
            policy,
            write=self.write,
            **options,
        )
        journal.open()
        return journal

    def write(self, file: int, content: bytes | bytearray) -> int:
        """`os.write`, or a full disk that takes `broken` - 1 bytes more."""
        if self.broken == 1:
            raise OSError(errno.ENOSPC, "full")
        if self.broken > 1:
            content, self.broken = content[: self.broken - 1], 1
        self.writes.append(len(content))
        return os.write(file, content)

    def note(self, call: str = "c", journal: Journal | None = None) -> Entry:
        """Appends an entry."""
        return (journal or self.journal).append(Draft(0, NOTE, call, row={"type": 5}))

    def parts(self, journal: Journal | None = None) -> list[Part]:
        """The files of the journal."""
        return parts_in(self.directory).get((journal or self.journal).id, [])

    def calls(self, after: int = 0) -> list[str]:
        """What a replay would read."""
        entries = read_entries(self.parts(), after, self.damaged.append)
        return [it.call for it in entries]

    def append_raw(self, content: bytes) -> None:
        """Adds bytes to the newest file."""
        with self.parts()[-1].path.open("ab") as file:
            file.write(content)


class WritingTests(JournalCase):
    """`append`, `flush_now`."""

    def test_one_write_per_turn(self) -> None:
        """Entries of one turn are written together at its end."""
        for call in "abc":
            self.note(call)
        self.assertEqual((self.writes, self.calls()), ([], []))
        self.clock.advance(0)
        self.assertEqual(len(self.writes), 1)
        self.assertEqual(self.calls(), ["a", "b", "c"])

    def test_flush_now(self) -> None:
        """`flush_now` does not wait, and writes nothing when there is nothing."""
        self.note()
        self.journal.flush_now()
        self.journal.flush_now()
        self.assertEqual(len(self.writes), 1)

    def test_when_safe(self) -> None:
        """Everybody who waits in a turn hears of its one write, and nobody before."""
        for call in "ab":
            self.note(call)
            self.journal.when_safe(partial(self.told.append, call))
        self.assertEqual(self.told, [])
        self.clock.advance(0)
        self.assertEqual(self.told, ["a", "b"])
        self.assertEqual((len(self.writes), self.calls()), (1, ["a", "b"]))
        self.journal.when_safe(partial(self.told.append, "c"))
        self.assertEqual(self.told, ["a", "b", "c"])

    def test_a_bug_is_nobody_elses(self) -> None:
        """When one who waits fails, the others still hear of it."""
        self.note()
        self.journal.when_safe(lambda: self.told.append(str(1 / 0)))
        self.journal.when_safe(partial(self.told.append, "b"))
        self.clock.advance(0)
        self.assertEqual(self.told, ["b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_refusing_disk_is_not_waited_for(self) -> None:
        """Who waits when the disk begins to refuse goes on, and nobody waits then."""
        self.broken = 1
        self.note()
        self.journal.when_safe(partial(self.told.append, "a"))
        self.clock.advance(0)
        self.journal.when_safe(partial(self.told.append, "b"))
        self.assertEqual(self.told, ["a", "b"])
        self.broken = 0
        self.note()
        self.journal.when_safe(partial(self.told.append, "c"))
        self.assertEqual((self.told, len(self.calls())), (["a", "b", "c"], 2))

    def test_sequence(self) -> None:
        """Entries are numbered from 1; a reader may begin anywhere."""
        self.assertEqual([self.note(it).seq for it in "abc"], [1, 2, 3])
        self.journal.flush_now()
        self.assertEqual(self.calls(after=2), ["c"])
        self.assertEqual(self.calls(after=3), [])

    def test_bad_row_is_mended(self) -> None:
        """A row that does not fit is written in a form that does, and logged."""
        entry = self.journal.append(Draft(0, NOTE, "c", row={"content": "a\0b"}))
        self.assertEqual(entry.row and entry.row.content, "ab")
        self.journal.flush_now()
        self.assertEqual(self.calls(), ["c"])

    def test_private_files(self) -> None:
        """Nobody else may read directory and files."""
        self.assertEqual(self.directory.stat().st_mode & 0o777, 0o700)
        for path in self.directory.iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_rotation(self) -> None:
        """Parts follow each other; an applied one is deleted."""
        journal = self.journal = self.opened(part_bytes=100)
        for call in "abcdef":
            self.note(call)
            journal.flush_now()
        self.assertGreater(len(self.parts()), 2)
        self.assertEqual(self.calls(), list("abcdef"))
        self.assertEqual([it.call for it in journal.unapplied(4)], ["e", "f"])
        journal.mark()
        journal.applied(4)
        self.assertEqual(self.calls()[-2:], ["e", "f"])
        journal.applied(6)
        self.assertEqual(len(self.parts()), 1)

    def test_closed(self) -> None:
        """A closed journal takes nothing, and leaves nothing when all is applied."""
        self.note()
        self.journal.applied(self.journal.mark())
        self.assertTrue(self.successResultOf(self.journal.close(keep=False)))
        self.assertEqual(list(self.directory.iterdir()), [])
        self.assertRaises(RuntimeError, self.note)

    def test_closed_with_entries(self) -> None:
        """What is not applied stays for the next start, unlocked."""
        self.note()
        self.assertFalse(self.successResultOf(self.journal.close(keep=False)))
        self.assertEqual(self.calls(), ["c"])
        lock = locked(self.directory, self.journal.id)
        self.assertIsNotNone(lock)
        os.close(lock or 0)

    def test_lock(self) -> None:
        """As long as the process lives nobody else gets its journal."""
        self.assertIsNone(locked(self.directory, self.journal.id))


class LimitTests(JournalCase):
    """`full`, and disks that refuse."""

    def test_limit(self) -> None:
        """Too many unapplied bytes refuse holds until they are applied."""
        self.journal = self.opened(limit=100)
        self.assertFalse(self.journal.full)
        for _ in range(3):
            self.note()
        self.assertTrue(self.journal.full)
        self.assertGreaterEqual(self.journal.unapplied_bytes, 100)
        boundary = self.journal.mark()
        self.note()
        self.journal.applied(boundary)
        self.assertFalse(self.journal.full)
        self.assertGreater(self.journal.unapplied_bytes, 0)

    def test_disk_full(self) -> None:
        """With a full disk entries wait in memory, holds are refused, then it goes on.

        A line that was cut in the middle is completed.
        """
        self.broken = 20
        self.note("a")
        self.clock.advance(0)
        self.note("b")
        self.assertTrue(self.journal.full)
        self.assertEqual(self.calls(), [])
        self.broken = 0
        self.clock.advance(1)
        self.assertFalse(self.journal.full)
        self.assertEqual(self.calls(), ["a", "b"])
        self.assertEqual(self.journal.buffered_bytes, 0)

    def test_no_room_for_another_part(self) -> None:
        """A part that cannot be made is made later; holds are refused meanwhile."""
        self.journal = self.opened(part_bytes=1)
        for rest in (0, 5):
            self.note("a")
            self.broken = len(self.journal._buffer) + 1 + rest
            self.journal.flush_now()
            self.assertTrue(self.journal.full)
            self.broken = 0
            self.clock.advance(1)
            self.assertFalse(self.journal.full)
        self.note("b")
        self.journal.flush_now()
        self.assertEqual(self.calls(), ["a", "a", "b"])
        self.assertEqual([it.number for it in self.parts()], [1, 2, 3, 4])


class DamageTests(JournalCase):
    """What a replay makes of broken files."""

    def test_torn_last_line(self) -> None:
        """A line cut short by a crash never happened."""
        self.note("a")
        self.journal.flush_now()
        whole = self.parts()[-1].path.read_bytes().splitlines(keepends=True)[-1]
        for torn in (b"", whole[:-1], whole[:20], b"\0" * 4096, b"x\n"):
            self.append_raw(torn)
            self.assertEqual(self.calls(), ["a"], torn[:20])
            os.truncate(
                self.parts()[-1].path,
                os.path.getsize(self.parts()[-1].path) - len(torn),
            )
        self.assertEqual(self.damaged, [])

    def test_damage_in_the_middle(self) -> None:
        """What follows a damaged line is not read, and the file is reported."""
        self.note("a")
        self.journal.flush_now()
        self.append_raw(b'{"seq":2,"kind":"note","call":"b"} 00000000\n')
        self.note("c")
        self.journal.flush_now()
        self.assertEqual(self.calls(), ["a"])
        self.assertEqual(self.damaged, self.parts())

    def test_other_parts_are_read(self) -> None:
        """Damage ends the reading of its own file only."""
        self.journal = self.opened(part_bytes=1)
        for call in "abc":
            self.note(call)
            self.journal.flush_now()
        second = self.parts()[1].path
        second.write_bytes(second.read_bytes().replace(b'"b"', b'"x"'))
        self.assertEqual(self.calls(), ["a", "c"])
        self.assertEqual([it.number for it in self.damaged], [2])

    def test_damaged_header(self) -> None:
        """A file that does not begin as ours, or is of a later version, is kept."""
        self.note()
        self.journal.flush_now()
        path = self.parts()[0].path
        content = path.read_bytes()
        for header in (b'"version":2}', b'"verzion":1}'):
            path.write_bytes(content.replace(b'"version":1}', header))
            self.assertEqual(self.calls(), [])
        self.assertEqual(len(self.damaged), 2)

    def test_own_damaged_file_is_kept(self) -> None:
        """A part found damaged while reading back is renamed, not deleted."""
        self.journal = self.opened(part_bytes=1)
        for call in "ab":
            self.note(call)
            self.journal.flush_now()
        first = self.parts()[0].path
        first.write_bytes(first.read_bytes() + b"junk\n")
        self.assertEqual([it.call for it in self.journal.unapplied(0)], ["a", "b"])
        self.flushLoggedErrors()
        self.journal.applied(2)
        self.assertEqual(
            [it.name for it in self.directory.glob("*.bad")], [first.stem + ".bad"]
        )


class SyncTests(JournalCase):
    """Policies of JOURNAL_FSYNC."""

    def test_never(self) -> None:
        """`never` syncs nothing and nobody waits."""
        self.note()
        self.journal.flush_now()
        self.clock.advance(10)
        self.journal.when_safe(partial(self.told.append, "at once"))
        self.assertEqual(self.told, ["at once"])
        self.assertEqual(self.threads.run(), 0)

    def test_interval(self) -> None:
        """`interval` syncs once per period, in a thread, if there is something."""
        journal = self.opened(INTERVAL, interval=2.0)
        for _ in range(3):
            self.note(journal=journal)
            journal.flush_now()
        journal.when_safe(partial(self.told.append, "at once"))
        self.assertEqual(self.told, ["at once"])
        self.clock.advance(1.9)
        self.assertEqual(self.threads.run(), 0)
        self.clock.advance(0.1)
        self.assertEqual(self.threads.run(), 1)
        self.clock.advance(10)
        self.assertEqual(self.threads.run(), 0)

    def test_always(self) -> None:
        """`always` lets callers wait until the disk has what was written before."""
        journal = self.opened(ALWAYS)
        self.note(journal=journal)
        journal.when_safe(partial(self.told.append, "first"))
        self.clock.advance(0)
        self.note(journal=journal)
        journal.when_safe(partial(self.told.append, "second"))
        self.clock.advance(0)
        self.assertEqual(self.told, [])
        self.threads.run()
        self.assertEqual(self.told, ["first"])
        self.threads.run()
        self.assertEqual(self.told, ["first", "second"])
        journal.when_safe(partial(self.told.append, "third"))
        self.assertEqual(self.threads.run(), 1)
        self.assertEqual(self.told, ["first", "second", "third"])

    def test_close_waits(self) -> None:
        """Closing waits for a sync under way."""
        journal = self.opened(ALWAYS)
        self.note(journal=journal)
        journal.flush_now()
        closing = journal.close(keep=False)
        self.assertNoResult(closing)
        while self.threads.run():
            pass
        self.successResultOf(closing)
