"""An upstream's answer: its head is here, its body comes, whole or piece by piece."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from knight_tw.errors import BadUpstreamBody, KnightError, UpstreamFailed
from knight_tw.protocols.coding import CodingError, Decoder, TooLarge, decoded

log = Logger()

UNCLAIMED = 60.0
"""Seconds after which an answer that nobody reads is given up."""

SILENCE = 300.0
"""Longest silence of an upstream when the caller names no limit."""

HELD = 256 * 1024
"""Bytes of a body that are read ahead while nobody has asked for them."""

DECODED = 1024 * 1024 * 1024
"""Most that `deliver` puts out of a compressed body."""


class Receiver(Protocol):
    """Takes a body as it comes."""

    def chunk(self, data: bytes) -> None:
        """The next piece."""
        ...

    def ended(self, error: KnightError | None) -> None:
        """The body is complete, or broke off with `error`; called once."""
        ...


class Source(Protocol):
    """The connection that an answer comes from."""

    def pause(self) -> None:
        """Stop reading."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def abort(self) -> None:
        """Close; the answer wants no more."""
        ...


class Answer:
    """What an upstream answers. Exactly one of `read`, `deliver`, `abort` must follow.

    Attributes:
        status: The HTTP status.
        headers: In the upstream's order, names in lower case.
        paused: Nothing is to be read now; silence is not the upstream's then.
        silence: Longest wait for the next byte, seconds; 0 = any.
        until: When the body must be complete, by the reactor's clock; 0 = any time.
        sent: When the request left; 0 when nobody looked at the clock.
    """

    # Defaults of the class: an answer costs only what it uses.
    paused = False
    silence = UNCLAIMED
    until = 0.0
    sent = 0.0
    _named: dict[str, str] | None = None
    _source: Source | None = None
    _size = _limit = 0
    _over = False
    _error: KnightError | None = None
    _receiver: Receiver | None = None
    _reading: Deferred[bytes] | None = None
    _decoder: Decoder | None = None
    _flush: IDelayedCall | None = None

    def __init__(
        self,
        source: Source | None,
        clock: IReactorTime,
        status: int,
        headers: list[tuple[str, str]],
        chunks: list[bytes],
    ) -> None:
        """With the pieces of the body that are here; without `source` that is all."""
        self.status = status
        self.headers = headers
        self._clock = clock
        self._chunks = chunks
        if chunks:
            self._size = sum(map(len, chunks))
        if source is None:
            self._over = True
        else:
            self._source = source

    def get(self, name: str) -> str:
        """The first value of a header (lower-case name), or an empty text."""
        if self._named is None:
            self._named = dict(reversed(self.headers))
        return self._named.get(name, "")

    @property
    def begun(self) -> bool:
        """True once a byte of the body has come that nobody was given yet."""
        return self._size > 0

    @property
    def waits(self) -> bool:
        """False while whoever takes the body has paused it: the silence is ours."""
        return not self.paused or (self._receiver is None and self._reading is None)

    # the caller's side -------------------------------------------------------

    def read(
        self,
        limit: int,
        timeout: float | None = None,
        idle_timeout: float | None = None,
    ) -> Deferred[bytes]:
        """The whole body, content coding undone; fired already when it is here.

        Cancelling closes the connection. Fails with `BadUpstreamBody` beyond `limit`
        bytes or when the coding is broken, `UpstreamFailed` when the body breaks off,
        `UpstreamTimeout` when it takes too long.

        Args:
            limit: Most bytes, as sent and as decoded.
            timeout: Seconds from now for all of it; None or 0 = no such limit.
            idle_timeout: Longest silence; None = `SILENCE` unless there is a `timeout`.
        """
        self._limit = limit
        if self._over or self._size > limit:
            return self._result()
        self.until = self._clock.seconds() + timeout if timeout else 0.0
        usual = 0.0 if timeout else SILENCE
        self.silence = usual if idle_timeout is None else idle_timeout
        self._reading = Deferred(self._cancelled)
        self.resume()
        return self._reading

    def here(self, limit: int) -> bytes | None:
        """The whole body when it has come already, as `read` would give it; else None.

        Args:
            limit: Most bytes.
        """
        if not self._over or self._error is not None or self._size > limit:
            return None
        if self.get("content-encoding"):
            return None
        chunks, self._chunks = self._chunks, []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def deliver(
        self, receiver: Receiver, idle_timeout: float, *, decode: bool = False
    ) -> None:
        """Let `receiver` have the body as it comes; never before this call returns.

        Args:
            idle_timeout: Longest silence while not paused, seconds; 0 = any.
            decode: Undo the content coding.
        """
        self._receiver = receiver
        self.silence = idle_timeout
        encoding = self.get("content-encoding") if decode else ""
        if encoding:
            try:
                self._decoder = Decoder(encoding, DECODED)
            except CodingError as error:
                self.give_up(BadUpstreamBody(str(error)))
        self.resume()
        if self._chunks or self._over:
            self._later()

    def pause(self) -> None:
        """Stop reading from the upstream."""
        self.paused = True
        if self._source is not None:
            self._source.pause()

    def resume(self) -> None:
        """Read on."""
        if not self.paused:
            return
        self.paused = False
        if self._source is not None:
            self._source.resume()
        if self._receiver is not None and (self._chunks or self._over):
            self._later()

    def abort(self) -> None:
        """Nothing more is wanted: the connection is closed, nobody is called."""
        self._receiver = None
        self._chunks = []
        self._over = True
        self._error = UpstreamFailed("the upstream's answer was given up")
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        source, self._source = self._source, None
        if source is not None:
            source.abort()
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.errback(CancelledError())

    def give_up(self, error: KnightError) -> None:
        """Close; whoever takes the body is told `error` at the next turn."""
        source, self._source = self._source, None
        self._chunks = []
        self._over = True
        self._error = error
        if source is not None:
            source.abort()
        self.paused = False
        self._later()

    # the connection's side ---------------------------------------------------

    def arrived(self, data: bytes) -> None:
        """The next piece of the body has come."""
        if self._receiver is not None and self._flush is None and not self.paused:
            self._give(data)
            return
        if self._over:
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._reading is not None:
            if self._size > self._limit:
                self._finish_reading()
        elif self._size > HELD and not self.paused:
            self.pause()

    def finished(self, error: KnightError | None) -> None:
        """The body is complete, or broke off."""
        if self._over:
            return
        self._source = None
        self._over = True
        self._error = error
        if self._reading is not None:
            self._finish_reading()
        elif self._receiver is not None and self._flush is None and not self.paused:
            self._end()

    # inside ------------------------------------------------------------------

    def _later(self) -> None:
        if self._flush is None:
            self._flush = self._clock.callLater(0, self._flushed)

    def _flushed(self) -> None:
        self._flush = None
        if self.paused:
            return
        chunks, self._chunks = self._chunks, []
        if chunks:
            self._give(b"".join(chunks))
        if self._over and not self.paused:
            self._end()

    def _give(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            return
        try:
            if self._decoder is not None:
                data = self._decoder.feed(data)
            if data:
                receiver.chunk(data)
        except CodingError as error:
            self.give_up(BadUpstreamBody(str(error)))
        except Exception:  # noqa: BLE001 - the receiver's bug must not lose its end
            log.failure("receiving an upstream's answer failed")
            self.give_up(KnightError("internal error"))

    def _end(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        if self._decoder is not None and self._error is None:
            try:
                self._decoder.close()
            except CodingError as error:
                self._error = BadUpstreamBody(str(error))
        try:
            receiver.ended(self._error)
        except Exception:  # noqa: BLE001 - as above
            log.failure("ending an upstream's answer failed")

    def _cancelled(self, _: Any) -> None:
        self._reading = None
        self.abort()

    def _finish_reading(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            self._result().chainDeferred(reading)

    def _result(self) -> Deferred[bytes]:
        chunks, self._chunks = self._chunks, []
        if self._size > self._limit:
            self.abort()
            return fail(_too_large())
        if self._error is not None:
            return fail(self._error)
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        encoding = self.get("content-encoding")
        if not encoding:
            return succeed(body)
        try:
            return succeed(decoded(body, encoding, self._limit))
        except TooLarge:
            return fail(_too_large())
        except CodingError as error:
            return fail(BadUpstreamBody("bad response body", detail=str(error)))


def _too_large() -> BadUpstreamBody:
    return BadUpstreamBody("the upstream's answer is too large")
