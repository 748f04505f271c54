"""Accounts, written: made, changed, disabled, deleted, and their balances.

Everything that ends credentials (password, role, status, group, deletion) raises
`auth_version`, which kills every cookie and bearer token made before; the sessions of
the table are revoked in the same transaction.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from attrs import frozen

from knight_tw.errors import KnightError, NotFound
from knight_tw.payments.orders import EXPIRED, PENDING
from knight_tw.records import ENABLED
from knight_tw.storage import session_queries
from knight_tw.storage.schema import (
    checkins,
    external_identity_claims,
    knight_prefs,
    passkey_credentials,
    tokens,
    top_ups,
    two_fa_backup_codes,
    two_fas,
    user_oauth_bindings,
    user_sessions,
    users,
)
from knight_tw.storage.session_queries import Issue, Quotas, Session
from knight_tw.storage.sql import may_be_refused

_CODE_ALPHABET = string.ascii_letters + string.digits
_CODE_TRIES = 4
_OWNED = (
    tokens,
    two_fas,
    two_fa_backup_codes,
    passkey_credentials,
    user_oauth_bindings,
    external_identity_claims,
    user_sessions,
    knight_prefs,
    checkins,
)


class NameTaken(KnightError):
    """Another account, perhaps a deleted one, has the user name."""

    status, code = 409, "name_taken"


@frozen
class NewAccount:
    """What a new account starts with; `password` is a hash, or empty for none."""

    username: str
    password: str
    display_name: str
    role: int
    quota: int = 0
    setting: str = ""
    email: str = ""
    inviter_id: int = 0
    access_token: str | None = None


def create(connection: sa.Connection, new: NewAccount, aff_code: str, now: int) -> int:
    """The id of the new account.

    Raises:
        NameTaken: the user name exists, soft-deleted accounts included.
    """
    same = sa.select(users.c.id).where(users.c.username == new.username)
    if connection.execute(same).first() is not None:
        raise NameTaken("the user name is taken")
    values = {
        "username": new.username,
        "password": new.password,
        "display_name": new.display_name,
        "role": new.role,
        "status": ENABLED,
        "email": new.email,
        "quota": new.quota,
        "group": "default",
        "aff_code": aff_code,
        "inviter_id": new.inviter_id,
        "access_token": new.access_token,
        "setting": new.setting,
        "created_at": now,
        "auth_version": 1,
    }
    try:
        made = connection.execute(sa.insert(users).values(values))
    except sa.exc.IntegrityError:
        raise NameTaken("the user name is taken") from None
    key = made.inserted_primary_key
    return int(key[0]) if key is not None else 0


def create_with_code(
    connection: sa.Connection, new: NewAccount, chance: random.Random, now: int
) -> int:
    """As `create`, with a referral code that nobody has."""
    return create(connection, new, free_aff_code(connection, chance), now)


def change(
    connection: sa.Connection,
    user_id: int,
    plain: Mapping[str, Any],
    secured: Mapping[str, Any],
    quota: int | None,
    now: int,
) -> int:
    """Everything that one form may change, in one transaction.

    Args:
        plain, secured: Columns, as for `update` and `secure`.
        quota: The new balance; None leaves it.

    Returns:
        How much the balance rose.

    Raises:
        NameTaken: `username` is another account's.
    """
    update(connection, user_id, plain)
    if secured:
        secure(connection, user_id, secured, "account_changed", now)
    return 0 if quota is None else set_quota(connection, user_id, quota)


def free_aff_code(connection: sa.Connection, chance: random.Random) -> str:
    """A referral code that nobody has: four characters, more when they run short."""
    for length in (4, 4, 4, 4, 5, 6, 7, 8):
        code = "".join(chance.choices(_CODE_ALPHABET, k=length))
        same = sa.select(users.c.id).where(users.c.aff_code == code)
        if connection.execute(same).first() is None:
            return code
    raise KnightError("no free referral code was found")


def aff_code(connection: sa.Connection, user_id: int, chance: random.Random) -> str:
    """The account's referral code, made now if it had none.

    Two requests at once are told the same code: the row is locked.
    """
    here = users.c.id == user_id
    asked = sa.select(users.c.aff_code).where(here).with_for_update()
    stored = connection.execute(asked).scalar()
    if stored:
        return str(stored)
    for _ in range(_CODE_TRIES):
        code = free_aff_code(connection, chance)
        try:
            with may_be_refused(connection):
                _change(connection, user_id, {"aff_code": code})
        except sa.exc.IntegrityError:
            # Somebody else was given the same code in this very moment.
            continue
        return code
    raise KnightError("no free referral code was found")


def update(connection: sa.Connection, user_id: int, values: Mapping[str, Any]) -> None:
    """Set columns that no credential depends on.

    Raises:
        NameTaken: `username` is another account's.
    """
    name = values.get("username")
    if name is not None:
        same = sa.select(users.c.id).where(
            users.c.username == name, users.c.id != user_id
        )
        if connection.execute(same).first() is not None:
            raise NameTaken("the user name is taken")
    if values:
        try:
            _change(connection, user_id, values)
        except sa.exc.IntegrityError:
            raise NameTaken("the user name is taken") from None


def secure(
    connection: sa.Connection,
    user_id: int,
    values: Mapping[str, Any],
    reason: str,
    now: int,
    keep: str = "",
) -> int:
    """Set columns that credentials depend on, and end the account's sessions.

    The session `keep`, that of the person who makes the change, lives on.

    Returns:
        The new `auth_version`.
    """
    raised = sa.func.coalesce(users.c.auth_version, 1) + 1
    _change(connection, user_id, {**values, "auth_version": raised})
    session_queries.revoke_all(connection, user_id, reason, now, keep)
    if keep:
        session_queries.follow(connection, keep, user_id)
    version = sa.select(users.c.auth_version).where(users.c.id == user_id)
    return int(connection.execute(version).scalar_one())


def soft_delete(connection: sa.Connection, user_id: int, now: int) -> None:
    """Hide the account and end its sessions; name, tokens and status stay."""
    moment = datetime.fromtimestamp(now, UTC)
    secure(connection, user_id, {"deleted_at": moment}, "account_deleted", now)


def hard_delete(connection: sa.Connection, user_id: int) -> None:
    """Remove the account with its tokens, second factors, bindings and sessions.

    On SQLite the next account may get its number, but not what it has ordered: open
    orders end here.
    """
    open_orders = (top_ups.c.user_id == user_id, top_ups.c.status == PENDING)
    connection.execute(sa.update(top_ups).where(*open_orders).values(status=EXPIRED))
    for table in _OWNED:
        connection.execute(sa.delete(table).where(table.c.user_id == user_id))
    connection.execute(sa.delete(users).where(users.c.id == user_id))


def add_quota(connection: sa.Connection, user_id: int, amount: int) -> None:
    """Raise the balance, or lower it by a negative amount, in one statement."""
    raised = sa.func.coalesce(users.c.quota, 0) + amount
    _change(connection, user_id, {"quota": raised})


def set_quota(connection: sa.Connection, user_id: int, quota: int) -> int:
    """Set the balance; the difference to the former one is returned."""
    asked = sa.select(users.c.quota).where(users.c.id == user_id).with_for_update()
    before = connection.execute(asked).scalar() or 0
    _change(connection, user_id, {"quota": quota})
    return quota - int(before)


def transfer_aff_quota(connection: sa.Connection, user_id: int, quota: int) -> bool:
    """Move referral balance to the balance; False when there is not that much."""
    moved = connection.execute(
        sa.update(users)
        .where(users.c.id == user_id, users.c.aff_quota >= quota)
        .values(
            aff_quota=users.c.aff_quota - quota,
            quota=sa.func.coalesce(users.c.quota, 0) + quota,
        )
    )
    return moved.rowcount == 1


def merge_setting(
    connection: sa.Connection, user_id: int, changes: Mapping[str, Any]
) -> None:
    """Set members of the account's `setting`; every other member is kept."""
    asked = sa.select(users.c.setting).where(users.c.id == user_id).with_for_update()
    setting = read_setting(connection.execute(asked).scalar())
    setting.update(changes)
    setting.setdefault("gotify_priority", 0)
    _change(connection, user_id, {"setting": msgspec.json.encode(setting).decode()})


def read_setting(text: str | None) -> dict[str, Any]:
    """The members of a `setting` text; unreadable ones count as empty."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def begin_session(
    connection: sa.Connection,
    session: Session,
    refresh_hash: str,
    granted: Quotas,
) -> Issue:
    """Begin a session and remember the login, unless its owner has too many."""
    issued = session_queries.issue(connection, session, refresh_hash, granted)
    if issued is Issue.MADE:
        _change(connection, session.user_id, {"last_login_at": session.created_at})
    return issued


def _change(connection: sa.Connection, user_id: int, values: Mapping[str, Any]) -> None:
    changed = connection.execute(
        sa.update(users).where(users.c.id == user_id).values(dict(values))
    )
    if changed.rowcount == 0:
        raise NotFound("user not found")
