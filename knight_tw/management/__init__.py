"""Wires the management side: accounts, the `/api` surfaces, the site around them."""

from __future__ import annotations

from attrs import frozen

from knight_tw.accounts.first_start import FirstStart
from knight_tw.chores import Chore
from knight_tw.management import (
    accounts,
    affinity,
    channels,
    external,
    factors,
    operations,
    pages,
    payments,
    registration,
    statistics,
)
from knight_tw.management.chores import chores
from knight_tw.management.description import described
from knight_tw.management.parts import Parts, Tools
from knight_tw.settings import Settings
from knight_tw.web import routes
from knight_tw.web.addresses import Proxies
from knight_tw.web.front import Front
from knight_tw.web.metrics import PATH, MetricsResource
from knight_tw.web.relay_resource import RelayResource
from knight_tw.web.root import Root, Surface, api_routes
from knight_tw.web.site import BodyLimits, GatewaySite

KILOBYTE = 1024


@frozen(eq=False)
class Management:
    """The management side's parts that others need.

    Attributes:
        site: The general lane's site.
        chores: What the holder of the lease does for the management side.
    """

    site: GatewaySite
    chores: tuple[Chore, ...]
    _start: FirstStart
    _settings: Settings
    _tools: Tools

    def begin(self) -> None:
        """The process serves: hear from the others, and let them see this one."""
        self._tools.tail.start()
        self._tools.nodes.start()
        self._tools.load.start()

    def end(self) -> None:
        """The process stops: streams of events end, so that nobody waits for them."""
        self._tools.streams.stop()
        self._tools.tail.stop()
        self._tools.nodes.stop()
        self._tools.load.stop()

    def close(self) -> None:
        """Nothing is left to be told: the threads that send mail end."""
        self._tools.mailer.stop()

    def left_out(self) -> int:
        """Rows of the log that some reader of its stream was not given."""
        return self._tools.tail.dropped

    async def first_start(self, address: str) -> None:
        """Sees whether there is an administrator; else the log says what to do."""
        await self._start.begin(self._settings, address)

    @classmethod
    def of(cls, parts: Parts) -> Management:
        """The management side of one process."""
        tools = Tools.of(parts)
        work = (
            *chores(parts, tools),
            *statistics.chores(parts),
            *operations.chores(parts),
        )
        return cls(_site(parts, tools), work, tools.start, parts.settings, tools)


def surfaces(parts: Parts, tools: Tools) -> list[Surface]:
    """Everything that answers below `/api`."""
    areas = (
        accounts,
        affinity,
        channels,
        external,
        pages,
        payments,
        registration,
        statistics,
        operations,
        factors,
    )
    found = [surface for area in areas for surface in area.surfaces(parts, tools)]
    return described(parts, found)


def _site(parts: Parts, tools: Tools) -> GatewaySite:
    settings, clock = parts.settings, parts.reactor
    front = Front(tools.start, parts.options, clock, parts.version, clock.seconds())
    body_limit = settings.max_request_body_mb * KILOBYTE * KILOBYTE
    proxies = Proxies.of(settings.trusted_proxies)
    root = Root(
        api=api_routes(surfaces(parts, tools)),
        relay=RelayResource(parts.relaying.surface, body_limit, proxies.client),
        is_relay=routes.claimed,
        front=front.answer,
        limits=tools.limits,
        options=parts.options,
        version=parts.version,
        ready=parts.ready,
        sockets=parts.relaying.sockets,
        others={PATH: MetricsResource(parts.metrics, settings.metrics_token)},
    )
    return GatewaySite(
        root,
        clock=clock,
        ids=parts.relaying.ids,
        proxies=proxies,
        limits=BodyLimits(
            settings.anonymous_request_body_limit_kb * KILOBYTE,
            body_limit,
            routes.claimed,
        ),
        timeout=settings.client_idle_timeout,
    )
