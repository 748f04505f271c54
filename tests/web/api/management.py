"""The gateway in memory with the surfaces about tokens, channels, logs and models."""

from __future__ import annotations

import json
import random
from typing import Any

import sqlalchemy as sa
from attrs import define, field
from twisted.internet.defer import Deferred, execute, fail, succeed

from knight_tw.accounts.credentials import Credential
from knight_tw.background import Background
from knight_tw.channels.balance import Balances
from knight_tw.channels.discovery import Discovery
from knight_tw.channels.health import ChannelHealth
from knight_tw.channels.ollama import Ollama
from knight_tw.channels.probes import TestRequest
from knight_tw.channels.testing import ChannelTester, ProbeAnswer
from knight_tw.channels.updates import ModelUpdates
from knight_tw.channels.upstreams import ChannelClient
from knight_tw.errors import InvalidKey, InvalidRequest, KnightError, UserDisabled
from knight_tw.jobs import Jobs
from knight_tw.log_cleanup import LogCleanup
from knight_tw.model_sync import Download, ModelSource
from knight_tw.price_sync import PriceSync
from knight_tw.pricing import PriceBook
from knight_tw.providers import ALL as PROVIDERS
from knight_tw.records import DISABLED, Channel, Token, Usage, User
from knight_tw.routing import RoutingTable
from knight_tw.storage import (
    channel_queries,
    channels,
    logs,
    schema,
    token_queries,
)
from knight_tw.storage import tokens as stored_tokens
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.catalogue import Catalogue
from knight_tw.web.api.channel_bulk import ChannelBulk
from knight_tw.web.api.channel_work import ChannelWork
from knight_tw.web.api.channels import Channels
from knight_tw.web.api.data import UsageSums
from knight_tw.web.api.jobs import JobPages
from knight_tw.web.api.log_views import LogViews
from knight_tw.web.api.logs import ChannelNames, Logs
from knight_tw.web.api.model_sync import ModelSync
from knight_tw.web.api.model_updates import ModelUpdatePages
from knight_tw.web.api.models import ModelNames
from knight_tw.web.api.ollama import OllamaPages
from knight_tw.web.api.pricing import Pricing
from knight_tw.web.api.ratio_sync import RatioSync
from knight_tw.web.api.tokens import Tokens
from knight_tw.web.api.usage import BillingPages, KeyPages
from tests.web.api.rows import channel_row, log_row, token_row
from tests.web.gateway import Gateway, now


@define
class ScriptedProbe:
    """Answers channel tests by channel name; remembers what it was asked."""

    errors: dict[str, KnightError] = field(factory=dict)
    asked: list[tuple[str, int, TestRequest]] = field(factory=list)
    waiting: Deferred[None] | None = None

    async def __call__(
        self, channel: Channel, key_index: int, request: TestRequest
    ) -> ProbeAnswer:
        """Fail as the script says, else answer."""
        self.asked.append((channel.name, key_index, request))
        if self.waiting is not None:
            await self.waiting
        if channel.name in self.errors:
            raise self.errors[channel.name]
        usage = Usage(prompt=8, completion=1)
        return ProbeAnswer(usage, {"model_ratio": 1}, "hello")


@define
class _Answer:
    status: int
    body: bytes

    def get(self, name: str) -> str:
        """A header: there are none."""
        return ""

    def read(self, limit: int, timeout: float | None = None) -> Deferred[bytes]:
        """The body."""
        return succeed(self.body[:limit])

    def deliver(self, receiver: Any, idle_timeout: float) -> None:
        """The body in pieces of five bytes."""
        for place in range(0, len(self.body), 5):
            receiver.chunk(self.body[place : place + 5])
        receiver.ended(None)

    def abort(self) -> None:
        """Nothing more is wanted."""


@define
class ScriptedUpstream:
    """Answers requests by URL; remembers them."""

    answers: dict[str, tuple[int, Any] | KnightError] = field(factory=dict)
    sent: list[dict[str, Any]] = field(factory=list)

    def __call__(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes,
        **options: Any,
    ) -> Deferred[Any]:
        """The answer that the script has for the URL, else 404."""
        self.sent.append(
            {"method": method, "url": url, "headers": dict(headers), "body": body}
            | options
        )
        found = self.answers.get(url, (404, {"error": {"message": "no such page"}}))
        if isinstance(found, KnightError):
            return fail(found)
        status, content = found
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        return succeed(_Answer(status, content))


@define
class ShortMemory:
    """A cache of texts, in the shape of `cache.MemoryCache`."""

    texts: dict[str, str] = field(factory=dict)

    def get(self, key: str) -> str | None:
        """A text that is still there."""
        return self.texts.get(key)

    def set(self, key: str, value: str, ttl: float) -> None:
        """Keep a text."""
        self.texts[key] = value

    def delete(self, key: str) -> None:
        """Forget a text."""
        self.texts.pop(key, None)


@define(eq=False)
class Management(Gateway):
    """The gateway with our surfaces beside the others; it is its own view."""

    probe: ScriptedProbe = field(factory=ScriptedProbe)
    upstream: ScriptedUpstream = field(factory=ScriptedUpstream)
    background: Background = field(factory=Background)
    refused_addresses: set[str] = field(factory=set)
    memory: ShortMemory = field(factory=ShortMemory)
    jobs: Jobs = field(init=False)
    tester: ChannelTester = field(init=False)
    updates: ModelUpdates = field(init=False)

    @property
    def prices(self) -> PriceBook:
        """Today's prices."""
        return PriceBook.from_options(self.options)

    @property
    def routes(self) -> RoutingTable:
        """Today's routes."""
        return RoutingTable.build(now(self.db.read(channels.load_all)))

    def surfaces(self) -> list[Any]:
        """All surfaces, ours at the end."""
        chance = random.Random(3)  # noqa: S311 - keys of a test
        audit = Audit(self.notes.append, self.clock)
        client = ChannelClient(self.upstream)
        health = ChannelHealth(self.db, self, self.clock, self.changed)
        self.jobs = Jobs(self.db, self.clock, self.background, "node", chance)
        self.tester = ChannelTester(
            self.db, self, self.clock, self.probe, health, self.notes.append
        )
        balances = Balances(self.db, self, self.clock, client, health)
        names = ChannelNames(self.db)
        discovery = Discovery(client)
        self.updates = ModelUpdates(self.db, self.clock, discovery, self.changed)
        cleanup = LogCleanup(self.db, self.jobs)
        guard, db, clock, limits = self.guard, self.db, self.clock, self.limits
        download = Download.of(self.settings)
        source = ModelSource(self.upstream, execute, clock, download)
        return [
            *super().surfaces(),
            Tokens(guard, db, self, clock, limits, self.changed, chance),
            Channels(
                guard,
                db,
                self,
                clock,
                limits,
                audit,
                self.changed,
                self.check_address,
            ),
            ChannelWork(guard, db, self.tester, discovery, balances, self.jobs, audit),
            Logs(guard, db, names, clock, limits, cleanup, audit),
            UsageSums(guard, db, clock),
            KeyPages(self.holder, db, db, limits),
            BillingPages(self.holder, db, self),
            Pricing(guard, db, self, clock),
            Catalogue(guard, db, self, clock, audit),
            ModelNames(guard, self, PROVIDERS),
            JobPages(guard, db, self.jobs, cleanup, audit),
            LogViews(guard, db, names, clock, limits),
            OllamaPages(guard, db, Ollama(client), audit),
            ModelSync(guard, db, source, clock, audit),
            RatioSync(guard, db, PriceSync(self.upstream, self.view)),
            ModelUpdatePages(guard, db, self.updates, self.jobs, audit),
            ChannelBulk(
                guard,
                db,
                clock,
                self.memory,
                audit,
                self.changed,
                self.check_address,
            ),
        ]

    # collaborators -----------------------------------------------------------

    async def check_address(self, url: str) -> None:
        """The address guard: refuses what a test put on its list."""
        if url in self.refused_addresses:
            raise InvalidRequest("this address is not allowed", code="address_refused")

    async def holder(self, credential: Credential) -> tuple[Token, User]:
        """What `Callers.holder` does, without its memory."""
        found = await self.db.read(stored_tokens.find_by_key, credential.key)
        if found is None:
            raise InvalidKey("invalid API key")
        token, user = found
        if token.status == DISABLED:
            raise InvalidKey("this API key is disabled")
        if user is None or user.status == DISABLED:
            raise UserDisabled("the owner of this API key is disabled")
        return token, user

    # rows --------------------------------------------------------------------

    def add_token(self, user_id: int, **columns: Any) -> int:
        """A new token's id."""
        row = token_row(user_id=user_id, **columns)
        made = now(self.db.run(token_queries.create, [row], 10_000))
        assert made is not None
        return int(made[0]["id"])

    def add_channel(self, **columns: Any) -> int:
        """A new channel's id."""
        rows = [channel_row(**columns)]
        return now(self.db.run(channel_queries.insert, rows))[0]

    def add_log(self, **columns: Any) -> None:
        """A new log row."""
        now(self.db.run(logs.insert, [log_row(**columns)]))

    def channel(self, channel_id: int) -> dict[str, Any]:
        """A channel's columns."""
        found = schema.channels
        rows = self.rows(sa.select(found).where(found.c.id == channel_id))
        return rows[0] if rows else {}

    def token(self, token_id: int) -> dict[str, Any]:
        """A token's columns."""
        found = schema.tokens
        return self.rows(sa.select(found).where(found.c.id == token_id))[0]

    def audited(self) -> list[str]:
        """The actions that were recorded."""
        return [
            note["other"]["op"]["action"]
            for note in self.notes
            if "op" in note["other"]
        ]
