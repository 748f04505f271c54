"""The surfaces about second factors, passkeys and showing them again."""

from __future__ import annotations

import random

from knight_tw.management.parts import Parts, Tools
from knight_tw.web.api.passkeys import PasskeysApi
from knight_tw.web.api.renewal import Renewal
from knight_tw.web.api.two_factor import TwoFactorApi
from knight_tw.web.api.verification import VerificationApi, Verified
from knight_tw.web.root import Surface


def surfaces(parts: Parts, tools: Tools) -> list[Surface]:
    """TOTP, passkeys, `/api/verify`."""
    db, options, seconds = parts.db, parts.options, parts.reactor.seconds
    guard, limits, audit = tools.guard, tools.limits, tools.audit
    passwords, factor, changed = tools.passwords, tools.factor, parts.snapshots.changed
    renewal = Renewal(tools.sessions, tools.cookies)
    verified = Verified(db, tools.sessions, tools.cookies, seconds)
    return [
        VerificationApi(db, guard, limits, passwords, factor, verified, seconds),
        TwoFactorApi(
            db,
            guard,
            limits,
            passwords,
            factor,
            tools.totp_secrets,
            renewal,
            audit,
            options,
            changed,
            random.SystemRandom(),
            seconds,
        ),
        PasskeysApi(
            db,
            guard,
            limits,
            tools.flows,
            parts.in_thread,
            tools.entrance,
            renewal,
            verified,
            audit,
            options,
            changed,
            seconds,
        ),
    ]
