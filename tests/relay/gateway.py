"""The relay in memory, for tests: real lanes, routing, ledger and database, a scripted
provider, a clock that only tests move."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.callers import Callers
from knight_tw.background import Background
from knight_tw.cache import MemoryCache
from knight_tw.errors import KnightError
from knight_tw.ledger import Ledger
from knight_tw.protocols.answer import Answer
from knight_tw.protocols.server import Lanes, Limits
from knight_tw.relaying import Relaying
from knight_tw.settings import Settings
from knight_tw.snapshots import Snapshots
from knight_tw.storage import schema
from knight_tw.storage.database import Database, memory_database

KEY = "K" * 48
NOW = 1_795_000_000.0
PLENTY = 10**12


class Source:
    """Stands for the upstream's connection; remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pause(self) -> None:
        """Stop reading."""
        self.asked.append("pause")

    def resume(self) -> None:
        """Read on."""
        self.asked.append("resume")

    def abort(self) -> None:
        """Close."""
        self.asked.append("abort")


@define(eq=False)
class Sent:
    """A request that reached the provider."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    options: dict[str, Any]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@define(eq=False)
class Provider:
    """Answers what the test scripted, one entry per request, then the last again."""

    clock: Clock
    script: list[Any] = field(factory=list)
    sent: list[Sent] = field(factory=list)
    answers: list[Answer] = field(factory=list)
    sources: list[Source] = field(factory=list)

    def send(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes,
        **options: Any,
    ) -> Deferred[Answer]:
        """In the place of `Upstream.send`."""
        told = {name.lower(): value for name, value in headers}
        self.sent.append(Sent(method, url, told, body, options))
        entry = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(entry, KnightError):
            return fail(entry)
        if isinstance(entry, Deferred):
            return entry
        answer: Answer = entry(self)
        self.answers.append(answer)
        return succeed(answer)


def whole(body: Any, status: int = 200, **headers: str) -> Callable[[Provider], Answer]:
    """An answer in one piece."""

    def make(provider: Provider) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = [("content-type", "application/json")]
        told += [(name.replace("_", "-"), value) for name, value in headers.items()]
        return Answer(None, provider.clock, status, told, [data])

    return make


def chat(text: str = "hi", **members: Any) -> Callable[[Provider], Answer]:
    """A good chat answer: 10 tokens in, 5 out."""
    return whole(completion(text, **members))


def completion(text: str = "hi", **members: Any) -> dict[str, Any]:
    """A chat completion object."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        **members,
    }


def refusal(status: int, message: str = "no", **headers: str) -> Any:
    """A provider's error."""
    return whole(
        {"error": {"message": message, "type": "t", "code": "c"}}, status, **headers
    )


def stream() -> Callable[[Provider], Answer]:
    """An event stream that the test feeds: `provider.answers[-1].arrived(...)`."""

    def make(provider: Provider) -> Answer:
        source = Source()
        provider.sources.append(source)
        told = [("content-type", "text/event-stream")]
        return Answer(source, provider.clock, 200, told, [])

    return make


def delta(text: str = "", **members: Any) -> bytes:
    """One event of a chat stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o",
        "choices": [choice],
        **members,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def usage_event(prompt: int = 10, completion_tokens: int = 5) -> bytes:
    """The usage chunk of a chat stream."""
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt + completion_tokens,
    }
    return delta(choices=[], usage=usage)


DONE = b"data: [DONE]\n\n"


@define(eq=False)
class Response:
    """What the client has received so far on one connection."""

    transport: StringTransport
    protocol: Any
    clock: Clock

    @property
    def raw(self) -> bytes:
        """Every byte, once this turn of the reactor is over."""
        self.clock.advance(0)
        value: bytes = self.transport.value()
        return value

    @property
    def status(self) -> int:
        """The status of the first answer."""
        return int(self.raw.split(b" ", 2)[1])

    @property
    def head(self) -> dict[str, str]:
        """Headers by lower-case name."""
        lines = self.raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        pairs = (line.partition(": ") for line in lines)
        return {name.lower(): value for name, _, value in pairs}

    @property
    def body(self) -> bytes:
        """The body, transfer coding undone."""
        rest = self.raw.partition(b"\r\n\r\n")[2]
        return _unchunked(rest) if "transfer-encoding" in self.head else rest

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of an OpenAI-shaped refusal."""
        error: dict[str, Any] = self.json["error"]
        return error

    @property
    def complete(self) -> bool:
        """True when a chunked answer has its end."""
        return self.raw.endswith(b"0\r\n\r\n")

    def leave(self) -> None:
        """The client hangs up."""
        from twisted.internet.error import ConnectionLost
        from twisted.python.failure import Failure

        self.protocol.connectionLost(Failure(ConnectionLost()))


def _unchunked(data: bytes) -> bytes:
    found = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        found, data = found + rest[:length], rest[length + 2 :]
        if not length:
            break
    return found


@define(eq=False)
class Gateway:
    """The relay with one user, one token, and the channels a test adds."""

    case: SynchronousTestCase
    fast: bool = True
    environment: dict[str, str] = field(factory=dict)
    clock: Clock = field(factory=Clock)
    db: Database = field(init=False)
    provider: Provider = field(init=False)
    snapshots: Snapshots = field(init=False)
    ledger: Ledger = field(init=False)
    callers: Callers = field(init=False)
    background: Background = field(factory=Background)
    lanes: Lanes = field(init=False)
    relaying: Relaying = field(init=False)
    folder: Path = field(init=False)
    _channels: int = 0

    def __attrs_post_init__(self) -> None:
        self.clock.advance(NOW)
        self.db = memory_database(self.clock)
        self.provider = self._made_provider()
        settings = Settings.from_env(self.environment)
        cache = MemoryCache(self.clock)
        self.snapshots = Snapshots(
            self.db, cache, self.clock, self.background, settings
        )
        self._insert(
            schema.users,
            id=1,
            username="u",
            password="x",
            role=100,
            status=1,
            quota=PLENTY,
            group="default",
        )
        self._insert(
            schema.tokens,
            id=1,
            user_id=1,
            key=KEY,
            status=1,
            name="t",
            expired_time=-1,
            remain_quota=0,
            unlimited_quota=True,
            model_limits_enabled=False,
        )
        self.done(self.snapshots.start())
        self._assemble(settings, cache)
        self.case.addCleanup(self.close)

    def _made_provider(self) -> Provider:
        return Provider(self.clock)

    def _assemble(self, settings: Settings, cache: MemoryCache) -> None:
        def inline(work: Any, *args: Any) -> Deferred[Any]:
            try:
                return succeed(work(*args))
            except Exception:  # noqa: BLE001 - as a thread would
                return fail()

        self.folder = Path(self.case.mktemp())
        self.ledger = Ledger(
            self.db,
            None,
            self.clock,
            inline,
            self.folder,
            lambda: self.snapshots.options.integer("TrustQuota"),
            lambda: True,
            strict=True,
        )
        self.case.successResultOf(self.ledger.start())
        self.callers = Callers(
            self.db, self.snapshots, self.ledger, self.clock, lambda *_: None
        )
        self.relaying = relaying = Relaying.build(
            settings,
            self.clock,
            secret="of the tests",
            db=self.db,
            cache=cache,
            snapshots=self.snapshots,
            ledger=self.ledger,
            upstream=self.provider,  # type: ignore[arg-type]  # send alone is used
            callers=self.callers,
            background=self.background,
            in_thread=inline,
        )
        from tests.relay.general import site

        self.lanes = Lanes(
            relaying.surface,
            site(relaying, self.clock),
            client_address=lambda peer, forwarded: peer,
            clock=self.clock,
            limits=Limits(body=1024 * 1024),
            fast=self.fast,
        )

    def close(self) -> None:
        """Stop what ticks."""
        self.snapshots.stop()
        self.case.successResultOf(self.ledger.stop())

    # setting up ---------------------------------------------------------------

    def _insert(self, table: sa.Table, **values: Any) -> None:
        self.done(self.db.run(lambda c: c.execute(sa.insert(table).values(**values))))

    def done(self, work: Any) -> Any:
        """The result of a coroutine that needs no waiting."""
        return self.case.successResultOf(Deferred.fromCoroutine(work))

    def channel(self, *script: Any, **values: Any) -> int:
        """Adds a channel; what it answers is the provider's script."""
        self._channels += 1
        row = {
            "id": self._channels,
            "type": 1,
            "key": f"sk-up-{self._channels}",
            "name": f"c{self._channels}",
            "status": 1,
            "models": "gpt-4o,text-embedding-3-small,omni-moderation-latest",
            "group": "default",
            "base_url": f"http://up{self._channels}.test",
            **values,
        }
        self._insert(schema.channels, **row)
        self.provider.script += script
        self.done(self.snapshots.reload())
        return self._channels

    def option(self, key: str, value: str) -> None:
        """Sets an option."""
        self._insert(schema.options, key=key, value=value)
        self.done(self.snapshots.reload())

    def change(self, table: sa.Table, **values: Any) -> None:
        """Changes the only row of a table and forgets what was remembered."""
        self.done(self.db.run(lambda c: c.execute(sa.update(table).values(**values))))
        self.callers.forget()
        self.ledger.forget(user_id=1, token_id=1)

    # asking -------------------------------------------------------------------

    def connect(self) -> Response:
        """A client connection."""
        transport = StringTransport()
        protocol = self.lanes.buildProtocol(None)
        protocol.makeConnection(transport)
        return Response(transport, protocol, self.clock)

    def request(
        self,
        path: str = "/v1/chat/completions",
        body: Any = None,
        *,
        method: str = "POST",
        key: str = f"sk-{KEY}",
        headers: dict[str, str] | None = None,
    ) -> Response:
        """Sends a request on a connection of its own; this turn of the reactor ends."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is None:
            data = b""
        told = {"Host": "test", "Content-Length": str(len(data))}
        if key:
            told["Authorization"] = f"Bearer {key}"
        told |= headers or {}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        response = self.connect()
        head = f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()
        response.protocol.dataReceived(head + data)
        self.clock.advance(0)
        return response

    def chat(self, **members: Any) -> Response:
        """Asks for a chat completion."""
        return self.request(body=question(**members))

    # looking ------------------------------------------------------------------

    def logs(self, kind: int = 2) -> list[dict[str, Any]]:
        """Log rows of one type, oldest first, `other` decoded."""
        self.clock.advance(0)
        self.case.successResultOf(self.ledger.flushed())
        table = schema.logs

        def read(connection: sa.Connection) -> list[dict[str, Any]]:
            asked = sa.select(table).where(table.c.type == kind).order_by(table.c.id)
            return [dict(row) for row in connection.execute(asked).mappings()]

        rows: list[dict[str, Any]] = self.done(self.db.read(read))
        return [{**row, "other": json.loads(row["other"] or "{}")} for row in rows]

    def journal(self) -> bytes:
        """Everything the journal holds on disk."""
        self.clock.advance(0)
        return b"".join(part.read_bytes() for part in self.folder.glob("*.log"))

    def quota(self) -> int:
        """The user's balance in the database."""
        self.clock.advance(0)
        self.case.successResultOf(self.ledger.flushed())
        table = schema.users
        return int(
            self.done(self.db.read(lambda c: c.scalar(sa.select(table.c.quota))))
        )


def question(**members: Any) -> dict[str, Any]:
    """The body of a chat request."""
    return {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "hello"}],
        **members,
    }
