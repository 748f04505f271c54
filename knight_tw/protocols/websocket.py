"""The ends of a websocket session as Autobahn's protocols.

Autobahn's own timers are switched off: they do not know the reactor that we were given.
Relay specification, section 14; RFC 6455.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import httptools
from attrs import frozen
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from autobahn.websocket.types import ConnectingRequest
from twisted.internet.defer import Deferred
from twisted.web.http import Request
from twisted.web.http_headers import Headers

from knight_tw.protocols.client import failed
from knight_tw.protocols.heads import MAX_HEAD
from knight_tw.protocols.sockets import MESSAGE_LIMIT, Refused, Side

REFUSAL_LIMIT = 64 * 1024
"""Bytes of an upstream's refusal that are read."""


class ClientSide(Side, WebSocketServerProtocol):  # type: ignore[misc]  # untyped
    """A client of ours.

    Args:
        subprotocol: The one to agree on, None = none.
        headers: Further headers of the 101.
        opened: Called when the handshake is complete.
    """

    name = "client"

    def __init__(
        self,
        factory: WebSocketServerFactory,
        subprotocol: str | None,
        headers: Mapping[str, str],
        opened: Callable[[ClientSide], None],
    ) -> None:
        super().__init__()
        self.factory = factory
        self._subprotocol = subprotocol
        self._headers = dict(headers)
        self._opened = opened

    def connectionMade(self) -> None:
        """The connection is ours; `twisted.web` was its producer."""
        self.transport.unregisterProducer()
        super().connectionMade()

    def onConnect(self, request: Any) -> tuple[str | None, dict[str, str]]:
        """What the 101 says."""
        return self._subprotocol, self._headers

    def onOpen(self) -> None:
        """Messages can go."""
        self._opened(self)


class UpstreamSide(Side, WebSocketClientProtocol):  # type: ignore[misc]  # untyped
    """An upstream of ours.

    Attributes:
        opened: Fires when the handshake is complete; reading is paused until the side
            has an owner. Fails with `Refused`, or `UpstreamFailed`. Cancelling
            cuts the connection.
    """

    name = "upstream"

    def __init__(
        self, factory: WebSocketClientFactory, request: ConnectingRequest
    ) -> None:
        super().__init__()
        self.factory = factory
        self._request = request
        self._refusal: _Refusal | None = None
        self.opened: Deferred[UpstreamSide] = Deferred(lambda _: self.drop())

    def onConnecting(self, transport_details: Any) -> ConnectingRequest:
        """What the handshake asks for."""
        return self._request

    def onOpen(self) -> None:
        """Messages can go, once somebody hears the answers."""
        self.pause("early")
        if not self.opened.called:
            self.opened.callback(self)

    def header(self, name: str) -> str:
        """A header of the 101, by its name in lower case."""
        return str(self.http_headers.get(name, ""))

    def processHandshake(self) -> None:
        """The answer to the handshake, or a part of it."""
        if self._refusal is None:
            head, end, _ = self.data.partition(b"\r\n\r\n")
            if len(head) > MAX_HEAD:
                self._fail("the head of its answer is too long")
                return
            if not end:
                return
            if _status(head) == b"101":
                self._shake(super().processHandshake)
                return
            self._refusal = _Refusal()
        data, self.data = self.data, b""
        if self._refusal.feed(data):
            self._refuse(self._refusal)

    def _shake(self, process: Callable[[], Any]) -> None:
        try:
            process()
        except Exception as error:  # noqa: BLE001 - whatever an upstream may send
            self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, why: str) -> None:
        this: Any = self
        this.failHandshake(why)

    def _refuse(self, refusal: _Refusal) -> None:
        opened = self.opened
        if not opened.called:
            opened.errback(
                Refused(refusal.status, refusal.headers, bytes(refusal.body))
            )
        self.drop()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is closed, before or after the handshake."""
        super().onClose(wasClean, code, reason)
        if self._refusal is not None and self._refusal.status:
            self._refuse(self._refusal)
        elif not self.opened.called:
            why = self.wasNotCleanReason or "closed during the handshake"
            self.opened.errback(failed(f"{self._request.host}: {why}"))


class _Refusal:
    """Reads an answer that is no 101."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self._complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> bool:
        """True once the answer is complete, or as much of it as is wanted."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._complete = True
        return self._complete or len(self.body) > REFUSAL_LIMIT

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self.body += body

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._complete = True


def _status(head: bytes) -> bytes:
    """The status of an answer's head, as it is written."""
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    return words[1] if len(words) > 1 else b""


class Ends:
    """Makes both kinds of sides."""

    def __init__(self, reactor: Any) -> None:
        common = {
            "maxMessagePayloadSize": MESSAGE_LIMIT,
            "failByDrop": False,
            "echoCloseCodeReason": True,
            "openHandshakeTimeout": 0,
            "closeHandshakeTimeout": 0,
        }
        server: Any = WebSocketServerFactory
        client: Any = WebSocketClientFactory
        self._server = server(server="", reactor=reactor)
        self._server.setProtocolOptions(**common)
        self._client = client(reactor=reactor)
        self._client.setProtocolOptions(serverConnectionDropTimeout=0, **common)

    def client(
        self,
        subprotocol: str | None,
        headers: Mapping[str, str],
        opened: Callable[[ClientSide], None],
    ) -> ClientSide:
        """The side of a client, for `take_over`."""
        return ClientSide(self._server, subprotocol, headers, opened)

    def upstream(
        self, host: str, port: int, target: str, headers: Mapping[str, str]
    ) -> UpstreamSide:
        """The side of an upstream, to be connected; it then begins the handshake."""
        shown = f"[{host}]" if ":" in host else host
        asked: Any = ConnectingRequest
        request = asked(host=shown, port=port, resource=target, headers=dict(headers))
        return UpstreamSide(self._client, request)


def take_over(request: Request, side: ClientSide, key: str) -> None:
    """Answers a handshake that was found good with 101; the connection is the side's.

    Args:
        key: The value of `Sec-WebSocket-Key`.
    """
    plain = {
        "Host": ["knight"],
        "Upgrade": ["websocket"],
        "Connection": ["Upgrade"],
        "Sec-WebSocket-Version": ["13"],
        "Sec-WebSocket-Key": [key],
    }
    if side._subprotocol is not None:
        plain["Sec-WebSocket-Protocol"] = [side._subprotocol]
    # Autobahn reads the request anew. It gets no credential, no offer that we do not
    # take, and no body that it would take for messages.
    request.requestHeaders = Headers(plain)
    request.uri = b"/"
    request.content = io.BytesIO()
    resource: Any = WebSocketResource
    resource(_Ready(side)).render(request)


@frozen
class _Ready:
    """A factory of one side that exists already."""

    _side: ClientSide

    def buildProtocol(self, addr: Any) -> ClientSide:
        """The side."""
        return self._side
