"""The gateway in memory with the surfaces about statistics, streams and operations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from knight_tw.cache import MemoryCache
from knight_tw.channels.codex import Codex
from knight_tw.feeds import BalanceFeed, JobFeed
from knight_tw.ledger.entries import NOTE, Entry, Row
from knight_tw.log_tail import LogTail
from knight_tw.records import Channel
from knight_tw.storage import channels as stored_channels
from knight_tw.storage import schema
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.codex import CodexPages
from knight_tw.web.api.live import Live, News
from knight_tw.web.api.operations import Operations
from knight_tw.web.api.performance import Performance
from knight_tw.web.api.search import SearchPages
from knight_tw.web.api.stats import Stats
from knight_tw.web.api.works import Works
from knight_tw.web.event_streams import Streams
from tests.web.api.management import Management
from tests.web.api.rows import log_row
from tests.web.gateway import Channel as Connection
from tests.web.gateway import Client, now, parse

EMPTY = {"lat_3": 0, "ttft_0": 0}


@define
class Busy:
    """What is going on, as a test says."""

    answered: int = 0
    under_way: int = 0

    def calls(self) -> int:
        """Calls answered."""
        return self.answered

    def open(self) -> int:
        """Calls under way."""
        return self.under_way


@define(eq=False)
class Watched(Management):
    """The gateway with our surfaces beside the others."""

    folder: str = "data"
    logs_folder: str = ""
    traffic: Busy = field(factory=Busy)
    streams: Streams = field(init=False)
    tail: LogTail = field(init=False)
    news: News = field(factory=News)
    in_threads: list[str] = field(factory=list)

    def in_thread(self, work: Any, *args: Any) -> Deferred[Any]:
        """Stands for a thread, and remembers what it did."""
        self.in_threads.append(work.__name__)
        return _at_once(work, *args)

    @property
    def channels(self) -> Mapping[int, Channel]:
        """Today's channels."""
        rows = now(self.db.read(stored_channels.load_all))
        return {row.id: row for row in rows}

    def surfaces(self) -> list[Any]:
        """All surfaces, ours at the end."""
        db, guard, clock = self.db, self.guard, self.clock
        self.streams = Streams(clock)
        self.tail = LogTail(MemoryCache(clock), clock, "here")
        return [
            *super().surfaces(),
            Stats(guard, db, clock),
            Performance(guard, db, self, clock, self.in_thread),
            Live(
                guard,
                self.streams,
                self.tail,
                JobFeed(db, clock),
                BalanceFeed(db, clock),
                self.news,
                self,
            ),
            SearchPages(guard, db, db, self),
            Operations(
                guard,
                db,
                clock,
                self.view,
                _at_once,
                self.traffic,
                Audit(self.notes.append, clock),
                self.folder,
                self.logs_folder,
            ),
            Works(guard, db, self.view),
            CodexPages(
                guard,
                db,
                clock,
                self.memory,
                self.limits,
                Codex(self.upstream),
                self.changed,
                Audit(self.notes.append, clock),
            ),
        ]

    def add_usage(self, **columns: Any) -> None:
        """Hourly calls, of between 0.5 and 1 s with a first byte within 0.1."""
        calls = columns.get("count", 1)
        hour = int(self.clock.seconds()) // 3600 * 3600
        row = {
            "bucket_ts": hour,
            "user_id": 1,
            "token_id": 5,
            "channel_id": 7,
            "model_name": "pt-ok",
            "use_group": "default",
            "status": 200,
            "count": calls,
            "quota": 10 * calls,
            "lat_3": calls,
            "ttft_0": calls,
            **columns,
        }
        self.execute(sa.insert(schema.knight_usage).values(**row))

    def write(self, **columns: Any) -> None:
        """The ledger writes a log row."""
        row = log_row(created_at=int(self.clock.seconds()), **columns)
        made = msgspec.convert(
            {**row, "other": msgspec.Raw(msgspec.json.encode(row["other"]))}, Row
        )
        self.tail.seen(Entry(seq=1, kind=NOTE, row=made))

    def watch(self, client: Client, path: str, **headers: str) -> Watcher:
        """Somebody who reads a stream."""
        return Watcher.of(self, client, path, headers)


def _at_once(work: Any, *args: Any) -> Deferred[Any]:
    """Stands for a thread."""
    return maybeDeferred(work, *args)


@define
class Watcher:
    """A connection on which a stream is read."""

    transport: Connection
    channel: Any

    @classmethod
    def of(
        cls, gateway: Watched, client: Client, path: str, headers: Mapping[str, str]
    ) -> Watcher:
        """A connection with the request sent."""
        peer = "203.0.113.9"
        transport = Connection(peer)
        channel = gateway.site.buildProtocol(IPv4Address("TCP", peer, 50000))
        channel.makeConnection(transport)
        lines = [f"GET {path} HTTP/1.1", "Host: gateway.example"]
        lines += [f"{k}: {v}" for k, v in {**client.headers, **headers}.items()]
        channel.dataReceived("\r\n".join([*lines, "", ""]).encode())
        return cls(transport, channel)

    @property
    def text(self) -> str:
        """Everything that came, without the framing of HTTP."""
        return parse(self.transport.value()).body.decode()

    @property
    def over(self) -> bool:
        """The answer is complete."""
        return self.transport.value().endswith(b"0\r\n\r\n")

    def events(self) -> list[tuple[str, Any]]:
        """Name and content of each event so far."""
        found = []
        for block in self.text.split("\n\n"):
            lines = dict(
                line.split(": ", 1) for line in block.splitlines() if ": " in line
            )
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"])))
        return found

    def ids(self) -> list[str]:
        """The ids of the events so far."""
        lines = self.text.splitlines()
        return [line[4:] for line in lines if line.startswith("id: ")]

    def pause(self) -> None:
        """The reader's connection is full."""
        self.transport.producer.pauseProducing()

    def resume(self) -> None:
        """It takes more again."""
        self.transport.producer.resumeProducing()

    def leave(self) -> None:
        """The reader goes away."""
        self.channel.connectionLost(Failure(ConnectionLost()))
