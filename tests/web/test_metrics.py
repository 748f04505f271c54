"""Who may read `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyChannel

from knight_tw.web.metrics import MetricsResource

LOCAL = IPv4Address("TCP", "127.0.0.1", 5)


def ask(
    token: str,
    peer: IAddress = LOCAL,
    headers: Mapping[str, str] | None = None,
    method: bytes = b"GET",
) -> tuple[int, bytes, Request]:
    """Status and body of one request."""
    channel = DummyChannel()
    channel.transport.getPeer = lambda: peer  # type: ignore[attr-defined]
    request = Request(channel, False)
    request.client, request.method = peer, method
    for name, value in (headers or {}).items():
        request.requestHeaders.addRawHeader(name, value)
    resource: IResource = MetricsResource(lambda: b"figures\n", token)
    body: bytes = resource.render(request)  # type: ignore[no-untyped-call]
    return request.code, body, request


class Loopback(SynchronousTestCase):
    """Without METRICS_TOKEN."""

    def test_this_machine(self) -> None:
        """In each of its spellings, with the version of the format."""
        for peer in (
            LOCAL,
            IPv4Address("TCP", "127.8.8.8", 5),
            IPv6Address("TCP", "::1", 5),
            IPv6Address("TCP", "::ffff:127.0.0.1", 5),
        ):
            status, body, request = ask("", peer)
            self.assertEqual((status, body), (200, b"figures\n"))
            kind = request.responseHeaders.getRawHeaders("content-type")
            self.assertEqual(kind, ["text/plain; version=0.0.4; charset=utf-8"])

    def test_others(self) -> None:
        """Nobody else, a local socket of unknown users included."""
        for peer in (
            IPv4Address("TCP", "192.0.2.1", 5),
            IPv6Address("TCP", "2001:db8::1", 5),
            UNIXAddress(b"/run/knight.sock"),
        ):
            status, body, _ = ask("", peer)
            self.assertEqual(status, 403)
            self.assertNotIn(b"figures", body)

    def test_through_a_proxy(self) -> None:
        """A proxy on this machine lends nobody its address."""
        for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
            self.assertEqual(ask("", LOCAL, {name: "127.0.0.1"})[0], 403)

    def test_a_token_is_no_harm(self) -> None:
        """Where none is wanted."""
        self.assertEqual(ask("", LOCAL, {"Authorization": "Bearer x"})[0], 200)


class Token(SynchronousTestCase):
    """With METRICS_TOKEN."""

    def test_the_bearer(self) -> None:
        """From anywhere, through anything."""
        far = IPv4Address("TCP", "192.0.2.1", 5)
        for spelling in ("Bearer s3cret", "bearer s3cret"):
            told = {"Authorization": spelling, "X-Forwarded-For": "198.51.100.1"}
            self.assertEqual(ask("s3cret", far, told)[:2], (200, b"figures\n"))

    def test_nobody_else(self) -> None:
        """Loopback included; the answer says what is missing."""
        for told in (
            {},
            {"Authorization": "Bearer s3cre"},
            {"Authorization": "Bearer "},
            {"Authorization": "Basic s3cret"},
            {"Authorization": "Bearer sécret"},
        ):
            status, body, request = ask("s3cret", LOCAL, told)
            self.assertEqual(status, 401)
            self.assertNotIn(b"figures", body)
            asked = request.responseHeaders.getRawHeaders("www-authenticate")
            self.assertEqual(asked, ["Bearer"])


class Methods(SynchronousTestCase):
    """Reading only."""

    def test_methods(self) -> None:
        """GET and HEAD."""
        found = [ask("", method=m)[0] for m in (b"GET", b"HEAD", b"POST", b"DELETE")]
        self.assertEqual(found, [200, 200, 405, 405])
