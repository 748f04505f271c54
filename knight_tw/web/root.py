"""The root of the general lane: which part answers a path.

`place` is the whole rule, a pure function. Below `/api` the surfaces' own routes decide
(`dispatch.Routes`); what every answer there has in common - content type, no caching,
the version, the global request limit - is set here.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from attrs import field, frozen
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from knight_tw.accounts.limits import Limits, Mark
from knight_tw.options import Options
from knight_tw.web.api import answers
from knight_tw.web.api.answers import put_header
from knight_tw.web.dispatch import Routes

JSON = "application/json; charset=utf-8"
_MAX_AGE = "43200"
_EXPOSED = "X-Oneapi-Request-Id, X-Request-Id, Retry-After"


class Surface(Protocol):
    """A part of the management API: a class with its own Klein."""

    @property
    def app(self) -> Klein:
        """The routes, bound to the instance."""
        ...


Page = Callable[[Request], Awaitable[bytes]]
"""Makes the body of a page; sets its own headers."""


class Place(enum.Enum):
    """The parts of the general lane."""

    FRONT = "front"
    API = "api"
    RELAY = "relay"
    LIVE = "live"
    READY = "ready"
    NOWHERE = "nowhere"


def place(path: str, is_relay: Callable[[str], bool]) -> Place:
    """Which part answers `path`.

    Args:
        is_relay: True for every path that the relay answers, be it with 404.
    """
    if path == "/":
        return Place.FRONT
    if path.startswith(("/api/", "/dashboard/", "/v1/dashboard/")) or path == "/api":
        return Place.API
    if path == "/livez":
        return Place.LIVE
    if path == "/readyz":
        return Place.READY
    return Place.RELAY if is_relay(path) else Place.NOWHERE


def open_to_browsers(path: str) -> bool:
    """True for the API paths that pages of any origin may call, by token key only."""
    return path.startswith(("/dashboard/", "/v1/dashboard/", "/api/usage/")) or (
        path.rstrip("/") == "/api/log/token"
    )


_LONG_NUMBER = re.compile(rb"/[0-9]{19,}(?=/|\Z)")
"""A part of a path that is a number, and no id; our request ids only begin with one."""


def readable(path: bytes) -> bool:
    """True for a path whose variable parts every database can look up: UTF-8 without
    NUL, and no number that is larger than an id can be."""
    plain = unquote_to_bytes(path)
    try:
        plain.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in plain and _LONG_NUMBER.search(plain) is None


def api_routes(surfaces: Iterable[Surface]) -> Routes[IResource]:
    """All routes of all surfaces, each leading to its surface.

    Raises:
        ValueError: two surfaces have the same route.
    """
    routes: Routes[IResource] = Routes()
    for surface in surfaces:
        app = surface.app
        resource = app.resource()
        for rule in app.url_map.iter_rules():
            routes.add(rule.rule, rule.methods or ("GET",), resource)
    return routes


@implementer(IResource)
@frozen(eq=False, slots=False)
class Root:
    """The site's only resource; everything is a leaf of it.

    Attributes:
        api: The management routes.
        relay: Answers the relay's paths.
        front: Answers `/`.
        sockets: Websocket resources by exact path, for requests that ask for one.
        others: Further resources by exact path, e.g. `/metrics`.
        options: Today's options.
        ready: Why this process should get no requests now; empty when it should.
    """

    api: Routes[IResource]
    relay: IResource
    is_relay: Callable[[str], bool]
    front: Page
    limits: Limits
    options: Callable[[], Options]
    version: str
    ready: Callable[[], str]
    sockets: Mapping[str, IResource] = field(factory=dict)
    others: Mapping[str, IResource] = field(factory=dict)

    isLeaf = True

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        """Never asked: the root is a leaf."""
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """Never used: the constructor says what there is."""
        raise NotImplementedError("the root's parts are given to its constructor")

    def render(self, request: Request) -> bytes | int:
        """Answer by the part that `place` names."""
        path = request.path.decode("latin-1")
        upgrade = answers.header(request, "Upgrade").lower()
        socket = self.sockets.get(path) if upgrade == "websocket" else None
        other = socket or self.others.get(path)
        if other is not None:
            return _rendered(other, request)
        where = place(path, self.is_relay)
        if where is Place.RELAY:
            return _rendered(self.relay, request)
        if where is Place.API:
            self._prepare(request, path)
            return _finish(request, self._api(request, path))
        if where is Place.FRONT and request.method in (b"GET", b"HEAD"):
            return _finish(request, self._page(request))
        return self._plain(request, where)

    def _plain(self, request: Request, where: Place) -> bytes:
        put_header(request, "Content-Type", "text/plain; charset=utf-8")
        put_header(request, "Cache-Control", "no-store")
        if where is Place.LIVE:
            return b"ok\n"
        if where is Place.READY:
            why = self.ready()
            request.setResponseCode(503 if why else 200)
            return f"{why or 'ok'}\n".encode()
        put_header(request, "Content-Type", JSON)
        known = where is Place.FRONT
        return answers.unknown_path(request, 405 if known else 404)

    def _prepare(self, request: Request, path: str) -> None:
        """What every answer of the management API has."""
        put_header(request, "Content-Type", JSON)
        put_header(request, "Cache-Control", "no-store")
        put_header(request, "X-New-Api-Version", self.version)
        put_header(request, "X-Content-Type-Options", "nosniff")
        if self.options().flag("compat.one_api_lists"):
            request.requestHeaders.setRawHeaders(answers.ONE_API_HEADER, ["one-api"])
        if open_to_browsers(path):
            put_header(request, "Access-Control-Allow-Origin", "*")
            put_header(request, "Access-Control-Expose-Headers", _EXPOSED)

    async def _api(self, request: Request, path: str) -> bytes | int:
        if request.method == b"OPTIONS" and open_to_browsers(path):
            return _preflight(request)
        await self.limits.check(Mark.GLOBAL_API, answers.client_ip(request))
        surface = None
        if readable(request.path):
            surface = self.api.find(request.method.decode("latin-1"), path)
        if surface is None:
            return answers.unknown_path(request)
        return _rendered(surface, request)

    async def _page(self, request: Request) -> bytes | int:
        await self.limits.check(Mark.GLOBAL_WEB, answers.client_ip(request))
        return await self.front(request)


def _rendered(resource: IResource, request: Request) -> bytes | int:
    answer: bytes | int = resource.render(request)  # type: ignore[no-untyped-call]
    return answer


def _preflight(request: Request) -> bytes:
    asked = answers.header(request, "Access-Control-Request-Headers") or "*"
    put_header(request, "Access-Control-Allow-Methods", "GET, OPTIONS")
    put_header(request, "Access-Control-Allow-Headers", asked)
    put_header(request, "Access-Control-Max-Age", _MAX_AGE)
    request.setResponseCode(204)
    return b""


def _finish(
    request: Request, answer: Coroutine[Deferred[Any], Any, bytes | int]
) -> int:
    """Write what a coroutine answers, unless the client leaves before."""
    gone: list[object] = []

    def left(_: Failure) -> None:
        gone.append(None)
        running.cancel()

    def written(body: bytes | int) -> None:
        if not isinstance(body, bytes) or gone:
            return
        if body:
            put_header(request, "Content-Length", str(len(body)))
        request.write(body)  # type: ignore[no-untyped-call]  # bare there
        request.finish()  # type: ignore[no-untyped-call]  # bare there

    def failed(failure: Failure) -> None:
        if gone and isinstance(failure.value, CancelledError):
            return
        put_header(request, "Content-Type", JSON)
        written(answers.rendered(request, failure))

    request.notifyFinish().addErrback(left)
    running: Deferred[bytes | int] = Deferred.fromCoroutine(answer)
    running.addCallbacks(written, failed)
    return NOT_DONE_YET
