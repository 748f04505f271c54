"""The gateway as a process on a database of one-api."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.compat import originals
from tests.system.process import Process


class StartTests(SynchronousTestCase):
    """`twistd knight` with an old folder, and with an old server."""

    def process(self, **environment: str) -> Process:
        """A gateway in a folder of its own."""
        process = Process(Path(self.mktemp()).absolute(), environment)
        self.addCleanup(process.stop)
        return process

    def test_folder(self) -> None:
        """An old data folder is all it needs: people log in, balances are there."""
        process = self.process()
        (process.folder / "data").mkdir(parents=True)
        path = originals.load("oneapi-sqlite").removeprefix("sqlite:///")
        shutil.copy(path, process.folder / "data" / "one-api.db")
        process.start()
        root, *_ = originals.manifest("oneapi-sqlite")["users"]
        login = {"username": root["username"], "password": root["password"]}
        _, answer, headers = process.ask("POST", "/api/user/login", login)
        self.assertTrue(answer["success"], answer)
        process.cookie = headers["Cookies"]
        self.assertEqual(process.quota(), root["quota"])
        self.assertEqual(len(process.logs(2)), 28)
        self.assertIn("36 DeepSeek -> 43 DeepSeek", process.log)
        backups = [n for n in os.listdir(process.folder / "data") if "backup" in n]
        self.assertEqual(len(backups), 1)

    def test_server_without_permission(self) -> None:
        """The start ends with one line that says what to do."""
        process = self.process(SQL_DSN=originals.load("oneapi-postgres"))
        error = self.assertRaises(RuntimeError, process.start)
        self.assertIn("set KNIGHT_MIGRATE_ONE_API=1", str(error))
        self.assertNotIn("Traceback", str(error))
        self.assertEqual(process.ended(), 1)
