"""Second factors as stored: TOTP secrets with their lock, and backup codes."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from attrs import frozen

from knight_tw.storage.schema import two_fa_backup_codes as backups
from knight_tw.storage.schema import two_fas

TRIES, LOCK_SECONDS = 5, 300
"""Wrong codes in a row that lock the second factor, and for how long."""


@frozen
class Factor:
    """An enabled TOTP secret; moments are unix seconds, 0 when there was none."""

    user_id: int
    secret: str
    failed_attempts: int
    locked_until: float
    last_used_at: float


def find(connection: sa.Connection, user_id: int) -> Factor | None:
    """The account's enabled second factor."""
    row = connection.execute(sa.select(two_fas).where(*_enabled(user_id))).first()
    if row is None:
        return None
    return Factor(
        user_id=user_id,
        secret=row.secret,
        failed_attempts=row.failed_attempts or 0,
        locked_until=_seconds(row.locked_until),
        last_used_at=_seconds(row.last_used_at),
    )


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


def fail(connection: sa.Connection, user_id: int, now: int) -> None:
    """Count a wrong code; the fifth in a row locks the factor."""
    tries = sa.func.coalesce(two_fas.c.failed_attempts, 0) + 1
    mine = _enabled(user_id)
    connection.execute(
        sa.update(two_fas)
        .where(*mine)
        .values(failed_attempts=tries, updated_at=_moment(now))
    )
    connection.execute(
        sa.update(two_fas)
        .where(*mine, two_fas.c.failed_attempts >= TRIES)
        .values(failed_attempts=0, locked_until=_moment(now + LOCK_SECONDS))
    )


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


def use_backup_code(connection: sa.Connection, code_id: int, now: int) -> bool:
    """True when the code was unused until now."""
    used = connection.execute(
        sa.update(backups)
        .where(
            backups.c.id == code_id,
            sa.func.coalesce(backups.c.is_used, sa.false()).is_(False),
        )
        .values(is_used=True, used_at=_moment(now))
    )
    return used.rowcount == 1


def _enabled(user_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        two_fas.c.user_id == user_id,
        two_fas.c.is_enabled.is_(True),
        two_fas.c.deleted_at.is_(None),
    )


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
