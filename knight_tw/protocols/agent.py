"""An `IAgent` over the gateway's own client, for treq and everything that speaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProtocol, IPushProducer, ITransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from knight_tw.errors import InvalidRequest, KnightError
from knight_tw.protocols.answer import SILENCE, Answer
from knight_tw.protocols.client import failed

MAX_UPLOAD = 256 * 1024 * 1024
"""Largest request body; it is in memory before it is sent."""

Send = Callable[[str, str, list[tuple[str, str]], bytes], Deferred[Answer]]
"""Method, URL, headers and body to the answer."""


@implementer(IAgent)
@define(eq=False)
class PooledAgent:
    """Issues requests through `send`, which knows pools, proxies and the guard."""

    _send: Send

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """The response, once its head is here."""
        return Deferred.fromCoroutine(
            self._responded(method, uri, headers or Headers(), bodyProducer)
        )

    async def _responded(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers,
        producer: IBodyProducer | None,
    ) -> IResponse:
        body = b"" if producer is None else await _produced(producer)
        pairs = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, values in headers.getAllRawHeaders()
            for value in values
        ]
        answer = await self._send(
            method.decode("ascii"), uri.decode("ascii"), pairs, body
        )
        return Response(answer)


async def _produced(producer: IBodyProducer) -> bytes:
    """All that a body producer writes.

    Raises:
        InvalidRequest: it is more than `MAX_UPLOAD`.
    """
    collected = _Collected()
    await producer.startProducing(collected)  # type: ignore[no-untyped-call]
    if collected.size > MAX_UPLOAD:
        raise InvalidRequest("the request body is too large")
    return b"".join(collected.pieces)


@implementer(IConsumer)
class _Collected:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> None:
        """The next piece."""
        self.size += len(data)
        if self.size <= MAX_UPLOAD:
            self.pieces.append(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Nothing: memory takes everything at once."""

    def unregisterProducer(self) -> None:
        """Nothing."""


@implementer(IResponse)
class Response:
    """An answer, as Twisted's HTTP client shows one."""

    version = (b"HTTP", 1, 1)
    phrase = b""
    request = None

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.code = answer.status
        self.previousResponse: IResponse | None = None
        self.headers = Headers()
        for name, value in answer.headers:
            self.headers.addRawHeader(name.encode("latin-1"), value.encode("latin-1"))
        length = answer.get("content-length")
        self.length: Any = int(length) if length.isdigit() else UNKNOWN_LENGTH

    def deliverBody(self, protocol: IProtocol) -> None:
        """Let `protocol` have the body; its transport can pause and close."""
        protocol.makeConnection(cast(ITransport, _BodyTransport(self._answer)))
        self._answer.deliver(_ToProtocol(protocol), SILENCE)

    def setPreviousResponse(self, response: IResponse) -> None:
        """Remember the redirect that led here."""
        self.previousResponse = response


@define
class _ToProtocol:
    """Hands an answer's body to a protocol."""

    _protocol: IProtocol

    def chunk(self, data: bytes) -> None:
        """The next piece."""
        self._protocol.dataReceived(data)

    def ended(self, error: KnightError | None) -> None:
        """The end, in Twisted's words."""
        reason: Exception = ResponseDone()
        if error is not None:
            reason = ResponseFailed([Failure(error)])  # type: ignore[no-untyped-call]
        self._protocol.connectionLost(Failure(reason))  # type: ignore[no-untyped-call]


@implementer(IPushProducer)
@define
class _BodyTransport:
    """What a body protocol may do with the connection it never sees."""

    _answer: Answer
    disconnecting: bool = False

    def pauseProducing(self) -> None:
        """Stop reading."""
        self._answer.pause()

    def resumeProducing(self) -> None:
        """Read on."""
        self._answer.resume()

    def stopProducing(self) -> None:
        """Nothing more is wanted."""
        self.loseConnection()

    def loseConnection(self) -> None:
        """Nothing more is wanted; the protocol still hears `connectionLost`."""
        if not self.disconnecting:
            self.disconnecting = True
            self._answer.give_up(failed("the response was given up"))

    def abortConnection(self) -> None:
        """The same."""
        self.loseConnection()
