"""The gateway in memory, wired by the code that wires the service: every surface.

What a colleague adds to `knight_tw/management/` is in it by itself.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, execute
from twisted.internet.testing import MemoryReactorClock

from knight_tw import management
from knight_tw.accounts.callers import Callers
from knight_tw.accounts.first_start import FirstStart
from knight_tw.accounts.passwords import Passwords
from knight_tw.background import Background
from knight_tw.cache import MemoryCache
from knight_tw.ledger import Ledger
from knight_tw.management.parts import Parts, Tools
from knight_tw.relaying import Relaying
from knight_tw.settings import Settings
from knight_tw.snapshots import Snapshots
from knight_tw.storage import options as stored_options
from knight_tw.storage.database import memory_database
from knight_tw.upstream import Upstream
from knight_tw.web.route_table import Entry, entries
from tests.web.gateway import NOW, Gateway, now


def _at_once(work: Any, *args: Any) -> Deferred[Any]:
    return execute(work, *args)


def _sqlite(connection: Any) -> sqlite3.Connection:
    found: sqlite3.Connection = connection.connection.driver_connection
    return found


@define(eq=False)
class Whole(Gateway):
    """Everything of the management API, as the service wires it.

    Attributes:
        folder: For the journal.
    """

    folder: Path = field(kw_only=True)
    parts: Parts = field(init=False)
    tools: Tools = field(init=False)

    def __attrs_post_init__(self) -> None:
        reactor = MemoryReactorClock()
        reactor.advance(NOW)
        self.clock = reactor
        names = ("GLOBAL_API", "GLOBAL_WEB", "CRITICAL", "SEARCH")
        off = {f"{name}_RATE_LIMIT_ENABLE": "false" for name in names}
        self.settings = Settings.from_env(
            {**off, "SESSION_SECRET": "s" * 32, **self.env}
        )
        self.db = memory_database(reactor)
        self.parts = now(self._parts(reactor))
        self.options = self.parts.options()
        self.tools = Tools.of(self.parts)
        self.signer, self.guard = self.tools.signer, self.tools.guard
        self.sessions = self.tools.sessions
        # Hashes of the least cost: logins check them as they check others.
        self.passwords = Passwords(_at_once, 4)
        self.start = FirstStart(self.db, self.passwords, reactor, "v-test")
        self.site = management.Management.of(self.parts).site

    def entries(self) -> list[Entry]:
        """Every route there is."""
        return entries(management.surfaces(self.parts, self.tools))

    async def changed(self, kind: str, ref: str) -> None:
        """The snapshots hear of it, as in the service."""
        await self.parts.snapshots.changed(kind, ref)
        self.options = self.parts.options()

    def set_option(self, key: str, value: str) -> None:
        """Store an option as root would."""
        now(self.db.run(stored_options.save, key, value, 1, NOW))
        now(self.changed("option", key))

    def image(self) -> bytes:
        """The whole database."""
        with self.db.engine.connect() as connection:
            return bytes(_sqlite(connection).serialize())

    def restore(self, image: bytes) -> None:
        """Make the database what it was."""
        with self.db.engine.connect() as connection:
            _sqlite(connection).deserialize(image)

    async def _parts(self, reactor: Any) -> Parts:
        settings, db, background = self.settings, self.db, Background()
        cache = MemoryCache(reactor)
        snapshots = Snapshots(db, cache, reactor, background, settings, 60)
        await snapshots.start()
        ledger = Ledger(
            db,
            None,
            reactor,
            _at_once,
            self.folder / "journal",
            lambda: 0,
            lambda: True,
        )
        await ledger.start()
        upstream = Upstream(reactor)
        callers = Callers(db, snapshots, ledger, reactor, lambda *_: None)
        relaying = Relaying.build(
            settings,
            reactor,
            secret="s" * 32,
            db=db,
            cache=cache,
            snapshots=snapshots,
            ledger=ledger,
            upstream=upstream,
            callers=callers,
            background=background,
            in_thread=_at_once,
        )
        return Parts(
            settings=settings,
            reactor=reactor,
            secret="s" * 32,
            version="v-test",
            holder="test",
            ready=lambda: "",
            db=db,
            logs=db,
            cache=cache,
            snapshots=snapshots,
            ledger=ledger,
            upstream=upstream,
            callers=callers,
            background=background,
            in_thread=_at_once,
            relaying=relaying,
            metrics=lambda: b"",
        )
