"""`protocols.proxy`: proxies' URLs, handshakes and the environment's choice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.protocols.proxy import (
    Environment,
    Handshake,
    HttpConnect,
    Proxy,
    ProxyRefused,
    Socks5,
)

CUTS = st.lists(st.integers(1, 9), min_size=1, max_size=9)


def talk(handshake: Handshake, data: bytes, cuts: list[int]) -> bytes:
    """What a handshake sends while it hears `data` in pieces."""
    sent, at, number = handshake.begin(), 0, 0
    rest = b""
    while at < len(data):
        piece = data[at : at + cuts[number % len(cuts)]]
        at, number = at + len(piece), number + 1
        if handshake.done:
            rest += piece
        else:
            sent += handshake.feed(piece)
    return sent + b"|" + handshake.rest + rest


class Urls(SynchronousTestCase):
    """What the URL of a proxy says."""

    def test_parts(self) -> None:
        """Scheme, host, port and credentials, percent-decoded."""
        for url, expected in {
            "http://h:3128": Proxy("http", "h", 3128),
            "https://h": Proxy("https", "h", 443),
            "h:8080": Proxy("http", "h", 8080),
            "socks5://u:p%40w@h": Proxy("socks5", "h", 1080, "u", "p@w"),
            "socks5h://[::1]:9/": Proxy("socks5h", "::1", 9),
        }.items():
            self.assertEqual(Proxy.parse(url), expected)

    def test_refused(self) -> None:
        """Other schemes, no host, bad ports; the message does not repeat the URL."""
        for url in ("ftp://user:secret@h", "http://", "http://h:x", "socks4://h"):
            with self.assertRaises(ValueError) as caught:
                Proxy.parse(url)
            self.assertNotIn("secret", str(caught.exception))

    def test_authorization(self) -> None:
        """Credentials are Basic ones; without any there is no header."""
        self.assertEqual(Proxy.parse("http://u:p@h").authorization, "Basic dTpw")
        self.assertEqual(Proxy.parse("http://h").authorization, "")


class Connect(SynchronousTestCase):
    """HTTP's CONNECT."""

    @settings(max_examples=20, deadline=None)
    @given(cuts=CUTS)
    def test_opens(self, cuts: list[int]) -> None:
        """A 2xx opens the tunnel; what follows came through it."""
        handshake = HttpConnect("api.example.com", 443, "Basic dTpw")
        said = talk(handshake, b"HTTP/1.1 200 Yes\r\nVia: x\r\n\r\nthrough", cuts)
        self.assertTrue(handshake.done)
        self.assertEqual(
            said,
            b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n"
            b"Proxy-Authorization: Basic dTpw\r\n\r\n|through",
        )

    def test_addresses(self) -> None:
        """IPv6 addresses stand in brackets."""
        self.assertIn(b"CONNECT [::1]:443 ", HttpConnect("::1", 443, "").begin())

    def test_refused(self) -> None:
        """Any other answer is a refusal, an endless one too."""
        for data in (
            b"HTTP/1.1 407 Who\r\n\r\n",
            b"HTTP/1.1 2000 Hm\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
            b"SOCKS\r\n\r\n",
            b"x" * 20_000,
        ):
            handshake = HttpConnect("h", 443, "")
            handshake.begin()
            self.assertRaises(ProxyRefused, handshake.feed, data)


class Socks(SynchronousTestCase):
    """SOCKS5."""

    @settings(max_examples=20, deadline=None)
    @given(cuts=CUTS)
    def test_a_name_without_login(self, cuts: list[int]) -> None:
        """The proxy resolves names."""
        handshake = Socks5("a.example", 443, "", "")
        said = talk(handshake, b"\x05\x00\x05\x00\x00\x03\x02xy\x00\x50through", cuts)
        self.assertTrue(handshake.done)
        self.assertEqual(
            said, b"\x05\x01\x00\x05\x01\x00\x03\x09a.example\x01\xbb|through"
        )

    @settings(max_examples=20, deadline=None)
    @given(cuts=CUTS)
    def test_an_address_with_login(self, cuts: list[int]) -> None:
        """User and password are given when they are wanted."""
        handshake = Socks5("192.0.2.1", 80, "me", "pw")
        data = b"\x05\x02\x01\x00\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50"
        said = talk(handshake, data, cuts)
        self.assertEqual(
            said,
            b"\x05\x02\x00\x02\x01\x02me\x02pw\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50|",
        )

    def test_ipv6(self) -> None:
        """IPv6 addresses go as they are, both ways."""
        handshake = Socks5("::1", 80, "", "")
        answer = b"\x05\x00" + b"\x05\x00\x00\x04" + bytes(16) + b"\x00\x50"
        said = talk(handshake, answer, [100])
        self.assertTrue(handshake.done)
        self.assertIn(b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50", said)

    def test_refused(self) -> None:
        """Wrong versions, unwanted logins and failures are refusals."""
        for user, data in (
            ("", b"\x04\x00"),
            ("", b"\x05\xff"),
            ("", b"\x05\x02"),
            ("me", b"\x05\x02\x01\x01"),
            ("", b"\x05\x00\x05\x05\x00\x01\x00"),
            ("", b"\x05\x00\x05\x00\x00\x09\x00"),
        ):
            handshake = Socks5("h", 80, user, "")
            handshake.begin()
            self.assertRaises(ProxyRefused, handshake.feed, data)

    def test_a_long_name(self) -> None:
        """A name that does not fit is refused."""
        handshake = Socks5("x" * 256, 80, "", "")
        handshake.begin()
        self.assertRaises(ProxyRefused, handshake.feed, b"\x05\x00")


class FromTheEnvironment(SynchronousTestCase):
    """`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`."""

    def test_by_scheme(self) -> None:
        """Each scheme has its own proxy, or none."""
        environment = Environment.of({"HTTP_PROXY": "http://p:1"})
        self.assertEqual(environment.proxy("http", "h", 80), Proxy("http", "p", 1))
        self.assertIsNone(environment.proxy("https", "h", 443))
        small = Environment.of({"https_proxy": "socks5://q"})
        self.assertEqual(small.proxy("https", "h", 443), Proxy("socks5", "q", 1080))

    def test_not_for_loopback(self) -> None:
        """The machine itself is reached without a proxy."""
        environment = Environment.of({"HTTP_PROXY": "http://p:1"})
        for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"):
            self.assertIsNone(environment.proxy("http", host, 80))

    def test_exceptions(self) -> None:
        """Names with all below them, addresses, networks and ports, or everybody."""
        environment = Environment.of(
            {
                "HTTP_PROXY": "http://p:1",
                "NO_PROXY": "example.com, .org,10.0.0.0/8 192.0.2.7,*.net,a.b:81",
            }
        )
        for host, port, direct in (
            ("example.com", 80, True),
            ("API.example.com", 80, True),
            ("notexample.com", 80, False),
            ("x.org", 80, True),
            ("x.net", 80, True),
            ("10.1.2.3", 80, True),
            ("11.1.2.3", 80, False),
            ("192.0.2.7", 80, True),
            ("a.b", 81, True),
            ("a.b", 80, False),
        ):
            found = environment.proxy("http", host, port)
            self.assertEqual(found is None, direct, host)
        everybody = Environment.of({"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"})
        self.assertIsNone(everybody.proxy("http", "example.com", 80))

    def test_a_bad_proxy(self) -> None:
        """A value that is no proxy is an error at the start."""
        self.assertRaises(ValueError, Environment.of, {"HTTP_PROXY": "ftp://x"})
