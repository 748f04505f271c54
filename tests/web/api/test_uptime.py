"""Tests of the status pages."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.web.api.uptime import UptimeApi, monitors
from tests.web.gateway import Gateway

PAGE = {
    "publicGroupList": [
        {"name": "Core", "monitorList": [{"id": 7, "name": "main"}]},
        {"name": "Rest", "monitorList": [{"id": 8, "name": "other"}]},
    ]
}
BEATS = {
    "heartbeatList": {"7": [{"status": 0}, {"status": 1}]},
    "uptimeList": {"7_24": 0.998},
}
GROUPS = json.dumps(
    [
        {"categoryName": "Ours", "url": "https://up.example/", "slug": "main"},
        {"categoryName": "Broken", "url": "https://down.example", "slug": "main"},
    ]
)
PATH = "/api/uptime/status"


class Response:
    """What the HTTP client gives."""

    def __init__(self, code: int, body: bytes) -> None:
        self.code = code
        self._body = body

    async def content(self) -> bytes:
        """The body."""
        return self._body


class Pages:
    """Stands for the HTTP client."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = False

    def get(self, url: str, **options: Any) -> Deferred[Response]:
        """One host answers, the other does not."""
        self.asked.append(url)
        if self.silent:
            return Deferred()
        if "down" in url:
            return succeed(Response(502, b"no"))
        body = BEATS if "/heartbeat/" in url else PAGE
        return succeed(Response(200, json.dumps(body).encode()))


class RouteTests(SynchronousTestCase):
    """GET /api/uptime/status."""

    def setUp(self) -> None:
        """A gateway with the route."""
        self.pages = Pages()
        self.gateway = Gateway()
        self.gateway.extra.append(
            UptimeApi(self.gateway.view, self.pages, self.gateway.clock)
        )
        self.gateway.site = self.gateway._site()

    def test_none(self) -> None:
        """Without groups, or switched off, nothing is asked and the list is empty."""
        self.assertEqual(self.gateway.ask("GET", PATH).data, [])
        self.gateway.set_option("console_setting.uptime_kuma_groups", GROUPS)
        self.gateway.set_option("console_setting.uptime_kuma_enabled", "false")
        self.assertEqual(self.gateway.ask("GET", PATH).data, [])
        self.assertEqual(self.pages.asked, [])

    def test_groups(self) -> None:
        """A group has its monitors; one that cannot be read has none."""
        self.gateway.set_option("console_setting.uptime_kuma_groups", GROUPS)
        data = self.gateway.ask("GET", PATH).data
        self.assertEqual([one["categoryName"] for one in data], ["Ours", "Broken"])
        self.assertEqual(
            data[0]["monitors"][0],
            {"name": "main", "uptime": 0.998, "status": 1, "group": "Core"},
        )
        self.assertEqual(data[1]["monitors"], [])
        self.assertIn("https://up.example/api/status-page/main", self.pages.asked)

    def test_kept(self) -> None:
        """For a minute nobody is asked again."""
        self.gateway.set_option("console_setting.uptime_kuma_groups", GROUPS)
        self.gateway.ask("GET", PATH)
        asked = len(self.pages.asked)
        self.gateway.clock.advance(59)
        self.gateway.ask("GET", PATH)
        self.assertEqual(len(self.pages.asked), asked)
        self.gateway.clock.advance(1)
        self.gateway.ask("GET", PATH)
        self.assertEqual(len(self.pages.asked), 2 * asked)

    def test_silent(self) -> None:
        """A page that does not answer is given up after ten seconds."""
        self.gateway.set_option("console_setting.uptime_kuma_groups", GROUPS)
        self.pages.silent = True
        self.assertRaises(AssertionError, self.gateway.ask, "GET", PATH)
        meanwhile = self.gateway.ask("GET", PATH).data
        self.assertEqual(meanwhile, [])
        self.gateway.clock.advance(10)
        data = self.gateway.ask("GET", PATH).data
        self.assertEqual([one["monitors"] for one in data], [[], []])


class MonitorTests(SynchronousTestCase):
    """`monitors`."""

    def test_gaps(self) -> None:
        """A monitor without beats is down; missing lists are empty."""
        found = monitors(PAGE, BEATS)
        self.assertEqual(
            found[1], {"name": "other", "uptime": 0, "status": 0, "group": "Rest"}
        )
        self.assertEqual(monitors({}, {}), [])
