"""`kill -9` at any moment: each answer that left is charged exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema
from knight_tw.storage.database import empty_image
from tests.ledger.till import RICH, TOKEN, USER, Books, books, seed
from tests.ledger.victim import AMOUNT, POOR_TOKEN, POOR_USER

KILLS = 4
POOR = 20_000
ROOT = Path(__file__).resolve().parents[2]


class KillTests(SynchronousTestCase):
    """A real process, a real signal, a real file."""

    def setUp(self) -> None:
        """A database with a rich and a poor user."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.file = str((folder / "one-api.db").resolve())
        self.journals = str((folder / "journal").resolve())
        Path(self.file).write_bytes(empty_image())
        self.engine = sa.create_engine(f"sqlite:///{self.file}")
        self.addCleanup(self.engine.dispose)
        with self.engine.begin() as connection:
            seed(connection, RICH, RICH)
            seed(connection, POOR, POOR, user=POOR_USER, token=POOR_TOKEN)

    def start(self, prefix: str, limit: int) -> subprocess.Popen[bytes]:
        """A victim."""
        command = [sys.executable, "-m", "tests.ledger.victim"]
        return subprocess.Popen(
            [*command, self.file, self.journals, prefix, str(limit)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run_and_kill(self, prefix: str, seconds: float) -> list[str]:
        """Calls whose answers left before the process was killed."""
        victim = self.start(prefix, 0)
        assert victim.stdout is not None
        first = victim.stdout.readline()
        time.sleep(seconds)
        victim.send_signal(signal.SIGKILL)
        rest, errors = victim.communicate(timeout=30)
        self.assertEqual(victim.returncode, -signal.SIGKILL, errors.decode()[-2000:])
        lines = (first + rest).decode().split("\n")
        return lines[:-1]

    def books(self, user: int, token: int) -> Books:
        """The books of a user."""
        with self.engine.connect() as connection:
            return books(connection, user, token)

    def test_killed_again_and_again(self) -> None:
        """After any number of kills every printed call has one row and one charge."""
        chance = random.Random()  # noqa: S311
        printed: list[str] = []
        for number in range(KILLS):
            printed += self.run_and_kill(f"k{number}", chance.uniform(0, 0.4))
        last = self.start("last", 8)
        output, errors = last.communicate(timeout=60)
        self.assertEqual(last.returncode, 0, errors.decode()[-2000:])
        printed += output.decode().split()
        self.check(printed)

    def check(self, printed: list[str]) -> None:
        """The books are right to the unit."""
        rich = self.books(USER, TOKEN)
        poor = self.books(POOR_USER, POOR_TOKEN)
        charged = rich.calls + poor.calls
        self.assertEqual(len(set(charged)), len(charged), "charged twice")
        self.assertEqual(set(printed) - set(charged), set(), "not charged")
        self.assertGreater(len(printed), 100)
        self.assertTrue(poor.calls)
        for found, before in ((rich, RICH), (poor, POOR)):
            self.assertEqual(found.held, 0)
            self.assertEqual(found.charged, AMOUNT * len(found.calls))
            self.assertEqual(found.quota, before - found.charged)
            self.assertEqual(found.remain, before - found.charged)
            self.assertEqual((found.used, found.token_used), (found.charged,) * 2)
            self.assertEqual(found.count, len(found.calls))
        self.assertEqual(rich.channel_used, rich.charged + poor.charged)
        with self.engine.connect() as connection:
            usage = sa.select(sa.func.sum(schema.knight_usage.c.quota))
            self.assertEqual(connection.scalar(usage), rich.charged + poor.charged)
        self.assertEqual(os.listdir(self.journals), [])
