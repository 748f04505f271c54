"""`GET /metrics`, for those who may see how the process does."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable

from attrs import frozen
from twisted.web.resource import IResource
from twisted.web.server import Request
from zope.interface import implementer

from knight_tw.metrics import CONTENT_TYPE
from knight_tw.web.api.answers import client_ip, header, put_header

PATH = "/metrics"
_PLAIN = "text/plain; charset=utf-8"
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")
"""A request with one of these has come through a proxy, so its peer says nothing."""


@implementer(IResource)
@frozen(eq=False, slots=False)
class MetricsResource:
    """Answers with the page to the bearer of a token, or without a token to loopback.

    Args:
        page: Makes the page.
        token: METRICS_TOKEN.
    """

    _page: Callable[[], bytes]
    _token: str
    isLeaf = True

    def render(self, request: Request) -> bytes:
        """The page, 401, 403 or 405."""
        put_header(request, "Content-Type", _PLAIN)
        put_header(request, "Cache-Control", "no-store")
        if request.method not in (b"GET", b"HEAD"):
            put_header(request, "Allow", "GET, HEAD")
            return _refused(request, 405, b"only GET\n")
        if not self._token:
            if not _local(request):
                return _refused(
                    request, 403, b"only for loopback, unless METRICS_TOKEN is set\n"
                )
        elif not self._bears(request):
            put_header(request, "WWW-Authenticate", "Bearer")
            return _refused(request, 401, b"METRICS_TOKEN is needed\n")
        put_header(request, "Content-Type", CONTENT_TYPE)
        return self._page()

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        """Itself, whatever the path."""
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """A leaf has no children."""
        raise TypeError("the metrics have no children")

    def _bears(self, request: Request) -> bool:
        kind, _, given = header(request, "Authorization").partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode(), self._token.encode()
        )


def _refused(request: Request, status: int, why: bytes) -> bytes:
    request.setResponseCode(status)
    return why


def _local(request: Request) -> bool:
    """True for a caller on this machine who speaks to us directly."""
    if any(request.requestHeaders.hasHeader(name) for name in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(client_ip(request).partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
