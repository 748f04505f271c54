"""Tests of the files that the gateway leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from knight_tw import log_files

NOW = 1_795_604_332


class FileTests(SynchronousTestCase):
    """A folder with logs, and other things that nobody may delete."""

    def setUp(self) -> None:
        """Four log files, the live one the oldest, and a stranger."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        names = ("knight.log", "knight.log.2", "oneapi-20261125105852.log")
        for age, name in enumerate((*names, "knight.log.1")):
            self.file(name, NOW - 1000 + age)
        self.file("one-api.db", 0)
        self.file("knight.log.bak", 0)
        (self.folder / "knight.log.9").symlink_to(self.folder / "one-api.db")
        (self.folder / "knight.log.8").mkdir()

    def file(self, name: str, changed: float) -> None:
        """A file of ten bytes."""
        path = self.folder / name
        path.write_bytes(b"x" * 10)
        os.utime(path, (changed, changed))

    def names(self) -> list[str]:
        """The log files."""
        return [one.path.name for one in log_files.logs(str(self.folder))]

    def test_listed(self) -> None:
        """Plain files of our names and the reference's, the newest first."""
        self.assertEqual(
            self.names(),
            ["knight.log.1", "oneapi-20261125105852.log", "knight.log.2", "knight.log"],
        )

    def test_no_folder(self) -> None:
        """A folder that is not there has no files."""
        self.assertEqual(log_files.logs("/nowhere/at/all"), [])
        self.assertEqual(log_files.forget_idle("/nowhere", NOW).count, 0)

    def test_by_count(self) -> None:
        """The newest stay, and the one that is written."""
        gone = log_files.forget_but(str(self.folder), 1)
        self.assertEqual((gone.count, gone.size, gone.failed), (2, 20, ()))
        self.assertEqual(self.names(), ["knight.log.1", "knight.log"])
        self.assertTrue((self.folder / "one-api.db").exists())

    def test_by_age(self) -> None:
        """What was written since stays."""
        gone = log_files.forget_before(str(self.folder), NOW - 998)
        self.assertEqual(gone.count, 1)
        self.assertNotIn("knight.log.2", self.names())

    def test_idle_bodies(self) -> None:
        """Bodies that nobody touched for ten minutes go."""
        self.file("young", NOW - 599)
        self.assertEqual(log_files.forget_idle(str(self.folder), NOW).count, 5)
        self.assertTrue((self.folder / "young").exists())

    def test_refused(self) -> None:
        """What cannot be deleted is named."""
        files = [log_files.File(self.folder / "knight.log.8", 1, 0.0)]
        gone = log_files._delete(files)
        self.assertEqual((gone.count, gone.failed), (0, ("knight.log.8",)))
