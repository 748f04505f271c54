"""The surfaces about set-up, logins, accounts and options."""

from __future__ import annotations

import random

from knight_tw.accounts.external.discovery import OidcDiscovery
from knight_tw.accounts.external.exchange import Exchange
from knight_tw.management.parts import Parts, Tools
from knight_tw.web.api.groups import GroupsApi
from knight_tw.web.api.options import OptionsApi
from knight_tw.web.api.prefill import PrefillApi
from knight_tw.web.api.self import SelfApi
from knight_tw.web.api.session import SessionApi
from knight_tw.web.api.setup import SetupApi
from knight_tw.web.api.status import StatusApi
from knight_tw.web.api.uptime import UptimeApi
from knight_tw.web.api.user_actions import UserActionsApi
from knight_tw.web.api.users import UsersApi
from knight_tw.web.root import Surface


def surfaces(parts: Parts, tools: Tools) -> list[Surface]:
    """Set-up, status, logins, the own account, other accounts, options, groups."""
    db, options = parts.db, parts.options
    clock, seconds = parts.reactor, parts.reactor.seconds
    guard, limits, audit = tools.guard, tools.limits, tools.audit
    changed, told = parts.snapshots.changed, parts.balances_changed
    start, sessions, signer = tools.start, tools.sessions, tools.signer
    passwords, factor, cookies = tools.passwords, tools.factor, tools.cookies
    dice = random.SystemRandom()
    discovery = OidcDiscovery(Exchange(parts.upstream.send, clock))
    return [
        SetupApi(start, db.dialect, options, changed),
        StatusApi(
            db,
            guard,
            limits,
            start,
            options,
            lambda: parts.ledger.figures.holds_open,
            parts.warnings,
            parts.version,
            int(seconds()),
        ),
        SessionApi(
            guard,
            limits,
            tools.login,
            factor,
            sessions,
            signer,
            tools.captcha,
            cookies,
            tools.origins,
            tools.entrance,
            options,
            seconds,
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
        UsersApi(db, guard, passwords, audit, options, changed, told, dice, seconds),
        UserActionsApi(db, guard, audit, changed, told, seconds),
        OptionsApi(
            db,
            guard,
            audit,
            options,
            changed,
            lambda: parts.snapshots.prices.completion_meta(),
            seconds,
            discovery.completed,
        ),
        GroupsApi(guard, options),
        PrefillApi(db, guard, audit, seconds),
        UptimeApi(options, parts.http, clock),
    ]
