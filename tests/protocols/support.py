"""A surface that records, a transport that can be slow, and clients to go with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Site

from knight_tw.errors import KnightError
from knight_tw.protocols.fast_lane import FastLane
from knight_tw.protocols.reply import Reply
from knight_tw.protocols.server import Lanes, Limits
from knight_tw.records import Head

JSON = [("Content-Type", "application/json")]


@define(eq=False)
class Exchanged:
    """One request, as a surface saw it."""

    head: Head
    reply: Reply
    surface: RecordingSurface
    whole: bytes | None = None
    refused: KnightError | None = None
    gone: int = 0

    def body(self, whole: bytes) -> None:
        """Note the body, and answer when the surface answers at once."""
        self.whole = whole
        if self.surface.on_body is not None:
            self.surface.on_body(self)

    def refuse(self, error: KnightError) -> None:
        """Note the error and answer it."""
        self.refused = error
        self.reply.whole(error.status, JSON, error.code.encode())

    def left(self) -> None:
        """Note that the client has left."""
        self.gone += 1


@define(eq=False)
class RecordingSurface:
    """Claims `/v1/…`; `on_open` and `on_body` may answer."""

    on_open: Callable[[Exchanged], None] | None = None
    on_body: Callable[[Exchanged], None] | None = None
    seen: list[Exchanged] = field(factory=list)

    def claims(self, path: str) -> bool:
        """True below `/v1/`."""
        return path.startswith("/v1/")

    def open(self, head: Head, reply: Reply) -> Exchanged:
        """Note the head."""
        exchanged = Exchanged(head, reply, self)
        self.seen.append(exchanged)
        reply.on_gone(exchanged.left)
        if self.on_open is not None:
            self.on_open(exchanged)
        return exchanged

    @property
    def last(self) -> Exchanged:
        """The latest request."""
        return self.seen[-1]


def echo(exchanged: Exchanged) -> None:
    """Answer with method, path and body."""
    head, whole = exchanged.head, exchanged.whole or b""
    line = f"{head.method} {head.path} ".encode("latin-1")
    exchanged.reply.whole(200, [("Content-Type", "text/plain")], line + whole)


class Page(Resource):
    """A page of the general lane that tells what was asked."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        """Method, path and body."""
        body: bytes = request.content.read()
        return b"general %b %b %b" % (request.method, request.path, body)


@define(eq=False)
class Producer:
    """A push producer that counts what it is told."""

    log: list[str] = field(factory=list)

    def pauseProducing(self) -> None:
        """Noted."""
        self.log.append("pause")

    def resumeProducing(self) -> None:
        """Noted."""
        self.log.append("resume")

    def stopProducing(self) -> None:
        """Noted."""
        self.log.append("stop")


def producer() -> Any:
    """A `Producer`, as whoever wants an `IPushProducer` takes it."""
    made = Producer()
    assert isinstance(made, Producer) or IPushProducer
    return made


class Line(StringTransport):
    """A connection in memory that notes how it was closed."""

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 5000))
        self.cut = False

    def abortConnection(self) -> None:
        """Noted."""
        self.cut = True


@define(eq=False)
class Bench:
    """Connections to a surface, in memory and on a clock."""

    surface: RecordingSurface = field(factory=RecordingSurface)
    clock: Clock = field(factory=Clock)
    limits: Limits = field(factory=Limits)
    fast: bool = True
    lanes: Lanes = field(init=False)

    @lanes.default
    def _make_lanes(self) -> Lanes:
        site = Site(Page(), reactor=self.clock)

        def client_address(peer: str, forwarded: Any) -> str:
            return f"{peer} for {'|'.join(forwarded)}"

        return Lanes(
            self.surface,
            site,
            client_address=client_address,
            clock=self.clock,
            limits=self.limits,
            fast=self.fast,
        )

    def connect(self) -> tuple[FastLane, Line]:
        """A new connection."""
        lane, line = self.lanes.buildProtocol(None), Line()
        lane.makeConnection(line)
        return lane, line

    def pass_time(self, seconds: float) -> None:
        """Let the clock run, with all its ticks."""
        self.clock.pump([0.5] * int(seconds * 2))


def leave(lane: FastLane) -> None:
    """The client closes."""
    lane.connectionLost(Failure(ConnectionDone()))


def post(
    path: str = "/v1/x", body: bytes = b"", *headers: str, version: str = "1.1"
) -> bytes:
    """A POST request."""
    lines = [f"POST {path} HTTP/{version}", "Host: h", *headers]
    if not any("hunked" in header for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def get(path: str = "/v1/x", *headers: str, version: str = "1.1") -> bytes:
    """A GET request."""
    lines = [f"GET {path} HTTP/{version}", "Host: h", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def parted(data: bytes) -> tuple[str, dict[str, str], bytes]:
    """Status line, headers (names in lower case) and body of an answer."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(": ") for line in lines]
    return first, {name.lower(): value for name, _, value in pairs}, body
