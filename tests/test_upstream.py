"""`upstream`: requests over real sockets, TLS and proxies; treq; downloads."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHostnameResolver
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from knight_tw.addresses import AddressGuard, AddressRefused, Allowed
from knight_tw.errors import KnightError, UpstreamFailed, UpstreamTimeout
from knight_tw.protocols.client_pool import PoolLimits
from knight_tw.upstream import DownloadFailed, Timeouts, Upstream
from tests.protocols.support import authority, eventually, pause
from tests.protocols.upstreams import ProxyServer, Scripted
from tests.protocols.upstreams import Upstream as Served

_reactor: Any = reactor

LOCAL = AddressGuard(allow=(Allowed.parse("127.0.0.1"),))


class UpstreamCase(TestCase):
    """Upstreams that are closed when the test is over."""

    def serve(
        self, script: Callable[[Served], None] = Served.answer, *, tls: bool = False
    ) -> Scripted:
        """A listening upstream."""
        scripted = Scripted(script).listen(tls=tls)
        self.addCleanup(scripted.stop)
        return scripted

    def proxying(self) -> ProxyServer:
        """A listening proxy."""
        proxy = ProxyServer()
        proxy.listen()
        self.addCleanup(proxy.stop)
        return proxy

    def upstream(self, **options: Any) -> Upstream:
        """A client that trusts the test authority."""
        options.setdefault("trust_root", authority()[0])
        made = Upstream(_reactor, **options)
        self.addCleanup(made.close)
        return made

    async def read(self, upstream: Upstream, url: str, **options: Any) -> bytes:
        """The body of a GET."""
        answer = await upstream.send("GET", url, [], b"", **options)
        return await answer.read(10_000_000)


class Sending(UpstreamCase):
    """Requests and answers."""

    async def test_what_is_sent(self) -> None:
        """Line, host, the caller's headers, exact length, body."""
        server = self.serve()
        answer = await self.upstream().send(
            "POST",
            f"http://localhost:{server.port}/v1/x?k=a b",
            [("Authorization", "Bearer k"), ("X-A", "1")],
            b"body",
        )
        self.assertEqual(await answer.read(10), b"ok")
        head, body = server.requests[0]
        self.assertEqual(
            head.split("\r\n"),
            [
                "POST /v1/x?k=a%20b HTTP/1.1",
                f"Host: localhost:{server.port}",
                "Authorization: Bearer k",
                "X-A: 1",
                "Content-Length: 4",
            ],
        )
        self.assertEqual(body, b"body")

    async def test_the_connections_own_headers(self) -> None:
        """What belongs to the connection is ours; a host may be named."""
        server = self.serve()
        headers = [
            ("Connection", "close"),
            ("content-length", "99"),
            ("Transfer-Encoding", "chunked"),
            ("Expect", "100-continue"),
            ("TE", "trailers"),
            ("Host", "other.example"),
        ]
        await self.upstream().send(
            "POST", f"http://127.0.0.1:{server.port}", headers, b""
        )
        self.assertEqual(
            server.requests[0][0].split("\r\n"),
            ["POST / HTTP/1.1", "Host: other.example", "Content-Length: 0"],
        )

    async def test_no_length_without_a_body(self) -> None:
        """A GET without a body has no length."""
        server = self.serve()
        await self.read(self.upstream(), f"http://127.0.0.1:{server.port}/")
        self.assertNotIn("Content-Length", server.requests[0][0])

    async def test_credentials_in_the_url(self) -> None:
        """They become an `Authorization` header."""
        server = self.serve()
        await self.read(self.upstream(), f"http://u:p@127.0.0.1:{server.port}/")
        self.assertIn("Authorization: Basic dTpw", server.requests[0][0])

    async def test_line_breaks_are_refused(self) -> None:
        """A header that would break out of its line is not sent."""
        server = self.serve()
        url = f"http://127.0.0.1:{server.port}/"
        for header in (("X", "a\r\nY: b"), ("X\n", "a"), ("X", "a\0")):
            sent = self.upstream().send("GET", url, [header], b"")
            self.assertIsInstance(await failure(sent), UpstreamFailed)
        self.assertEqual(server.requests, [])

    async def test_bad_urls(self) -> None:
        """What is no HTTP URL fails; the message does not repeat it."""
        upstream = self.upstream()
        for url in ("ftp://h/x", "nonsense", "http://", "http://h:x/", "http://[::1/"):
            error = await failure(upstream.send("GET", url, [], b""))
            self.assertIsInstance(error, UpstreamFailed)
            self.assertEqual(error.message, "upstream request failed")
        error = await failure(
            upstream.send("GET", "http://h/", [], b"", proxy="ftp://u:secret@p")
        )
        self.assertNotIn("secret", error.detail)

    async def test_long_urls(self) -> None:
        """A URL that is too long is refused before anything is made of it."""
        upstream = self.upstream()
        letters = "".join(chr(0x4E00 + number) for number in range(16_000))
        for url in (f"http://{letters}/", f"http://h/{'x' * 20_000}"):
            began = time.monotonic()
            error = await failure(upstream.send("GET", url, [], b"", guarded=True))
            self.assertIsInstance(error, UpstreamFailed)
            self.assertEqual(error.detail, "the address is too long")
            self.assertLess(time.monotonic() - began, 1.0)

    async def test_connections_are_kept(self) -> None:
        """One connection carries one call after the other."""
        server, upstream = self.serve(), self.upstream()
        for _ in range(3):
            await self.read(upstream, f"http://127.0.0.1:{server.port}/")
        self.assertEqual(len(server.connections), 1)

    async def test_long_bodies(self) -> None:
        """Megabytes go both ways."""

        def back(served: Served) -> None:
            served.answer(served.factory.requests[-1][1])

        server, body = self.serve(back), bytes(range(256)) * 20_000
        answer = await self.upstream().send(
            "POST", f"http://127.0.0.1:{server.port}/", [], body
        )
        self.assertEqual(await answer.read(10_000_000), body)

    async def test_a_kept_connection_that_was_closed(self) -> None:
        """A connection that the upstream closed meanwhile is not used, POST or not."""
        server, upstream = self.serve(), self.upstream()
        url = f"http://127.0.0.1:{server.port}/"
        await self.read(upstream, url)
        server.connections[0].transport.loseConnection()
        await eventually(lambda: server.lost)
        # The reactor has not told the client yet, or it has: both must do.
        answer = await upstream.send("POST", url, [], b"x")
        self.assertEqual(await answer.read(10), b"ok")
        self.assertEqual(len(server.connections), 2)


async def failure(call: Deferred[Any]) -> KnightError:
    """What a call failed with."""
    try:
        await call
    except KnightError as error:
        return error
    raise AssertionError("it succeeded")


class Failing(UpstreamCase):
    """Upstreams that are not there, or do not answer."""

    async def test_refused(self) -> None:
        """A refused connection: 502, may be tried elsewhere, the reason in the log."""
        server = Scripted().listen()
        await server.stop()
        error = await failure(
            self.upstream().send("GET", f"http://127.0.0.1:{server.port}/", [], b"")
        )
        self.assertEqual(
            (error.status, error.code, error.retryable),
            (502, "do_request_failed", True),
        )
        self.assertEqual(error.message, "upstream request failed")
        self.assertIn(f"127.0.0.1:{server.port}", error.detail)

    async def test_an_unknown_name(self) -> None:
        """So is a name that nobody knows."""
        url = "http://no-such-host.invalid/"
        error = await failure(self.upstream().send("GET", url, [], b""))
        self.assertIn("no-such-host.invalid", error.detail)

    async def test_no_first_byte(self) -> None:
        """Silence is a timeout, and closes the connection."""
        server = self.serve(lambda _: None)
        upstream = self.upstream(limits=PoolLimits(idle_timeout=0.4))
        error = await failure(
            upstream.send(
                "GET",
                f"http://127.0.0.1:{server.port}/",
                [],
                b"",
                first_byte_timeout=0.2,
            )
        )
        self.assertIsInstance(error, UpstreamTimeout)
        await eventually(lambda: server.lost)

    async def test_no_handshake(self) -> None:
        """TLS that does not come about in time counts as connecting."""
        server = self.serve(lambda _: None)
        error = await failure(
            self.upstream().send(
                "GET",
                f"https://localhost:{server.port}/",
                [],
                b"",
                connect_timeout=0.2,
            )
        )
        self.assertEqual((error.code, error.retryable), ("do_request_failed", True))
        await eventually(lambda: server.lost)

    async def test_cancelled(self) -> None:
        """Cancelling closes the connection, while it is made and while it waits."""
        server = self.serve(lambda _: None)
        for scheme in ("http", "https"):
            call = self.upstream().send(
                "GET", f"{scheme}://localhost:{server.port}/", [], b""
            )
            await eventually(lambda: len(server.connections) > server.lost)
            await pause(0.05)
            call.cancel()
            with self.assertRaises(CancelledError):
                await call
            await eventually(lambda: len(server.connections) == server.lost)

    async def test_idle_connections_close(self) -> None:
        """A connection that is not used is closed after the idle timeout."""
        server = self.serve()
        upstream = self.upstream(limits=PoolLimits(idle_timeout=0.2))
        await self.read(upstream, f"http://127.0.0.1:{server.port}/")
        await eventually(lambda: server.lost)

    async def test_after_close(self) -> None:
        """A closed client sends nothing more."""
        server, upstream = self.serve(), self.upstream()
        url = f"http://127.0.0.1:{server.port}/"
        await self.read(upstream, url)
        await upstream.close()
        await eventually(lambda: server.lost)
        await failure(upstream.send("GET", url, [], b""))


class BackPressure(UpstreamCase):
    """Bodies that come faster than they are wanted."""

    async def test_a_paused_answer_stops_the_upstream(self) -> None:
        """The upstream's writes pile up at its end while nobody reads."""
        log: list[str] = []

        class Source:
            def pauseProducing(self) -> None:
                log.append("pause")

            def resumeProducing(self) -> None:
                log.append("resume")

            def stopProducing(self) -> None:
                log.append("stop")

        size = 30_000_000

        def flood(served: Served) -> None:
            served.transport.registerProducer(Source(), True)
            served.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
            )
            served.transport.write(b"x" * size)

        server = self.serve(flood)
        answer = await self.upstream().send(
            "GET", f"http://127.0.0.1:{server.port}/", [], b""
        )
        taker = Taker()
        answer.deliver(taker, 30)
        answer.pause()
        await pause(0.2)
        seen = taker.size
        self.assertEqual(log, ["pause"])
        await pause(0.1)
        self.assertEqual(taker.size, seen)
        answer.resume()
        await taker.over
        self.assertEqual(taker.size, size)
        server.connections[0].transport.unregisterProducer()


@define(eq=False)
class Taker:
    """A receiver that counts."""

    size: int = 0
    error: KnightError | None = None
    over: Deferred[None] = field(factory=Deferred)

    def chunk(self, data: bytes) -> None:
        """Counted."""
        self.size += len(data)

    def ended(self, error: KnightError | None) -> None:
        """Noted."""
        self.error = error
        self.over.callback(None)


class Tls(UpstreamCase):
    """Upstreams with certificates."""

    async def test_a_good_certificate(self) -> None:
        """A certificate of a trusted authority for the right name; kept alive."""
        server, upstream = self.serve(tls=True), self.upstream()
        for _ in range(2):
            body = await self.read(upstream, f"https://localhost:{server.port}/")
            self.assertEqual(body, b"ok")
        self.assertEqual(len(server.connections), 1)

    async def test_an_unknown_authority(self) -> None:
        """A certificate that the system's roots do not cover is refused."""
        server, upstream = self.serve(tls=True), self.upstream(trust_root=None)
        error = await failure(
            upstream.send("GET", f"https://localhost:{server.port}/", [], b"")
        )
        self.assertIn("certificate verify failed", error.detail)
        self.assertEqual(server.requests, [])

    async def test_another_name(self) -> None:
        """A certificate for another name is refused."""
        server = self.serve(tls=True)
        error = await failure(
            self.upstream().send("GET", f"https://127.0.0.1:{server.port}/", [], b"")
        )
        self.assertIn("VerificationError", error.detail)
        self.assertEqual(server.requests, [])

    async def test_unverified(self) -> None:
        """With `insecure` any certificate does."""
        server = self.serve(tls=True)
        upstream = self.upstream(trust_root=None, insecure=True)
        for host in ("localhost", "127.0.0.1"):
            body = await self.read(upstream, f"https://{host}:{server.port}/")
            self.assertEqual(body, b"ok")

    async def test_not_tls(self) -> None:
        """An upstream that does not speak TLS is a failed call."""
        server = self.serve()

        def shout(served: Served) -> None:
            served.transport.write(b"HTTP/1.1 400 Plain\r\n\r\n")

        server.script = shout
        call = self.upstream().send("GET", f"https://localhost:{server.port}/", [], b"")
        await eventually(lambda: server.connections)
        server.connections[0].transport.write(b"HTTP/1.1 400 Plain\r\n\r\n")
        self.assertIsInstance(await failure(call), UpstreamFailed)

    async def test_long_bodies(self) -> None:
        """Megabytes go both ways through TLS."""

        def back(served: Served) -> None:
            served.answer(served.factory.requests[-1][1])

        server, body = self.serve(back, tls=True), bytes(range(256)) * 8_000
        answer = await self.upstream().send(
            "POST", f"https://localhost:{server.port}/", [], body
        )
        self.assertEqual(await answer.read(10_000_000), body)


class Proxies(UpstreamCase):
    """Requests through proxies."""

    async def test_tunnels(self) -> None:
        """HTTPS goes through CONNECT and SOCKS5, with a login; names go along."""
        server, proxy, upstream = self.serve(tls=True), self.proxying(), self.upstream()
        for scheme in ("http", "socks5", "socks5h"):
            body = await self.read(
                upstream,
                f"https://localhost:{server.port}/",
                proxy=f"{scheme}://u:p@127.0.0.1:{proxy.port}",
            )
            self.assertEqual(body, b"ok")
        self.assertIn(f"CONNECT localhost:{server.port} HTTP/1.1", proxy.asked[0])
        self.assertEqual(proxy.asked[1:], ["localhost", "localhost"])

    async def test_plain_through_socks(self) -> None:
        """SOCKS tunnels plain HTTP, too, and the tunnel is kept."""
        server, proxy, upstream = self.serve(), self.proxying(), self.upstream()
        for _ in range(2):
            await self.read(
                upstream,
                f"http://name.invalid:{server.port}/x",
                proxy=f"socks5://u:p@127.0.0.1:{proxy.port}",
            )
        self.assertEqual(proxy.asked, ["name.invalid"])
        self.assertTrue(server.requests[0][0].startswith("GET /x HTTP/1.1"))

    async def test_plain_through_http(self) -> None:
        """An HTTP proxy reads plain requests itself."""
        proxy, upstream = self.serve(), self.upstream()
        await self.read(
            upstream,
            "http://name.invalid/x?y",
            proxy=f"http://u:p@127.0.0.1:{proxy.port}",
        )
        self.assertEqual(
            proxy.requests[0][0].split("\r\n")[:3],
            [
                "GET http://name.invalid/x?y HTTP/1.1",
                "Host: name.invalid",
                "Proxy-Authorization: Basic dTpw",
            ],
        )

    async def test_a_proxy_behind_tls(self) -> None:
        """A proxy may want TLS itself."""
        proxy, upstream = self.serve(tls=True), self.upstream()
        body = await self.read(
            upstream, "http://name.invalid/", proxy=f"https://localhost:{proxy.port}"
        )
        self.assertEqual(body, b"ok")

    async def test_a_refusal(self) -> None:
        """A proxy that says no is a failed call, and its password is not logged."""
        proxy, upstream = self.proxying(), self.upstream()
        for scheme, text in (("http", "407"), ("socks5", "login")):
            error = await failure(
                upstream.send(
                    "GET",
                    "https://localhost:1/",
                    [],
                    b"",
                    proxy=f"{scheme}://u:wrong@127.0.0.1:{proxy.port}",
                )
            )
            self.assertIn(text, error.detail)
            self.assertNotIn("wrong", error.detail)

    async def test_from_the_environment(self) -> None:
        """Calls that name no proxy use the environment's."""
        proxy = self.serve()
        upstream = self.upstream(
            proxies={
                "HTTP_PROXY": f"http://127.0.0.1:{proxy.port}",
                "NO_PROXY": "direct.invalid",
            }
        )
        await self.read(upstream, "http://name.invalid/")
        self.assertEqual(len(proxy.requests), 1)
        await failure(upstream.send("GET", "http://direct.invalid/", [], b""))
        self.assertEqual(len(proxy.requests), 1)


@implementer(IHostnameResolver)
class Names:
    """A resolver that knows what the test tells it, and counts."""

    def __init__(self, known: dict[str, list[str]]) -> None:
        self.known = known
        self.asked: list[str] = []

    def resolveHostName(
        self, resolutionReceiver: Any, hostName: str, portNumber: int = 0, *_: Any
    ) -> Any:
        """Answer at once."""
        self.asked.append(hostName)
        resolutionReceiver.resolutionBegan(None)
        for address in self.known.get(hostName, []):
            resolutionReceiver.addressResolved(IPv4Address("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()


class Guarded(UpstreamCase):
    """Requests that users had a hand in."""

    def names(self, **known: list[str]) -> Names:
        """Install a resolver for this test."""
        names = Names({name.replace("_", "."): found for name, found in known.items()})
        before = _reactor.nameResolver
        _reactor.installNameResolver(names)
        self.addCleanup(_reactor.installNameResolver, before)
        return names

    async def test_private_addresses_are_refused(self) -> None:
        """Nothing is even connected."""
        server, upstream = self.serve(), self.upstream()
        self.names(evil_example=["127.0.0.1"])
        for host in ("127.0.0.1", "evil.example", "[::1]", "2130706433"):
            error = await failure(
                upstream.send("GET", f"http://{host}:8080/", [], b"", guarded=True)
            )
            self.assertIsInstance(error, AddressRefused, host)
        self.assertEqual(server.connections, [])

    async def test_the_checked_address_is_used(self) -> None:
        """A name is resolved once, and the connection goes where it led."""
        server = self.serve()
        names = self.names(good_example=["127.0.0.1"])
        upstream = self.upstream(guard=LOCAL)
        url = f"http://good.example:{server.port}/"
        self.assertEqual(await self.read(upstream, url, guarded=True), b"ok")
        self.assertEqual(names.asked, ["good.example"])
        self.assertIn(f"Host: good.example:{server.port}", server.requests[0][0])

    async def test_the_name_is_verified(self) -> None:
        """TLS checks the name, not the address that was connected to."""
        server = self.serve(tls=True)
        self.names(localhost=["127.0.0.1"], other_example=["127.0.0.1"])
        upstream = self.upstream(guard=LOCAL)
        good, bad = (
            f"https://{host}:{server.port}/" for host in ("localhost", "other.example")
        )
        self.assertEqual(await self.read(upstream, good, guarded=True), b"ok")
        error = await failure(upstream.send("GET", bad, [], b"", guarded=True))
        self.assertIn("VerificationError", error.detail)

    async def test_another_address_when_one_is_dead(self) -> None:
        """Every checked address is tried, one after the other."""
        server = self.serve()
        self.names(two_example=["127.0.0.2", "127.0.0.1"])
        upstream = self.upstream(guard=AddressGuard(private=True, ports=()))
        url = f"http://two.example:{server.port}/"
        self.assertEqual(await self.read(upstream, url, guarded=True), b"ok")

    async def test_connections_are_not_shared(self) -> None:
        """A connection made without the guard is no way around it."""
        server, upstream = self.serve(), self.upstream()
        url = f"http://127.0.0.1:{server.port}/"
        await self.read(upstream, url)
        error = await failure(upstream.send("GET", url, [], b"", guarded=True))
        self.assertIsInstance(error, AddressRefused)

    async def test_a_new_guard(self) -> None:
        """A new guard counts from the next call on, also for kept connections."""
        server, upstream = self.serve(), self.upstream(guard=LOCAL)
        url = f"http://127.0.0.1:{server.port}/"
        await self.read(upstream, url, guarded=True)
        upstream.guard = AddressGuard()
        error = await failure(upstream.send("GET", url, [], b"", guarded=True))
        self.assertIsInstance(error, AddressRefused)

    async def test_through_a_proxy(self) -> None:
        """A proxy that the caller named must pass, too; it gets the checked address."""
        server, proxy = self.serve(tls=True), self.proxying()
        url = f"https://localhost:{server.port}/"
        for scheme in ("http", "socks5"):
            through = f"{scheme}://u:p@127.0.0.1:{proxy.port}"
            error = await failure(
                self.upstream(
                    guard=AddressGuard(allow=(Allowed.parse("localhost"),))
                ).send("GET", url, [], b"", guarded=True, proxy=through)
            )
            self.assertIsInstance(error, AddressRefused)
            body = await self.read(
                self.upstream(guard=LOCAL), url, guarded=True, proxy=through
            )
            self.assertEqual(body, b"ok")
        self.assertIn(f"CONNECT 127.0.0.1:{server.port} ", proxy.asked[0])
        self.assertEqual(proxy.asked[1], "127.0.0.1")

    async def test_credentials_and_schemes(self) -> None:
        """URLs with credentials, and other schemes, are refused."""
        for url in ("http://u@93.184.216.34/", "ftp://93.184.216.34/"):
            error = await failure(
                self.upstream().send("GET", url, [], b"", guarded=True)
            )
            self.assertIsInstance(error, AddressRefused)


class Downloads(UpstreamCase):
    """Files that users name."""

    async def test_a_file(self) -> None:
        """Its type and its bytes."""
        server = self.serve(lambda s: s.answer(b"\x89PNG", "Content-Type: image/png"))
        upstream = self.upstream(guard=LOCAL)
        found = await upstream.download(f"http://127.0.0.1:{server.port}/a.png", 10)
        self.assertEqual(found, ("image/png", b"\x89PNG"))
        self.assertIn("User-Agent: knight-omega/", server.requests[0][0])

    async def test_redirects(self) -> None:
        """They are followed, relative ones too, five of them at most."""
        server = self.serve()

        def script(served: Served) -> None:
            path = served.factory.requests[-1][0].split()[1]
            if path == "/a/end":
                served.answer(b"here")
            else:
                target = "end" if path == "/a/begin" else path
                served.answer(b"", f"Location: {target}", status=302)

        server.script = script
        upstream, base = self.upstream(guard=LOCAL), f"http://127.0.0.1:{server.port}"
        self.assertEqual((await upstream.download(f"{base}/a/begin", 9))[1], b"here")
        server.requests.clear()
        error = await failure(upstream.download(f"{base}/loop", 9))
        self.assertIsInstance(error, DownloadFailed)
        self.assertEqual(len(server.requests), 6)

    async def test_redirects_pass_the_guard(self) -> None:
        """A redirect to a private address is refused."""
        server = self.serve(
            lambda s: s.answer(b"", "Location: http://127.0.0.3:8080/", status=302)
        )
        upstream = self.upstream(guard=LOCAL)
        error = await failure(upstream.download(f"http://127.0.0.1:{server.port}/", 9))
        self.assertIsInstance(error, AddressRefused)

    async def test_failures(self) -> None:
        """Too large, not found, not reached: one message, the reason in the log."""
        answers: list[Callable[[Served], None]] = [
            lambda s: s.answer(b"x" * 11),
            lambda s: s.answer(b"", status=404),
            lambda s: s.answer(gzip.compress(b"x" * 99), "Content-Encoding: gzip"),
            lambda s: s.transport.write(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"b\r\n12345678901\r\n0\r\n\r\n"
            ),
            lambda s: s.transport.loseConnection(),
        ]
        for answer in answers:
            server = self.serve(answer)
            error = await failure(
                self.upstream(guard=LOCAL).download(
                    f"http://127.0.0.1:{server.port}/", 10
                )
            )
            self.assertIsInstance(error, DownloadFailed)
            self.assertEqual(error.message, "a file could not be fetched")
            self.assertEqual((error.status, error.retryable), (400, False))


class Treq(UpstreamCase):
    """treq over the same connections."""

    async def test_json_both_ways(self) -> None:
        """Requests and responses as treq makes them."""
        server = self.serve(
            lambda s: s.answer(b'{"a":1}', "Content-Type: application/json")
        )
        upstream = self.upstream()
        response = await upstream.http.post(
            f"http://127.0.0.1:{server.port}/x", json={"b": 2}, params={"q": "1"}
        )
        self.assertEqual((response.code, await response.json()), (200, {"a": 1}))
        head, body = server.requests[0]
        self.assertTrue(head.startswith("POST /x?q=1 HTTP/1.1"))
        self.assertEqual(body, b'{"b":2}')

    async def test_no_cookies(self) -> None:
        """Cookies of one answer, or one request, are not sent with the next."""
        server = self.serve(lambda s: s.answer(b"", "Set-Cookie: a=b"))
        upstream = self.upstream()
        url = f"http://127.0.0.1:{server.port}/"
        await upstream.http.get(url, cookies={"c": "d"})
        await upstream.http.get(url)
        heads = [head for head, _ in server.requests]
        self.assertEqual(["ookie" in head for head in heads], [True, False])

    async def test_redirects_only_when_asked_for(self) -> None:
        """A redirect is an answer like any other, unless it is to be followed."""

        def script(served: Served) -> None:
            if "/to" in served.factory.requests[-1][0]:
                served.answer(b"there")
            else:
                served.answer(b"", "Location: /to", status=302)

        server, upstream = self.serve(script), self.upstream()
        url = f"http://127.0.0.1:{server.port}/from"
        self.assertEqual((await upstream.http.get(url)).code, 302)
        followed = await upstream.http.get(url, allow_redirects=True)
        self.assertEqual(await followed.content(), b"there")

    async def test_compressed(self) -> None:
        """Gzip is undone."""
        server = self.serve(
            lambda s: s.answer(gzip.compress(b"plain"), "Content-Encoding: gzip")
        )
        response = await self.upstream().http.get(f"http://127.0.0.1:{server.port}/")
        self.assertEqual(await response.content(), b"plain")

    async def test_timeouts(self) -> None:
        """treq's timeout closes the connection."""
        server = self.serve(lambda _: None)
        call = self.upstream().http.get(f"http://127.0.0.1:{server.port}/", timeout=0.1)
        with self.assertRaises(CancelledError):
            await call
        await eventually(lambda: server.lost)

    async def test_a_body_that_breaks_off(self) -> None:
        """A truncated response fails."""

        def script(served: Served) -> None:
            served.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
            served.transport.loseConnection()

        server = self.serve(script)
        response = await self.upstream().http.get(f"http://127.0.0.1:{server.port}/")
        try:
            await response.content()
        except Exception as error:  # noqa: BLE001 - Twisted's own
            self.assertEqual(type(error).__name__, "ResponseFailed")
        else:
            self.fail("it succeeded")

    async def test_behind_the_guard(self) -> None:
        """A guarded client refuses what the guard does."""
        server = self.serve()
        client = self.upstream().client(guarded=True)
        with self.assertRaises(AddressRefused):
            await client.get(f"http://127.0.0.1:{server.port}/")


class Remembering(SynchronousTestCase):
    """What is kept of URLs."""

    def test_bounded(self) -> None:
        """Parsed URLs are remembered up to a limit."""
        from knight_tw.upstream import MAX_TARGETS

        upstream = Upstream(_reactor, timeouts=Timeouts(connect=1))
        for number in range(MAX_TARGETS + 5):
            upstream._parsed(f"http://h/{number}", "", False)
        self.assertLessEqual(len(upstream._targets), MAX_TARGETS)
