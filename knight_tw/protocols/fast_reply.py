"""The `Reply` of the fast lane: answers written straight to the client's transport."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger

from knight_tw.protocols.heads import BadHeader, encoded, lines, safe
from knight_tw.protocols.reply import Headers

log = Logger()

_OWN = frozenset(
    ("connection", "content-length", "keep-alive", "transfer-encoding", "date")
)
"""Headers that only the lane writes, because they frame the message."""

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n" for s in HTTPStatus}
_BODILESS = frozenset((204, 304))


class Lane(Protocol):
    """The connection, as its current answer sees it."""

    @property
    def http11(self) -> bool:
        """True when the current request speaks HTTP/1.1."""
        ...

    @property
    def date(self) -> str:
        """The current `Date` header line."""
        ...

    def stays(self, *, delimited: bool) -> bool:
        """Decides whether the connection outlives this answer.

        Args:
            delimited: The answer's end can be told without closing.
        """
        ...

    def send(self, data: bytes) -> None:
        """Write to the client."""
        ...

    def answered(self) -> None:
        """The current answer is complete."""
        ...

    def cut(self, *, orderly: bool) -> None:
        """Close; without `orderly` what is not sent yet is lost, too."""
        ...

    def feed_from(self, producer: IPushProducer | None) -> None:
        """Let `producer` be paused while the client reads too slowly (None: nobody)."""
        ...


class FastReply:
    """One answer on a connection of the fast lane.

    Attributes:
        begun: A byte of the head has been written.
        gone: The client has left.
        done: The answer is complete, or was cut off.
    """

    # Defaults of the class: an answer costs only what it uses.
    begun = gone = done = False
    _chunked = False
    _told: tuple[Callable[[], None], ...] = ()

    def __init__(self, lane: Lane, *, mute: bool) -> None:
        """For a request on `lane`; a `mute` answer (to HEAD) has no body."""
        self._lane = lane
        self._mute = mute

    def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """The complete answer with its `Content-Length`, in one write."""
        if self.gone or self.done:
            return
        self._open()
        self._finish()
        framing = "" if status in _BODILESS else f"Content-Length: {len(body)}\r\n"
        head = self._head(status, headers, framing, self._lane.stays(delimited=True))
        if self._mute or status in _BODILESS:
            body = b""
        self._lane.send(head + body)
        self._lane.answered()

    def begin(self, status: int, headers: Headers) -> None:
        """The head of an answer whose length is unknown (chunked for HTTP/1.1)."""
        if self.gone or self.done:
            return
        self._open()
        lane = self._lane
        framing = ""
        if status in _BODILESS:
            self._mute = True
        elif lane.http11:
            framing = "Transfer-Encoding: chunked\r\n"
            self._chunked = not self._mute
        stays = lane.stays(delimited=self._mute or self._chunked)
        if stays and lane.http11:
            framing += "Connection: keep-alive\r\n"
        lane.send(self._head(status, headers, framing, stays))

    def write(self, chunk: bytes) -> None:
        """A piece of the body, given to the kernel at once when it takes it."""
        if self.gone or self.done or self._mute or not chunk:
            return
        if not self.begun:
            raise RuntimeError("the answer has not begun")
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        self._lane.send(chunk)

    def end(self) -> None:
        """The answer is complete."""
        if self.gone or self.done:
            return
        if not self.begun:
            raise RuntimeError("the answer has not begun")
        self._finish()
        if self._chunked:
            self._lane.send(b"0\r\n\r\n")
        self._lane.feed_from(None)
        self._lane.answered()

    def abort(self) -> None:
        """The answer cannot be completed: the connection is cut.

        A chunked answer that lacks its end shows that by itself, so what was written
        still arrives; any other is reset.
        """
        if self.gone or self.done:
            return
        self._finish()
        self._lane.feed_from(None)
        self._lane.cut(orderly=self._chunked)

    def on_gone(self, told: Callable[[], None]) -> None:
        """`told()` is called once when the client leaves before `end` or `whole`."""
        if self.done:
            return
        if self.gone:
            told()
        else:
            self._told += (told,)

    def attach(self, producer: IPushProducer) -> None:
        """`producer` is paused while the client reads too slowly, until `end`."""
        if not (self.gone or self.done):
            self._lane.feed_from(producer)

    def lost(self) -> None:
        """The connection is no more."""
        self.gone = True
        told, self._told = self._told, ()
        if self.done:
            return
        for tell in told:
            try:
                tell()
            except Exception:  # noqa: BLE001 - the others must hear of it
                log.failure("telling that the client left failed")

    def _finish(self) -> None:
        self.done = True
        # Who is to be told usually holds this reply: such a ring would be garbage that
        # only a collection finds.
        self._told = ()

    def _open(self) -> None:
        if self.begun:
            raise RuntimeError("the answer has begun already")
        self.begun = True

    def _head(self, status: int, headers: Headers, framing: str, stays: bool) -> bytes:
        """The head's bytes; a header that would break out of its line is dropped."""
        try:
            text = lines(headers, _OWN)
        except BadHeader:
            log.error("a header with a line break was not sent")
            text = lines([h for h in headers if safe(*h)], _OWN)
        if not stays:
            framing += "Connection: close\r\n"
        elif not self._lane.http11:
            framing += "Connection: keep-alive\r\n"
        first = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n"
        return encoded(f"{first}{self._lane.date}{text}{framing}\r\n")
