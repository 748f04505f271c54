"""Files that the gateway leaves behind: its log, and bodies kept on disk.

All functions read and delete files, so they belong into a thread.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

LIVE = "knight.log"
"""The file that is being written; never deleted."""

_LOG = re.compile(r"knight\.log(\.\d+)?|oneapi-\d+\.log")
"""Our files, and those that the reference left in the same folder."""

BODIES = "body-cache"
"""The folder, in `DATA_DIR` or where the option says, of bodies kept on disk."""

IDLE_SECONDS = 600
MOST_FILES = 10_000


@frozen
class File:
    """A file, its bytes and when it was last written (unix seconds)."""

    path: Path
    size: int
    changed: float


@frozen
class Gone:
    """What a cleaning did; `failed` are names of files that could not be deleted."""

    count: int
    size: int
    failed: tuple[str, ...] = ()


def logs(folder: str) -> list[File]:
    """The log files of a folder, the newest first."""
    found = [one for one in _files(Path(folder)) if _LOG.fullmatch(one.path.name)]
    return sorted(found, key=lambda one: (-one.changed, one.path.name))


def forget_but(folder: str, count: int) -> Gone:
    """Delete all log files but the newest `count`."""
    return _delete(logs(folder)[count:])


def forget_before(folder: str, moment: float) -> Gone:
    """Delete the log files that were last written before a moment."""
    return _delete([one for one in logs(folder) if one.changed < moment])


def bodies(folder: str) -> list[File]:
    """The bodies that are kept in a folder."""
    return list(_files(Path(folder)))


def forget_idle(folder: str, now: float) -> Gone:
    """Delete the bodies that nobody has touched for ten minutes."""
    old = [one for one in bodies(folder) if one.changed < now - IDLE_SECONDS]
    return _delete(old)


def _files(folder: Path) -> Iterator[File]:
    """The plain files of a folder; links are not followed."""
    try:
        for _, path in zip(range(MOST_FILES), folder.iterdir(), strict=False):
            try:
                told = path.lstat()
            except OSError:
                continue
            if stat.S_ISREG(told.st_mode):
                yield File(path, told.st_size, told.st_mtime)
    except OSError:
        return


def _delete(files: list[File]) -> Gone:
    count = size = 0
    failed = []
    for one in files:
        if one.path.name == LIVE:
            continue
        try:
            one.path.unlink()
        except OSError:
            failed.append(one.path.name)
        else:
            count, size = count + 1, size + one.size
    return Gone(count, size, tuple(failed))
