"""Checking a second factor: a TOTP code (RFC 6238) or one of the backup codes.

SHA-1, six digits, steps of 30 s, one step of drift either way. A code is good once: the
time of the last accepted step is remembered. Five wrong codes lock the factor.
"""

from __future__ import annotations

import hmac
from base64 import b32decode
from binascii import Error as BadBase32

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from knight_tw.accounts.passwords import Passwords
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
    digest = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    start = digest[-1] & 0x0F
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def accepted_step(factor: Factor, code: str, now: int) -> int | None:
    """The step whose code `code` is, unless that step or a later one was used."""
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
        factor = await self._db.read(factor_queries.find, user_id)
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
        await self._db.run(factor_queries.fail, user_id, now)
        raise WrongCode("the code is wrong or was used already")

    async def _totp(self, factor: Factor, code: str, now: int) -> bool:
        if len(code) != DIGITS or not (code.isascii() and code.isdigit()):
            return False
        step = accepted_step(factor, code, now)
        if step is None:
            return False
        moment = step * STEP_SECONDS
        return await self._db.run(
            factor_queries.accept, factor.user_id, factor.last_used_at, moment
        )

    async def _backup_code(self, user_id: int, code: str, now: int) -> bool:
        plain = code.upper().replace("-", "")
        if len(plain) != 8 or not (plain.isascii() and plain.isalnum()):
            return False
        shown = f"{plain[:4]}-{plain[4:]}"
        for code_id, stored in await self._db.read(
            factor_queries.backup_codes, user_id
        ):
            if await self._passwords.matches(shown, stored):
                return await self._db.run(factor_queries.use_backup_code, code_id, now)
        return False
