"""Realtime sessions in memory: a client, the gateway, a scripted upstream, and wires
between them, which carry bytes only when the test lets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import define, field
from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from autobahn.websocket.types import ConnectingRequest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from knight_tw.errors import KnightError
from tests.relay.gateway import KEY, Gateway, Provider

MODEL = "gpt-4o-realtime-preview"
QUERY = f"model={MODEL}"


class Pipe(StringTransport):  # type: ignore[misc]  # bare there
    """One end of a wire; as forgiving as a real transport."""

    def __init__(self, protocol: Any) -> None:
        super().__init__(lenient=True)
        self.protocol = protocol
        self.over = False

    def unregisterProducer(self) -> None:
        """Silent when there is none."""
        self.producer = None

    @property
    def paused(self) -> bool:
        """Not read at the moment."""
        return bool(self.producerState == "paused")


class Wire:
    """Two protocols that are connected."""

    def __init__(self, near: Any, far: Any) -> None:
        self.near, self.far = Pipe(near), Pipe(far)
        near.makeConnection(self.near)
        far.makeConnection(self.far)

    def pump(self) -> bool:
        """Carry what there is, once; False when there was nothing."""
        moved = self._carry(self.near, self.far)
        return self._carry(self.far, self.near) or moved

    def _carry(self, sender: Pipe, taker: Pipe) -> bool:
        if taker.over or taker.paused:
            return False
        data = b"" if sender.disconnected else sender.value()
        if data:
            sender.clear()
            taker.protocol.dataReceived(data)
        closing = sender.disconnecting and not taker.over
        if closing:
            self.cut()
        return bool(data) or closing

    def cut(self, *, clean: bool = True) -> None:
        """Both ends hear that the connection is closed."""
        reason = Failure(ConnectionDone() if clean else ConnectionLost())
        for end in (self.near, self.far):
            if not end.over:
                end.over = True
                end.protocol.connectionLost(reason)


class Talker:
    """Remembers what it hears; mixed into Autobahn's protocols.

    Attributes:
        heard: Messages, text as `str`.
        goodbye: (code, reason) of the other side's close frame.
        closed: The connection is over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str | bytes] = []
        self.goodbye: tuple[int | None, str | None] | None = None
        self.closed = False

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A message."""
        self.heard.append(payload if isBinary else payload.decode())

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> Any:
        """A goodbye."""
        if self.goodbye is None:
            self.goodbye = code, None if reasonRaw is None else reasonRaw.decode()
        base: Any = super()
        return base.onCloseFrame(code, reasonRaw)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The end."""
        self.closed = True

    def say(self, event: Any) -> None:
        """Send an event, a text or bytes."""
        this: Any = self
        if isinstance(event, bytes):
            this.sendMessage(event, True)
            return
        text = event if isinstance(event, str) else json.dumps(event)
        this.sendMessage(text.encode())

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was heard, as JSON."""
        return [json.loads(it) for it in self.heard]

    def leave(self, code: int | None = None, reason: str | None = None) -> None:
        """Begin the closing handshake with any code."""
        this: Any = self
        this.sendCloseFrame(code, reason.encode() if reason else None)


class Client(Talker, WebSocketClientProtocol):  # type: ignore[misc]  # untyped
    """A client; `status` is that of a refusal."""

    def __init__(
        self, path: str, protocols: list[str], headers: dict[str, str]
    ) -> None:
        super().__init__()
        factory: Any = WebSocketClientFactory
        asked: Any = ConnectingRequest
        self.factory = _quiet(factory(protocols=protocols, reactor=Clock()))
        self._asked = asked("gateway", 80, path, headers=headers, protocols=protocols)
        self.answer = b""

    def onConnecting(self, transport_details: Any) -> Any:
        """What is asked for."""
        return self._asked

    def dataReceived(self, data: bytes) -> None:
        """Keep the answer's bytes until the handshake is done."""
        if self.state == self.STATE_CONNECTING:
            self.answer += data
            if not self.answer.startswith(b"HTTP/1.1 101"):
                return
        super().dataReceived(data)

    @property
    def status(self) -> int:
        """The status of the answer to the handshake, 0 when there is none."""
        return int(self.answer.split(b" ", 2)[1]) if self.answer else 0

    @property
    def head(self) -> dict[str, str]:
        """Headers of that answer by lower-case name."""
        lines = self.answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        pairs = (line.partition(": ") for line in lines)
        return {name.lower(): value for name, _, value in pairs}

    @property
    def error(self) -> dict[str, Any]:
        """The error object of a refusal."""
        body = json.loads(self.answer.partition(b"\r\n\r\n")[2])
        error: dict[str, Any] = body["error"]
        return error


class Server(Talker, WebSocketServerProtocol):  # type: ignore[misc]  # untyped
    """An upstream that accepts."""

    def __init__(self) -> None:
        super().__init__()
        factory: Any = WebSocketServerFactory
        self.factory = _quiet(factory(reactor=Clock()))
        self.request: Any = None

    def onConnect(self, request: Any) -> Any:
        """The handshake as it came."""
        self.request = request
        return None, {"x-request-id": "req_up"}


class Refuser:
    """An upstream that answers the handshake with bytes of its own."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.asked = b""
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        """Connected."""
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        """Answer a whole head."""
        self.asked += data
        if self._answer and self.asked.endswith(b"\r\n\r\n"):
            self.transport.write(self._answer)

    def connectionLost(self, reason: Any) -> None:
        """Closed."""


def refuser(status: int, body: Any = None, *, headers: str = "") -> Callable[[], Any]:
    """An upstream that refuses with an HTTP status."""
    data = json.dumps(body or {"error": {"message": "no", "code": "c"}}).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n{headers}\r\n"
    return lambda: Refuser(head.encode() + data)


def silent() -> Any:
    """An upstream that accepts the connection and says nothing."""
    return Refuser(b"")


def _quiet(factory: Any) -> Any:
    """Without timers."""
    factory.setProtocolOptions(
        openHandshakeTimeout=0, closeHandshakeTimeout=0, failByDrop=False
    )
    if not factory.isServer:
        factory.setProtocolOptions(serverConnectionDropTimeout=0)
    return factory


@define(eq=False)
class Upstreams(Provider):
    """In the place of `Upstream`: each attach takes the next of a script.

    Attributes:
        dialled: (URL, options) of every attach.
    """

    upstreams: list[Callable[[], Any] | KnightError] = field(factory=list)
    wires: list[Wire] = field(factory=list)
    dialled: list[tuple[str, dict[str, Any]]] = field(factory=list)

    async def attach(
        self, url: str, make: Callable[[str, int, str], IProtocol], **options: Any
    ) -> IProtocol:
        """See `Upstream.attach`."""
        self.dialled.append((url, options))
        entry = self.upstreams.pop(0) if len(self.upstreams) > 1 else self.upstreams[0]
        if isinstance(entry, KnightError):
            raise entry
        scheme, _, rest = url.partition("://")
        host, _, target = rest.partition("/")
        protocol = make(host, 443 if scheme == "wss" else 80, f"/{target}")
        self.wires.append(Wire(protocol, entry()))
        return protocol


@define(eq=False)
class RealtimeGateway(Gateway):
    """The gateway with channels that have realtime sessions."""

    wires: list[Wire] = field(factory=list)

    def _made_provider(self) -> Upstreams:
        return Upstreams(self.clock)

    @property
    def upstreams(self) -> Upstreams:
        """What stands for the providers."""
        assert isinstance(self.provider, Upstreams)
        return self.provider

    @property
    def server(self) -> Any:
        """The last upstream that was reached."""
        return self.upstreams.wires[-1].far.protocol

    def realtime(self, *script: Any, **values: Any) -> int:
        """A channel; its upstreams are the script, else one that accepts."""
        self.upstreams.upstreams += script or (Server,)
        return self.channel(models=MODEL, **values)

    def dial(
        self,
        query: str = QUERY,
        *,
        key: str = f"sk-{KEY}",
        protocols: tuple[str, ...] = (),
        path: str = "/v1/realtime",
        **headers: str,
    ) -> Any:
        """A client that has asked for a session."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            told["Authorization"] = f"Bearer {key}"
        client = Client(f"{path}?{query}", list(protocols), told)
        lane = self.lanes.buildProtocol(None)
        self.wires.append(Wire(client, lane))
        self.pump()
        return client

    def pump(self) -> None:
        """Let everything that was sent arrive."""
        for _ in range(1000):
            moved = [wire.pump() for wire in [*self.wires, *self.upstreams.wires]]
            if not any(moved):
                if not self._due():
                    return
                self.clock.advance(0)
        raise AssertionError("it never comes to rest")

    def _due(self) -> bool:
        now = self.clock.seconds()
        return any(call.getTime() <= now for call in self.clock.getDelayedCalls())

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)
        self.pump()


def done(**usage: Any) -> dict[str, Any]:
    """The end of a turn."""
    return {"type": "response.done", "response": {"id": "resp_1", "usage": usage}}


def used(prompt: int, completion: int, **details: Any) -> dict[str, Any]:
    """The end of a turn that used so much."""
    return done(
        total_tokens=prompt + completion,
        input_tokens=prompt,
        output_tokens=completion,
        **details,
    )
