"""The relay in the general lane: the same `Reply` over a `twisted.web` request.

`twisted.web` calls only after the whole body has arrived, so the credential is not
checked before it here; everything else is as in the fast lane, whose twin this is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request

from knight_tw.errors import BodyUnreadable, KnightError
from knight_tw.protocols.heads import safe
from knight_tw.protocols.reply import Headers, Surface
from knight_tw.records import Dialect, Head
from knight_tw.wire import envelope

log = Logger()

ClientAddress = Callable[[str, Sequence[str]], str]
"""Peer and values of `X-Forwarded-For` to the client's address."""

_OWN = frozenset(("connection", "content-length", "keep-alive", "transfer-encoding"))
"""Headers that `twisted.web` writes, because they frame the message."""

_BODILESS = frozenset((204, 304))


class WebReply:
    """One answer to a `twisted.web` request.

    Attributes:
        begun: A byte of the head has been written.
        gone: The client has left.
        done: The answer is complete, or was cut off.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._told: list[Callable[[], None]] = []
        self._producing = False
        self.begun = self.gone = self.done = False
        finished = request.notifyFinish()
        finished.addCallbacks(lambda _: None, self._lost)

    def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """The complete answer with its `Content-Length`."""
        if self.gone or self.done:
            return
        self._open(status, headers)
        self._finish()
        self._detach()
        request = self._request
        if status not in _BODILESS:
            request.responseHeaders.setRawHeaders("Content-Length", [str(len(body))])
        request.write(body)  # type: ignore[no-untyped-call]  # bare there
        request.finish()  # type: ignore[no-untyped-call]  # bare there

    def begin(self, status: int, headers: Headers) -> None:
        """The head of an answer whose length is unknown (chunked for HTTP/1.1)."""
        if self.gone or self.done:
            return
        self._open(status, headers)
        self._request.write(b"")  # type: ignore[no-untyped-call]  # bare there

    def write(self, chunk: bytes) -> None:
        """A piece of the body."""
        if self.gone or self.done or not chunk:
            return
        if not self.begun:
            raise RuntimeError("the answer has not begun")
        self._request.write(chunk)  # type: ignore[no-untyped-call]  # bare there

    def end(self) -> None:
        """The answer is complete."""
        if self.gone or self.done:
            return
        if not self.begun:
            raise RuntimeError("the answer has not begun")
        self._finish()
        self._detach()
        self._request.finish()  # type: ignore[no-untyped-call]  # bare there

    def abort(self) -> None:
        """The answer cannot be completed: the connection is cut.

        A chunked answer shows by its missing end that it was cut, so what was written
        still arrives; any other connection is reset.
        """
        if self.gone or self.done:
            return
        self._finish()
        self._detach()
        channel: Any = self._request.channel
        if self.begun and self._request.chunked:
            channel.loseConnection()
        elif channel.transport is not None:
            channel.transport.abortConnection()

    def on_gone(self, told: Callable[[], None]) -> None:
        """`told()` is called once when the client leaves before `end` or `whole`."""
        if self.done:
            return
        if self.gone:
            told()
        else:
            self._told.append(told)

    def attach(self, producer: IPushProducer) -> None:
        """`producer` is paused while the client reads too slowly, until `end`."""
        if self.gone or self.done:
            return
        self._detach()
        self._producing = True
        self._request.registerProducer(producer, True)  # type: ignore[no-untyped-call]

    def _finish(self) -> None:
        self.done = True
        # Who is to be told usually holds this reply, too.
        self._told = []

    def _open(self, status: int, headers: Headers) -> None:
        if self.begun:
            raise RuntimeError("the answer has begun already")
        self.begun = True
        request = self._request
        request.setResponseCode(status)
        request.responseHeaders.removeHeader("Server")
        for name in {name.lower() for name, _ in headers}:
            request.responseHeaders.removeHeader(name)
        for name, value in headers:
            if name.lower() in _OWN:
                continue
            if safe(name, value):
                request.responseHeaders.addRawHeader(name, value)
            else:
                log.error("a header with a line break was not sent")

    def _detach(self) -> None:
        if self._producing:
            self._producing = False
            self._request.unregisterProducer()  # type: ignore[no-untyped-call]

    def _lost(self, _: Failure) -> None:
        """The client has left; `twisted.web` allows nothing but silence now."""
        self.gone = True
        told, self._told = self._told, []
        if self.done:
            return
        for tell in told:
            try:
                tell()
            except Exception:  # noqa: BLE001 - the others must hear of it
                log.failure("telling that the client left failed")


def head_of(request: Request, client_address: ClientAddress) -> Head:
    """The head of a `twisted.web` request, as the fast lane makes it.

    twisted.web spells and groups header names its own way: their order is by first
    appearance.
    """
    fields = [
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, values in request.requestHeaders.getAllRawHeaders()
        for value in values
    ]
    path, _, query = request.uri.decode("latin-1").partition("?")
    if not path.startswith("/"):
        path = request.path.decode("latin-1")
    peer = getattr(request.client, "host", "")
    forwarded = [value for name, value in fields if name == "x-forwarded-for"]
    client = client_address(peer, forwarded) if forwarded else peer
    return Head(request.method.decode("latin-1"), path, query, fields, peer, client)


def serve(
    request: Request,
    surface: Surface,
    body_limit: int,
    client_address: ClientAddress,
) -> None:
    """Let `surface` answer a request whose body has arrived (`NOT_DONE_YET`)."""
    reply = WebReply(request)
    try:
        exchange = surface.open(head_of(request, client_address), reply)
        if reply.done:
            return
        content = request.content
        body = b"" if content is None else content.read(body_limit + 1)
        if len(body) > body_limit:
            refusal = BodyUnreadable("the request body is too large", status=413)
            exchange.refuse(refusal)
        else:
            exchange.body(body)
    except Exception:  # noqa: BLE001 - the surface's bug is the client's 500
        log.failure("a request failed")
        if reply.begun:
            reply.abort()
        else:
            body = envelope.render(KnightError("internal error"), Dialect.CHAT)
            reply.whole(500, [("Content-Type", "application/json")], body)
