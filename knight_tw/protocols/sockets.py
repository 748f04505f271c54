"""The two kinds of ends a websocket session has.

`Sockets` makes them: a client's side, to which `take_over` gives the connection of a
request, and an upstream's side, which the caller connects. Both belong
to an `Owner` sooner or later, who is told what has happened until then, too.

They are Autobahn's protocols (`websocket`), loaded when the first session begins: most
processes never have one, and Autobahn takes 8 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen
from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request

from knight_tw.protocols.transport import socket_of

if TYPE_CHECKING:
    from knight_tw.protocols.websocket import ClientSide, Ends, UpstreamSide

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of one message, its fragments together."""

HIGH_WATER = 4 * 1024 * 1024
"""Bytes that may wait for one side before its owner puts the brake on."""

TOO_BIG, BROKEN = 1009, 1011
"""Close codes."""

_MAX_REASON = 123


class Refused(Exception):
    """An upstream answered the handshake with something else than 101."""

    def __init__(
        self, status: int, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.body = body


@frozen(eq=False)
class Message:
    """A message on its way."""

    payload: bytes
    binary: bool


class Owner(Protocol):
    """What a side belongs to."""

    def carry(self, side: Side, message: Message) -> None:
        """A side has sent a message."""
        ...

    def left(self, side: Side, code: int | None, reason: str) -> None:
        """A side says goodbye, or we have said it because it broke the rules."""
        ...

    def lost(self, side: Side) -> None:
        """A side's connection is closed."""
        ...


class Side:
    """What the two kinds of sides share; mixed into Autobahn's protocols.

    Attributes:
        name: `client` or `upstream`.
        gone: The connection is closed.
    """

    name = ""
    gone = False
    transport: Any
    _owner: Owner | None = None
    _failed = False
    _heard = True

    def __init__(self) -> None:
        super().__init__()
        self._early: list[Callable[[Owner], None]] = []
        self._pauses: set[str] = set()

    # Autobahn's side

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come."""
        self._heard = True
        ours: Any = super()
        ours.dataReceived(data)
        this: Any = self
        if this.failedByMe and not self._failed:
            self._failed = True
            code = TOO_BIG if this.localCloseCode == TOO_BIG else BROKEN
            self._tell(lambda owner: owner.left(self, code, ""))

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A whole message has come."""
        message = Message(payload, isBinary)
        self._tell(lambda owner: owner.carry(self, message))

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> Any:
        """A goodbye has come, or the answer to ours."""
        ours: Any = super()
        done = ours.onCloseFrame(code, reasonRaw)
        this: Any = self
        if not this.failedByMe:
            reason = this.remoteCloseReason or ""
            self._tell(lambda owner: owner.left(self, code, reason))
        return done

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is closed."""
        self.gone = True
        self._tell(lambda owner: owner.lost(self))

    def _tell(self, what: Callable[[Owner], None]) -> None:
        """Let the owner know, once there is one."""
        if self._owner is None:
            self._early.append(what)
        else:
            what(self._owner)

    # the owner's side

    def join(self, owner: Owner, brake: IPushProducer) -> None:
        """Belong to an owner; `brake` is put on while this side takes too slowly."""
        descriptor = socket_of(self.transport)
        if descriptor is not None:
            descriptor.bufferSize = HIGH_WATER
        if not self.gone:
            self.transport.registerProducer(brake, True)
        self._owner = owner

    def catch_up(self) -> None:
        """Tell the owner what happened before there was one."""
        early, self._early = self._early, []
        for what in early:
            self._tell(what)
        self.resume("early")

    @property
    def open(self) -> bool:
        """True while messages can be sent."""
        this: Any = self
        return bool(this.state == this.STATE_OPEN)

    def send(self, payload: bytes, binary: bool) -> None:
        """Send a message; silent when that is not possible any more."""
        if self.open:
            this: Any = self
            this.sendMessage(payload, binary)

    def say_goodbye(self, code: int | None, reason: str) -> None:
        """Begin the closing handshake."""
        if self.open:
            this: Any = self
            text = _cut(reason) if reason else None
            this.sendCloseFrame(code, text if code is not None else None)

    def drop(self) -> None:
        """Cut the connection, if there is one."""
        if not self.gone and self.transport is not None:
            self.transport.abortConnection()

    def ping(self) -> bool:
        """Ask whether the other end is there; False when the last question was in
        vain. Nobody can answer while we do not read."""
        answered = self._heard or bool(self._pauses)
        self._heard = False
        this: Any = self
        this.sendPing()
        return answered

    def pause(self, why: str) -> None:
        """Stop reading."""
        if not self._pauses and not self.gone:
            self.transport.pauseProducing()
        self._pauses.add(why)

    def resume(self, why: str) -> None:
        """Read again, unless there is another reason not to."""
        if why not in self._pauses:
            return
        self._pauses.discard(why)
        if not self._pauses and not self.gone:
            self._heard = True
            self.transport.resumeProducing()


def _cut(reason: str) -> bytes:
    """A reason, as much of it as a close frame takes."""
    cut = reason.encode()[:_MAX_REASON]
    return cut.decode(errors="ignore").encode()


class Sockets:
    """Makes sides."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    @cached_property
    def _ends(self) -> Ends:
        from knight_tw.protocols.websocket import Ends

        return Ends(self._reactor)

    def client(
        self,
        subprotocol: str | None,
        headers: Mapping[str, str],
        opened: Callable[[ClientSide], None],
    ) -> ClientSide:
        """The side of a client, for `take_over`."""
        return self._ends.client(subprotocol, headers, opened)

    def upstream(
        self, host: str, port: int, target: str, headers: Mapping[str, str]
    ) -> UpstreamSide:
        """The side of an upstream, to be connected; it then begins the handshake."""
        return self._ends.upstream(host, port, target, headers)

    def take_over(self, request: Request, side: ClientSide, key: str) -> None:
        """See `websocket.take_over`."""
        from knight_tw.protocols.websocket import take_over

        take_over(request, side, key)
