"""Wires the management side: accounts, the `/api` surfaces, the site around them."""

from __future__ import annotations

import random
from collections.abc import Sequence
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
from knight_tw.channels.addresses import AddressCheck
from knight_tw.channels.balance import Balances
from knight_tw.channels.discovery import Discovery
from knight_tw.channels.schedule import TestSchedule
from knight_tw.channels.testing import ChannelTester
from knight_tw.channels.upstreams import ChannelClient
from knight_tw.jobs import Jobs
from knight_tw.ledger import Ledger
from knight_tw.log_cleanup import LogCleanup
from knight_tw.options import Options
from knight_tw.web.relay_resource import RelayResource
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
from knight_tw.web.api.channel_gate import ChannelGate
from knight_tw.web.api.channel_work import ChannelWork
from knight_tw.web.api.channels import Channels
from knight_tw.web.api.cookies import Cookies, Origins
from knight_tw.web.api.data import UsageSums
from knight_tw.web.api.groups import GroupsApi
from knight_tw.web.api.logs import ChannelNames, Logs
from knight_tw.web.api.models import ModelNames
from knight_tw.web.api.options import OptionsApi
from knight_tw.web.api.pricing import Pricing
from knight_tw.web.api.self import SelfApi
from knight_tw.web.api.session import SessionApi
from knight_tw.web.api.setup import SetupApi
from knight_tw.web.api.status import StatusApi
from knight_tw.web.api.tokens import Tokens
from knight_tw.web.api.usage import BillingPages, KeyPages
from knight_tw.web.api.user_actions import UserActionsApi
from knight_tw.web.api.users import UsersApi
from knight_tw.web.api.verification import VerificationApi
from knight_tw.web.auth import Guard
from knight_tw.web.front import Front
from knight_tw.web.root import Root, api_routes
from knight_tw.web.site import BodyLimits, GatewaySite

KILOBYTE = 1024


@frozen(eq=False)
class Management:
    """The management side's parts that others need.

    Attributes:
        site: The general lane's site.
        schedule: Starts channel tests when they are due.
    """

    site: GatewaySite
    schedule: TestSchedule
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
    ) -> Management:
        """The management side of one process."""
        parts = _Parts(
            settings,
            reactor,
            secret,
            version,
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
        )
        return parts.assembled()


@frozen(eq=False)
class _Parts:
    """Everything that surfaces are made from, and what several of them share."""

    settings: Settings
    reactor: Any
    secret: str
    version: str
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
        settings, clock = self.settings, self.reactor
        signer = Signer(self.secret)
        passwords = Passwords(self.in_thread)
        start = FirstStart(self.db, passwords, clock, self.version)
        guard = Guard(self.db, signer, clock)
        limits = Limits(self.cache, clock, windows(settings))
        audit = Audit(self.ledger.note, clock)
        client = ChannelClient(self.upstream.send)
        tester = ChannelTester(
            self.db,
            self.snapshots,
            clock,
            self.relaying.probe,
            self.relaying.health,
            self.ledger.note,
            settings.polling_interval,
        )
        jobs = Jobs(self.db, clock, self.background, settings.node_name)
        surfaces = [
            *self._accounts(signer, passwords, start, guard, limits, audit),
            *self._channels(guard, limits, audit, client, tester, jobs),
            *self._pages(guard, limits, audit, jobs),
        ]
        site = self._site(surfaces, start, limits)
        schedule = TestSchedule(self.snapshots, tester, jobs, clock)
        return Management(site, schedule, start, settings)

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
            ready=lambda: "",
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
        )

    def _accounts(
        self,
        signer: Signer,
        passwords: Passwords,
        start: FirstStart,
        guard: Guard,
        limits: Limits,
        audit: Audit,
    ) -> list[Any]:
        db, options, settings = self.db, self.options, self.settings
        clock, seconds = self.reactor, self.reactor.seconds
        changed, told = self.snapshots.changed, self.balances_changed
        dice = random.SystemRandom()
        cookies = Cookies(settings.session_cookie_secure)
        sessions = Sessions(db, signer, clock, dice, quotas(settings))
        factor = SecondFactor(db, passwords, clock)
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
                Turnstile(options, self.upstream.http),
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
        ]

    def _channels(
        self,
        guard: Guard,
        limits: Limits,
        audit: Audit,
        client: ChannelClient,
        tester: ChannelTester,
        jobs: Jobs,
    ) -> list[Any]:
        db, view, clock = self.db, self.snapshots, self.reactor
        gate = ChannelGate(guard, view)
        balances = Balances(db, view, clock, client, self.relaying.health)
        return [
            Channels(
                guard,
                gate,
                db,
                view,
                clock,
                limits,
                audit,
                view.changed,
                AddressCheck(clock, lambda: self.upstream.guard),
            ),
            ChannelWork(gate, db, tester, Discovery(client), balances, jobs, audit),
            ModelNames(guard, gate, view, providers.ALL),
        ]

    def _pages(
        self, guard: Guard, limits: Limits, audit: Audit, jobs: Jobs
    ) -> list[Any]:
        db, logs, view, clock = self.db, self.logs, self.snapshots, self.reactor
        holder = self.callers.holder
        return [
            Tokens(guard, db, view, clock, limits, view.changed),
            Logs(
                guard,
                logs,
                ChannelNames(db),
                clock,
                limits,
                LogCleanup(logs, jobs),
                audit,
            ),
            UsageSums(guard, db, clock),
            Pricing(guard, db, view, clock),
            Catalogue(guard, db, view, clock, audit),
            KeyPages(holder, db, logs, limits),
            BillingPages(holder, db, view),
        ]
