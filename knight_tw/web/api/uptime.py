"""`/api/uptime/status`: what the site's Uptime Kuma status pages say.

Each configured group is a public status page of an Uptime Kuma server, read by two of
its routes: `/api/status-page/<slug>` (names and groups of the monitors) and
`/api/status-page/heartbeat/<slug>` (last beats and uptimes). Since guests may ask, the
answer is kept for a minute and never fetched twice at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from attrs import define, field
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.server import Request

from knight_tw.options import Options
from knight_tw.web.api.answers import install, ok
from knight_tw.web.auth import Who, mark

log = Logger()

KEPT_SECONDS = 60.0
GROUP_SECONDS, TOTAL_SECONDS = 10.0, 30.0
LARGEST = 2_097_152
"""Bytes of a status page that are looked at; more is not one."""

_DAY = "_24"
"""Ending of an uptime's key: that of the last 24 hours."""


class HttpClient(Protocol):
    """What is needed of `treq.client.HTTPClient`."""

    def get(self, url: str, /, *, timeout: float) -> Deferred[Any]:
        """A response with `.code` and `.content()`."""
        ...


@define(eq=False)
class UptimeApi:
    """The route of the status pages."""

    _options: Callable[[], Options]
    _http: HttpClient
    _clock: IReactorTime
    _kept: list[dict[str, Any]] = field(factory=list, init=False)
    _asked: str | None = field(default=None, init=False)
    _fresh_until: float = field(default=0.0, init=False)

    app = Klein()
    install(app)

    @app.route("/api/uptime/status", methods=["GET"])
    @mark(Who.ANYONE)
    async def status(self, request: Request) -> bytes:
        """The monitors of every group; none for a page that does not answer."""
        options = self._options()
        groups = options.json("console_setting.uptime_kuma_groups") or []
        if not groups or not options.flag("console_setting.uptime_kuma_enabled"):
            return ok([])
        asked = options.text("console_setting.uptime_kuma_groups")
        now = self._clock.seconds()
        if asked != self._asked or now >= self._fresh_until:
            # Set first: whoever asks meanwhile gets what there is.
            self._asked, self._fresh_until = asked, now + TOTAL_SECONDS
            self._kept = await self._all(groups)
            self._fresh_until = self._clock.seconds() + KEPT_SECONDS
        return ok(self._kept)

    async def _all(self, groups: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        fetched = [Deferred.fromCoroutine(self._group(group)) for group in groups]
        return list(await gatherResults(fetched, consumeErrors=True))

    async def _group(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """One group with its monitors, within ten seconds."""
        reading = Deferred.fromCoroutine(self._monitors(group))
        reading.addTimeout(GROUP_SECONDS, self._clock)
        try:
            monitors = await reading
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - any failure of a foreign server
            log.warn("a status page could not be read: {why}", why=repr(error)[:300])
            monitors = []
        return {"categoryName": group.get("categoryName", ""), "monitors": monitors}

    async def _monitors(self, group: Mapping[str, Any]) -> list[dict[str, Any]]:
        base = f"{str(group['url']).rstrip('/')}/api/status-page"
        page = await self._json(f"{base}/{group['slug']}")
        beats = await self._json(f"{base}/heartbeat/{group['slug']}")
        return monitors(page, beats)

    async def _json(self, url: str) -> dict[str, Any]:
        response = await self._http.get(url, timeout=GROUP_SECONDS)
        body: bytes = await response.content()
        if response.code != 200 or len(body) > LARGEST:
            raise ValueError(f"{response.code} with {len(body)} bytes")
        return msgspec.json.decode(body, type=dict[str, Any])


def monitors(page: Mapping[str, Any], beats: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`{name, uptime, status, group}` of each monitor of a status page.

    `uptime` is the share of the last day, 0 to 1; `status` 0 down, 1 up, 2 pending,
    3 maintenance.
    """
    uptimes, lists = beats.get("uptimeList") or {}, beats.get("heartbeatList") or {}
    found = []
    for public in page.get("publicGroupList") or []:
        for monitor in public.get("monitorList") or []:
            number = monitor.get("id")
            last = (lists.get(str(number)) or [{}])[-1]
            found.append(
                {
                    "name": monitor.get("name", ""),
                    "uptime": uptimes.get(f"{number}{_DAY}") or 0,
                    "status": last.get("status", 0),
                    "group": public.get("name", ""),
                }
            )
    return found
