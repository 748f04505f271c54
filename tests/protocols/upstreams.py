"""Upstreams and proxies to talk to, on real sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.protocols.support import authority

_reactor: Any = reactor


class Upstream(Protocol):
    """Reads requests; the script answers each through `transport`."""

    transport: Any
    factory: Scripted

    def connectionMade(self) -> None:
        """Noted."""
        self.buffer = b""
        self.factory.connections.append(self)
        self.factory.alive.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Cut out requests."""
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b": ")
                if name.lower() == b"content-length":
                    length = int(value)
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.factory.requests.append((head.decode("latin-1"), rest[:length]))
            self.factory.script(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Noted."""
        self.factory.lost += 1
        self.factory.alive.discard(self)

    def answer(self, body: bytes = b"ok", *headers: str, status: int = 200) -> None:
        """A whole answer."""
        lines = [f"HTTP/1.1 {status} X", *headers, f"Content-Length: {len(body)}"]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


@define(eq=False)
class Scripted(Factory):
    """A listening upstream.

    Attributes:
        script: Called with the connection for each request.
        requests: Heads and bodies.
        connections: All that were made; `alive` are open, `lost` counts the others.
    """

    noisy = False

    script: Callable[[Upstream], None] = Upstream.answer
    requests: list[tuple[str, bytes]] = field(factory=list)
    connections: list[Upstream] = field(factory=list)
    alive: set[Any] = field(factory=set)
    lost: int = 0
    port: int = 0
    _listening: Any = None

    def buildProtocol(self, addr: Any) -> Upstream:
        """A connection."""
        made = Upstream()
        made.factory = self
        return made

    def listen(self, *, tls: bool = False) -> Scripted:
        """Begin to listen, with a certificate for `localhost` when `tls`."""
        if tls:
            options = authority()[1].options()
            self._listening = _reactor.listenSSL(
                0, self, options, interface="127.0.0.1"
            )
        else:
            self._listening = _reactor.listenTCP(0, self, interface="127.0.0.1")
        self.port = self._listening.getHost().port
        return self

    def stop(self) -> Deferred[Any]:
        """Close everything."""
        for connection in tuple(self.alive):
            connection.transport.abortConnection()
        return gatherResults([self._listening.stopListening()])


class _Far(Protocol):
    """The far end of a proxied connection."""

    transport: Any

    def __init__(self, near: Proxying) -> None:
        self._near = near

    def dataReceived(self, data: bytes) -> None:
        self._near.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._near.transport.loseConnection()


class Proxying(Protocol):
    """A proxy: HTTP CONNECT when it hears letters, else SOCKS5 with a login."""

    transport: Any
    factory: Any

    def connectionMade(self) -> None:
        """Begin."""
        self.factory.connections.append(self)
        self.factory.alive.add(self)
        self._buffer = b""
        self._far: _Far | None = None
        self._step: Callable[[], None] = self._first

    def dataReceived(self, data: bytes) -> None:
        """Handshake, then pass on."""
        if self._far is not None:
            self._far.transport.write(data)
            return
        self._buffer += data
        self._step()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Close both ends."""
        self.factory.lost += 1
        self.factory.alive.discard(self)
        if self._far is not None:
            self._far.transport.loseConnection()

    def _first(self) -> None:
        if self._buffer[:1] == b"\x05":
            self._buffer = b""
            self.transport.write(b"\x05\x02")
            self._step = self._login
            return
        head, end, _ = self._buffer.partition(b"\r\n\r\n")
        if end:
            self.factory.asked.append(head.decode())
            if head.startswith(b"CONNECT ") and b"dTpw" in head:
                host, _, port = head.split()[1].decode().rpartition(":")
                self._open(host, int(port), b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                self.transport.write(b"HTTP/1.1 407 No\r\n\r\n")

    def _login(self) -> None:
        good = self._buffer == b"\x01\x01u\x01p"
        self._buffer = b""
        self.transport.write(b"\x01\x00" if good else b"\x01\x01")
        self._step = self._request

    def _request(self) -> None:
        kind = self._buffer[3]
        if kind == 3:
            host = self._buffer[5:-2].decode()
        else:
            host = ".".join(str(byte) for byte in self._buffer[4:8])
        self.factory.asked.append(host)
        port = int.from_bytes(self._buffer[-2:])
        self._open(host, port, b"\x05\x00\x00\x01\0\0\0\0\0\0")

    def _open(self, host: str, port: int, said: bytes) -> None:
        far = _Far(self)

        def opened(_: Any) -> None:
            self._far = far
            self.transport.write(said)

        endpoint = HostnameEndpoint(_reactor, "127.0.0.1", port)
        connectProtocol(endpoint, far).addCallback(opened)


@define(eq=False)
class ProxyServer(Scripted):
    """A listening proxy; every name leads to this machine.

    Attributes:
        asked: What clients wanted.
    """

    asked: list[str] = field(factory=list)

    def buildProtocol(self, addr: Any) -> Any:
        """A connection."""
        made = Proxying()
        made.factory = self
        return made
