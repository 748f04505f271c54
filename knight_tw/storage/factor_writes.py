"""Second factors, set up and taken away.

An account has one row in `two_fas`. Every write here locks the account's row of `users`
first, so that two of them never meet; whatever changes what a login needs raises
`auth_version` and ends the account's other sessions in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from knight_tw.storage import user_writes
from knight_tw.storage.schema import two_fa_backup_codes as backups
from knight_tw.storage.schema import two_fas, users

REASON = "second_factor_changed"
"""`revoked_reason` of the sessions that a change ends."""


def prepare(
    connection: sa.Connection,
    user_id: int,
    secret: str,
    code_hashes: Sequence[str],
    now: int,
) -> bool:
    """Stores a secret that counts once `enable` was called; replaces one that waits.

    Args:
        secret: As `TotpSecrets` gives it.
        code_hashes: bcrypt hashes of the backup codes.

    Returns:
        False when the account has an enabled second factor, which stays as it is.
    """
    _lock(connection, user_id)
    enabled = sa.select(two_fas.c.id).where(
        two_fas.c.user_id == user_id,
        two_fas.c.is_enabled.is_(True),
        two_fas.c.deleted_at.is_(None),
    )
    if connection.execute(enabled).first() is not None:
        return False
    # Rows that the reference deleted softly would be in the way of the unique index.
    connection.execute(sa.delete(two_fas).where(two_fas.c.user_id == user_id))
    moment = _moment(now)
    row = {"user_id": user_id, "secret": secret, "is_enabled": False}
    connection.execute(
        sa.insert(two_fas).values(**row, created_at=moment, updated_at=moment)
    )
    _put_codes(connection, user_id, code_hashes, now)
    return True


def enable(
    connection: sa.Connection, user_id: int, used: int, now: int, keep: str
) -> bool:
    """Lets the waiting secret count from now on; False when there is none.

    Args:
        used: Unix seconds of the step whose code was shown; it is used up.
        keep: The session that goes on; the account's others end.
    """
    _lock(connection, user_id)
    enabled = connection.execute(
        sa.update(two_fas)
        .where(
            two_fas.c.user_id == user_id,
            sa.func.coalesce(two_fas.c.is_enabled, sa.false()).is_(False),
            two_fas.c.deleted_at.is_(None),
        )
        .values(
            is_enabled=True,
            failed_attempts=0,
            locked_until=None,
            last_used_at=_moment(used),
            updated_at=_moment(now),
        )
    )
    if enabled.rowcount != 1:
        return False
    user_writes.secure(connection, user_id, {}, REASON, now, keep)
    return True


def remove(connection: sa.Connection, user_id: int, now: int, keep: str = "") -> bool:
    """Takes the second factor away with its backup codes; False when none counted."""
    _lock(connection, user_id)
    connection.execute(sa.delete(backups).where(backups.c.user_id == user_id))
    mine = two_fas.c.user_id == user_id
    counted = connection.execute(
        sa.delete(two_fas).where(
            mine, two_fas.c.is_enabled.is_(True), two_fas.c.deleted_at.is_(None)
        )
    )
    connection.execute(sa.delete(two_fas).where(mine))
    if not counted.rowcount:
        return False
    user_writes.secure(connection, user_id, {}, REASON, now, keep)
    return True


def replace_codes(
    connection: sa.Connection,
    user_id: int,
    code_hashes: Sequence[str],
    now: int,
    keep: str,
) -> None:
    """Gives the account new backup codes in place of those it had."""
    _lock(connection, user_id)
    _put_codes(connection, user_id, code_hashes, now)
    user_writes.secure(connection, user_id, {}, REASON, now, keep)


def _put_codes(
    connection: sa.Connection, user_id: int, code_hashes: Sequence[str], now: int
) -> None:
    connection.execute(sa.delete(backups).where(backups.c.user_id == user_id))
    rows: list[dict[str, Any]] = [
        {
            "user_id": user_id,
            "code_hash": code_hash,
            "is_used": False,
            "created_at": _moment(now),
        }
        for code_hash in code_hashes
    ]
    connection.execute(sa.insert(backups), rows)


def _lock(connection: sa.Connection, user_id: int) -> None:
    own = sa.select(users.c.id).where(users.c.id == user_id)
    connection.execute(own.with_for_update())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
