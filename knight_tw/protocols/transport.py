"""Bytes to and from the kernel: sends at once, knows what is stuck, one coarse timer.

Twisted's transports wait for the next poll before they send. A gateway writes a whole
request or answer at a time, nearly always to an empty socket buffer, so trying `send`
at once saves two `epoll_ctl` calls and a turn of the reactor. What the kernel does not
take goes the ordinary way, with its order and its back-pressure.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import directlyProvides, providedBy

Write = Callable[[bytes], None]


def eager(transport: Any) -> Write:
    """A `write` for `transport` that gives bytes to the kernel at once where possible.

    For anything but a plain TCP (or Unix) transport it is the transport's own.
    """
    if not isinstance(transport, Connection) or transport.TLS:
        plain: Write = transport.write
        return plain
    send = transport.getHandle().send
    later: Write = transport.write

    def write(data: bytes) -> None:
        # Older bytes still wait in the transport's buffers: keep the order.
        if transport._tempDataLen or transport.dataBuffer:
            later(data)
            return
        try:
            sent = send(data)
        except OSError:
            # Full, or lost: the transport finds out which at the next poll.
            later(data)
            return
        if sent < len(data):
            later(data[sent:])

    return write


class EagerTLS(TLSMemoryBIOProtocol):
    """TLS over a transport whose writes are eager.

    Twisted's own client transport gathers small writes until the next turn of the
    reactor; a request is one write already.
    """

    def makeConnection(self, transport: Any) -> None:
        """Begin the handshake."""
        super().makeConnection(_Eager(transport))  # type: ignore[no-untyped-call]  # bare


class _Eager:
    """A transport with an eager `write`; everything else is the transport's."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.write = eager(transport)
        directlyProvides(self, *providedBy(transport))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


def socket_of(transport: Any) -> FileDescriptor | None:
    """The descriptor under any layers of TLS, None when there is no socket (tests)."""
    while isinstance(transport, ProtocolWrapper | _Eager):
        transport = transport.transport
    return transport if isinstance(transport, FileDescriptor) else None


def unsent(descriptor: FileDescriptor | None) -> int:
    """Bytes that were written and that the kernel has not taken yet."""
    if descriptor is None:
        return 0
    waiting: int = descriptor._tempDataLen
    return waiting + len(descriptor.dataBuffer) - descriptor.offset


def queued(descriptor: FileDescriptor | None) -> int:
    """Bytes that were written and that the peer has not taken yet, as far as known.

    A slow peer frees the kernel's buffer long before the kernel asks for more.
    """
    if descriptor is None:
        return 0
    try:
        number = descriptor.fileno()  # type: ignore[no-untyped-call]  # bare there
        answer = fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        return unsent(descriptor)
    in_kernel: int = struct.unpack("i", answer)[0]
    return unsent(descriptor) + in_kernel


class Swept(Protocol):
    """Something with deadlines."""

    def swept(self, now: float) -> None:
        """Look at the deadlines; called once a period."""
        ...


@define(eq=False)
class Sweep:
    """One coarse timer for any number of deadlines.

    A delayed call for each request costs more than parsing it. Members only note the
    coarse time `now` when something happens, and compare once a period. The timer runs
    while there are members.

    Attributes:
        now: Time of the last tick, at most `period` seconds old.
    """

    _clock: IReactorTime
    period: float = 1.0
    now: float = 0.0
    _members: set[Swept] = field(factory=set)
    _timer: IDelayedCall | None = None
    _log: Logger = field(factory=Logger)

    def add(self, member: Swept) -> None:
        """From now on `member.swept` is called once a period."""
        self._members.add(member)
        if self._timer is None:
            self.now = self._clock.seconds()
            self._timer = self._clock.callLater(self.period, self._tick)

    def discard(self, member: Swept) -> None:
        """`member` has no deadlines any more."""
        self._members.discard(member)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self.now = self._clock.seconds()
        self._timer = self._clock.callLater(self.period, self._tick)
        for member in tuple(self._members):
            try:
                member.swept(self.now)
            except Exception:  # noqa: BLE001 - one member must not stop the others
                self._log.failure("a sweep failed")


def period_for(*limits: float) -> float:
    """A period short enough for all of `limits` (seconds, 0 = none), at most 1."""
    return min([1.0, *(limit / 4 for limit in limits if limit > 0)])
