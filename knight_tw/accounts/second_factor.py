"""Checking a second factor: a TOTP code (RFC 6238) or one of the backup codes.

SHA-1, six digits, steps of 30 s, one step of drift either way. A code is good once: the
time of the last accepted step is remembered. Five wrong codes lock the factor.
"""

from __future__ import annotations

import hmac
from base64 import b32decode
from binascii import Error as BadBase32

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

from knight_tw.accounts.passwords import Passwords
from knight_tw.accounts.totp_secrets import TotpSecrets
from knight_tw.errors import KnightError
from knight_tw.storage import factor_queries
from knight_tw.storage.database import Database
from knight_tw.storage.factor_queries import Factor

STEP_SECONDS, DIGITS, DRIFT = 30, 6, 1


class WrongCode(KnightError):
    """The code is neither a good TOTP code nor an unused backup code."""

    status, code = 422, "wrong_code"


class FactorLocked(KnightError):
    """Too many wrong codes lately."""

    status, code = 423, "locked"


class NotPrepared(KnightError):
    """There is no secret that waits to be enabled."""

    status, code = 404, "not_found"


def totp(secret: str, step: int) -> str:
    """The code of the step `step` (unix seconds by 30) for a base32 secret.

    Raises:
        ValueError: the secret is not base32.
    """
    padded = secret.strip().replace(" ", "").upper()
    padded += "=" * (-len(padded) % 8)
    try:
        key = b32decode(padded)
    except BadBase32 as error:
        raise ValueError("not a base32 secret") from error
    if not key:
        # Codes of an empty key are codes that everybody can work out.
        raise ValueError("no secret")
    digest = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    start = digest[-1] & 0x0F
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def accepted_step(factor: Factor, code: str, now: int) -> int | None:
    """The step whose code `code` is, unless that step or a later one was used.

    Args:
        factor: With its secret in plain base32.
    """
    if len(code) != DIGITS or not (code.isascii() and code.isdigit()):
        return None
    last = int(factor.last_used_at) // STEP_SECONDS
    here = now // STEP_SECONDS
    for step in range(here - DRIFT, here + DRIFT + 1):
        try:
            right = totp(factor.secret, step)
        except ValueError:
            return None
        if step > last and hmac.compare_digest(right, code):
            return step
    return None


@frozen
class SecondFactor:
    """Checks codes against the database."""

    _db: Database
    _passwords: Passwords
    _clock: IReactorTime
    _secrets: TotpSecrets

    async def enabled(self, user_id: int) -> bool:
        """True when the account must show a code after its password."""
        return await self._db.read(factor_queries.find, user_id) is not None

    async def check(self, user_id: int, code: str, *, backup: bool = True) -> None:
        """Returns when `code` is good; it is used up by that.

        Args:
            backup: Whether a backup code will do.

        Raises:
            WrongCode: it is not, or the account has no second factor.
            FactorLocked: after five wrong codes, for 300 s.
        """
        now = int(self._clock.seconds())
        factor = await self._db.run(factor_queries.begin_try, user_id, now)
        if factor is None:
            raise WrongCode("two-factor authentication is not enabled")
        if factor.locked_until > now:
            raise FactorLocked(
                "too many wrong codes", retry_after=factor.locked_until - now
            )
        typed = code.strip().replace(" ", "")
        if await self._totp(factor, typed, now):
            return
        if backup and await self._backup_code(user_id, typed, now):
            return
        raise WrongCode("the code is wrong or was used already")

    async def waiting_step(self, user_id: int, code: str) -> int:
        """Unix seconds of the step whose code shows that the new secret is in an app.

        Raises:
            WrongCode: it is no code of the secret that waits to be enabled.
            NotPrepared: there is none.
        """
        factor = await self._db.read(factor_queries.find, user_id, enabled=False)
        if factor is None:
            raise NotPrepared("set two-factor authentication up first")
        typed = code.strip().replace(" ", "")
        step = self._step(factor, typed, int(self._clock.seconds()))
        if step is None:
            raise WrongCode("the code is wrong")
        return step * STEP_SECONDS

    async def _totp(self, factor: Factor, code: str, now: int) -> bool:
        step = self._step(factor, code, now)
        if step is None:
            return False
        moment = step * STEP_SECONDS
        return await self._db.run(
            factor_queries.accept, factor.user_id, factor.last_used_at, moment
        )

    def _step(self, factor: Factor, code: str, now: int) -> int | None:
        secret = self._secrets.plain(factor.secret, factor.user_id)
        return accepted_step(evolve(factor, secret=secret), code, now)

    async def _backup_code(self, user_id: int, code: str, now: int) -> bool:
        plain = code.upper().replace("-", "")
        if len(plain) != 8 or not (plain.isascii() and plain.isalnum()):
            return False
        shown = f"{plain[:4]}-{plain[4:]}"
        for code_id, stored in await self._db.read(
            factor_queries.backup_codes, user_id
        ):
            if await self._passwords.matches(shown, stored):
                return await self._db.run(
                    factor_queries.use_backup_code, user_id, code_id, now
                )
        return False
