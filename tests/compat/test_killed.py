"""SQLite files as a killed program left them: the truth is in what lies beside them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import dsn
from knight_tw.storage.preview import quiet_connection
from tests.compat.originals import bring, engine_for, manifest, terms, unpack

QUESTIONS = {
    "consumption rows and highest id": (
        "SELECT count(*), max(id) FROM logs WHERE type = 2"
    ),
    "sum of users.quota and used_quota": (
        "SELECT sum(quota), sum(used_quota) FROM users"
    ),
    "sum of channels.used_quota": "SELECT sum(used_quota) FROM channels",
    "sum of tokens.remain_quota and used_quota": (
        "SELECT sum(remain_quota), sum(used_quota) FROM tokens"
    ),
}


def answers(connection: sa.Connection) -> dict[str, Any]:
    """What a database says, in the manifests' words."""
    found: dict[str, Any] = {}
    (found["integrity_check"],) = connection.exec_driver_sql(
        "PRAGMA integrity_check"
    ).scalars()
    for name, question in QUESTIONS.items():
        (row,) = connection.exec_driver_sql(question)
        found[name] = row[0] if len(row) == 1 else list(row)
    return found


class _Killed:
    """One database."""

    original: str

    def expected(self, alone: bool = False) -> dict[str, Any]:
        """What the manifest says."""
        truth = manifest(self.original)
        key = "the_main_file_alone" if alone else "opened_with_the_file_beside_it"
        said: dict[str, Any] = truth[key]
        return said

    def upgraded(self, said: dict[str, Any]) -> dict[str, Any]:
        """The same after an upgrade: seven unlimited tokens get 0 instead of -1."""
        if not self.original.startswith("oneapi"):
            return said
        tokens = "sum of tokens.remain_quota and used_quota"
        remain, used = said[tokens]
        return {**said, tokens: [remain + 7, used]}

    def opened(self, path: str) -> dict[str, Any]:
        engine = engine_for(f"sqlite:///{path}")
        self.addCleanup(engine.dispose)
        bring(engine, terms(1_800_000_000))
        with engine.connect() as connection:
            return answers(connection)

    def test_opened(self) -> None:
        """Opening brings back what the program had committed, and nothing else."""
        found = self.opened(unpack(self.original))
        self.assertEqual(found, self.upgraded(self.expected()))

    def test_backup(self) -> None:
        """The copy before an upgrade holds it too."""
        if not self.original.startswith("oneapi"):
            return
        path = unpack(self.original)
        self.opened(path)
        engine = engine_for(f"sqlite:///{path}.one-api-backup-1800000000")
        self.addCleanup(engine.dispose)
        with engine.connect() as connection:
            self.assertEqual(answers(connection), self.expected())

    def test_looked_at(self) -> None:
        """A look sees it as well, and leaves every file as it is."""
        path = unpack(self.original)
        folder = Path(path).parent
        before = {file.name: file.read_bytes() for file in folder.iterdir()}
        with quiet_connection(dsn.sqlite(path)) as connection:
            self.assertEqual(answers(connection), self.expected())
        after = {file.name: file.read_bytes() for file in folder.iterdir()}
        self.assertEqual(after, before)

    def test_alone(self) -> None:
        """The main file without its neighbour says something else: it is needed."""
        path = unpack(self.original)
        alone = shutil.copy(path, self.mktemp())
        found = self.opened(os.path.abspath(alone))
        self.assertEqual(found, self.upgraded(self.expected(alone=True)))


class OneApiJournalTests(_Killed, SynchronousTestCase):
    """one-api, a hot journal."""

    original = "oneapi-sqlite-killed-journal"


class NewApiJournalTests(_Killed, SynchronousTestCase):
    """new-api of April 2025, a hot journal."""

    original = "newapi-old-sqlite-killed-journal"


class NewApiWalTests(_Killed, SynchronousTestCase):
    """new-api of August 2026, a write-ahead log."""

    original = "newapi-sqlite-killed-wal"
