"""What the surfaces of the management API are made from."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from attrs import frozen

from knight_tw.accounts.callers import Callers
from knight_tw.accounts.captcha import Turnstile
from knight_tw.accounts.first_start import FirstStart
from knight_tw.accounts.limits import Limits, windows
from knight_tw.accounts.passwords import Passwords
from knight_tw.accounts.second_factor import SecondFactor
from knight_tw.accounts.sessions import Sessions, quotas
from knight_tw.accounts.signing import Signer
from knight_tw.background import Background
from knight_tw.cache import Cache
from knight_tw.channels.balance import Balances
from knight_tw.channels.discovery import Discovery
from knight_tw.channels.testing import ChannelTester
from knight_tw.channels.updates import ModelUpdates
from knight_tw.channels.upstreams import ChannelClient
from knight_tw.jobs import Jobs
from knight_tw.ledger import Ledger
from knight_tw.log_cleanup import LogCleanup
from knight_tw.options import Options
from knight_tw.relay.inflating import InThread
from knight_tw.relaying import Relaying
from knight_tw.settings import Settings
from knight_tw.snapshots import Snapshots
from knight_tw.storage.database import Database
from knight_tw.upstream import Upstream
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.cookies import Cookies, Origins
from knight_tw.web.auth import Guard


@frozen(eq=False, kw_only=True)
class Parts:
    """What the process gives to the management side.

    Attributes:
        secret: The session secret; one key per purpose is derived from it.
        holder: This process's name for leases and jobs.
        ready: Why this process should get no requests now; empty when it should.
        logs: The database of the log rows, `db` itself unless it is a second one.
        metrics: The page `/metrics`.
    """

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

    @property
    def http(self) -> Any:
        """A `treq` client; its overloads are wider than what surfaces ask for."""
        return self.upstream.http

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


@frozen(eq=False, kw_only=True)
class Tools:
    """What several surfaces share."""

    guard: Guard
    limits: Limits
    audit: Audit
    signer: Signer
    passwords: Passwords
    start: FirstStart
    sessions: Sessions
    factor: SecondFactor
    cookies: Cookies
    origins: Origins
    captcha: Turnstile
    client: ChannelClient
    discovery: Discovery
    jobs: Jobs
    tester: ChannelTester
    balances: Balances
    updates: ModelUpdates
    cleanup: LogCleanup

    @classmethod
    def of(cls, parts: Parts) -> Tools:
        """The tools of one process."""
        settings, clock, db = parts.settings, parts.reactor, parts.db
        view, health = parts.snapshots, parts.relaying.health
        signer = Signer(parts.secret)
        passwords = Passwords(parts.in_thread)
        client = ChannelClient(parts.upstream.send)
        discovery = Discovery(client)
        jobs = Jobs(db, clock, parts.background, parts.holder)
        dice = random.SystemRandom()
        return cls(
            guard=Guard(db, signer, clock, parts.options),
            limits=Limits(parts.cache, clock, windows(settings)),
            audit=Audit(parts.ledger.note, clock),
            signer=signer,
            passwords=passwords,
            start=FirstStart(db, passwords, clock, parts.version),
            sessions=Sessions(db, signer, clock, dice, quotas(settings)),
            factor=SecondFactor(db, passwords, clock),
            cookies=Cookies(settings.session_cookie_secure),
            origins=Origins(settings.session_cookie_trusted_url, parts.options),
            captcha=Turnstile(parts.options, parts.http),
            client=client,
            discovery=discovery,
            jobs=jobs,
            tester=_tester(parts),
            balances=Balances(db, view, clock, client, health),
            updates=ModelUpdates(db, clock, discovery, view.changed),
            cleanup=LogCleanup(parts.logs, jobs),
        )


def _tester(parts: Parts) -> ChannelTester:
    return ChannelTester(
        parts.db,
        parts.snapshots,
        parts.reactor,
        parts.relaying.probe,
        parts.relaying.health,
        parts.ledger.note,
        parts.settings.polling_interval,
    )
