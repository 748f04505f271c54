"""Tests of the dispatch between the general lane's parts, and of the front page."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.web import routes
from knight_tw.web.front import _duration
from knight_tw.web.root import Place, place
from tests.web.gateway import Gateway

HTML = {"Accept": "text/html,application/xhtml+xml"}


class PlaceTests(SynchronousTestCase):
    """`place`."""

    def test_table(self) -> None:
        """Each path has one part that answers it."""
        for path, expected in (
            ("/", Place.FRONT),
            ("/api", Place.API),
            ("/api/", Place.API),
            ("/api/status", Place.API),
            ("/apix", Place.NOWHERE),
            ("/dashboard/billing/usage", Place.API),
            ("/v1/dashboard/billing/usage", Place.API),
            ("/v1/chat/completions", Place.RELAY),
            ("/v1/unknown", Place.RELAY),
            ("/v1beta/models", Place.RELAY),
            ("/livez", Place.LIVE),
            ("/readyz", Place.READY),
            ("/favicon.ico", Place.NOWHERE),
            ("", Place.NOWHERE),
        ):
            self.assertIs(place(path, routes.claimed), expected, path)


class RootTests(SynchronousTestCase):
    """The site's resource."""

    def test_unknown_api(self) -> None:
        """An unknown path is the reference's 404, not the envelope."""
        answer = Gateway().ask("GET", "/api/no/such/route")
        self.assertEqual(answer.status, 404)
        self.assertEqual(
            answer.json,
            {
                "error": {
                    "message": "Invalid URL (GET /api/no/such/route)",
                    "type": "invalid_request_error",
                    "param": "",
                    "code": "",
                }
            },
        )

    def test_unknown_page(self) -> None:
        """Any other unknown path is 404 too."""
        for path in ("/favicon.ico", "/api%2Fstatus", "/%ff"):
            self.assertEqual(Gateway().ask("GET", path).status, 404, path)

    def test_relay(self) -> None:
        """Relay paths go to the relay with their body."""
        answer = Gateway().ask("POST", "/v1/chat/completions", b"{}")
        self.assertEqual(answer.body, b"relay POST /v1/chat/completions 2")

    def test_others(self) -> None:
        """Resources by exact path, websockets only for those who ask for one."""
        gateway = Gateway()
        self.assertEqual(gateway.ask("GET", "/metrics").body, b"relay GET /metrics 0")
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
        for headers in ({}, upgrade):
            answer = gateway.ask("GET", "/v1/realtime", None, headers)
            self.assertEqual(answer.body, b"relay GET /v1/realtime 0")

    def test_probes(self) -> None:
        """/livez is always 200, /readyz says why it is not."""
        gateway = Gateway()
        self.assertEqual(gateway.ask("GET", "/livez").body, b"ok\n")
        self.assertEqual(gateway.ask("GET", "/readyz").status, 200)
        gateway.unready = "draining"
        answer = gateway.ask("GET", "/readyz")
        self.assertEqual((answer.status, answer.body), (503, b"draining\n"))
        self.assertEqual(gateway.ask("GET", "/livez").status, 200)

    def test_limits(self) -> None:
        """/api and the page have a limit per address each."""
        gateway = Gateway(
            env={
                "GLOBAL_API_RATE_LIMIT_ENABLE": "true",
                "GLOBAL_API_RATE_LIMIT": "2",
                "GLOBAL_WEB_RATE_LIMIT_ENABLE": "true",
                "GLOBAL_WEB_RATE_LIMIT": "1",
            }
        )
        for path, statuses in (
            ("/api/notice", [200, 200, 429]),
            ("/", [200, 429, 429]),
            ("/livez", [200, 200, 200]),
        ):
            found = [gateway.ask("GET", path).status for _ in range(3)]
            self.assertEqual(found, statuses, path)
        answer = gateway.ask("GET", "/api/notice")
        self.assertEqual(answer.code, "rate_limited")
        self.assertEqual(answer.get("Retry-After"), "180")
        self.assertEqual(
            gateway.ask("GET", "/api/notice", peer="203.0.113.10").status, 200
        )


class FrontTests(SynchronousTestCase):
    """The page at `/`."""

    def test_waiting(self) -> None:
        """Before the set-up it says how to do it, with the reader's own address."""
        answer = Gateway().ask("GET", "/", None, HTML)
        page = answer.body.decode()
        self.assertEqual(answer.get("Content-Type"), "text/html; charset=utf-8")
        self.assertIn("curl http://gateway.example/api/setup", page)
        self.assertIn("INITIAL_ROOT_PASSWORD", page)

    def test_running(self) -> None:
        """Afterwards it says that it runs, and how to call it."""
        gateway = Gateway()
        gateway.set_up()
        page = gateway.ask("GET", "/", None, HTML).body.decode()
        self.assertNotIn("/api/setup", page)
        self.assertIn("curl http://gateway.example/v1/chat/completions", page)
        self.assertIn("v-test", page)
        self.assertIn("1 h 1 min", page)

    def test_self_contained(self) -> None:
        """Nothing is loaded from anywhere, and nothing may be."""
        answer = Gateway().ask("GET", "/", None, HTML)
        self.assertIn("default-src 'none'", answer.get("Content-Security-Policy"))
        page = answer.body.decode()
        self.assertNotIn("<script", page)
        self.assertEqual(re.findall(r"(?:src|@import|url\()", page), [])
        self.assertIn("prefers-color-scheme:dark", page)
        self.assertIn('name="viewport"', page)

    def test_escapes(self) -> None:
        """Name and address of the site cannot smuggle markup in."""
        gateway = Gateway()
        gateway.set_option("SystemName", "<b>x</b>")
        evil = {**HTML, "Host": 'a"><script>alert(1)</script>'}
        page = gateway.ask("GET", "/", None, evil).body.decode()
        self.assertNotIn("<b>x</b>", page)
        self.assertNotIn("<script>", page)

    def test_configured_address(self) -> None:
        """The examples use the configured address."""
        gateway = Gateway()
        gateway.set_option("ServerAddress", "https://public.example")
        page = gateway.ask("GET", "/", None, HTML).body.decode()
        self.assertIn("curl https://public.example/api/setup", page)

    def test_json(self) -> None:
        """Programs get the facts as JSON."""
        answer = Gateway().ask("GET", "/", None, {"Accept": "application/json"})
        self.assertEqual(answer.json["set_up"], False)
        self.assertEqual(answer.json["version"], "v-test")

    def test_methods(self) -> None:
        """HEAD has no body, POST is no method of a page."""
        answer = Gateway().ask("HEAD", "/")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(Gateway().ask("POST", "/", b"").status, 405)

    def test_duration(self) -> None:
        """Spans are told in two units."""
        for seconds, expected in (
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_661, "1 h 1 min"),
            (90_000, "1 d 1 h"),
            (-5, "0 s"),
        ):
            self.assertEqual(_duration(seconds), expected)
