"""The gateway in memory with the surfaces about getting an account, and its mail."""

from __future__ import annotations

import re
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from knight_tw.accounts.captcha import Turnstile
from knight_tw.accounts.flows import Flows
from knight_tw.accounts.mail_codes import MailCodes
from knight_tw.background import Background
from knight_tw.notices.letters import Letter
from knight_tw.notices.mail import NoMailServer
from knight_tw.notices.sending import Sending
from knight_tw.notices.smtp import MailFailed
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.checkin import CheckinApi
from knight_tw.web.api.notices import NoticesApi
from knight_tw.web.api.recovery import RecoveryApi
from knight_tw.web.api.redemptions import RedemptionApi
from knight_tw.web.api.registration import RegistrationApi
from tests.notices.test_sending import Receiver
from tests.web.gateway import Gateway


@define(eq=False)
class Letterbox:
    """Stands for the mailer: keeps letters, or fails as it is told."""

    letters: list[Letter] = field(factory=list)
    failing: MailFailed | NoMailServer | None = None
    waiting: Deferred[None] | None = None

    async def send(self, letter: Letter) -> None:
        """Keep the letter."""
        if self.waiting is not None:
            await self.waiting
        if self.failing is not None:
            raise self.failing
        self.letters.append(letter)

    def code(self) -> str:
        """The code in the last letter."""
        found = re.search(r"^([0-9a-f]{6})$", self.letters[-1].text, re.MULTILINE)
        assert found is not None, self.letters[-1].text
        return found[1]

    def link(self) -> str:
        """The address in the last letter."""
        found = re.search(r"^(https?://\S+)$", self.letters[-1].text, re.MULTILINE)
        assert found is not None, self.letters[-1].text
        return found[1]


@define(eq=False)
class Door(Gateway):
    """The gateway with our surfaces beside the others."""

    mail: Letterbox = field(factory=Letterbox)
    receiver: Receiver = field(factory=Receiver)
    background: Background = field(factory=Background)
    first_token: bool = False
    flows: Flows = field(init=False)
    redemptions: RedemptionApi = field(init=False)

    def surfaces(self) -> list[Any]:
        """All surfaces of the account side."""
        db, limits, options = self.db, self.limits, self.view
        audit, seconds = Audit(self.notes.append, self.clock), self.clock.seconds
        captcha = Turnstile(options, self)
        self.flows = Flows(db, self.clock, self.chance, "secret")
        mail: Any = self.mail
        codes = MailCodes(db, self.flows, mail, options, lambda: "https://site.example")
        sending = Sending(options, mail, self.receiver, _any, self.clock)
        self.redemptions = RedemptionApi(
            db,
            self.guard,
            limits,
            audit,
            self.changed,
            self.balances.append,
            self.chance,
            seconds,
        )
        return [
            *super().surfaces(),
            RegistrationApi(
                db,
                limits,
                captcha,
                codes,
                self.passwords,
                audit,
                options,
                self.changed,
                self.first_token,
                self.chance,
                seconds,
            ),
            RecoveryApi(
                db,
                self.guard,
                limits,
                captcha,
                codes,
                mail,
                self.passwords,
                self.background,
                audit,
                options,
                self.changed,
                self.chance,
                seconds,
            ),
            self.redemptions,
            NoticesApi(db, self.guard, limits, sending, options),
            CheckinApi(
                db,
                self.guard,
                captcha,
                audit,
                options,
                self.changed,
                self.balances.append,
                self.chance,
                seconds,
            ),
        ]


async def _any(url: str) -> None:
    """Every address is allowed."""
