"""Second factors as stored: TOTP secrets with their lock, and backup codes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from knight_tw.storage.schema import two_fa_backup_codes as backups
from knight_tw.storage.schema import two_fas, users

TRIES, LOCK_SECONDS = 5, 300
"""Wrong codes in a row that lock the second factor, and for how long."""


@frozen
class Factor:
    """A TOTP secret, in the form that `TotpSecrets` reads.

    Moments are unix seconds, 0 when there was none.
    """

    user_id: int
    secret: str
    failed_attempts: int
    locked_until: float
    last_used_at: float


def find(
    connection: sa.Connection, user_id: int, *, enabled: bool = True
) -> Factor | None:
    """The account's enabled second factor, or the one that waits to be enabled."""
    asked = sa.select(two_fas).where(*(_enabled if enabled else _waiting)(user_id))
    return _factor(connection.execute(asked).first())


def begin_try(connection: sa.Connection, user_id: int, now: int) -> Factor | None:
    """The account's enabled second factor, a try with a code counted.

    A try counts before the code is looked at, so that many at once are not more than
    one after the other; the fifth locks the factor unless its code is right. The factor
    is returned as it was before: while `locked_until` is ahead nothing was counted.
    """
    asked = sa.select(two_fas).where(*_enabled(user_id)).with_for_update()
    factor = _factor(connection.execute(asked).first())
    if factor is None or factor.locked_until > now:
        return factor
    tries = factor.failed_attempts + 1
    values: dict[str, Any] = {"failed_attempts": tries, "updated_at": _moment(now)}
    if tries >= TRIES:
        values["failed_attempts"] = 0
        values["locked_until"] = _moment(now + LOCK_SECONDS)
    connection.execute(sa.update(two_fas).where(*_enabled(user_id)).values(values))
    return factor


def accept(
    connection: sa.Connection, user_id: int, last_used: float, moment: int
) -> bool:
    """Remember an accepted code of time `moment`; False when somebody was faster.

    Args:
        last_used: `Factor.last_used_at` as it was when the code was checked.
    """
    locked = sa.select(two_fas.c.last_used_at).where(*_enabled(user_id))
    row = connection.execute(locked.with_for_update()).first()
    if row is None or _seconds(row.last_used_at) != last_used:
        return False
    connection.execute(
        sa.update(two_fas)
        .where(*_enabled(user_id))
        .values(
            last_used_at=_moment(moment),
            failed_attempts=0,
            locked_until=None,
            updated_at=_moment(moment),
        )
    )
    return True


def backup_codes(connection: sa.Connection, user_id: int) -> list[tuple[int, str]]:
    """(id, bcrypt hash) of the backup codes that are left."""
    rows = connection.execute(
        sa.select(backups.c.id, backups.c.code_hash).where(
            backups.c.user_id == user_id,
            sa.func.coalesce(backups.c.is_used, sa.false()).is_(False),
            backups.c.deleted_at.is_(None),
        )
    )
    return [(row.id, row.code_hash) for row in rows]


def use_backup_code(
    connection: sa.Connection, user_id: int, code_id: int, now: int
) -> bool:
    """True when the code was unused until now; earlier wrong tries are forgiven."""
    used = connection.execute(
        sa.update(backups)
        .where(
            backups.c.id == code_id,
            backups.c.user_id == user_id,
            sa.func.coalesce(backups.c.is_used, sa.false()).is_(False),
        )
        .values(is_used=True, used_at=_moment(now))
    )
    if used.rowcount != 1:
        return False
    forgiven = {"failed_attempts": 0, "locked_until": None}
    connection.execute(sa.update(two_fas).where(*_enabled(user_id)).values(forgiven))
    return True


@frozen
class Standing:
    """How many accounts there are, and how many of them have a second factor."""

    accounts: int
    enabled: int


def standing(connection: sa.Connection) -> Standing:
    """Counted over living accounts."""
    living = users.c.deleted_at.is_(None)
    count = sa.select(sa.func.count()).select_from(users).where(living)
    factors = (
        sa.select(sa.func.count())
        .select_from(two_fas.join(users, users.c.id == two_fas.c.user_id))
        .where(living, two_fas.c.is_enabled.is_(True), two_fas.c.deleted_at.is_(None))
    )
    return Standing(
        int(connection.execute(count).scalar_one()),
        int(connection.execute(factors).scalar_one()),
    )


def _factor(row: sa.Row[Any] | None) -> Factor | None:
    if row is None:
        return None
    return Factor(
        user_id=row.user_id,
        secret=row.secret,
        failed_attempts=row.failed_attempts or 0,
        locked_until=_seconds(row.locked_until),
        last_used_at=_seconds(row.last_used_at),
    )


def _enabled(user_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        two_fas.c.user_id == user_id,
        two_fas.c.is_enabled.is_(True),
        two_fas.c.deleted_at.is_(None),
    )


def _waiting(user_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        two_fas.c.user_id == user_id,
        sa.func.coalesce(two_fas.c.is_enabled, sa.false()).is_(False),
        two_fas.c.deleted_at.is_(None),
    )


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
