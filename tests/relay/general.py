"""The general lane for relay tests: a site that knows nothing but the relay."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.web.server import Site

from knight_tw.relaying import Relaying
from knight_tw.web.relay_resource import RelayResource


def site(relaying: Relaying, clock: Clock) -> Site:
    """The site; its timers are the test's clock's."""
    found: Any = Site(
        RelayResource(relaying.surface, 1024 * 1024, lambda peer, _: peer),
        reactor=clock,
    )
    return found
