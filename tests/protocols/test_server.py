"""`protocols.server` on real sockets: both lanes, TLS, slow readers, stopping."""

from __future__ import annotations

from typing import Any

from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.ssl import optionsForClientTLS
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from knight_tw.protocols.server import Lanes, Limits
from knight_tw.protocols.transport import unsent
from tests.protocols.support import (
    JSON,
    Exchanged,
    Page,
    Producer,
    RawClient,
    RecordingSurface,
    authority,
    echo,
    eventually,
    get,
    parted,
    pause,
    post,
)

_reactor: Any = reactor


class Listening(TestCase):
    """Starts and stops what a test listens with."""

    def listen(
        self,
        surface: RecordingSurface,
        *,
        limits: Limits | None = None,
        root: Resource | None = None,
        tls: bool = False,
    ) -> Lanes:
        """Lanes on a port of their own, closed when the test is over."""
        lanes = Lanes(
            surface,
            Site(root or Page()),
            client_address=lambda peer, _: peer,
            clock=_reactor,
            limits=limits,
        )
        if tls:
            options = authority()[1].options()
            port = _reactor.listenSSL(0, lanes, options, interface="127.0.0.1")
        else:
            port = _reactor.listenTCP(0, lanes, interface="127.0.0.1")
        self.port: int = port.getHost().port

        async def stop() -> None:
            await port.stopListening()
            lanes.abort_all()
            await lanes.drain()

        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        return lanes

    async def connect(
        self, *, tls: bool = False, protocols: list[bytes] | None = None
    ) -> RawClient:
        """A client of that port."""
        client = RawClient()
        if tls:
            options = optionsForClientTLS(
                "localhost", authority()[0], acceptableProtocols=protocols
            )
            endpoint: Any = wrapClientTLS(
                options, HostnameEndpoint(_reactor, "127.0.0.1", self.port)
            )
        else:
            endpoint = TCP4ClientEndpoint(_reactor, "127.0.0.1", self.port)
        await connectProtocol(endpoint, client)

        def close() -> Deferred[Any]:
            client.transport.abortConnection()
            return client.lost

        self.addCleanup(close)
        return client


class BothLanes(Listening):
    """Requests over TCP and TLS."""

    async def test_fast_then_general(self) -> None:
        """A connection is served by the surface, then by the site."""
        for tls in (False, True):
            surface = RecordingSurface(on_body=echo)
            self.listen(surface, tls=tls)
            client = await self.connect(tls=tls)
            client.transport.write(post("/v1/x", b"abc"))
            await client.until_holds(b"POST /v1/x abc")
            client.transport.write(get("/page"))
            await client.until_holds(b"general GET /page")
            client.transport.write(get("/v1/y"))
            await client.until_holds(b"general GET /v1/y")
            self.assertEqual(len(surface.seen), 1)
            self.assertEqual(surface.last.head.peer, "127.0.0.1")

    async def test_protocol_negotiation(self) -> None:
        """TLS clients that ask for HTTP/2 or HTTP/1.1 get the latter."""
        self.listen(RecordingSurface(on_body=echo), tls=True)
        client = await self.connect(tls=True, protocols=[b"h2", b"http/1.1"])
        client.transport.write(get())
        await client.until_holds(b"200 OK")
        self.assertEqual(client.transport.negotiatedProtocol, b"http/1.1")

    async def test_a_long_body(self) -> None:
        """A body of some megabytes arrives as it was sent, and goes back."""
        self.listen(RecordingSurface(on_body=echo))
        body = bytes(range(256)) * 12_000
        client = await self.connect()
        client.transport.write(post("/v1/x", body))
        answer = await client.until(lambda data: len(data) > len(body))
        self.assertTrue(parted(answer)[2].endswith(body))

    async def test_a_client_that_leaves(self) -> None:
        """The call is told when its client leaves."""
        surface = RecordingSurface()
        lanes = self.listen(surface)
        client = await self.connect()
        client.transport.write(get())
        await eventually(lambda: surface.seen)
        client.transport.loseConnection()
        await eventually(lambda: surface.last.gone)
        self.assertEqual((lanes.calls, lanes.connections), (0, set()))

    async def test_abort_resets(self) -> None:
        """An answer that is aborted before it began is a reset connection."""
        surface = RecordingSurface(on_body=lambda call: call.reply.abort())
        self.listen(surface)
        client = await self.connect()
        client.transport.write(get())
        reason = await client.lost
        self.assertIsInstance(reason, ConnectionLost)


class Early(Listening):
    """Answers that come before the request is complete."""

    async def test_the_client_sees_the_answer(self) -> None:
        """A refused upload is answered and closed in order, not reset."""

        def unauthorized(call: Exchanged) -> None:
            call.reply.whole(401, JSON, b'{"no":1}')

        for tls in (False, True):
            self.listen(
                RecordingSurface(on_open=unauthorized),
                tls=tls,
                limits=Limits(linger=0.4),
            )
            client = await self.connect(tls=tls)
            client.transport.write(post("/v1/x", b"x" * 3_000_000)[:-1])
            reason = await client.lost
            self.assertIn(b'{"no":1}', client.received)
            self.assertIsInstance(reason, ConnectionDone)

    async def test_a_client_that_sends_first(self) -> None:
        """So does a client that reads only after it has sent everything."""

        def unauthorized(call: Exchanged) -> None:
            call.reply.whole(401, JSON, b'{"no":1}')

        self.listen(RecordingSurface(on_open=unauthorized))
        client = await self.connect()
        client.transport.pauseProducing()
        client.transport.write(post("/v1/x", b"x" * 20_000_000))
        await eventually(lambda: client.reason or not unsent(client.transport))
        client.transport.resumeProducing()
        await client.until_holds(b'{"no":1}')


class SlowReaders(Listening):
    """Clients that do not read what they asked for."""

    async def test_the_producer_is_paused(self) -> None:
        """What feeds an answer is paused while the client does not read."""
        surface = RecordingSurface()
        self.listen(surface)
        client = await self.connect()
        client.transport.write(get())
        await eventually(lambda: surface.seen)
        client.transport.pauseProducing()
        reply, source = surface.last.reply, Producer()
        reply.attach(source)  # type: ignore[arg-type]  # has the three methods
        reply.begin(200, [])
        for _ in range(400):
            if source.log:
                break
            reply.write(b"x" * 65536)
        self.assertEqual(source.log, ["pause"])
        client.transport.resumeProducing()
        await eventually(lambda: source.log == ["pause", "resume"])
        reply.end()
        await client.until(lambda data: data.endswith(b"0\r\n\r\n"))

    async def test_the_order_of_bytes(self) -> None:
        """Bytes keep their order when the kernel takes only a part at once."""
        surface = RecordingSurface()
        self.listen(surface)
        client = await self.connect()
        client.transport.write(get())
        await eventually(lambda: surface.seen)
        client.transport.pauseProducing()
        reply = surface.last.reply
        reply.begin(200, [])
        sent = b""
        for number in range(300):
            piece = b"%07d\n" % number * 4096
            reply.write(piece)
            sent += piece
        reply.end()
        client.transport.resumeProducing()
        answer = await client.until(lambda data: data.endswith(b"0\r\n\r\n"))
        chunks = parted(answer)[2].split(b"8000\r\n")[1:]
        self.assertEqual(b"".join(chunk[:32768] for chunk in chunks), sent)

    async def test_they_are_dropped(self) -> None:
        """A client that takes nothing for the write timeout is cut off."""
        surface = RecordingSurface()
        lanes = self.listen(surface, limits=Limits(write_timeout=0.4))
        client = await self.connect()
        client.transport.write(get())
        await eventually(lambda: surface.seen)
        client.transport.pauseProducing()
        surface.last.reply.whole(200, [], b"x" * 30_000_000)
        await eventually(lambda: not lanes.connections)

    async def test_slow_ones_are_not(self) -> None:
        """A client that reads a little from time to time is served."""
        surface = RecordingSurface()
        lanes = self.listen(surface, limits=Limits(write_timeout=0.4))
        client = await self.connect()
        client.transport.write(get())
        await eventually(lambda: surface.seen)
        surface.last.reply.whole(200, [], b"x" * 30_000_000)
        for _ in range(8):
            client.transport.pauseProducing()
            seen = len(client.received)
            await pause(0.15)
            client.transport.resumeProducing()
            await client.until(lambda data, seen=seen: len(data) > seen)  # type: ignore[misc]
        self.assertTrue(lanes.connections)


class Websockets(Listening):
    """Upgrades of a general resource."""

    async def test_taken_over(self) -> None:
        """A websocket resource takes the connection over, and its end is noticed."""
        said: list[bytes] = []

        class Server(WebSocketServerProtocol):
            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                said.append(payload)
                self.sendMessage(b"and you", isBinary)

        server = WebSocketServerFactory()
        server.protocol = Server
        root = Resource()
        inner = Resource()
        root.putChild(b"v1", inner)
        inner.putChild(b"realtime", WebSocketResource(server))
        surface = RecordingSurface(on_body=echo)
        lanes = self.listen(surface, root=root, limits=Limits(write_timeout=0.2))
        heard: Deferred[bytes] = Deferred()
        closed: Deferred[None] = Deferred()

        class Client(WebSocketClientProtocol):
            def onOpen(self) -> None:
                self.sendMessage(b"hello", True)

            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                heard.callback(payload)
                self.sendClose()

            def onClose(self, *_: object) -> None:
                closed.callback(None)

        factory = WebSocketClientFactory(f"ws://127.0.0.1:{self.port}/v1/realtime")
        factory.protocol = Client
        _reactor.connectTCP("127.0.0.1", self.port, factory)
        self.assertEqual((await heard, said), (b"and you", [b"hello"]))
        self.assertEqual(len(lanes.connections), 1)
        await closed
        await lanes.drain()
        self.assertEqual(surface.seen, [])


class Stopping(Listening):
    """Draining with sockets."""

    async def test_drained_when_the_last_call_ended(self) -> None:
        """Draining waits for the answer to leave, general requests included."""
        waiting: list[Any] = []

        class Slow(Resource):
            isLeaf = True

            def render(self, request: Any) -> int:
                waiting.append(request)
                return 1  # NOT_DONE_YET

        surface = RecordingSurface()
        lanes = self.listen(surface, root=Slow())
        fast, general, idle = [await self.connect() for _ in range(3)]
        fast.transport.write(get())
        general.transport.write(get("/page"))
        await eventually(lambda: surface.seen and waiting)
        drained = lanes.drain()
        await idle.lost
        self.assertFalse(drained.called)
        surface.last.reply.whole(200, [], b"fast")
        waiting[0].write(b"general")
        waiting[0].finish()
        await drained
        await fast.until_holds(b"fast")
        await general.until_holds(b"general")
