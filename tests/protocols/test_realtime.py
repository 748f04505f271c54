"""Sessions over real sockets: TLS, proxies, the guard, back-pressure, held messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.ssl import optionsForClientTLS
from twisted.trial.unittest import TestCase
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from knight_tw.addresses import AddressGuard, AddressRefused
from knight_tw.errors import UpstreamFailed
from knight_tw.protocols.realtime import Ending, Pair
from knight_tw.protocols.sockets import HIGH_WATER, Refused, Sockets
from knight_tw.protocols.transport import socket_of, unsent
from knight_tw.protocols.websocket import ClientSide, UpstreamSide, take_over
from knight_tw.upstream import Upstream
from tests.protocols.support import authority, eventually
from tests.protocols.upstreams import ProxyServer, Scripted

_reactor: Any = reactor


class Echo(WebSocketServerProtocol):  # type: ignore[misc]  # untyped
    """An upstream that repeats what it hears."""

    def onOpen(self) -> None:
        """Known to the test."""
        self.factory.open.append(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """The same back."""
        self.sendMessage(payload, isBinary)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Not known any more."""
        if self in self.factory.open:
            self.factory.open.remove(self)


class Caller(WebSocketClientProtocol):  # type: ignore[misc]  # untyped
    """A client that remembers what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[bytes] = []
        self.closed = False

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Noted."""
        self.heard.append(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Noted."""
        self.closed = True


@define(eq=False)
class Listening:
    """Ears of a test: hold back what the test wants to hold back."""

    hold: Callable[[bytes], Deferred[None] | None] = lambda message: None
    endings: list[Ending] = field(factory=list)

    def client_said(self, message: bytes) -> Deferred[None] | None:
        """See `Ears`."""
        return self.hold(message)

    def upstream_said(self, message: bytes) -> Deferred[None] | None:
        """See `Ears`."""
        return self.hold(message)

    def ended(self, ending: Ending) -> None:
        """See `Ears`."""
        self.endings.append(ending)


class Page(Resource):
    """The gateway's part: dials the upstream, then upgrades."""

    isLeaf = True

    def __init__(self, case: SocketCase) -> None:
        super().__init__()
        self._case = case

    def render_GET(self, request: Request) -> int:
        """Begin."""
        key = str(request.getHeader("sec-websocket-key"))
        Deferred.fromCoroutine(self._serve(request, key)).addErrback(self._case.log)
        return NOT_DONE_YET

    async def _serve(self, request: Request, key: str) -> None:
        case = self._case
        upstream = await case.dial(f"ws://127.0.0.1:{case.port}/x")

        def opened(side: ClientSide) -> None:
            case.pairs.append(Pair(side, upstream, case.ears, _reactor))

        take_over(request, case.sockets.client(None, {}, opened), key)


class SocketCase(TestCase):
    """An upstream on a loopback port, and a gateway's dialler."""

    tls = False
    tls_in_front = False

    def setUp(self) -> None:
        """Listen."""
        factory: Any = WebSocketServerFactory
        self.served = factory(reactor=_reactor)
        self.served.protocol = Echo
        self.served.open = []
        self.served.setProtocolOptions(failByDrop=False)
        listen = _reactor.listenTCP
        if self.tls:
            options = authority()[1].options()
            port = _reactor.listenSSL(0, self.served, options, interface="127.0.0.1")
        else:
            port = listen(0, self.served, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        self.sockets = Sockets(_reactor)
        self.upstream = self.client()
        self.pairs: list[Pair] = []
        self.ears = Listening()
        self.failures: list[Any] = []

    def log(self, failure: Any) -> None:
        """Something went wrong where nobody waits for it."""
        self.failures.append(failure)

    def client(self, **options: Any) -> Upstream:
        """An upstream's dialler."""
        options.setdefault("trust_root", authority()[0])
        made = Upstream(_reactor, **options)
        self.addCleanup(made.close)
        return made

    async def dial(self, url: str, **options: Any) -> UpstreamSide:
        """A side whose handshake is done; dropped when the test is over."""
        dialler = options.pop("by", self.upstream)

        def make(host: str, port: int, target: str) -> UpstreamSide:
            return self.sockets.upstream(host, port, target, {"X-Own": "1"})

        side: UpstreamSide = await dialler.attach(url, make, **options)
        self.addCleanup(self.closed, side)
        return await side.opened

    async def closed(self, side: UpstreamSide) -> None:
        """Cut, and heard of it."""
        side.drop()
        await eventually(lambda: side.gone)

    async def call(self) -> Any:
        """A client with a session through the gateway's part."""
        site = Site(Page(self), reactor=_reactor)
        if self.tls_in_front:
            options = authority()[1].options()
            listening = _reactor.listenSSL(0, site, options, interface="127.0.0.1")
        else:
            listening = _reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        factory: Any = WebSocketClientFactory
        made = factory("ws://127.0.0.1/x", reactor=_reactor)
        made.protocol = Caller
        made.setProtocolOptions(failByDrop=False)
        endpoint: Any = HostnameEndpoint(
            _reactor, "127.0.0.1", listening.getHost().port
        )
        if self.tls_in_front:
            trusting = optionsForClientTLS("localhost", authority()[0])
            endpoint = wrapClientTLS(trusting, endpoint)
        caller: Any = await endpoint.connect(made)
        self.addCleanup(self._hang_up, caller)
        await caller.is_open
        return caller

    async def _hang_up(self, caller: Any) -> None:
        if not caller.closed:
            caller.transport.abortConnection()
        await eventually(lambda: len(self.ears.endings) == len(self.pairs))
        self.assertEqual(self.failures, [])


class Dialling(SocketCase):
    """`Upstream.attach` and the upstream's handshake."""

    async def test_plain(self) -> None:
        """Path, query and headers arrive; the session is open."""
        side = await self.dial(f"ws://127.0.0.1:{self.port}/v1/realtime?model=a b")
        self.assertTrue(side.open)
        (far,) = self.served.open
        self.assertEqual(far.http_request_uri, "/v1/realtime?model=a%20b")
        self.assertEqual(far.http_headers["x-own"], "1")

    async def test_nobody_listens_yet(self) -> None:
        """A side without an owner is not read, however much its upstream says."""
        side = await self.dial(f"ws://127.0.0.1:{self.port}/x")
        (far,) = self.served.open
        for _ in range(40):
            far.sendMessage(b"x" * 500_000)
        await eventually(lambda: unsent(socket_of(far.transport)) > 1_000_000)
        self.assertEqual(side._early, [])

    async def test_guard(self) -> None:
        """A guarded address must pass the guard, as for requests."""
        url = f"ws://127.0.0.1:{self.port}/x"
        with self.assertRaises(AddressRefused):
            await self.dial(url, guarded=True, by=self.client(guard=AddressGuard()))

    async def test_through_proxies(self) -> None:
        """Also what is plain goes through a tunnel, names unresolved."""
        proxy = ProxyServer()
        proxy.listen()
        self.addCleanup(proxy.stop)
        url = f"ws://localhost:{self.port}/x"
        for scheme in ("http", "socks5"):
            address = f"{scheme}://u:p@127.0.0.1:{proxy.port}"
            side = await self.dial(url, proxy=address)
            self.assertTrue(side.open)
        self.assertIn(f"CONNECT localhost:{self.port} HTTP/1.1", proxy.asked[0])
        self.assertEqual(proxy.asked[1], "localhost")

    async def test_nobody_there(self) -> None:
        """A connection that cannot be had is a failed attempt."""
        with self.assertRaises(UpstreamFailed):
            await self.dial("ws://127.0.0.1:1/x", timeout=5.0)

    async def test_refusals(self) -> None:
        """Status, headers and body of a refusal, also of one that ends with the
        connection."""

        def answer(served: Any) -> None:
            served.transport.write(b"HTTP/1.1 401 X\r\nX-A: 1\r\n\r\nno such key")
            served.transport.loseConnection()

        scripted = Scripted(answer).listen()
        self.addCleanup(scripted.stop)
        with self.assertRaises(Refused) as caught:
            await self.dial(f"ws://127.0.0.1:{scripted.port}/x")
        refused = caught.exception
        self.assertEqual((refused.status, refused.body), (401, b"no such key"))
        self.assertEqual(refused.headers, [("x-a", "1")])

    async def test_broken_handshakes(self) -> None:
        """A 101 that is none fails the attempt, as does a connection that closes."""

        def wrong(served: Any) -> None:
            served.transport.write(
                b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: x\r\n\r\n"
            )

        def endless(served: Any) -> None:
            served.transport.write(b"HTTP/1.1 101 X\r\nX: " + b"x" * 200_000)

        def closing(served: Any) -> None:
            served.transport.loseConnection()

        for script in (wrong, endless, closing):
            scripted = Scripted(script).listen()
            self.addCleanup(scripted.stop)
            with self.assertRaises(UpstreamFailed):
                await self.dial(f"ws://127.0.0.1:{scripted.port}/x")

    async def test_cancelling(self) -> None:
        """Whoever gives up while the upstream is silent leaves no connection."""
        scripted = Scripted(lambda served: None).listen()
        self.addCleanup(scripted.stop)
        waiting = Deferred.fromCoroutine(self.dial(f"ws://127.0.0.1:{scripted.port}/x"))
        await eventually(lambda: bool(scripted.requests))
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        await eventually(lambda: scripted.lost == 1)


class DiallingTLS(SocketCase):
    """The same behind TLS."""

    tls = True

    async def test_verified(self) -> None:
        """The certificate is checked against the roots and the name."""
        side = await self.dial(f"wss://localhost:{self.port}/x")
        self.assertTrue(side.open)

    async def test_unknown_authority(self) -> None:
        """A certificate of an unknown authority is no upstream."""
        stranger = self.client(trust_root=None)
        with self.assertRaises(UpstreamFailed):
            await self.dial(f"wss://localhost:{self.port}/x", by=stranger)

    async def test_through_a_proxy(self) -> None:
        """TLS is with the upstream, not with the proxy."""
        proxy = ProxyServer()
        proxy.listen()
        self.addCleanup(proxy.stop)
        side = await self.dial(
            f"wss://localhost:{self.port}/x", proxy=f"http://u:p@127.0.0.1:{proxy.port}"
        )
        self.assertTrue(side.open)


class Carrying(SocketCase):
    """`Pair`."""

    async def test_there_and_back(self) -> None:
        """Small and large messages make the round, in order."""
        caller = await self.call()
        said = [b"x" * size for size in (0, 1, 125, 126, 70_000, 3_000_000, 2)]
        for one in said:
            caller.sendMessage(one)
        await eventually(lambda: len(caller.heard) == len(said))
        self.assertEqual(caller.heard, said)

    async def test_held_messages(self) -> None:
        """A message that is held back holds up those behind it, and nothing else."""
        held: Deferred[None] = Deferred()
        self.ears.hold = lambda message: held if message == b"b" else None
        caller = await self.call()
        for one in (b"a", b"b", b"c"):
            caller.sendMessage(one)
        await eventually(lambda: caller.heard == [b"a"])
        (far,) = self.served.open
        far.sendMessage(b"down")
        await eventually(lambda: caller.heard == [b"a", b"down"])
        self.ears.hold = lambda message: None
        held.callback(None)
        await eventually(lambda: caller.heard == [b"a", b"down", b"b", b"c"])

    async def test_failing_ears(self) -> None:
        """Who only listens cannot break a session."""

        def broken(message: bytes) -> Deferred[None] | None:
            raise RuntimeError("a bug")

        self.ears.hold = broken
        caller = await self.call()
        caller.sendMessage(b"a")
        await eventually(lambda: caller.heard == [b"a"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    async def test_slow_client(self) -> None:
        """What waits for a client that does not read is bounded, and the upstream waits
        with it; nothing is lost."""
        caller = await self.call()
        caller.transport.pauseProducing()
        (far,) = self.served.open
        piece, count = b"x" * 500_000, 60
        for _ in range(count):
            far.sendMessage(piece)
        near = socket_of(self.pairs[0].client.transport)
        await eventually(lambda: "slow" in self.pairs[0].upstream._pauses)
        self.assertLess(unsent(near), HIGH_WATER + 2 * len(piece))
        self.assertGreater(unsent(socket_of(far.transport)), 10_000_000)
        caller.transport.resumeProducing()
        await eventually(lambda: len(caller.heard) == count)
        self.assertEqual(caller.heard, [piece] * count)

    async def test_client_vanishes(self) -> None:
        """The upstream's connection closes when the client's is cut."""
        caller = await self.call()
        caller.transport.abortConnection()
        await eventually(lambda: not self.served.open)
        await eventually(lambda: self.ears.endings == [Ending("client", 1006)])

    async def test_client_vanishes_while_slow(self) -> None:
        """Also when the upstream was not read just then."""
        caller = await self.call()
        caller.transport.pauseProducing()
        (far,) = self.served.open
        for _ in range(60):
            far.sendMessage(b"x" * 500_000)
        await eventually(lambda: "slow" in self.pairs[0].upstream._pauses)
        caller.transport.resumeProducing()
        caller.transport.abortConnection()
        await eventually(lambda: len(self.ears.endings) == 1)


class CarryingBehindTLS(Carrying):
    """The same when clients come over TLS."""

    tls_in_front = True
