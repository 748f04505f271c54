"""The relay's surface: from a request's head to a rendered answer, for both lanes.

Here a path becomes a route, a credential a `Caller`, and every `KnightError` the body
its dialect's clients understand. What happens between is `relay.Relay`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from knight_tw import requestid
from knight_tw.accounts.callers import Callers
from knight_tw.accounts.credentials import credential
from knight_tw.errors import (
    KnightError,
    MethodNotAllowed,
    NotFound,
    NotImplementedHere,
    Overloaded,
    ShuttingDown,
)
from knight_tw.metrics import CLIENT_LEFT, Meter
from knight_tw.protocols.reply import Exchange, Headers, Reply
from knight_tw.records import Caller, Dialect, Head
from knight_tw.relay import Relay
from knight_tw.relay.call import Call
from knight_tw.relay.limits import RateLimits
from knight_tw.web import routes
from knight_tw.web.routes import Route
from knight_tw.wire import envelope

_EXPOSED = "X-Oneapi-Request-Id, X-Request-Id, Retry-After"
_METHODS = "GET, POST, PUT, DELETE, OPTIONS"
_JSON = ("Content-Type", "application/json")


class WebsocketOnly(KnightError):
    """The path is a websocket's, and the request asks for none."""

    status, code = 426, "upgrade_not_supported"


class Lists(Protocol):
    """Answers that need no upstream: the model lists."""

    def __call__(self, route: Route, head: Head, caller: Caller) -> bytes:
        """The JSON body of a list or of one model."""
        ...


@define(eq=False)
class RelaySurface:
    """Both lanes' way into the relay."""

    _relay: Relay
    _callers: Callers
    _limits: RateLimits
    _lists: Lists
    _clock: IReactorTime
    _meter: Meter
    _ids: requestid.RequestIds = field(factory=requestid.RequestIds)
    _version: Callable[[], str] = str
    """The version that answers name, empty for none."""
    draining: bool = False
    overloaded: str = ""
    """What the machine has too little of; calls are refused meanwhile."""
    _log: Logger = field(factory=Logger)

    def claims(self, path: str) -> bool:
        """True when the relay answers this path, whatever the method."""
        return routes.claimed(path)

    def open(self, head: Head, reply: Reply) -> Exchange:
        """Begin a call; the credential is checked before the body is read."""
        now = self._clock.seconds()
        incoming = _Incoming(self, head, reply, self._ids.new(now), now)
        mark = requestid.current.set(incoming.request_id)
        try:
            incoming.begin()
        finally:
            requestid.current.reset(mark)
        return incoming


@define(eq=False)
class _Incoming:
    """One request on its way: waits for the caller and the body, then runs."""

    _surface: RelaySurface
    _head: Head
    _reply: Reply
    request_id: str
    _began: float
    _route: Route | None = None
    _caller: Caller | None = None
    _body: bytes | None = None
    _arrived: float = 0.0
    _auth: float = 0.0
    _call: Call | None = None
    _over: bool = False
    _counted: bool = False

    def begin(self) -> None:
        """Everything that can be said from the head alone."""
        try:
            if self._head.method == "OPTIONS":
                self._answer(204, self._preflight(), b"")
                return
            if self._surface.draining:
                raise ShuttingDown("the gateway is restarting", retry_after=1)
            if self._surface.overloaded:
                raise Overloaded("the gateway is overloaded", retry_after=5)
            self._route = route = self._find()
            if route.answer == "websocket":
                raise WebsocketOnly(
                    "this path is a websocket: send `Connection: Upgrade` and "
                    "`Upgrade: websocket`"
                )
            self._admit()
        except KnightError as error:
            self._fail(error)

    def body(self, whole: bytes) -> None:
        """The request body is complete."""
        self._body = whole
        self._arrived = self._surface._clock.seconds()
        self._proceed()

    def refuse(self, error: KnightError) -> None:
        """The body cannot be had."""
        self._fail(error)

    # before the call ---------------------------------------------------------

    def _find(self) -> Route:
        """The route of method and path.

        Raises:
            NotFound, MethodNotAllowed.
        """
        method, path = self._head.method, self._head.path
        found = routes.find(path)
        for route in found:
            if method in route.methods:
                return route
        if not found:
            raise NotFound(
                f"Invalid URL ({method} {path})", code="", type="invalid_request_error"
            )
        self._route = found[0]
        allowed = sorted({name for route in found for name in route.methods})
        raise MethodNotAllowed(
            f"{method} is not allowed here", metadata={"allow": ", ".join(allowed)}
        )

    def _admit(self) -> None:
        admitted = self._surface._callers.admit(
            credential(self._head), self._head.client
        )
        if isinstance(admitted, Caller):
            self._admitted(admitted)
        else:
            admitted.addCallbacks(self._waited, self._failed)
            admitted.addErrback(self._failed)

    def _waited(self, caller: Caller) -> None:
        self._auth = self._surface._clock.seconds() - self._began
        self._admitted(caller)

    def _admitted(self, caller: Caller) -> None:
        limited = self._surface._limits.check(caller)
        if limited is None:
            self._known(caller)
        else:
            limited.addCallbacks(lambda _: self._known(caller), self._failed)

    def _known(self, caller: Caller) -> None:
        self._caller = caller
        self._proceed()

    # the call ----------------------------------------------------------------

    def _proceed(self) -> None:
        caller, body, route = self._caller, self._body, self._route
        if self._over or caller is None or body is None or route is None:
            return
        self._over = True
        if route.mode is None:
            self._own_answer(route, caller)
            return
        call = Call(
            self.request_id,
            self._head,
            route.mode,
            route.dialect,
            route.path,
            caller,
            self._began,
            body,
            model=route.argument,
            action=route.action,
            auth=self._auth,
        )
        self._call = call
        mark = requestid.current.set(self.request_id)
        try:
            running = Deferred.fromCoroutine(
                self._surface._relay.answer(call, self._reply, self._headers)
            )
        finally:
            requestid.current.reset(mark)
        if not running.called:
            self._reply.on_gone(lambda: self._surface._relay.left(call, running))

        def succeeded(status: int) -> None:
            self._count(status)
            self._surface._limits.succeeded(caller, status)

        running.addCallbacks(succeeded, self._failed)

    def _own_answer(self, route: Route, caller: Caller) -> None:
        try:
            if route.answer == "unserved":
                raise NotImplementedHere("API not implemented")
            answer = self._surface._lists(route, self._head, caller)
        except KnightError as error:
            self._fail(error)
        else:
            self._answer(200, [_JSON], answer)
            self._count(200)

    def _count(self, status: int) -> None:
        """The request is over: once in the metrics. A stream that had begun before it
        failed counts under the status of its error."""
        if self._counted:
            return
        self._counted = True
        call, meter, dialect = self._call, self._surface._meter, self._dialect()
        if call is None:
            meter.answered(
                dialect, self._route.mode if self._route else None, False, status
            )
            return
        meter.answered(dialect, call.mode, call.stream, status)
        now = self._surface._clock.seconds()
        heard = call.first_byte - self._began if call.first_byte else None
        ours = now - self._arrived - call.waited
        meter.took(dialect, call.stream, now - self._began, heard, ours)

    # answers -----------------------------------------------------------------

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, KnightError):
            self._fail(error)
        elif isinstance(error, CancelledError):
            self._over = True
            self._reply.abort()
            self._count(CLIENT_LEFT)
        else:
            self._surface._log.failure(
                "request {request_id} failed", failure, request_id=self.request_id
            )
            self._fail(KnightError("internal error"))

    def _fail(self, error: KnightError) -> None:
        """Render a failure: as a whole answer, or inside a stream that has begun."""
        self._over = True
        self._count(error.status)
        dialect = self._dialect()
        self._surface._log.info(
            "{method} {path} refused: {status} {code} {why} (request {request_id})",
            method=self._head.method,
            path=self._head.path,
            status=error.status,
            code=error.code,
            why=error.detail or error.message,
            request_id=self.request_id,
        )
        if self._reply.begun:
            self._reply.write(envelope.in_stream(error, dialect, self.request_id))
            self._reply.end()
            return
        body = envelope.render(error, dialect, self.request_id)
        self._answer(error.status, [_JSON, *refusal_headers(error)], body)

    def _dialect(self) -> Dialect:
        if self._route is not None:
            return self._route.dialect
        return routes.dialect_of(self._head.path)

    def _answer(self, status: int, headers: Headers, body: bytes) -> None:
        self._over = True
        self._reply.whole(status, [*self._headers(), *headers], body)

    def _headers(self) -> Headers:
        """Headers of every answer of this request."""
        found = answer_headers(self.request_id, self._surface._version())
        if self._route is not None and self._route.dialect is Dialect.CLAUDE:
            found.append(("request-id", self.request_id))
        return found

    def _preflight(self) -> Headers:
        wanted = self._head.get("access-control-request-headers")
        return [
            ("Access-Control-Allow-Methods", _METHODS),
            ("Access-Control-Allow-Headers", wanted or "*"),
            ("Access-Control-Max-Age", "43200"),
        ]


def answer_headers(request_id: str, version: str = "") -> Headers:
    """Headers of every answer of the relay.

    Args:
        version: Ours, empty when it is not told (option `relay.version_header`).
    """
    found: Headers = [
        ("X-Oneapi-Request-Id", request_id),
        ("X-Request-Id", request_id),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Expose-Headers", _EXPOSED),
    ]
    if version:
        found.append(("X-Knight-Version", version))
    return found


def refusal_headers(error: KnightError) -> Headers:
    """`Retry-After`, `Allow` and `Upgrade`, where the error has them."""
    found: Headers = []
    if error.retry_after is not None:
        found.append(("Retry-After", str(max(1, round(error.retry_after)))))
    if error.status == 405 and isinstance(error.metadata, dict):
        found.append(("Allow", str(error.metadata["allow"])))
    if isinstance(error, WebsocketOnly):
        found.append(("Upgrade", "websocket"))
    return found
