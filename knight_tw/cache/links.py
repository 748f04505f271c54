"""Connections to Redis: where it is, keeping them open, and when to leave it alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import txredisapi
from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS

T = TypeVar("T")

REPLY_TIMEOUT = 5
"""Seconds after which a connection that does not answer is taken for dead."""


@frozen
class Address:
    """Where a Redis is, as its connection string says it."""

    host: str
    port: int
    path: str
    database: int
    username: str | None
    password: str | None
    tls: bool

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address of `redis://user:password@host:6379/0`; `rediss:` means TLS,
        `unix:///path?db=0` a socket.

        Raises:
            ValueError: it is none. The message does not repeat the password.
        """
        parts = urlsplit(text.strip())
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        is_path = parts.scheme == "unix"
        number = parts.query.partition("db=")[2] if is_path else parts.path.strip("/")
        if number and not number.isdecimal():
            raise ValueError("the database must be a number")
        if not (parts.path if is_path else parts.hostname):
            raise ValueError("names no host")
        return cls(
            host=parts.hostname or "",
            port=parts.port or 6379,
            path=parts.path if is_path else "",
            database=int(number or 0),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=parts.scheme == "rediss",
        )

    def endpoint(self, reactor: Any, timeout: float) -> IStreamClientEndpoint:
        """How to connect to it."""
        if self.path:
            return UNIXClientEndpoint(  # type: ignore[no-untyped-call] # Twisted's
                reactor, self.path, timeout
            )
        plain = HostnameEndpoint(reactor, self.host, self.port, timeout)
        if not self.tls:
            return plain
        return wrapClientTLS(optionsForClientTLS(self.host), plain)


class RedisAway(Exception):
    """There is no answer from Redis, or none in time."""


@define(eq=False)
class Breaker:
    """Leaves something alone that failed: for half a second, then twice as long after
    each vain attempt, up to 10 seconds. Then one question at a time tries it again."""

    _clock: IReactorTime
    _first: float = 0.5
    _most: float = 10.0
    _pause: float = field(default=0.0, init=False)
    _until: float = field(default=0.0, init=False)
    _trying: bool = field(default=False, init=False)

    @property
    def closed(self) -> bool:
        """True while nothing is wrong."""
        return not self._pause

    def ask(self) -> bool:
        """May it be asked now?"""
        if self.closed:
            return True
        now = self._clock.seconds()
        if now < self._until:
            return False
        self._until = now + self._pause
        self._trying = True
        return True

    def failed(self) -> bool:
        """It did not answer; True when nothing had been wrong before."""
        was_closed = self.closed
        if was_closed or self._trying:
            self._pause = min(max(self._pause * 2, self._first), self._most)
            self._until = self._clock.seconds() + self._pause
        self._trying = False
        return was_closed

    def succeeded(self) -> bool:
        """It answered; True when something had been wrong before."""
        was_closed = self.closed
        self._pause = 0.0
        self._trying = False
        return not was_closed


class Subscriber(txredisapi.SubscriberProtocol):  # type: ignore[misc]
    """A connection that listens; what it hears goes to its factory."""

    def messageReceived(self, pattern: Any, channel: str, message: str) -> None:
        self.factory.heard(channel, message)


class Listeners(txredisapi.SubscriberFactory):  # type: ignore[misc]
    """Keeps one listening connection; `ready(connection)` is called for each."""

    protocol = Subscriber

    def __init__(
        self,
        address: Address,
        heard: Callable[[str, str], None],
        ready: Callable[[Any], None],
    ) -> None:
        super().__init__(isLazy=True)
        self.username, self.password = address.username, address.password
        self.replyTimeout, self.convertNumbers = REPLY_TIMEOUT, False
        self.heard, self.ready = heard, ready
        self.deferred.addErrback(lambda failure: None)

    def addConnection(self, connection: Any) -> None:
        super().addConnection(connection)
        if connection in self.pool:
            self.ready(connection)


@frozen
class Links:
    """Opens connections to one Redis and keeps them open."""

    _address: Address
    _reactor: Any
    _size: int = 10

    def pool(self) -> Any:
        """A txredisapi factory; its `pool` holds the open connections, its `stopped` is
        true once it gave up (a refused password)."""
        address = self._address
        pool = txredisapi.RedisFactory(
            "knight",
            address.database or None,
            self._size,
            isLazy=True,
            password=address.password,
            username=address.username,
            replyTimeout=REPLY_TIMEOUT,
            convertNumbers=False,
        )
        pool.deferred.addErrback(lambda failure: None)
        return self._started(pool)

    def listeners(
        self, heard: Callable[[str, str], None], ready: Callable[[Any], None]
    ) -> Any:
        """A txredisapi factory that keeps one listening connection.

        Args:
            heard: Called with channel and text of each message.
            ready: Called with each connection that was opened.
        """
        return self._started(Listeners(self._address, heard, ready))

    def _started(self, factory: Any) -> Any:
        factory.startConnecting(self._address.endpoint(self._reactor, REPLY_TIMEOUT))
        return factory


def within(answer: Deferred[T], seconds: float, clock: IReactorTime) -> Deferred[T]:
    """The answer, or `RedisAway` after some seconds. The question itself goes on: only
    so does txredisapi notice a connection that never answers."""
    timer = clock.callLater(
        seconds, lambda: outer.errback(RedisAway("no answer in time"))
    )
    outer: Deferred[T] = Deferred(lambda _: timer.cancel())

    def over(result: Any) -> None:
        if timer.active():
            timer.cancel()
            outer.callback(result)

    answer.addBoth(over)
    return outer
