"""What every call reads: options from the table and from the environment."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.background import Background
from knight_tw.cache import MemoryCache
from knight_tw.settings import Settings
from knight_tw.snapshots import Snapshots
from knight_tw.storage import options
from knight_tw.storage.database import memory_database


class OptionTests(SynchronousTestCase):
    """`Snapshots.options`."""

    def read(self, environment: dict[str, str], **rows: str) -> Any:
        """The options of an environment and some rows."""
        clock = Clock()
        db = memory_database(clock)
        for key, value in rows.items():
            saving = db.run(options.save, key, value, 1, 0)
            self.successResultOf(Deferred.fromCoroutine(saving))
        settings = Settings.from_env(environment)
        snapshots = Snapshots(db, MemoryCache(clock), clock, Background(), settings)
        self.successResultOf(Deferred.fromCoroutine(snapshots.reload()))
        return snapshots.options

    def test_mail_defaults(self) -> None:
        """The environment says what holds for mail without a row; a row wins."""
        environment = {
            "SMTP_STARTTLS_ENABLE": "true",
            "SMTP_INSECURE_SKIP_VERIFY": "true",
        }
        for rows, expected in (({}, True), ({"SMTPStartTLSEnabled": "false"}, False)):
            found = self.read(environment, **rows)
            self.assertIs(found.flag("SMTPStartTLSEnabled"), expected)
            self.assertTrue(found.flag("SMTPInsecureSkipVerify"))
        self.assertFalse(self.read({}).flag("SMTPStartTLSEnabled"))
