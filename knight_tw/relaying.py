"""Wires the relay: what a call needs, from its credential to its charge."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.web.resource import IResource

from knight_tw import __version__
from knight_tw.accounts.callers import Callers
from knight_tw.background import Background
from knight_tw.cache import Cache, SharedTurns
from knight_tw.channels.health import ChannelHealth
from knight_tw.credentials import TokenExchange, sign_rsa
from knight_tw.ledger import Ledger
from knight_tw.metrics import Meter
from knight_tw.protocols.sockets import Sockets
from knight_tw.providers.provider import TokenRequest
from knight_tw.relay import Relay
from knight_tw.relay.affinity import FORGET, Affinity
from knight_tw.relay.attempt import Timeouts, Wire
from knight_tw.relay.call import Call
from knight_tw.relay.capacity import Capacity
from knight_tw.relay.choosing import Choosing
from knight_tw.relay.counts import Counts
from knight_tw.relay.inflating import Inflater, InThread
from knight_tw.relay.limits import RateLimits
from knight_tw.relay.probe import RelayProbe
from knight_tw.relay.realtime import RealtimeRelay, Sessions
from knight_tw.relay.reasoning import ReasoningMemory, Seal
from knight_tw.relay.watch import ChannelWatch
from knight_tw.requestid import RequestIds
from knight_tw.routing import Draw
from knight_tw.routing_affinity import rules_of
from knight_tw.settings import Settings
from knight_tw.snapshots import Snapshots
from knight_tw.storage.database import Database
from knight_tw.upstream import Upstream
from knight_tw.web.addresses import Proxies
from knight_tw.web.model_lists import ModelLists
from knight_tw.web.realtime import PATH, DeclinedResource, RealtimeResource
from knight_tw.web.relay import RelaySurface

MEGABYTE = 1024 * 1024
TOKEN_SECONDS, TOKEN_BYTES = 15.0, 1024 * 1024
"""Limits of a request that exchanges a key for a token."""


@frozen(eq=False)
class Relaying:
    """The relay's parts that others need.

    Attributes:
        surface: Both lanes' way in.
        ids: Makes request ids, for both sides.
        health: Takes channels out of service and back.
        probe: Tests a channel.
        sockets: Websocket resources by path.
        sessions: The realtime sessions that are open.
        meter: What has been done so far.
        affinity: Where conversations were.
    """

    surface: RelaySurface
    ids: RequestIds
    health: ChannelHealth
    watch: ChannelWatch
    probe: RelayProbe
    sockets: Mapping[str, IResource]
    sessions: Sessions
    relay: Relay
    meter: Meter
    affinity: Affinity

    @classmethod
    def build(
        cls,
        settings: Settings,
        reactor: Any,
        *,
        secret: str,
        db: Database,
        cache: Cache,
        snapshots: Snapshots,
        ledger: Ledger,
        upstream: Upstream,
        callers: Callers,
        background: Background,
        in_thread: InThread,
    ) -> Relaying:
        """The relay of one process.

        Args:
            secret: The installation's; keys for what is stored are derived from it.
        """
        health = ChannelHealth(db, snapshots, reactor, snapshots.changed)
        meter = Meter()
        watch = ChannelWatch(health, background, meter)
        limit = settings.max_request_body_mb * MEGABYTE

        def policy(call: Call) -> str:
            attempt = call.attempt
            own = attempt.channel.settings.get("interrupt_policy") if attempt else ""
            return str(own or snapshots.knobs.interrupt_policy)

        wire = Wire(
            upstream,
            reactor,
            background,
            Timeouts(
                first_byte=settings.relay_first_byte_timeout,
                idle=settings.streaming_timeout,
                whole=settings.relay_timeout,
            ),
            _tokens(upstream, reactor, background, in_thread),
            limit,
            settings.stream_scanner_max_buffer_mb * MEGABYTE,
            settings.max_file_download_mb * MEGABYTE,
            policy,
            meter,
            ReasoningMemory(cache, Seal.of(secret)),
        )
        affinity = Affinity.over(cache, reactor)

        async def forget(name: str) -> None:
            await affinity.forget(name, rules_of(snapshots.options))

        def told(kind: str, ref: str) -> None:
            if kind == FORGET:
                background.spawn("forget conversations", forget(ref))

        snapshots.on_change(told)
        draw = Draw(random.Random(), SharedTurns(cache))  # noqa: S311 - no secret
        choosing = Choosing(
            snapshots,
            draw,
            watch,
            ledger,
            affinity,
            Capacity(reactor),
            reactor,
        )
        counts = Counts(in_thread, settings.count_token)
        relay = Relay(
            snapshots,
            ledger,
            wire,
            choosing,
            counts,
            reactor,
            Inflater(in_thread, limit),
            settings.error_log_enabled,
            settings.interrupt_drain_max,
            settings.interrupt_drain_seconds,
            policy,
            meter,
        )
        ids = RequestIds()
        limits = RateLimits(
            lambda: snapshots.knobs.rate_limit, cache, reactor, background
        )

        def version() -> str:
            return __version__ if snapshots.knobs.version_header else ""

        lists = ModelLists(snapshots)
        surface = RelaySurface(
            relay, callers, limits, lists, reactor, meter, ids, version
        )
        sockets = Sockets(reactor)
        realtime = RealtimeRelay(
            snapshots,
            ledger,
            upstream,
            sockets,
            choosing,
            counts,
            reactor,
            background,
            settings.error_log_enabled,
            meter,
        )
        probe = RelayProbe(
            wire, lambda: snapshots.knobs, lambda: snapshots.prices, reactor
        )
        resources: dict[str, IResource] = {
            PATH: RealtimeResource(
                realtime,
                sockets,
                callers,
                limits,
                ids,
                reactor,
                Proxies.of(settings.trusted_proxies).client,
                meter,
                version,
            ),
            "/v1/responses": DeclinedResource(ids, reactor, version),
        }
        return cls(
            surface,
            ids,
            health,
            watch,
            probe,
            resources,
            realtime.sessions,
            relay,
            meter,
            affinity,
        )


def _tokens(
    upstream: Upstream, reactor: Any, background: Background, in_thread: InThread
) -> TokenExchange:
    """Tokens for keys that are not themselves credentials."""

    async def sent(
        request: TokenRequest, proxy: str, guarded: bool
    ) -> tuple[int, bytes]:
        answer = await upstream.send(
            "POST",
            request.url,
            request.headers,
            request.body,
            proxy=proxy,
            guarded=guarded,
            first_byte_timeout=TOKEN_SECONDS,
        )
        return answer.status, await answer.read(TOKEN_BYTES, TOKEN_SECONDS)

    def send(
        request: TokenRequest, *, proxy: str, guarded: bool
    ) -> Deferred[tuple[int, bytes]]:
        return Deferred.fromCoroutine(sent(request, proxy, guarded))

    return TokenExchange(send, reactor, background, in_thread, sign_rsa)
