"""Tests of what the site does for every request."""

from __future__ import annotations

import gzip
import re
from typing import Any

from klein import Klein
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request

from knight_tw import requestid
from knight_tw.errors import DatabaseAway
from knight_tw.web.api.answers import client_ip, install, is_secure, ok
from knight_tw.web.site import PATIENCE
from tests.web.gateway import Channel, Gateway, parse


class Probe:
    """A surface that shows what a route sees."""

    app = Klein()
    install(app)

    def __init__(self) -> None:
        self.waiting: Deferred[bytes] = Deferred()
        self.cancelled = False

    @app.route("/api/probe/seen", methods=["GET", "POST"])
    async def seen(self, request: Request) -> bytes:
        """Address, scheme and the id of the context."""
        return ok(
            {
                "ip": client_ip(request),
                "secure": is_secure(request),
                "id": requestid.current.get(),
            }
        )

    @app.route("/api/probe/large", methods=["GET"])
    async def large(self, request: Request) -> bytes:
        """Two kilobytes."""
        return ok("x" * 2_000)

    @app.route("/api/probe/crash", methods=["GET"])
    async def crash(self, request: Request) -> bytes:
        """A mistake of ours."""
        raise ZeroDivisionError("secret detail")

    @app.route("/api/probe/away", methods=["GET"])
    async def away(self, request: Request) -> bytes:
        """The database is away."""
        raise DatabaseAway("the database is away", retry_after=1.0)

    @app.route("/api/probe/slow", methods=["GET"])
    async def slow(self, request: Request) -> bytes:
        """Waits for ever."""
        return await self.waiting


def probed(**env: str) -> Gateway:
    """A gateway with the probe."""
    return Gateway(env=env, extra=[Probe()])


class HeaderTests(SynchronousTestCase):
    """Headers of every answer."""

    def test_request_id(self) -> None:
        """The id is in both headers and in the context of the route."""
        answer = probed().ask("GET", "/api/probe/seen")
        number = answer.get("X-Oneapi-Request-Id")
        self.assertRegex(number, r"\A\d{23}[0-9A-Za-z]{8}\Z")
        self.assertEqual(answer.get("X-Request-Id"), number)
        self.assertEqual(answer.data["id"], number)

    def test_common(self) -> None:
        """JSON, never cached, with our version and without a server banner."""
        answer = probed().ask("GET", "/api/probe/seen")
        self.assertEqual(answer.get("Content-Type"), "application/json; charset=utf-8")
        self.assertEqual(answer.get("Cache-Control"), "no-store")
        self.assertEqual(answer.get("X-New-Api-Version"), "v-test")
        self.assertEqual(answer.get("Server"), "")
        self.assertEqual(answer.get("Access-Control-Allow-Origin"), "")

    def test_cors(self) -> None:
        """Pages of any origin may use the token key routes, and no others."""
        gateway = probed()
        for path in ("/dashboard/billing/usage", "/api/usage/token/", "/api/log/token"):
            answer = gateway.ask(
                "OPTIONS",
                path,
                None,
                {"Access-Control-Request-Headers": "authorization"},
            )
            self.assertEqual(answer.status, 204)
            self.assertEqual(answer.get("Access-Control-Allow-Origin"), "*")
            self.assertEqual(
                answer.get("Access-Control-Allow-Headers"), "authorization"
            )
        answer = gateway.ask("OPTIONS", "/api/user/self")
        self.assertEqual(answer.get("Access-Control-Allow-Origin"), "")


class AddressTests(SynchronousTestCase):
    """Who is at the other end."""

    def seen(self, peer: str, **headers: str) -> Any:
        """What the probe sees."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return probed().ask("GET", "/api/probe/seen", None, named, peer).data

    def test_direct(self) -> None:
        """A stranger's headers are not believed."""
        seen = self.seen(
            "203.0.113.9", X_Forwarded_For="1.2.3.4", X_Forwarded_Proto="https"
        )
        self.assertEqual((seen["ip"], seen["secure"]), ("203.0.113.9", False))

    def test_proxied(self) -> None:
        """A proxy on loopback is believed."""
        seen = self.seen(
            "127.0.0.1", X_Forwarded_For="2001:db8::5", X_Forwarded_Proto="https"
        )
        self.assertEqual((seen["ip"], seen["secure"]), ("2001:db8::5", True))


class BodyTests(SynchronousTestCase):
    """Limits of the body."""

    def test_anonymous(self) -> None:
        """A body over the anonymous limit is 413, one below passes."""
        gateway = probed(ANONYMOUS_REQUEST_BODY_LIMIT_KB="1")
        answer = gateway.ask("POST", "/api/probe/seen", b"x" * 1_024)
        self.assertEqual(answer.status, 200)
        answer = gateway.ask("POST", "/api/probe/seen", b"x" * 1_025)
        self.assertEqual((answer.status, answer.code), (413, "body_too_large"))

    def test_known(self) -> None:
        """Callers with a credential, and the relay, have larger limits."""
        gateway = probed(ANONYMOUS_REQUEST_BODY_LIMIT_KB="1")
        body = b"x" * 5_000
        for headers in ({"Authorization": "x"}, {"Cookie": "session=x"}):
            answer = gateway.ask("POST", "/api/probe/seen", body, headers)
            self.assertEqual(answer.status, 200)
        answer = gateway.ask("POST", "/v1/chat/completions?key=a", body)
        self.assertEqual(answer.body, b"relay POST /v1/chat/completions 5000")

    def test_declared_far_too_long(self) -> None:
        """A declared length far over the limit is refused before the body comes."""
        gateway = probed(ANONYMOUS_REQUEST_BODY_LIMIT_KB="1")
        answer = gateway.send(
            b"POST /api/probe/seen HTTP/1.1\r\nHost: a\r\n"
            b"Content-Length: 9000000\r\n\r\n"
        )
        self.assertEqual((answer.status, answer.code), (413, "body_too_large"))
        self.assertEqual(answer.get("Connection"), "close")

    def test_endless(self) -> None:
        """A chunked body is cut off once it is far too long."""
        gateway = probed(ANONYMOUS_REQUEST_BODY_LIMIT_KB="1")
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        answer = gateway.send(
            b"POST /api/probe/seen HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked"
            b"\r\n\r\n" + chunk * (PATIENCE // 0x8000 + 2)
        )
        self.assertEqual((answer.status, answer.code), (413, "body_too_large"))


class GzipTests(SynchronousTestCase):
    """Compression."""

    def test_large(self) -> None:
        """A large answer is compressed for a client that accepts it."""
        gateway = probed()
        answer = gateway.ask(
            "GET", "/api/probe/large", None, {"Accept-Encoding": "br, gzip;q=0.8"}
        )
        self.assertEqual(answer.get("Content-Encoding"), "gzip")
        self.assertIn(b"x" * 2_000, gzip.decompress(answer.body))
        self.assertEqual(answer.get("Vary"), "Accept-Encoding")

    def test_not(self) -> None:
        """Small answers, and clients that do not accept gzip, get plain bytes."""
        gateway = probed()
        for path, accepted in (
            ("/api/probe/seen", "gzip"),
            ("/api/probe/large", "identity"),
            ("/api/probe/large", "gzip;q=0"),
            ("/api/probe/large", "x-gzipped"),
        ):
            answer = gateway.ask("GET", path, None, {"Accept-Encoding": accepted})
            self.assertEqual(answer.get("Content-Encoding"), "", accepted)
            self.assertTrue(answer.json["success"])

    def test_head(self) -> None:
        """HEAD has the headers and no body."""
        answer = probed().ask("HEAD", "/api/probe/large")
        self.assertEqual((answer.status, answer.body), (200, b""))


class FailureTests(SynchronousTestCase):
    """Mistakes and outages."""

    def test_crash(self) -> None:
        """An unexpected exception is 500 with the request id and without its text."""
        answer = probed().ask("GET", "/api/probe/crash")
        self.assertEqual((answer.status, answer.code), (500, "internal_error"))
        self.assertEqual(
            answer.json["params"]["request_id"], answer.get("X-Request-Id")
        )
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_away(self) -> None:
        """A database that is away is 503 with Retry-After."""
        answer = probed().ask("GET", "/api/probe/away")
        self.assertEqual((answer.status, answer.code), (503, "database_unavailable"))
        self.assertEqual(answer.get("Retry-After"), "1")

    def test_client_leaves(self) -> None:
        """A client that leaves cancels its route, and nothing is logged as an error."""
        gateway = probed()
        probe: Probe = gateway.extra[0]
        transport = Channel("203.0.113.9")
        channel = gateway.site.buildProtocol(IPv4Address("TCP", "203.0.113.9", 1))
        channel.makeConnection(transport)
        channel.dataReceived(b"GET /api/probe/slow HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(transport.value(), b"")
        cancelled: list[Failure] = []
        probe.waiting.addErrback(cancelled.append)
        channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(transport.value(), b"")


class AccessLogTests(SynchronousTestCase):
    """One line per request."""

    def test_line(self) -> None:
        """Method, path, status and id are logged, the query never."""
        events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        answer = probed().ask("GET", "/api/probe/seen?token=secret")
        (line,) = [event for event in events if "bytes" in event and "path" in event]
        self.assertEqual(
            (line["method"], line["path"], line["status"], line["client"]),
            ("GET", "/api/probe/seen", 200, "203.0.113.9"),
        )
        self.assertEqual(line["request_id"], answer.get("X-Request-Id"))
        self.assertNotIn("secret", repr(line))


class KeepAliveTests(SynchronousTestCase):
    """Several requests on one connection."""

    def test_two(self) -> None:
        """Two pipelined requests get an answer and an id each."""
        gateway = probed()
        transport = Channel("203.0.113.9")
        channel = gateway.site.buildProtocol(IPv4Address("TCP", "203.0.113.9", 1))
        channel.makeConnection(transport)
        request = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
        channel.dataReceived(request + request)
        ids = re.findall(rb"X-Request-I[dD]: (\S+)", transport.value())
        self.assertEqual(len(set(ids)), 2)
        self.assertEqual(parse(transport.value()).status, 200)
