"""The journal's files, seen from outside: finding, locking, reading, removing them."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
from attrs import frozen

from knight_tw.ledger.entries import Entry, Unreadable, from_line, sequence_of

VERSION = 1
"""Version of the format; files of another are kept and not read."""

_PART = re.compile(r"([0-9a-f]{32})\.(\d{6,})\.log\Z")


@frozen
class Part:
    """One file of a journal on disk."""

    journal: str
    number: int
    path: Path


class Header(msgspec.Struct):
    """The first line of a part."""

    journal: str
    part: int
    version: int


def parts_in(directory: Path) -> dict[str, list[Part]]:
    """Journal id to its parts in order, of everything in the directory."""
    found: dict[str, list[Part]] = {}
    for path in sorted(directory.glob("*.log")):
        if match := _PART.match(path.name):
            part = Part(match[1], int(match[2]), path)
            found.setdefault(part.journal, []).append(part)
    for parts in found.values():
        parts.sort(key=lambda it: it.number)
    return found


def locked(directory: Path, journal: str) -> int | None:
    """A descriptor that holds the journal's lock, or None: its process is alive."""
    descriptor = os.open(directory / f"{journal}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def read_entries(
    parts: Iterable[Part], after: int, damaged: Callable[[Part], None]
) -> Iterator[Entry]:
    """The entries with a sequence number above `after`, read as they are asked for.

    `damaged` is told of a part whose rest cannot be read; a torn last line of the last
    part is no damage.
    """
    every = list(parts)
    for part in every:
        with part.path.open("rb") as file:
            lines = iter(file)
            if not _is_header(next(lines, b"")) and next(lines, None) is not None:
                damaged(part)
                continue
            for line in lines:
                if 0 < sequence_of(line) <= after:
                    continue
                try:
                    entry = from_line(line)
                except Unreadable:
                    if part is not every[-1] or next(lines, None) is not None:
                        damaged(part)
                    break
                if entry.seq > after:
                    yield entry


def _is_header(line: bytes) -> bool:
    try:
        return msgspec.json.decode(line, type=Header).version == VERSION
    except msgspec.MsgspecError:
        return False


def remove(part: Part, *, keep: bool) -> None:
    """Deletes an applied part, or sets a damaged one aside as `.bad`."""
    try:
        if keep:
            part.path.rename(part.path.with_suffix(".bad"))
        else:
            part.path.unlink()
    except FileNotFoundError:
        pass
