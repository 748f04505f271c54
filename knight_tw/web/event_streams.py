"""Server-sent events to many readers, none of whom can hold up anything.

A stream lives in the reactor: nothing waits in a thread for its next event. What a slow
reader does not take waits in a short queue, and when that is full the oldest events are
lost; the reader is told how many. Every stream ends after an hour, when its account
changes, or when its credential is not good any more, so that nobody reads on with
rights that are gone: a browser's `EventSource` and our console come back by themselves,
and say with `Last-Event-ID` where they were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.server import Request
from zope.interface import implementer

from knight_tw.errors import DatabaseAway, ShuttingDown
from knight_tw.web.api.answers import Refusal, encode, put_header

CONTENT_TYPE = "text/event-stream; charset=utf-8"

KEEP_ALIVE_SECONDS = 15.0
LONGEST_SECONDS = 3_600.0
CHECK_SECONDS = 60.0
"""How often a stream's credential is looked at again."""

RETRY_MS = 3_000
"""How long readers wait before they come back."""

QUEUED_EVENTS, QUEUED_BYTES = 500, 1_048_576
"""What waits for a slow reader at most."""

OF_ONE_USER, OF_ALL = 10, 1_000
"""Streams that are open at the same time at most."""

_COMMENT = b":\n\n"

Still = Callable[[], Coroutine[Deferred[Any], Any, object]]
"""Raises Refusal when somebody may not read on."""


def frame(event: str, content: Any, number: str = "") -> bytes:
    """One event: its name, its content as JSON, its id when it has one."""
    lines = [b"id: " + number.encode()] if number else []
    lines += [b"event: " + event.encode(), b"data: " + encode(content)]
    return b"\n".join((*lines, b"", b""))


@implementer(IPushProducer)
@define(eq=False)
class EventStream:
    """One reader's stream, opened with `Streams.open`.

    Attributes:
        user_id: Whose it is.
        began: When it was opened.
        still, checked: Looks whether it may go on, and when that was done.
        lost: Events that the reader has not been told of losing.
    """

    user_id: int
    began: float
    _request: Request
    still: Still
    checked: float
    lost: int = 0
    _over: Deferred[None] = field(factory=Deferred)
    _waiting: deque[bytes] = field(factory=deque)
    _bytes: int = 0
    _paused: bool = False
    _ended: bool = False
    _gone: bool = False

    def send(self, framed: bytes) -> None:
        """An event, now or when the reader takes it; nothing once it is over."""
        if self._ended:
            return
        if not self._paused and not self._waiting:
            self._write(framed)
            return
        self._waiting.append(framed)
        self._bytes += len(framed)
        while len(self._waiting) > QUEUED_EVENTS or self._bytes > QUEUED_BYTES:
            self._bytes -= len(self._waiting.popleft())
            self.lost += 1

    def lose(self, count: int) -> None:
        """So many events were left out: the reader is told in time."""
        self.lost += count
        if not self._paused:
            self._flush()

    def breathe(self) -> None:
        """A comment, by which both ends see that the other is there."""
        if not self._paused and not self._ended:
            self._write(_COMMENT)

    def end(self) -> None:
        """No more events; `over` fires."""
        if not self._ended:
            self._ended = True
            self._over.callback(None)

    def over(self) -> Deferred[None]:
        """Fires when the stream has ended; cancelled when the reader leaves."""
        return self._over

    def close(self) -> None:
        """Give the request back to the one who answers it."""
        self._ended = True
        self._waiting.clear()
        # A request without its channel has lost its reader.
        if not self._gone and self._request.channel is not None:
            self._request.unregisterProducer()  # type: ignore[no-untyped-call]

    def pauseProducing(self) -> None:
        """The reader is slow."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The reader takes more."""
        self._paused = False
        self._flush()

    def stopProducing(self) -> None:
        """The reader has left; whoever answers the request is cancelled at once."""
        self._gone = self._ended = True

    def _flush(self) -> None:
        if self.lost and not self._ended:
            told, self.lost = self.lost, 0
            self._write(frame("dropped", {"count": told}))
        while self._waiting and not self._paused and not self._ended:
            framed = self._waiting.popleft()
            self._bytes -= len(framed)
            self._write(framed)

    def _write(self, data: bytes) -> None:
        if not self._gone:
            self._request.write(data)  # type: ignore[no-untyped-call]  # bare there


@define(eq=False)
class Streams:
    """All streams of the process."""

    _clock: IReactorTime
    _open: set[EventStream] = field(factory=set)
    _closed: bool = False
    _loop: LoopingCall | None = None
    _log: Logger = field(factory=Logger)

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def open(self, request: Request, user_id: int, still: Still) -> EventStream:
        """Begin to answer a request with events.

        The route awaits `over()` and leaves with `leave(stream)`. Every minute
        `still()` is asked, and the stream ends when it raises a Refusal.

        Raises:
            Refusal: too many streams.
            ShuttingDown: the process ends.
        """
        if self._closed:
            raise ShuttingDown("the gateway is stopping")
        of_user = sum(one.user_id == user_id for one in self._open)
        if of_user >= OF_ONE_USER or len(self._open) >= OF_ALL:
            raise Refusal(
                "too many streams are open", code="rate_limited", retry_after=30
            )
        put_header(request, "Content-Type", CONTENT_TYPE)
        put_header(request, "X-Accel-Buffering", "no")
        now = self._clock.seconds()
        stream = EventStream(user_id, now, request, still, now)
        self._open.add(stream)
        request.registerProducer(stream, True)  # type: ignore[no-untyped-call]
        request.write(b"retry: %d\n\n" % RETRY_MS)  # type: ignore[no-untyped-call]
        self._watch()
        return stream

    def leave(self, stream: EventStream) -> None:
        """A stream is over."""
        self._open.discard(stream)
        stream.close()
        if not self._open and self._loop is not None:
            self._loop.stop()
            self._loop = None

    def end_of(self, user_id: int) -> None:
        """End the streams of an account that changed: its readers must come back."""
        for stream in [one for one in self._open if one.user_id == user_id]:
            stream.end()

    def stop(self) -> None:
        """End every stream and open no more."""
        self._closed = True
        for stream in list(self._open):
            stream.end()

    def _watch(self) -> None:
        if self._loop is None:
            self._loop = LoopingCall(self._round)
            self._loop.clock = self._clock
            self._loop.start(KEEP_ALIVE_SECONDS, now=False)

    def _round(self) -> None:
        """Comments to everybody; an end to what is an hour old."""
        now = self._clock.seconds()
        for stream in list(self._open):
            if now - stream.began >= LONGEST_SECONDS:
                stream.end()
                continue
            stream.breathe()
            if now - stream.checked >= CHECK_SECONDS:
                stream.checked = now
                Deferred.fromCoroutine(self._check(stream))

    async def _check(self, stream: EventStream) -> None:
        """Ends a stream whose credential is not good any more."""
        try:
            await stream.still()
        except Refusal:
            stream.end()
        except DatabaseAway:
            return
        except Exception:  # noqa: BLE001 - who cannot be checked must come back
            self._log.failure("a stream's credential could not be checked")
            stream.end()
