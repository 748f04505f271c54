"""The surfaces about getting an account, mail, notices and gifts."""

from __future__ import annotations

import random

from knight_tw.accounts.mail_codes import MailCodes
from knight_tw.management.parts import Parts, Tools
from knight_tw.web.api.checkin import CheckinApi
from knight_tw.web.api.notices import NoticesApi
from knight_tw.web.api.recovery import RecoveryApi
from knight_tw.web.api.redemptions import RedemptionApi
from knight_tw.web.api.registration import RegistrationApi
from knight_tw.web.root import Surface


def surfaces(parts: Parts, tools: Tools) -> list[Surface]:
    """Registration, addresses and passwords, notices, redemption codes, check-in."""
    db, options, seconds = parts.db, parts.options, parts.reactor.seconds
    guard, limits, audit = tools.guard, tools.limits, tools.audit
    changed, told = parts.snapshots.changed, parts.balances_changed
    dice = random.SystemRandom()
    codes = MailCodes(db, tools.flows, tools.mailer, options, parts.site)
    _listen(parts, tools)
    return [
        RegistrationApi(
            db,
            limits,
            tools.captcha,
            codes,
            tools.passwords,
            audit,
            options,
            changed,
            parts.settings.generate_default_token,
            dice,
            seconds,
        ),
        RecoveryApi(
            db,
            guard,
            limits,
            tools.captcha,
            codes,
            tools.mailer,
            tools.passwords,
            parts.background,
            audit,
            options,
            changed,
            dice,
            seconds,
        ),
        NoticesApi(db, guard, limits, tools.sending, options),
        RedemptionApi(db, guard, limits, audit, changed, told, dice, seconds),
        CheckinApi(
            db, guard, tools.captcha, audit, options, changed, told, dice, seconds
        ),
    ]


def _listen(parts: Parts, tools: Tools) -> None:
    """Let the notices hear of what they are about."""
    parts.ledger.tell_spent(tools.notices.spent)
    parts.snapshots.on_change(tools.notices.forget)
    parts.relaying.health.watch = tools.notices.channel_changed
    tools.tester.told = tools.notices.channels_tested
    tools.updates.told = tools.notices.models_changed
