"""The `Host` that a channel sets for its websockets."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import ChannelFault
from knight_tw.relay.realtime import shown_host
from tests.relay.sessions import RealtimeGateway


class HostTests(SynchronousTestCase):
    """`header_override` with a `Host`."""

    def shown(self, host: str) -> str:
        """The upstream's `Host`."""
        gateway = RealtimeGateway(self)
        gateway.realtime(header_override=json.dumps({"Host": host}))
        gateway.dial()
        (url, _) = gateway.upstreams.dialled[0]
        self.assertTrue(url.startswith("ws://up1.test/"))
        return str(gateway.server.request.headers["host"])

    def test_shown(self) -> None:
        """The handshake goes where the channel leads and shows the other host."""
        self.assertEqual(self.shown("api.example.com"), "api.example.com:80")
        self.assertEqual(self.shown("api.example.com:8080"), "api.example.com:8080")

    def test_usual_ports(self) -> None:
        """The port is that of the URL's kind; without a header it is the URL's."""
        self.assertEqual(shown_host("a.test", "wss://x/"), ("a.test", 443))
        self.assertEqual(shown_host("[::1]:9", "wss://x/"), ("::1", 9))
        self.assertIsNone(shown_host("", "wss://x/"))

    def test_no_host(self) -> None:
        """What names no host is the channel's fault."""
        for text in ("a b", "a/b", "u@a", ":80", "a:port", "[::1", "a?b"):
            with self.assertRaises(ChannelFault) as caught:
                shown_host(text, "wss://x/")
            self.assertEqual(caught.exception.code, "channel:header_override_invalid")
