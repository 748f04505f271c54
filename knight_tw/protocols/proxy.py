"""Ways through a proxy: HTTP CONNECT and SOCKS5.

Each handshake is a small machine without I/O; `Tunnel` runs one on a fresh connection
and then is the connection. Names are resolved by the proxy, with `socks5` as with
`socks5h`: who uses a proxy often has no use for the local answers.
Sources: RFC 9110 section 9.3.6, RFC 1928, RFC 1929.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
"""The kinds of proxies and their usual ports."""

_MAX_REPLY = 16384


class ProxyRefused(Exception):
    """The proxy does not let us through."""


@frozen
class Proxy:
    """Where a proxy is and what it wants to know."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """From a URL such as `socks5://user:password@host:1080`.

        Raises:
            ValueError: it is not the URL of a proxy; the message does not repeat it.
        """
        if "://" not in url:
            url = f"http://{url}"
        try:
            parts = urlsplit(url)
            port = parts.port or PORTS[parts.scheme]
        except (ValueError, KeyError):
            raise ValueError("not the URL of an HTTP or SOCKS5 proxy") from None
        if not parts.hostname:
            raise ValueError("the proxy's URL names no host")
        return cls(
            parts.scheme,
            parts.hostname,
            port,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
        )

    @property
    def tls(self) -> bool:
        """True when the proxy itself is reached over TLS."""
        return self.scheme == "https"

    @property
    def authorization(self) -> str:
        """The value of `Proxy-Authorization`, empty without credentials."""
        if not (self.user or self.password):
            return ""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def handshake(self, host: str, port: int) -> Handshake:
        """What opens a tunnel to an address."""
        if self.scheme in ("http", "https"):
            return HttpConnect(host, port, self.authorization)
        return Socks5(host, port, self.user, self.password)


@frozen
class Environment:
    """The proxies that an environment names (`HTTP_PROXY` and so on)."""

    _proxies: Mapping[str, Proxy] = field(factory=dict)
    _direct: tuple[str, ...] = ()

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Environment:
        """From variables in capitals or small letters.

        Raises:
            ValueError: a proxy's URL is none.
        """
        given = {key.lower(): value.strip() for key, value in variables.items()}
        proxies = {
            scheme: Proxy.parse(given[f"{scheme}_proxy"])
            for scheme in ("http", "https")
            if given.get(f"{scheme}_proxy")
        }
        direct = given.get("no_proxy", "").lower().replace(",", " ").split()
        return cls(proxies, tuple(direct))

    def proxy(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for an address, None when it is reached directly."""
        proxy = self._proxies.get(scheme)
        if proxy is None or self._reached_directly(host.lower(), port):
            return None
        return proxy

    def _reached_directly(self, host: str, port: int) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            address = None
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(_is_direct(entry, host, address, port) for entry in self._direct)


def _is_direct(entry: str, host: str, address: Any, port: int) -> bool:
    """True when an entry of `NO_PROXY` names the host: `*`, a name and all below it, an
    address, a CIDR, each with or without a port."""
    if entry == "*":
        return True
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        name, colon, wanted = entry.rpartition(":")
    else:
        return address is not None and address in network
    if not colon:
        name, wanted = entry, str(port)
    name = name.removeprefix("*").removeprefix(".")
    return wanted == str(port) and (host == name or host.endswith(f".{name}"))


class Handshake(Protocol):
    """Opens a tunnel: eats the proxy's bytes, gives ours."""

    @property
    def done(self) -> bool:
        """True once the tunnel is open."""
        ...

    @property
    def rest(self) -> bytes:
        """What came through the tunnel already."""
        ...

    def begin(self) -> bytes:
        """The first bytes to send."""
        ...

    def feed(self, data: bytes) -> bytes:
        """The next bytes to send, perhaps none.

        Raises:
            ProxyRefused: it will not open.
        """
        ...


@define
class HttpConnect:
    """The CONNECT method."""

    _host: str
    _port: int
    _authorization: str
    done: bool = False
    rest: bytes = b""

    def begin(self) -> bytes:
        """The request."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        target = f"{host}:{self._port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self._authorization:
            lines.append(f"Proxy-Authorization: {self._authorization}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def feed(self, data: bytes) -> bytes:
        """Read the answer's head; what a refusal says is not looked at."""
        self.rest += data
        head, end, rest = self.rest.partition(b"\r\n\r\n")
        if not end:
            if len(self.rest) > _MAX_REPLY:
                raise ProxyRefused("the proxy's answer is too long")
            return b""
        words = head.split(b"\r\n")[0].split(b" ", 2)
        if not words[0].startswith(b"HTTP/1.") or len(words) < 2:
            raise ProxyRefused("the proxy does not speak HTTP")
        if not (len(words[1]) == 3 and words[1].startswith(b"2")):
            status = words[1][:3].decode("latin-1")
            raise ProxyRefused(f"the proxy answered {status}")
        self.done, self.rest = True, rest
        return b""


_SOCKS_ERRORS = {
    1: "general failure",
    2: "not allowed",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "command not supported",
    8: "address type not supported",
}
_NO_LOGIN, _LOGIN = 0, 2


@define
class Socks5:
    """The SOCKS5 handshake, with a name and a password where the proxy wants them."""

    _host: str
    _port: int
    _user: str
    _password: str = field(repr=False)
    done: bool = False
    rest: bytes = b""
    _step: Callable[[], bytes | None] = field(init=False)

    @_step.default
    def _first_step(self) -> Callable[[], bytes | None]:
        return self._chosen

    def begin(self) -> bytes:
        """The methods of login that we know."""
        if self._user or self._password:
            return bytes([5, 2, _NO_LOGIN, _LOGIN])
        return bytes([5, 1, _NO_LOGIN])

    def feed(self, data: bytes) -> bytes:
        """Take the steps that the bytes allow."""
        self.rest += data
        out = b""
        while not self.done and (reply := self._step()) is not None:
            out += reply
        return out

    def _take(self, size: int) -> bytes:
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def _chosen(self) -> bytes | None:
        if len(self.rest) < 2:
            return None
        version, method = self._take(2)
        if version != 5:
            raise ProxyRefused("the proxy does not speak SOCKS5")
        if method == _NO_LOGIN:
            return self._request()
        if method != _LOGIN or not (self._user or self._password):
            raise ProxyRefused("the proxy wants a login that we do not have")
        self._step = self._logged_in
        user, password = self._user.encode()[:255], self._password.encode()[:255]
        return bytes([1, len(user)]) + user + bytes([len(password)]) + password

    def _logged_in(self) -> bytes | None:
        if len(self.rest) < 2:
            return None
        if self._take(2)[1] != 0:
            raise ProxyRefused("the proxy refused the login")
        return self._request()

    def _request(self) -> bytes:
        self._step = self._connected
        return b"\x05\x01\x00" + _socks_address(self._host) + self._port.to_bytes(2)

    def _connected(self) -> bytes | None:
        if len(self.rest) < 5:
            return None
        version, status, _, kind, length = self.rest[:5]
        if version != 5 or status != 0:
            why = _SOCKS_ERRORS.get(status, "unknown failure")
            raise ProxyRefused(f"the proxy could not connect: {why}")
        sizes = {1: 4, 3: length + 1, 4: 16}
        if kind not in sizes:
            raise ProxyRefused("the proxy does not speak SOCKS5")
        size = 4 + sizes[kind] + 2
        if len(self.rest) < size:
            return None
        self._take(size)
        self.done = True
        return b""


def _socks_address(host: str) -> bytes:
    """Kind and bytes of an address or a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        if len(name) > 255:
            raise ProxyRefused("the host's name is too long") from None
        return bytes([3, len(name)]) + name
    return bytes([1 if address.version == 4 else 4]) + address.packed


class Tunnel(TwistedProtocol):
    """A connection to a proxy; once the tunnel is open it is the inner protocol's.

    Attributes:
        opened: Fires when the inner protocol has its connection.
    """

    transport: Any

    def __init__(self, handshake: Handshake, inner: IProtocol) -> None:
        self.opened: Deferred[None] = Deferred(lambda _: self._abort())
        self._handshake = handshake
        self._inner = inner
        self._open = False

    def connectionMade(self) -> None:
        """Begin the handshake."""
        self.transport.write(self._handshake.begin())

    def dataReceived(self, data: bytes) -> None:
        """The proxy's bytes, later the upstream's."""
        if self._open:
            self._inner.dataReceived(data)
            return
        try:
            reply = self._handshake.feed(data)
        except ProxyRefused as error:
            self._abort()
            if not self.opened.called:
                self.opened.errback(error)
            return
        if reply:
            self.transport.write(reply)
        if self._handshake.done:
            self._open = True
            self._inner.makeConnection(self.transport)
            if not self.opened.called:
                self.opened.callback(None)
            if self._handshake.rest:
                self._inner.dataReceived(self._handshake.rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The proxy, or the upstream behind it, has closed."""
        if self._open:
            self._inner.connectionLost(reason)
        elif not self.opened.called:
            self.opened.errback(reason)

    def _abort(self) -> None:
        self.transport.abortConnection()
