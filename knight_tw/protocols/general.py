"""The general lane: a connection's `twisted.web` channel, with the gateway's limits."""

from __future__ import annotations

from typing import Any

from twisted.web.http import HTTPChannel, Request
from twisted.web.server import Site

from knight_tw.protocols.heads import MAX_HEAD, MAX_HEADERS


class GeneralChannel(HTTPChannel):
    """A connection that `site` answers until it closes.

    Websocket resources take the transport over from here; then `taken` is true.
    """

    maxHeaders = MAX_HEADERS
    totalHeadersSize = MAX_HEAD
    MAX_LENGTH = MAX_HEAD
    _draining = False

    def __init__(self, site: Site) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # bare there
        # What `Site.buildProtocol` sets up, without its negotiation of HTTP/2.
        self.factory = self.site = site
        self.requestFactory = site.requestFactory
        self.timeOut: Any = site.timeOut
        self.callLater: Any = site.reactor.callLater

    @property
    def taken(self) -> bool:
        """True once a websocket took the transport."""
        return self.transport is None

    def drain(self) -> None:
        """Close now when idle, else after the answer to the current request."""
        self._draining = True
        if self.taken:
            return
        if not self.requests:
            self.loseConnection()  # type: ignore[no-untyped-call]  # bare there
        else:
            self.persistent = 0

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """True when the connection may be used again after `request`."""
        stays: bool = super().checkPersistence(request, version)  # type: ignore[no-untyped-call]
        if stays and self._draining:
            request.responseHeaders.setRawHeaders("Connection", ["close"])
            return False
        return stays
