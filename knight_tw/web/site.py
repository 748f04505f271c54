"""The `twisted.web` site of the general lane: ids, addresses, limits, the access log.

What `twisted.web` leaves to its user is done here for every request: an id that is in
the answer, in the log and in a `ContextVar`; the client's address behind trusted
proxies; a limit on the body, which otherwise has none; one log line when it is over.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextvars import copy_context
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from attrs import define, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.resource import EncodingResourceWrapper, IResource

from knight_tw import requestid
from knight_tw.requestid import RequestIds
from knight_tw.web.addresses import Proxies

log = Logger()

IN_MEMORY = 1_048_576
"""Bytes of a body that are kept in memory; what is longer goes to a temporary file."""

PATIENCE = 1_048_576
"""Bytes beyond a limit that are read and dropped, so that the client sees our answer
instead of a reset connection; a longer body is cut off."""

_TOO_LARGE = (
    b'{"success":false,"message":"the body is too large",'
    b'"code":"body_too_large","params":{}}'
)
_CUT = (
    b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
    b"Content-Type: application/json; charset=utf-8\r\n\r\n" + _TOO_LARGE
)


@frozen
class BodyLimits:
    """How long a request body may be, in bytes.

    Attributes:
        anonymous: Of a request without any credential, outside of the relay.
        relay: Of one to the relay, which looks for credentials itself.
        is_relay: True for paths of the relay.
        managed: Of one to the management API that has a credential, if only a wrong
            one: such a body is read whole before anybody looks at it.
    """

    anonymous: int
    relay: int
    is_relay: Callable[[str], bool]
    managed: int = 16 * 1_048_576

    def of(self, request: http.Request, target: bytes) -> int:
        """The limit for a request whose headers have arrived."""
        if self.is_relay(target.partition(b"?")[0].decode("latin-1")):
            return self.relay
        headers = request.requestHeaders
        named = headers.hasHeader(b"Authorization") or request.received_cookies
        return min(self.relay, self.managed) if named else self.anonymous


class GatewayRequest(server.Request):
    """A request of the general lane."""

    began = 0.0
    _limit = 0
    _arrived = 0
    _site: GatewaySite | None = None

    @property
    def gateway(self) -> GatewaySite:
        """The site that serves this request, also once the client has left."""
        if self._site is not None:
            return self._site
        channel: Any = self.channel
        return cast(GatewaySite, channel.site)

    def gotLength(self, length: int | None) -> None:
        """Called with the declared length of the body once the headers are there."""
        # Until the whole request has come its target is the channel's alone.
        target = getattr(self.channel, "_path", b"")
        self._limit = self.gateway.limits.of(self, target)
        # The request closes it when it is over.
        body = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self.content = cast(IO[bytes], body)
        if length is not None and length > self._limit + PATIENCE:
            self._cut()

    def handleContentChunk(self, data: bytes) -> None:
        """Called with each piece of the body; what is over the limit is dropped."""
        self._arrived += len(data)
        if self._arrived <= self._limit:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]  # bare
        elif self._arrived > self._limit + PATIENCE:
            self._cut()

    def _cut(self) -> None:
        """Refuse a body that is far too long without reading all of it."""
        transport = self.channel.transport
        if transport is not None and not getattr(transport, "disconnecting", False):
            log.info("a body over {limit} bytes was cut off", limit=self._limit)
            transport.write(_CUT)
            transport.loseConnection()

    def process(self) -> None:
        """Called when the whole request has arrived."""
        self._site = site = self.gateway
        self.began = site.clock.seconds()
        number = site.ids.new(self.began)
        for name in ("X-Oneapi-Request-Id", "X-Request-Id"):
            self.responseHeaders.setRawHeaders(name, [number])
        context = copy_context()
        context.run(requestid.current.set, number)
        context.run(self._begin)

    def _begin(self) -> None:
        if self._arrived <= self._limit:
            super().process()  # type: ignore[no-untyped-call]  # bare there
            return
        self.setResponseCode(http.REQUEST_ENTITY_TOO_LARGE)
        headers = self.responseHeaders
        headers.setRawHeaders("Content-Type", ["application/json; charset=utf-8"])
        headers.setRawHeaders("Content-Length", [str(len(_TOO_LARGE))])
        self.write(_TOO_LARGE)  # type: ignore[no-untyped-call]  # bare there
        self.finish()  # type: ignore[no-untyped-call]  # bare there

    def connectionLost(self, reason: Failure) -> None:
        """Called when the client leaves before the answer is complete."""
        self.gateway.finished(self, left=True)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # bare there

    def getClientAddress(self) -> IAddress:
        """The client's address after trusted proxies."""
        peer: IAddress = self.client
        host = getattr(peer, "host", None)
        if host is None:
            return peer
        forwarded = self._forwarded(b"X-Forwarded-For")
        found = self.gateway.proxies.client(host, forwarded)
        if found == host:
            return peer
        return (IPv6Address if ":" in found else IPv4Address)("TCP", found, 0)

    def isSecure(self) -> bool:
        """True when the client speaks TLS, to us or to a trusted proxy."""
        if super().isSecure():  # type: ignore[no-untyped-call]  # bare there
            return True
        proto = "".join(self._forwarded(b"X-Forwarded-Proto")[-1:])
        trusted = self.gateway.proxies.trusts(getattr(self.client, "host", ""))
        return trusted and proto.strip().lower() == "https"

    def _forwarded(self, name: bytes) -> list[str]:
        values = self.requestHeaders.getRawHeaders(name, [])
        return [value.decode("latin-1") for value in values]


class GatewaySite(server.Site):
    """The site: `root` answers everything.

    Args:
        timeout: Seconds without a byte from the client while a request is awaited.
    """

    requestFactory = GatewayRequest

    def __init__(
        self,
        root: IResource,
        *,
        clock: IReactorTime,
        ids: RequestIds,
        proxies: Proxies,
        limits: BodyLimits,
        timeout: float = 120.0,
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]  # bare there
            EncodingResourceWrapper(root, [JsonGzip()]),  # type: ignore[no-untyped-call]
            timeout=timeout,
            reactor=clock,
            parsePOSTFormSubmission=False,
        )
        self.clock = clock
        self.ids = ids
        self.proxies = proxies
        self.limits = limits

    def startFactory(self) -> None:
        """No log file and no timer for its dates: `log` is ours."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def getResourceFor(self, request: server.Request) -> IResource:
        """The root, always; no banner that names the server's software."""
        request.responseHeaders.removeHeader("Server")
        found: IResource = super().getResourceFor(request)  # type: ignore[no-untyped-call]
        return found

    def log(self, request: http.Request) -> None:
        """One line for a request that was answered."""
        self.finished(cast(GatewayRequest, request), left=False)

    def finished(self, request: GatewayRequest, *, left: bool) -> None:
        """One line for a request that is over; paths only, queries may hold secrets."""
        if not request.began:
            return
        log.info(
            "{method} {path} {status} {bytes} bytes in {seconds:.3f} s for {client}",
            method=request.method.decode("latin-1"),
            path=request.path.decode("latin-1"),
            status="left" if left else request.code,
            bytes=request.sentLength,
            seconds=self.clock.seconds() - request.began,
            client=getattr(request.getClientAddress(), "host", "local"),
            request_id=request.responseHeaders.getRawHeaders("X-Request-Id", [""])[0],
        )


class JsonGzip:
    """Gives requests below `/api` and for `/` an encoder, when the client takes it."""

    def encoderForRequest(self, request: server.Request) -> _Gzip | None:
        """The encoder of one answer, or None."""
        path = request.path
        if path != b"/" and not path.startswith(b"/api/"):
            return None
        accepted = request.requestHeaders.getRawHeaders(b"Accept-Encoding", [])
        wanted = _accepts_gzip(b",".join(accepted).decode("latin-1"))
        return _Gzip(request) if wanted else None


def _accepts_gzip(accepted: str) -> bool:
    """True when an `Accept-Encoding` names gzip without refusing it by `q=0`."""
    for part in accepted.lower().split(","):
        name, _, quality = part.partition(";")
        if name.strip() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


_SMALLEST, _LARGEST = 1_024, 4_194_304


@define
class _Gzip:
    """Compresses an answer whose first write shows that it is worth it.

    Streams and small answers pass: their first piece is not JSON or HTML of a kilobyte.
    """

    _request: server.Request
    _compress: Any = None
    _decided: bool = False

    def encode(self, data: bytes) -> bytes:
        """What to send for `data`."""
        if not self._decided:
            self._decided = True
            self._decide(data)
        if self._compress is None:
            return data
        compressed: bytes = self._compress.compress(data)
        return compressed

    def finish(self) -> bytes:
        """What is left to send."""
        if self._compress is None:
            return b""
        rest: bytes = self._compress.flush()
        return rest

    def _decide(self, data: bytes) -> None:
        headers = self._request.responseHeaders
        kind = headers.getRawHeaders("Content-Type", [""])[0]
        headers.addRawHeader("Vary", "Accept-Encoding")
        if not _SMALLEST <= len(data) <= _LARGEST:
            return
        if not kind.startswith(("application/json", "text/html")):
            return
        headers.setRawHeaders("Content-Encoding", ["gzip"])
        headers.removeHeader("Content-Length")
        # Level 1: a tenth of the time of level 9 for a fifth more bytes.
        self._compress = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
