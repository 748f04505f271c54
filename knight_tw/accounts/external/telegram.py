"""What the Telegram login widget says, and whether Telegram said it.

Source: https://core.telegram.org/widgets/login, "Checking authorization". Pure.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256

from knight_tw.errors import KnightError

OLDEST_SECONDS, AHEAD_SECONDS = 300, 120
"""How old a statement may be, and how much the clocks may differ."""

NOT_SIGNED = frozenset({"hash", "flow_token"})
"""Parameters that Telegram does not sign: its signature, and what we add."""


class TelegramRefused(KnightError):
    """Forged, too old, or used before."""

    status, code = 401, "wrong_credentials"


def signature(told: Mapping[str, str], bot_token: str) -> str:
    """The lower-case hex signature that Telegram gives these parameters."""
    lines = [f"{k}={v}" for k, v in sorted(told.items()) if k not in NOT_SIGNED]
    key = sha256(bot_token.encode()).digest()
    return hmac.digest(key, "\n".join(lines).encode(), sha256).hex()


def subject(told: Mapping[str, str], bot_token: str, now: float) -> str:
    """The Telegram id of the person; the parameters are Telegram's own and fresh.

    That they are used only once is for the caller to see to, by their `hash`.

    Raises:
        TelegramRefused.
    """
    given = told.get("hash", "").encode("utf-8", "replace")
    right = signature(told, bot_token).encode()
    # A break that a person has in a name must not begin a line of its own.
    broken = any("\n" in name for name in told)
    if broken or not bot_token or not hmac.compare_digest(given, right):
        raise TelegramRefused("the statement is not Telegram's")
    when = told.get("auth_date", "")
    if not (when.isascii() and when.isdigit()) or len(when) > 12:
        raise TelegramRefused("the statement has no date")
    if not now - OLDEST_SECONDS <= int(when) <= now + AHEAD_SECONDS:
        raise TelegramRefused("the statement is too old; log in again")
    person = told.get("id", "")
    if not (person.isascii() and person.isdigit()) or len(person) > 20:
        raise TelegramRefused("the statement names nobody")
    return person
