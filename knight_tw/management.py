"""Wires the management side: accounts, the `/api` surfaces, the site around them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from knight_tw import providers
from knight_tw.accounts.callers import Callers
from knight_tw.accounts.captcha import Turnstile
from knight_tw.accounts.first_start import FirstStart
from knight_tw.accounts.limits import Limits, windows
from knight_tw.accounts.login import Login
from knight_tw.accounts.passwords import Passwords
from knight_tw.accounts.second_factor import SecondFactor
from knight_tw.accounts.sessions import Sessions, quotas
from knight_tw.accounts.signing import Signer
from knight_tw.background import Background
from knight_tw.cache import Cache
from knight_tw.channels import balance
from knight_tw.channels.addresses import AddressCheck
from knight_tw.channels.balance import Balances
from knight_tw.channels.discovery import Discovery
from knight_tw.channels.ollama import Ollama
from knight_tw.channels.schedule import TestSchedule
from knight_tw.channels.testing import ChannelTester
from knight_tw.channels.updates import ModelUpdates
from knight_tw.channels.upstreams import ChannelClient
from knight_tw.chores import Chore
from knight_tw.jobs import JobRunning, Jobs
from knight_tw.ledger import Ledger
from knight_tw.log_cleanup import LogCleanup
from knight_tw.options import Options
from knight_tw.price_sync import PriceSync
from knight_tw.relay.inflating import InThread
from knight_tw.relaying import Relaying
from knight_tw.settings import Settings
from knight_tw.snapshots import Snapshots
from knight_tw.storage.database import Database
from knight_tw.upstream import Upstream
from knight_tw.web import routes
from knight_tw.web.addresses import Proxies
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.catalogue import Catalogue
from knight_tw.web.api.channel_bulk import ChannelBulk
from knight_tw.web.api.channel_work import ChannelWork
from knight_tw.web.api.channels import Channels
from knight_tw.web.api.cookies import Cookies, Origins
from knight_tw.web.api.data import UsageSums
from knight_tw.web.api.groups import GroupsApi
from knight_tw.web.api.jobs import JobPages
from knight_tw.web.api.log_views import LogViews
from knight_tw.web.api.logs import ChannelNames, Logs
from knight_tw.web.api.model_updates import ModelUpdatePages
from knight_tw.web.api.models import ModelNames
from knight_tw.web.api.ollama import OllamaPages
from knight_tw.web.api.options import OptionsApi
from knight_tw.web.api.prefill import PrefillApi
from knight_tw.web.api.pricing import Pricing
from knight_tw.web.api.ratio_sync import RatioSync
from knight_tw.web.api.self import SelfApi
from knight_tw.web.api.session import SessionApi
from knight_tw.web.api.setup import SetupApi
from knight_tw.web.api.status import StatusApi
from knight_tw.web.api.tokens import Tokens
from knight_tw.web.api.uptime import UptimeApi
from knight_tw.web.api.usage import BillingPages, KeyPages
from knight_tw.web.api.user_actions import UserActionsApi
from knight_tw.web.api.users import UsersApi
from knight_tw.web.api.verification import VerificationApi
from knight_tw.web.auth import Guard
from knight_tw.web.front import Front
from knight_tw.web.metrics import PATH, MetricsResource
from knight_tw.web.relay_resource import RelayResource
from knight_tw.web.root import Root, api_routes
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

    async def first_start(self, address: str) -> None:
        """Sees whether there is an administrator; else the log says what to do."""
        await self._start.begin(self._settings, address)

    @classmethod
    def build(
        cls,
        settings: Settings,
        reactor: Any,
        *,
        secret: str,
        version: str,
        holder: str,
        ready: Callable[[], str],
        db: Database,
        logs: Database,
        cache: Cache,
        snapshots: Snapshots,
        ledger: Ledger,
        upstream: Upstream,
        callers: Callers,
        background: Background,
        in_thread: InThread,
        relaying: Relaying,
        metrics: Callable[[], bytes],
    ) -> Management:
        """The management side of one process."""
        parts = _Parts(
            settings,
            reactor,
            secret,
            version,
            holder,
            ready,
            db,
            logs,
            cache,
            snapshots,
            ledger,
            upstream,
            callers,
            background,
            in_thread,
            relaying,
            metrics,
        )
        return parts.assembled()


@frozen(eq=False)
class _Parts:
    """Everything that surfaces are made from, and what several of them share."""

    settings: Settings
    reactor: Any
    secret: str
    version: str
    holder: str
    ready: Callable[[], str]
    db: Database
    logs: Database
    cache: Cache
    snapshots: Snapshots
    ledger: Ledger
    upstream: Upstream
    callers: Callers
    background: Background
    in_thread: InThread
    relaying: Relaying
    metrics: Callable[[], bytes]

    def options(self) -> Options:
        """Today's options."""
        return self.snapshots.options

    def warnings(self) -> list[str]:
        """What administrators should know about this process."""
        return [] if self.cache.up else ["redis_away"]

    def balances_changed(self, user_id: int) -> None:
        """A user's balance was changed by a person."""
        self.callers.forget(user_id=user_id)
        self.ledger.forget(user_id=user_id)

    def assembled(self) -> Management:
        """The site with all surfaces behind it."""
        settings, clock, db = self.settings, self.reactor, self.db
        signer = Signer(self.secret)
        passwords = Passwords(self.in_thread)
        start = FirstStart(db, passwords, clock, self.version)
        sessions = Sessions(db, signer, clock, random.SystemRandom(), quotas(settings))
        client = ChannelClient(self.upstream.send)
        discovery = Discovery(client)
        jobs = Jobs(db, clock, self.background, self.holder)
        guard = Guard(db, signer, clock, self.options)
        tools = _Tools(
            guard=guard,
            limits=Limits(self.cache, clock, windows(settings)),
            audit=Audit(self.ledger.note, clock),
            client=client,
            discovery=discovery,
            jobs=jobs,
            tester=self._tester(),
            balances=Balances(db, self.snapshots, clock, client, self.relaying.health),
            updates=ModelUpdates(db, clock, discovery, self.snapshots.changed),
            cleanup=LogCleanup(self.logs, jobs),
        )
        surfaces = [
            *self._accounts(tools, signer, passwords, start, sessions),
            *self._channels(tools),
            *self._pages(tools),
        ]
        site = self._site(surfaces, start, tools.limits)
        return Management(site, self._chores(tools, sessions), start, settings)

    def _tester(self) -> ChannelTester:
        return ChannelTester(
            self.db,
            self.snapshots,
            self.reactor,
            self.relaying.probe,
            self.relaying.health,
            self.ledger.note,
            self.settings.polling_interval,
        )

    def _chores(self, tools: _Tools, sessions: Sessions) -> tuple[Chore, ...]:
        settings = self.settings
        schedule = TestSchedule(self.snapshots, tools.tester, tools.jobs, self.reactor)

        async def tidy() -> None:
            await sessions.tidy(
                settings.user_session_revoked_retention_days,
                settings.user_session_hourly_alert_threshold,
            )

        async def update_balances() -> None:
            try:
                await tools.jobs.start(balance.JOB, tools.balances.run)
            except JobRunning:
                return

        chores = [
            Chore("channel tests", 30.0, schedule.tick),
            Chore("tidy sessions", 3600.0, tidy),
        ]
        if settings.channel_upstream_model_update_task_enabled:
            minutes = settings.channel_upstream_model_update_task_interval_minutes
            chores.append(
                Chore(
                    "watch model lists",
                    60.0 * minutes,
                    lambda: tools.updates.watch(tools.jobs),
                )
            )
        if settings.channel_update_frequency:
            seconds = 60.0 * settings.channel_update_frequency
            chores.append(Chore("channel balances", seconds, update_balances))
        return tuple(chores)

    def _site(
        self, surfaces: Sequence[Any], start: FirstStart, limits: Limits
    ) -> GatewaySite:
        settings, clock = self.settings, self.reactor
        front = Front(start, self.options, clock, self.version, clock.seconds())
        body_limit = settings.max_request_body_mb * KILOBYTE * KILOBYTE
        proxies = Proxies.of(settings.trusted_proxies)
        root = Root(
            api=api_routes(surfaces),
            relay=RelayResource(self.relaying.surface, body_limit, proxies.client),
            is_relay=routes.claimed,
            front=front.answer,
            limits=limits,
            options=self.options,
            version=self.version,
            ready=self.ready,
            sockets=self.relaying.sockets,
            others={PATH: MetricsResource(self.metrics, settings.metrics_token)},
        )
        return GatewaySite(
            root,
            clock=clock,
            ids=self.relaying.ids,
            proxies=proxies,
            limits=BodyLimits(
                settings.anonymous_request_body_limit_kb * KILOBYTE,
                body_limit,
                routes.claimed,
            ),
            timeout=settings.client_idle_timeout,
        )

    def _accounts(
        self,
        tools: _Tools,
        signer: Signer,
        passwords: Passwords,
        start: FirstStart,
        sessions: Sessions,
    ) -> list[Any]:
        db, options, settings = self.db, self.options, self.settings
        clock, seconds = self.reactor, self.reactor.seconds
        guard, limits, audit = tools.guard, tools.limits, tools.audit
        changed, told = self.snapshots.changed, self.balances_changed
        dice = random.SystemRandom()
        cookies = Cookies(settings.session_cookie_secure)
        factor = SecondFactor(db, passwords, clock)
        http: Any = self.upstream.http  # treq's overloads are wider than what we ask
        return [
            SetupApi(start, db.dialect, options, changed),
            StatusApi(
                db,
                guard,
                limits,
                start,
                options,
                lambda: self.ledger.figures.holds_open,
                self.warnings,
                self.version,
                int(seconds()),
            ),
            SessionApi(
                db,
                guard,
                limits,
                Login(db, passwords, signer, clock),
                factor,
                sessions,
                signer,
                Turnstile(options, http),
                cookies,
                Origins(settings.session_cookie_trusted_url, options),
                audit,
                options,
                seconds,
            ),
            VerificationApi(
                db, guard, limits, passwords, factor, sessions, cookies, seconds
            ),
            SelfApi(
                db,
                guard,
                limits,
                passwords,
                sessions,
                cookies,
                options,
                changed,
                told,
                dice,
                seconds,
            ),
            UsersApi(
                db, guard, passwords, audit, options, changed, told, dice, seconds
            ),
            UserActionsApi(db, guard, audit, changed, told, seconds),
            OptionsApi(
                db,
                guard,
                audit,
                options,
                changed,
                lambda: self.snapshots.prices.completion_meta(),
                seconds,
            ),
            GroupsApi(guard, options),
            PrefillApi(db, guard, audit, seconds),
            UptimeApi(options, http, clock),
        ]

    def _channels(self, tools: _Tools) -> list[Any]:
        db, view, clock = self.db, self.snapshots, self.reactor
        guard, audit = tools.guard, tools.audit
        allowed = AddressCheck(clock, lambda: self.upstream.guard)
        return [
            Channels(
                guard,
                db,
                view,
                clock,
                tools.limits,
                audit,
                view.changed,
                allowed,
            ),
            ChannelWork(
                guard,
                db,
                tools.tester,
                tools.discovery,
                tools.balances,
                tools.jobs,
                audit,
            ),
            ChannelBulk(guard, db, clock, self.cache, audit, view.changed, allowed),
            ModelUpdatePages(guard, db, tools.updates, tools.jobs, audit),
            ModelNames(guard, view, providers.ALL),
            OllamaPages(guard, db, Ollama(tools.client), audit),
        ]

    def _pages(self, tools: _Tools) -> list[Any]:
        db, logs, view, clock = self.db, self.logs, self.snapshots, self.reactor
        guard, limits, audit = tools.guard, tools.limits, tools.audit
        holder, names = self.callers.holder, ChannelNames(db)
        return [
            Tokens(guard, db, view, clock, limits, view.changed),
            Logs(guard, logs, names, clock, limits, tools.cleanup, audit),
            LogViews(guard, logs, names, clock, limits),
            JobPages(guard, db, tools.jobs, tools.cleanup, audit),
            UsageSums(guard, db, clock),
            Pricing(guard, db, view, clock),
            Catalogue(guard, db, view, clock, audit),
            RatioSync(guard, db, PriceSync(self.upstream.send, self.options)),
            KeyPages(holder, db, logs, limits),
            BillingPages(holder, db, view),
        ]


@frozen(eq=False, kw_only=True)
class _Tools:
    """What several surfaces share."""

    guard: Guard
    limits: Limits
    audit: Audit
    client: ChannelClient
    discovery: Discovery
    jobs: Jobs
    tester: ChannelTester
    balances: Balances
    updates: ModelUpdates
    cleanup: LogCleanup
