"""What the surfaces of the management API are made from."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from typing import Any

from attrs import frozen

from knight_tw.accounts.callers import Callers
from knight_tw.accounts.captcha import Turnstile
from knight_tw.accounts.first_start import FirstStart
from knight_tw.accounts.flows import Flows
from knight_tw.accounts.limits import Limits, windows
from knight_tw.accounts.login import Login
from knight_tw.accounts.passwords import Passwords
from knight_tw.accounts.second_factor import SecondFactor
from knight_tw.accounts.sessions import Sessions, quotas
from knight_tw.accounts.signing import Signer
from knight_tw.accounts.totp_secrets import TotpSecrets
from knight_tw.background import Background
from knight_tw.cache import Cache
from knight_tw.channels.addresses import AddressCheck
from knight_tw.channels.balance import Balances
from knight_tw.channels.discovery import Discovery
from knight_tw.channels.testing import ChannelTester
from knight_tw.channels.updates import ModelUpdates
from knight_tw.channels.upstreams import ChannelClient
from knight_tw.jobs import Jobs
from knight_tw.ledger import Ledger
from knight_tw.load import LoadGuard
from knight_tw.log_cleanup import LogCleanup
from knight_tw.log_tail import LogTail
from knight_tw.nodes import NodeReport
from knight_tw.notices.mail import Mailer
from knight_tw.notices.notices import Notices, Rate
from knight_tw.notices.sending import Sending
from knight_tw.options import Options
from knight_tw.relay.inflating import InThread
from knight_tw.relaying import Relaying
from knight_tw.settings import Settings
from knight_tw.snapshots import Snapshots
from knight_tw.storage.database import Database
from knight_tw.upstream import Upstream
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.cookies import Cookies, Origins
from knight_tw.web.api.entrance import Entrance
from knight_tw.web.api.status import LOCAL_ADDRESS
from knight_tw.web.auth import Guard
from knight_tw.web.event_streams import Streams

LAG_SECONDS = 5.0
"""A ledger that is so late does not keep up."""


@frozen(eq=False, kw_only=True)
class Parts:
    """What the process gives to the management side.

    Attributes:
        secret: The session secret; one key per purpose is derived from it.
        holder: This process's name for leases and jobs.
        ready: Why this process should get no requests now; empty when it should.
        logs: The database of the log rows, `db` itself unless it is a second one.
        metrics: The page `/metrics`.
        log_folder: The folder of log files; empty when there is none.
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
    log_folder: str = ""

    @property
    def http(self) -> Any:
        """A `treq` client; its overloads are wider than what surfaces ask for."""
        return self.upstream.http

    def options(self) -> Options:
        """Today's options."""
        return self.snapshots.options

    def warnings(self) -> list[str]:
        """What administrators should know about this process."""
        known = {
            "redis_unavailable": not self.cache.up,
            "database_unavailable": self.ledger.away,
            "journal_lag": self.ledger.lag > LAG_SECONDS,
            "overloaded": bool(self.relaying.surface.overloaded),
        }
        return [code for code, true in known.items() if true]

    def site(self) -> str:
        """The address of the site for links, without a slash at its end."""
        return self.options().text("ServerAddress").rstrip("/") or LOCAL_ADDRESS

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
    login: Login
    sessions: Sessions
    flows: Flows
    mailer: Mailer
    sending: Sending
    notices: Notices
    entrance: Entrance
    factor: SecondFactor
    totp_secrets: TotpSecrets
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
    streams: Streams
    tail: LogTail
    nodes: NodeReport
    load: LoadGuard

    @classmethod
    def of(cls, parts: Parts) -> Tools:
        """The tools of one process."""
        settings, clock, db = parts.settings, parts.reactor, parts.db
        view, health = parts.snapshots, parts.relaying.health
        signer = Signer(parts.secret)
        passwords = Passwords(parts.in_thread)
        totp_secrets = TotpSecrets.of(settings.crypto_secret or parts.secret)
        client = ChannelClient(parts.upstream.send)
        discovery = Discovery(client)
        jobs = Jobs(db, clock, parts.background, parts.holder)
        dice = random.SystemRandom()
        login = Login(db, passwords, signer, clock)
        sessions = Sessions(db, signer, clock, dice, quotas(settings))
        audit = Audit(parts.ledger.note, clock)
        cookies = Cookies(settings.session_cookie_secure)
        mailer = Mailer(parts.options, clock, dice)
        sending = _sending(parts, mailer)
        return cls(
            guard=Guard(db, signer, clock, parts.options),
            limits=Limits(parts.cache, clock, windows(settings)),
            audit=audit,
            signer=signer,
            passwords=passwords,
            start=FirstStart(db, passwords, clock, parts.version),
            login=login,
            sessions=sessions,
            flows=Flows(db, clock, dice, parts.secret),
            mailer=mailer,
            sending=sending,
            notices=_notices(parts, sending),
            entrance=Entrance(
                *(db, login, sessions, signer, cookies, audit),
                *(parts.options, clock.seconds),
            ),
            factor=SecondFactor(db, passwords, clock, totp_secrets),
            totp_secrets=totp_secrets,
            cookies=cookies,
            origins=Origins(settings.session_cookie_trusted_url, parts.options),
            captcha=Turnstile(parts.options, parts.http),
            client=client,
            discovery=discovery,
            jobs=jobs,
            tester=_tester(parts),
            balances=Balances(db, view, clock, client, health),
            updates=ModelUpdates(db, clock, discovery, view.changed),
            cleanup=LogCleanup(parts.logs, jobs),
            streams=Streams(clock),
            tail=LogTail(parts.cache, clock, f"{dice.getrandbits(32):08x}"),
            nodes=_node(parts),
            load=_load(parts),
        )


def _node(parts: Parts) -> NodeReport:
    settings, host = parts.settings, socket.gethostname()
    return NodeReport(
        parts.db,
        parts.reactor,
        parts.in_thread,
        settings.node_name or host,
        host,
        bool(settings.node_name),
        settings.node_type != "slave",
        parts.version,
        settings.data_dir,
    )


def _load(parts: Parts) -> LoadGuard:
    surface = parts.relaying.surface

    def tell(why: str) -> None:
        surface.overloaded = why

    folder = parts.settings.data_dir
    return LoadGuard(parts.reactor, parts.options, parts.in_thread, tell, folder)


def _sending(parts: Parts, mailer: Mailer) -> Sending:
    allowed = AddressCheck(parts.reactor, lambda: parts.upstream.guard)
    return Sending(parts.options, mailer, parts.upstream.send, allowed, parts.reactor)


def _notices(parts: Parts, sending: Sending) -> Notices:
    settings = parts.settings
    minutes = settings.notification_limit_duration_minute
    return Notices(
        parts.db,
        parts.cache,
        parts.options,
        sending,
        parts.background,
        parts.reactor,
        parts.site,
        Rate(settings.notify_limit_count, minutes),
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
