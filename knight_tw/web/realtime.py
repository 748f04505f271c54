"""Websocket handshakes: `/v1/realtime`, and the one that is always declined.

Everything is checked before the upgrade - the form of the handshake, the credential,
the rate limit, the model, the price, the money, the upstream - so that whatever fails
is an HTTP answer in OpenAI's shape. Relay specification, sections 1, 3 and 14.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from knight_tw import requestid
from knight_tw.accounts.callers import Callers
from knight_tw.accounts.credentials import credential
from knight_tw.errors import (
    InvalidRequest,
    KnightError,
    MethodNotAllowed,
    ShuttingDown,
)
from knight_tw.metrics import Meter
from knight_tw.protocols.sockets import Sockets
from knight_tw.protocols.web_reply import ClientAddress, WebReply, head_of
from knight_tw.records import Dialect, Head, Mode
from knight_tw.relay.call import Call
from knight_tw.relay.limits import RateLimits
from knight_tw.relay.realtime import RealtimeRelay, Session, offered
from knight_tw.web.relay import answer_headers, refusal_headers
from knight_tw.wire import envelope

if TYPE_CHECKING:
    from knight_tw.protocols.websocket import ClientSide

PATH = "/v1/realtime"
SUBPROTOCOL = "realtime"
VERSION = "13"
"""Of the websocket protocol."""

_JSON = ("Content-Type", "application/json")
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==\Z")


class UpgradeDeclined(KnightError):
    """The path has no websocket; the client goes on with ordinary requests."""

    status, code = 426, "upgrade_not_supported"


@implementer(IResource)
@frozen(eq=False, slots=False)
class RealtimeResource:
    """Answers handshakes on `/v1/realtime`."""

    _relay: RealtimeRelay
    _sockets: Sockets
    _callers: Callers
    _limits: RateLimits
    _ids: requestid.RequestIds
    _clock: IReactorTime
    _client_address: ClientAddress
    _meter: Meter
    _version: Callable[[], str] = str
    """The version that answers name, empty for none."""
    _log: Logger = field(factory=Logger)
    isLeaf = True

    def render(self, request: Request) -> int:
        """Begin; the answer comes when it comes, at the latest with the last upstream's
        refusal."""
        now = self._clock.seconds()
        request_id = self._ids.new(now)
        mark = requestid.current.set(request_id)
        try:
            self._begin(request, request_id, now)
        finally:
            requestid.current.reset(mark)
        return NOT_DONE_YET

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        """Itself, whatever the path."""
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """A leaf has no children."""
        raise TypeError("a websocket has no children")

    def _begin(self, request: Request, request_id: str, now: float) -> None:
        head = head_of(request, self._client_address)
        reply = WebReply(request)

        def failed(failure: Failure) -> None:
            error = failure.value
            if isinstance(error, CancelledError):
                return
            if not isinstance(error, KnightError):
                self._log.failure(
                    "request {request_id} failed", failure, request_id=request_id
                )
                error = KnightError("internal error")
            self._refuse(reply, head, error, request_id)

        running = Deferred.fromCoroutine(self._serve(request, head, request_id, now))
        running.addErrback(failed)
        if not running.called:
            reply.on_gone(running.cancel)

    async def _serve(
        self, request: Request, head: Head, request_id: str, now: float
    ) -> None:
        """Check everything, then upgrade.

        Raises:
            KnightError: the answer is no upgrade.
        """
        if head.method != "GET":
            raise MethodNotAllowed(
                "websockets begin with GET", metadata={"allow": "GET"}
            )
        if self._relay.sessions.draining:
            raise ShuttingDown("the gateway is restarting", retry_after=1)
        key = handshake_key(head)
        admitted = self._callers.admit(credential(head, websocket=True), head.client)
        caller = await admitted if isinstance(admitted, Deferred) else admitted
        limited = self._limits.check(caller)
        if limited is not None:
            await limited
        call = Call(request_id, head, Mode.REALTIME, Dialect.CHAT, PATH, caller, now)
        session = await self._relay.open(call)
        self._limits.succeeded(caller, 101)
        self._upgrade(request, head, key, session, request_id)

    def _upgrade(
        self, request: Request, head: Head, key: str, session: Session, request_id: str
    ) -> None:
        begun: list[ClientSide] = []

        def opened(side: ClientSide) -> None:
            begun.append(side)
            session.begin(side)

        items = offered(head.get("sec-websocket-protocol"))
        agreed = SUBPROTOCOL if SUBPROTOCOL in items else None
        told = dict(answer_headers(request_id, self._version()))
        side = self._sockets.client(agreed, told, opened)
        try:
            self._sockets.take_over(request, side, key)
        finally:
            if not begun:
                session.abandon()
        self._meter.answered(Dialect.REALTIME, Mode.REALTIME, True, 101)

    def _refuse(
        self, reply: WebReply, head: Head, error: KnightError, request_id: str
    ) -> None:
        self._log.info(
            "websocket {path} refused: {status} {code} {why} (request {request_id})",
            path=head.path,
            status=error.status,
            code=error.code,
            why=error.detail or error.message,
            request_id=request_id,
        )
        self._meter.answered(Dialect.REALTIME, Mode.REALTIME, True, error.status)
        _answer(reply, error, request_id, self._version())


@implementer(IResource)
@frozen(eq=False, slots=False)
class DeclinedResource:
    """Declines a handshake, whoever asks: the client then falls back at once."""

    _ids: requestid.RequestIds
    _clock: IReactorTime
    _version: Callable[[], str] = str
    isLeaf = True

    def render(self, request: Request) -> int:
        """426."""
        request_id = self._ids.new(self._clock.seconds())
        error = UpgradeDeclined("this path has no websocket; send a POST instead")
        _answer(WebReply(request), error, request_id, self._version())
        return NOT_DONE_YET

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        """Itself, whatever the path."""
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """A leaf has no children."""
        raise TypeError("a websocket has no children")


def handshake_key(head: Head) -> str:
    """The key of a well-formed handshake (RFC 6455, section 4.2.1).

    Raises:
        InvalidRequest: it is not one.
    """
    tokens = [item.strip().lower() for item in head.get("connection").split(",")]
    if "upgrade" not in tokens:
        raise InvalidRequest("the websocket handshake lacks `Connection: Upgrade`")
    if head.get("sec-websocket-version").strip() != VERSION:
        raise InvalidRequest(f"the websocket version must be {VERSION}")
    key = head.get("sec-websocket-key").strip()
    if not _KEY.match(key):
        raise InvalidRequest("the websocket handshake has no valid key")
    return key


def _answer(reply: WebReply, error: KnightError, request_id: str, version: str) -> None:
    """A refusal in OpenAI's shape."""
    headers = [*answer_headers(request_id, version), _JSON, *refusal_headers(error)]
    body = envelope.render(error, Dialect.CHAT, request_id)
    reply.whole(error.status, headers, body)
