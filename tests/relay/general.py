"""The general lane for relay tests: a site that knows nothing but the relay."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from knight_tw.relaying import Relaying
from knight_tw.web.relay_resource import RelayResource


class Root(Resource):
    """As the real root: websockets by path, everything else is the relay's."""

    isLeaf = True

    def __init__(self, relaying: Relaying) -> None:
        super().__init__()
        self._sockets = relaying.sockets
        self._relay = RelayResource(relaying.surface, 1024 * 1024, lambda peer, _: peer)

    def render(self, request: Request) -> Any:
        """Answer."""
        path = request.path.decode()
        upgrades = request.requestHeaders.hasHeader("Upgrade")
        socket: Any = self._sockets.get(path) if upgrades else None
        return (socket or self._relay).render(request)


def site(relaying: Relaying, clock: Clock) -> Site:
    """The site; its timers are the test's clock's."""
    found: Any = Site(Root(relaying), reactor=clock)
    return found
