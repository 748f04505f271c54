"""Tests of the client's address behind proxies."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.web.addresses import Proxies

LOOPBACK = Proxies.of(("127.0.0.0/8", "::1/128"))
TWO = Proxies.of(("127.0.0.1", "10.0.0.0/8"))


class ClientTests(SynchronousTestCase):
    """`Proxies.client`."""

    def test_table(self) -> None:
        """The right-most address that is not a proxy's counts, if the peer is one."""
        for proxies, peer, forwarded, expected in (
            (LOOPBACK, "203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
            (LOOPBACK, "127.0.0.1", [], "127.0.0.1"),
            (LOOPBACK, "127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
            (LOOPBACK, "127.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            (LOOPBACK, "127.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
            (TWO, "127.0.0.1", ["198.51.100.1, 10.1.2.3"], "198.51.100.1"),
            (TWO, "10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
            (TWO, "127.0.0.1", ["198.51.100.1, nonsense"], "127.0.0.1"),
            (TWO, "127.0.0.1", ["198.51.100.1, nonsense, 10.0.0.3"], "10.0.0.3"),
            (LOOPBACK, "::1", ["[2001:db8::1]:443"], "2001:db8::1"),
            (LOOPBACK, "::1", ["198.51.100.1:5000"], "198.51.100.1"),
            (LOOPBACK, "::ffff:127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
            (Proxies.of(()), "127.0.0.1", ["198.51.100.1"], "127.0.0.1"),
            (LOOPBACK, "nonsense", ["198.51.100.1"], "nonsense"),
        ):
            found = proxies.client(peer, forwarded)
            self.assertEqual(found, expected, (peer, forwarded))
