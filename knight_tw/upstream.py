"""The only HTTP client: every request that leaves the gateway goes through here.

`Upstream.send` is the short path of the relay: a request's bytes are put together once,
the URL and the pool are looked up, the answer's body is read as its caller likes.
`Upstream.http` is treq over the same connections for everything that is not hot.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urljoin, urlsplit

from attrs import define, frozen
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol

from knight_tw import __version__
from knight_tw.addresses import AddressGuard, AddressRefused
from knight_tw.errors import InvalidRequest, KnightError
from knight_tw.protocols.agent import PooledAgent
from knight_tw.protocols.client import Answer, Call, failed
from knight_tw.protocols.client_pool import Origin, Pool, PoolLimits, Pools
from knight_tw.protocols.connector import Connector
from knight_tw.protocols.heads import BadHeader, encoded, lines
from knight_tw.protocols.proxy import Environment, Proxy
from knight_tw.protocols.tls import ClientTLS
from knight_tw.protocols.transport import Sweep, period_for

P = TypeVar("P", bound=IProtocol)

MAX_REDIRECTS = 5
"""Redirects that a download follows."""

MAX_TARGETS = 2000
"""URLs whose parsing is remembered."""

LONGEST_URL, LONGEST_HOST = 16_384, 253
"""Characters. Users name URLs: long ones would fill that memory, and a host in foreign
letters takes time by the square of its length, a minute for 60 KB."""

_PORTS = {"http": 80, "https": 443}
_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_URL_SAFE = "%/:=&?~#+!$,;'@()*[]|"
_OWN = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Headers that only the client writes: they belong to the connection."""

_REDIRECTS = frozenset((301, 302, 303, 307, 308))


class DownloadFailed(InvalidRequest):
    """A file that a request names could not be fetched."""


@frozen(kw_only=True)
class Timeouts:
    """Usual limits of one request, seconds; 0 = none."""

    connect: float = 30.0
    first_byte: float = 900.0


@define(eq=False)
class _Target:
    """A parsed URL: where to send, and what stands around the caller's headers."""

    pool: Pool
    path: str
    host: str
    extra: str


class Upstream:
    """Sends requests.

    Attributes:
        http: treq over the same connections. Redirects are not followed unless asked
            for, cookies are not kept, bodies are not buffered.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        limits: PoolLimits | None = None,
        timeouts: Timeouts | None = None,
        proxies: Mapping[str, str] | None = None,
        insecure: bool = False,
        trust_root: Any = None,
        guard: AddressGuard | None = None,
    ) -> None:
        """
        Args:
            proxies: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, as in an environment.
            insecure: Accept any certificate.
            trust_root: Instead of the system's roots.

        Raises:
            ValueError: a proxy's URL is none.
        """
        limits = limits or PoolLimits()
        self._timeouts = timeouts or Timeouts()
        shortest = (limits.idle_timeout, self._timeouts.connect)
        sweep = Sweep(reactor, period_for(*shortest))
        self._connector = Connector(
            reactor,
            sweep,
            idle_timeout=limits.idle_timeout,
            tls=ClientTLS(reactor, insecure=insecure, trust_root=trust_root),
        )
        self._pools = Pools(limits, sweep, self._connector.open, reactor)
        self._environment = Environment.of(proxies or {})
        self._guard = guard or AddressGuard()
        self._targets: dict[tuple[str, str, bool], _Target] = {}
        self.http = self.client()

    @property
    def guard(self) -> AddressGuard:
        """The guard of guarded requests; a new one is in force from the next on."""
        return self._guard

    @guard.setter
    def guard(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._targets.clear()

    def load(self) -> tuple[int, int, int]:
        """Connections that are idle, those that are busy, calls that wait for one."""
        return self._pools.load()

    def client(self, *, proxy: str = "", guarded: bool = False) -> HTTPClient:
        """treq through a proxy, or behind the guard."""

        def send(
            method: str, url: str, headers: list[tuple[str, str]], body: bytes
        ) -> Deferred[Answer]:
            return self.send(method, url, headers, body, proxy=proxy, guarded=guarded)

        return _Client(PooledAgent(send))

    def send(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes,
        *,
        proxy: str = "",
        guarded: bool = False,
        connect_timeout: float | None = None,
        first_byte_timeout: float | None = None,
    ) -> Deferred[Answer]:
        """The answer, once its head is here; cancelling closes the connection.

        Fails with `UpstreamFailed` (not reached, broken answer), `UpstreamTimeout`, or
        `AddressRefused`; `detail` has the reason for the log.

        Args:
            headers: What belongs to the connection (`Connection`, `Content-Length`,
                `Expect`, …) is left out; a `Host` replaces ours.
            proxy: Its URL; empty = what the environment says.
            guarded: The address guard decides whether the address may be reached.
            connect_timeout, first_byte_timeout: Seconds, 0 = none, None = as usual.
        """
        try:
            target = self._targets.get((url, proxy, guarded))
            if target is None:
                target = self._parsed(url, proxy, guarded)
            request = self._head(target, method, headers, body)
        except KnightError as error:
            return fail(error)
        usual = self._timeouts
        call = Call(
            request,
            body,
            method in _SAFE,
            method == "HEAD",
            usual.connect if connect_timeout is None else connect_timeout,
            usual.first_byte if first_byte_timeout is None else first_byte_timeout,
        )
        target.pool.run(call)
        return call.told

    def download(
        self, url: str, limit: int, *, proxy: str = "", timeout: float = 60.0
    ) -> Deferred[tuple[str, bytes]]:
        """Content type and bytes of a file that a user named.

        Every address on the way passes the guard, redirects too (at most five). Fails
        with `DownloadFailed` or `AddressRefused`, whose messages are safe for clients.

        Args:
            limit: Most bytes.
            timeout: Seconds for each step, and for the body.
        """
        return Deferred.fromCoroutine(self._downloaded(url, limit, proxy, timeout))

    async def attach(
        self,
        url: str,
        make: Callable[[str, int, str], P],
        *,
        proxy: str = "",
        guarded: bool = False,
        timeout: float = 0.0,
    ) -> P:
        """A protocol of the caller's own, connected to where a URL leads (websockets).

        TLS, proxies and the guard are as in `send`; a proxy always tunnels. Whoever
        attaches a protocol closes its connection.

        Args:
            url: Of HTTP, or `ws` and `wss`.
            make: The protocol, by host, port and request target.
            timeout: Seconds for name, TCP and proxy; 0 = any.

        Raises:
            UpstreamFailed, AddressRefused: as `send`.
        """
        if url.startswith(("ws:", "wss:")):
            url = f"http{url[2:]}"
        scheme, host, port, path, _ = _split(url, guarded)
        through = self._through(proxy, scheme, host, port)
        guard = self._guard if guarded else None
        tunnel = through is not None
        origin = Origin(
            scheme == "https", host, port, through, tunnel, guard, bool(proxy)
        )
        protocol = make(host, port, path)
        await self._connector.attach(origin, protocol, timeout)
        return protocol

    def close(self, grace: float = 0.0) -> Deferred[None]:
        """Send nothing more; fires when all connections are closed.

        Args:
            grace: Seconds that requests in flight may still take.
        """
        return self._pools.close(grace)

    # the short path ----------------------------------------------------------

    def _head(
        self, target: _Target, method: str, headers: list[tuple[str, str]], body: bytes
    ) -> bytes:
        try:
            text = lines(headers, _OWN)
        except BadHeader as error:
            raise failed(str(error)) from None
        host = target.host
        if text.count("\n") != len(headers):
            host = _named_host(headers) or host
        length = ""
        if body or method in _WITH_BODY:
            length = f"Content-Length: {len(body)}\r\n"
        return encoded(
            f"{method} {target.path} HTTP/1.1\r\nHost: {host}\r\n"
            f"{target.extra}{text}{length}\r\n"
        )

    def _parsed(self, url: str, proxy: str, guarded: bool) -> _Target:
        """The target of a URL, remembered.

        Raises:
            UpstreamFailed: it is not a URL, or not one of HTTP, or the proxy's is not.
            AddressRefused: the guard does not allow its scheme.
        """
        scheme, host, port, path, login = _split(url, guarded)
        through = self._through(proxy, scheme, host, port)
        tls = scheme == "https"
        tunnel = through is not None and (
            tls or through.scheme not in ("http", "https")
        )
        guard = self._guard if guarded else None
        origin = Origin(tls, host, port, through, tunnel, guard, bool(proxy))
        shown = f"[{host}]" if ":" in host else host
        named = shown if port == _PORTS[scheme] else f"{shown}:{port}"
        extra = f"Authorization: Basic {login}\r\n" if login else ""
        if through is not None and not tunnel:
            path = f"http://{named}{path}"
            if through.authorization:
                extra += f"Proxy-Authorization: {through.authorization}\r\n"
        target = _Target(self._pools.of(origin), path, named, extra)
        if len(self._targets) >= MAX_TARGETS:
            self._targets.clear()
        self._targets[url, proxy, guarded] = target
        return target

    def _through(self, proxy: str, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy that is named, else the environment's for an address."""
        try:
            named = Proxy.parse(proxy) if proxy else None
        except ValueError as error:
            raise failed(str(error)) from None
        return named or self._environment.proxy(scheme, host, port)

    # downloads ---------------------------------------------------------------

    async def _downloaded(
        self, url: str, limit: int, proxy: str, timeout: float
    ) -> tuple[str, bytes]:
        headers = [("User-Agent", f"knight-omega/{__version__}"), ("Accept", "*/*")]
        for _ in range(MAX_REDIRECTS + 1):
            try:
                answer = await self.send(
                    "GET",
                    url,
                    headers,
                    b"",
                    proxy=proxy,
                    guarded=True,
                    connect_timeout=timeout,
                    first_byte_timeout=timeout,
                )
                if answer.status not in _REDIRECTS:
                    return await self._file(answer, limit, timeout)
            except AddressRefused:
                raise
            except KnightError as error:
                raise _not_fetched(error.detail or error.message) from None
            answer.abort()
            url = urljoin(url, answer.get("location"))
        raise _not_fetched("too many redirects")

    async def _file(
        self, answer: Answer, limit: int, timeout: float
    ) -> tuple[str, bytes]:
        length = answer.get("content-length")
        if answer.status != 200 or (length.isdigit() and int(length) > limit):
            answer.abort()
            raise failed(f"status {answer.status}, {length or 'unknown'} bytes")
        return answer.get("content-type"), await answer.read(limit, timeout)


def _not_fetched(detail: str) -> DownloadFailed:
    return DownloadFailed("a file could not be fetched", detail=detail)


def _split(url: str, guarded: bool) -> tuple[str, str, int, str, str]:
    """Scheme, host, port, request target and Basic credentials of a URL.

    Raises:
        UpstreamFailed, AddressRefused: as `Upstream._parsed`.
    """
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
        if len(url) > LONGEST_URL or len(name) > LONGEST_HOST:
            raise failed("the address is too long")
        host = name.encode("idna").decode("ascii")
        port = parts.port
    except ValueError:
        raise failed("the address is not a URL") from None
    if guarded and (parts.scheme not in _PORTS or "@" in parts.netloc):
        raise AddressRefused(f"scheme {parts.scheme!r}, or credentials")
    if parts.scheme not in _PORTS or not host or "%" in host:
        raise failed("the address is not an HTTP URL")
    login = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = base64.b64encode(pair.encode()).decode()
    path = quote(parts.path or "/", _URL_SAFE)
    if parts.query:
        path = f"{path}?{quote(parts.query, _URL_SAFE)}"
    return parts.scheme, host, port or _PORTS[parts.scheme], path, login


def _named_host(headers: Iterable[tuple[str, str]]) -> str:
    return next((value for name, value in headers if name.lower() == "host"), "")


class _Client(HTTPClient):
    """treq with the gateway's defaults."""

    def __init__(self, agent: PooledAgent) -> None:
        super().__init__(agent)
        self._pooled = agent

    def request(self, method: str, url: Any, **options: Any) -> Any:
        """As treq's; redirects only when asked for, the body unbuffered."""
        options.setdefault("allow_redirects", False)
        options.setdefault("unbuffered", True)
        # A client for each request: treq keeps cookies, and one channel's are not
        # another's.
        return HTTPClient(self._pooled).request(method, url, **options)
