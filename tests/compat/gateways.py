"""The gateway in memory over an original's database: its pages, and its relay."""

from __future__ import annotations

import functools
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from knight_tw.cache import MemoryCache
from knight_tw.providers import identity
from knight_tw.settings import Settings
from knight_tw.snapshots import Snapshots
from knight_tw.storage.database import Database
from tests.compat.originals import Opened, opened
from tests.relay import gateway as relay
from tests.web.api.management import Management
from tests.web.gateway import now


@define(eq=False)
class Pages(Management):
    """The management API over a database."""

    original: Opened = field(kw_only=True)

    def open_database(self) -> Database:
        """The original's."""
        return self.original.database(self.clock)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.clock.advance(self.original.now - self.clock.seconds())
        now(self.changed("option", ""))
        self.changes.clear()


@functools.cache
def pages(name: str) -> Pages:
    """The pages over a database, made once."""
    return Pages(original=opened(name))


@define(eq=False)
class Relay(relay.Gateway):
    """The relay over a database; clients come from the loopback address."""

    original: Opened = field(kw_only=True)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(self.original.now)
        self.db = self.original.database(self.clock)
        self.provider = relay.Provider(self.clock)
        settings = Settings.from_env({})
        cache = MemoryCache(self.clock)
        self.snapshots = Snapshots(
            self.db, cache, self.clock, self.background, settings
        )
        self.done(self.snapshots.start())
        self._assemble(settings, cache)
        self.case.addCleanup(self.close)

    def connect(self) -> relay.Response:
        """A client connection from this machine."""
        here = IPv4Address("TCP", "127.0.0.1", 50000)
        transport = StringTransport(peerAddress=here)
        protocol = self.lanes.buildProtocol(None)
        protocol.makeConnection(transport)
        return relay.Response(transport, protocol, self.clock)

    def ask(self, key: str, model: str, answer: Any = None) -> relay.Response:
        """A chat call with a token of the database."""
        self.provider.script = [answer or relay.chat()]
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        return self.request(body=body, key=f"sk-{key}")


def provider_name(kind: int) -> str:
    """What people call a channel type."""
    return identity.name_of(kind)
