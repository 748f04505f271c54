"""Codes sent by mail: to prove an address, and to set a forgotten password.

Nobody learns here whether an address has an account: the answer to "I forgot my
password" comes before anything is looked up, and an address without an account gets a
code too, one that opens nothing, so that later guesses take the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from attrs import frozen
from twisted.logger import Logger

from knight_tw.accounts.flows import Flow, Flows
from knight_tw.errors import KnightError
from knight_tw.notices import texts
from knight_tw.notices.mail import Mailer, NoMailServer
from knight_tw.notices.smtp import MailFailed
from knight_tw.options import Options
from knight_tw.storage import external_queries, registration_writes
from knight_tw.storage.database import Database
from knight_tw.storage.registration_writes import CodeSpent, EmailTaken

log = Logger()

PROOF, RESET = "email_code", "password_reset"
"""Purposes of flows."""

LIFE_SECONDS = 600
_MINUTES = LIFE_SECONDS // 60
_RESET_LENGTH = 32


class DomainRefused(KnightError):
    """The administrator does not admit such addresses."""

    status, code = 422, "domain_not_allowed"


class NotSent(KnightError):
    """The letter could not be sent; why is for the log."""

    status, code = 502, "upstream_failed"


@frozen
class MailCodes:
    """Sends codes and checks what comes back.

    Attributes:
        _site: The address of the site for links, without a slash at its end.
    """

    _db: Database
    _flows: Flows
    _mailer: Mailer
    _options: Callable[[], Options]
    _site: Callable[[], str]

    async def send_proof(self, address: str, spoken: str) -> None:
        """Send the code that proves `address`, as `letters.address` returned it.

        Args:
            spoken: The language of the letter.

        Raises:
            DomainRefused, EmailTaken, NoMailServer, NotSent.
        """
        options = self._options()
        _admit(address, options)
        if await self._db.read(external_queries.email_taken, address):
            raise EmailTaken("the address belongs to another account")
        code = await self._flows.give_code(PROOF, address, ttl=LIFE_SECONDS)
        site = options.text("SystemName")
        letter = texts.verification(spoken, address, site, code, _MINUTES)
        try:
            await self._mailer.send(letter)
        except MailFailed:
            await self._flows.void_code(PROOF, address)
            raise NotSent("the letter could not be sent") from None

    async def proved(self, address: str, code: str) -> Flow:
        """The flow of a right code, to be spent by the transaction that it allows.

        Raises:
            CodeSpent.
        """
        flow = await self._flows.check_code(PROOF, address, code)
        if flow is None:
            raise CodeSpent("the verification code is wrong or has expired")
        return flow

    async def send_reset(self, address: str, spoken: str) -> None:
        """Send the link that sets a new password, if one account has the address."""
        owner = await self._db.read(registration_writes.owner_of, address)
        code = await self._flows.give_code(
            RESET,
            address,
            length=_RESET_LENGTH,
            user_id=0 if owner is None else owner.id,
            ttl=LIFE_SECONDS,
        )
        if owner is None:
            return
        link = f"{self._site()}/user/reset?email={quote(address, '')}&token={code}"
        site = self._options().text("SystemName")
        letter = texts.password_reset(spoken, address, site, link, _MINUTES)
        try:
            await self._mailer.send(letter)
        except (NoMailServer, MailFailed) as error:
            log.warn("no letter for a forgotten password: {why}", why=error.message)

    async def reset_allowed(self, address: str, code: str) -> Flow:
        """The flow of a right link, to be spent by the transaction that it allows.

        Raises:
            CodeSpent.
        """
        flow = await self._flows.check_code(RESET, address, code)
        if flow is None:
            raise CodeSpent("the link is wrong or has expired")
        return flow


def _admit(address: str, options: Options) -> None:
    """Returns when the administrator admits the address.

    Raises:
        DomainRefused.
    """
    local, _, domain = address.rpartition("@")
    if options.flag("EmailDomainRestrictionEnabled"):
        listed = options.lines("EmailDomainWhitelist")
        if domain not in {one.strip().lower() for one in listed}:
            raise DomainRefused("addresses of this domain are not accepted")
    aliased = "+" in local or "." in local
    if aliased and options.flag("EmailAliasRestrictionEnabled"):
        raise DomainRefused("addresses with + or . before the @ are not accepted")
