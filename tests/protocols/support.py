"""A surface that records, a transport that can be slow, and clients to go with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.internet.task import Clock, deferLater
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


class RawClient(Protocol):
    """A client on a real socket.

    Attributes:
        received: Everything that has come.
        lost: Fires with the reason, an exception, when the connection closes.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[BaseException | None] = Deferred()
        self.reason: Failure | None = None
        self._waiting: list[tuple[Callable[[bytes], bool], Deferred[bytes]]] = []

    def dataReceived(self, data: bytes) -> None:
        """Collect."""
        self.received += data
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        self.reason = reason
        self.lost.callback(reason.value)
        for _, waiting in self._waiting:
            waiting.errback(reason)

    def until(self, good: Callable[[bytes], bool]) -> Deferred[bytes]:
        """What has been received, once it is `good`."""
        waiting: Deferred[bytes] = Deferred()
        self._waiting.append((good, waiting))
        self._look()
        if self.reason is not None and not waiting.called:
            waiting.errback(self.reason)
        return waiting

    def until_holds(self, text: bytes) -> Deferred[bytes]:
        """What has been received, once it holds `text`."""
        return self.until(lambda received: text in received)

    def _look(self) -> None:
        for entry in tuple(self._waiting):
            if entry[0](self.received):
                self._waiting.remove(entry)
                entry[1].callback(self.received)


def pause(seconds: float) -> Deferred[None]:
    """Fires after some seconds."""
    return deferLater(reactor, seconds, lambda: None)


async def eventually(true: Callable[[], object], seconds: float = 5.0) -> None:
    """Waits until something is true.

    Raises:
        AssertionError: it never is.
    """
    for _ in range(int(seconds / 0.02)):
        if true():
            return
        await pause(0.02)
    raise AssertionError("it never came true")


@cache
def authority() -> tuple[Certificate, PrivateCertificate]:
    """A certificate authority, and a server's certificate for `localhost` by it."""
    now = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        for text in ("Test authority", "localhost")
    )

    def certificate(
        subject: x509.Name, public: Any, extension: x509.ExtensionType
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now[0])
            .not_valid_after(now[1])
            .add_extension(extension, critical=False)
            .sign(root_key, hashes.SHA256())
        )

    root = certificate(
        root_name, root_key.public_key(), x509.BasicConstraints(True, None)
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    leaf = certificate(name, key.public_key(), names)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = serialization.Encoding.PEM
    return (
        Certificate.loadPEM(root.public_bytes(pem)),
        PrivateCertificate.loadPEM(leaf.public_bytes(pem) + private),
    )
