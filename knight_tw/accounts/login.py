"""The password login, and the second step of those who have a second factor.

Between the two steps the browser holds a signed text that names the account and lives
five minutes; nothing is kept on the server.
"""

from __future__ import annotations

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from knight_tw.accounts.passwords import Passwords
from knight_tw.accounts.signing import Claims, Signer, Unreadable
from knight_tw.errors import KnightError
from knight_tw.records import ENABLED
from knight_tw.storage import user_queries
from knight_tw.storage.database import Database
from knight_tw.storage.user_queries import Identity

PENDING = "login_2fa"
"""`token_use` of the text between the two steps."""

PENDING_SECONDS = 300
_LONGEST_NAME = 320


class WrongCredentials(KnightError):
    """Unknown name, wrong password or disabled account: never told apart."""

    status, code = 401, "wrong_credentials"


class LoginExpired(KnightError):
    """The second step came too late, or without a first one."""

    status, code = 422, "code_expired"


@frozen
class Login:
    """Finds out who somebody is by name and password."""

    _db: Database
    _passwords: Passwords
    _signer: Signer
    _clock: IReactorTime

    async def by_password(self, name: str, password: str) -> Identity:
        """The enabled account that `name`, a user name or address, and `password` open.

        Raises:
            WrongCredentials: there is none; the time taken does not tell why.
        """
        found = None
        if 0 < len(name) <= _LONGEST_NAME:
            found = await self._db.read(user_queries.by_login_name, name)
        stored = "" if found is None else found[1]
        matched = await self._passwords.matches(password, stored)
        if found is None or not matched or found[0].status != ENABLED:
            raise WrongCredentials("wrong user name or password, or account disabled")
        return found[0]

    def pending(self, who: Identity) -> tuple[str, int]:
        """The text that stands for a right password, and when it expires."""
        now = int(self._clock.seconds())
        claims = Claims(who.id, "", who.auth_version, 0)
        token = self._signer.bearer(claims, PENDING, now, PENDING_SECONDS, "")
        return token, now + PENDING_SECONDS

    async def resumed(self, pending: str) -> Identity:
        """The account whose password was right a moment ago.

        Raises:
            LoginExpired: not a text of `pending`, too old, or the account changed.
        """
        now = int(self._clock.seconds())
        try:
            claims = self._signer.read_bearer(pending, PENDING, now)
        except Unreadable:
            raise LoginExpired("log in again") from None
        who = await self._db.read(user_queries.identity, claims.user_id)
        if who is None or who.deleted or who.status != ENABLED:
            raise LoginExpired("log in again")
        if who.auth_version != claims.user_version:
            raise LoginExpired("log in again")
        return who
