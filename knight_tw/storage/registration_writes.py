"""What people do to get an account, or to get back into it, each in one transaction.

A code that was sent by mail is spent by the transaction that it allows, so that it
serves once whoever races, and is not lost when the transaction fails.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from attrs import evolve, field, frozen

from knight_tw.errors import KnightError
from knight_tw.records import ENABLED
from knight_tw.storage import (
    external_queries,
    external_writes,
    flow_queries,
    user_queries,
    user_writes,
)
from knight_tw.storage.flow_queries import Flow
from knight_tw.storage.schema import tokens, users
from knight_tw.storage.sql import may_be_refused, new_id
from knight_tw.storage.user_queries import Identity
from knight_tw.storage.user_writes import NameTaken, NewAccount

_CODE_TRIES = 8


class EmailTaken(KnightError):
    """Another account, perhaps a deleted one, has the address."""

    status, code = 409, "email_taken"


class CodeSpent(KnightError):
    """The code is wrong, too old, or was used by somebody faster."""

    status, code = 422, "wrong_code"


@frozen
class Joining:
    """What a person brings who wants an account.

    Attributes:
        account: Without what an invitation adds.
        proof: The flow of the code that proves `account.email`; None without address.
        aff_code: Referral code; one that nobody has counts as none.
        invitee_quota, inviter_quota: What both get when somebody has it.
        token: Columns of a first token, without its owner; None for none.
    """

    account: NewAccount
    proof: Flow | None = None
    aff_code: str = ""
    invitee_quota: int = 0
    inviter_quota: int = 0
    token: Mapping[str, Any] | None = field(default=None)


@frozen
class Joined:
    """The new account, and who invited it."""

    user_id: int
    inviter: Identity | None


def join(
    connection: sa.Connection, new: Joining, chance: random.Random, now: int
) -> Joined:
    """The account that was made.

    Raises:
        CodeSpent, EmailTaken, NameTaken: nothing was written.
    """
    if new.proof is not None:
        _prove(connection, new.proof, new.account.email, 0, now)
    inviter = external_queries.inviter(connection, new.aff_code)
    account = new.account
    if inviter is not None:
        quota = account.quota + new.invitee_quota
        account = evolve(account, quota=quota, inviter_id=inviter.id)
    user_id = _made(connection, account, chance, now)
    if inviter is not None:
        external_writes.reward_inviter(connection, inviter.id, new.inviter_quota)
    if new.token is not None:
        new_id(connection, tokens, {**new.token, "user_id": user_id})
    return Joined(user_id, inviter)


def _made(
    connection: sa.Connection, new: NewAccount, chance: random.Random, now: int
) -> int:
    """Make the account; another that takes its referral code meanwhile costs a try."""
    for _ in range(_CODE_TRIES):
        try:
            with may_be_refused(connection):
                return user_writes.create_with_code(connection, new, chance, now)
        except NameTaken:
            # A locking read sees what others have committed since we began.
            same = sa.select(users.c.id).where(users.c.username == new.username)
            if connection.execute(same.with_for_update()).first() is not None:
                raise
    raise KnightError("no free referral code was found")


def bind_address(
    connection: sa.Connection, user_id: int, address: str, proof: Flow, now: int
) -> None:
    """Give the account an address that its owner proved.

    Raises:
        CodeSpent, EmailTaken: nothing was written.
    """
    _prove(connection, proof, address, user_id, now)
    user_writes.update(connection, user_id, {"email": address})


def _prove(
    connection: sa.Connection, proof: Flow, address: str, user_id: int, now: int
) -> None:
    """Spend the code of an address that no account but `user_id` has."""
    if not flow_queries.spend(connection, proof, now):
        raise CodeSpent("the verification code is wrong or has expired")
    same = sa.select(users.c.id).where(
        sa.func.lower(users.c.email) == address, users.c.id != user_id
    )
    if connection.execute(same.limit(1)).first() is not None:
        raise EmailTaken("the address belongs to another account")


def owner_of(connection: sa.Connection, address: str) -> Identity | None:
    """The enabled account whose address it is; None when several share it."""
    asked = sa.select(users.c.id, users.c.email).where(
        sa.func.lower(users.c.email) == address, users.c.deleted_at.is_(None)
    )
    # MySQL takes an accented letter for the plain one: that is somebody else's address.
    found = [
        row.id
        for row in connection.execute(asked)
        if row.email.strip().lower() == address
    ]
    who = user_queries.identity(connection, found[0]) if len(found) == 1 else None
    return who if who is not None and who.status == ENABLED else None


def reset_password(
    connection: sa.Connection, proof: Flow, address: str, hashed: str, now: int
) -> Identity:
    """The account that got a new password; its sessions have ended.

    Raises:
        CodeSpent: also when the account lost the address meanwhile.
    """
    owner = owner_of(connection, address)
    spent = flow_queries.spend(connection, proof, now)
    if not spent or owner is None or owner.id != proof.user_id:
        raise CodeSpent("the link is wrong or has expired")
    user_writes.secure(
        connection, owner.id, {"password": hashed}, "password_reset", now
    )
    return owner
