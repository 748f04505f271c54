"""The listening side: a factory of connections that begin in the fast lane.

What all connections share is here: the surface that answers relay paths, the
`twisted.web` site that answers the rest, the limits, one coarse timer, the counters,
and how the process stops without losing a call. One connection is `fast_lane`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from email.utils import formatdate

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from twisted.internet.protocol import ServerFactory
from twisted.web.server import Site
from zope.interface import implementer

from knight_tw.protocols.fast_lane import FastLane
from knight_tw.protocols.reply import Surface
from knight_tw.protocols.transport import Sweep, period_for

ClientAddress = Callable[[str, Sequence[str]], str]
"""Peer and values of `X-Forwarded-For` to the client's address."""


@frozen(kw_only=True)
class Limits:
    """What a client may do. Sizes are bytes, times seconds, 0 = no limit of time.

    Attributes:
        body: Longest body of one request.
        held: All bodies together, from their arrival to the end of their answers.
        head_timeout: From a head's first byte to its last; for a new connection from
            the beginning.
        idle_timeout: Without a request on a kept-alive connection; between two pieces
            of a body.
        write_timeout: Without the client taking a byte of what is written.
        linger: After an answer that came before the request's end, so that the client
            sees the answer and not a reset connection.
        linger_bytes: Most that is read and dropped meanwhile.
    """

    body: int = 128 * 1024 * 1024
    held: int = 1024 * 1024 * 1024
    head_timeout: float = 15.0
    idle_timeout: float = 120.0
    write_timeout: float = 30.0
    linger: float = 10.0
    linger_bytes: int = 32 * 1024 * 1024


@implementer(IProtocolNegotiationFactory)
class Lanes(ServerFactory):
    """Builds the connections of a listening port and knows all of them.

    Attributes:
        connections: The open ones, both lanes'.
        calls: Requests of the fast lane whose answer is not complete.
        held: Bytes of request bodies in memory.
        draining: True once `drain` was called.
    """

    noisy = False

    def __init__(
        self,
        surface: Surface,
        site: Site,
        *,
        client_address: ClientAddress,
        clock: IReactorTime,
        limits: Limits | None = None,
        fast: bool = True,
    ) -> None:
        """With `fast` false every connection goes to `site` at once."""
        self.surface = surface
        self.site = site
        self.client_address = client_address
        self.limits = limits or Limits()
        self.fast = fast
        self.sweep = Sweep(clock, _period(self.limits))
        self.connections: set[FastLane] = set()
        self.calls = 0
        self.held = 0
        self.draining = False
        self._drained: list[Deferred[None]] = []
        self._date = ""
        self._date_at = -1.0

    def buildProtocol(self, addr: IAddress | None) -> FastLane:
        """A connection that waits for its first head."""
        return FastLane(self)

    def acceptableProtocols(self) -> list[bytes]:
        """What TLS may agree on: without an answer Twisted refuses clients who ask."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """The site starts with the first port."""
        self.site.doStart()  # type: ignore[no-untyped-call]  # bare there

    def stopFactory(self) -> None:
        """The site stops with the last port."""
        self.site.doStop()  # type: ignore[no-untyped-call]  # bare there

    @property
    def date(self) -> str:
        """The `Date` header line, made once for each tick of the sweep."""
        now = self.sweep.now
        if now != self._date_at:
            self._date_at = now
            self._date = f"Date: {formatdate(now, usegmt=True)}\r\n"
        return self._date

    def drain(self) -> Deferred[None]:
        """Let every call end and its connection close; fires when all are closed.

        Idle connections close at once; a request that still arrives is refused with
        503. Stop listening first.
        """
        self.draining = True
        if not self.connections:
            return succeed(None)
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        for connection in tuple(self.connections):
            connection.drain()
        return drained

    def abort_all(self) -> None:
        """Cut every connection, whatever it is doing."""
        for connection in tuple(self.connections):
            connection.abort()

    def joined(self, connection: FastLane) -> None:
        """A client has connected."""
        self.connections.add(connection)
        self.sweep.add(connection)

    def left(self, connection: FastLane) -> None:
        """A client's connection is no more."""
        self.connections.discard(connection)
        self.sweep.discard(connection)
        if not self.connections:
            drained, self._drained = self._drained, []
            for waiting in drained:
                waiting.callback(None)


def _period(limits: Limits) -> float:
    return period_for(
        limits.head_timeout, limits.idle_timeout, limits.write_timeout, limits.linger
    )
