"""Accounts elsewhere that belong to accounts here, written: bound, moved, unbound.

One id belongs to one account at most. Bindings of custom providers have unique indexes
for that; columns of `users` have not, so each id in one is claimed in
`external_identity_claims` too, by the same transaction. The columns are the truth: a
claim whose owner lost the id to another program is nobody's, and taken over.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from hashlib import sha256

import sqlalchemy as sa
from attrs import evolve, frozen

from knight_tw.errors import KnightError
from knight_tw.storage import external_queries, user_writes
from knight_tw.storage.external_queries import Source
from knight_tw.storage.schema import (
    auth_flows,
    external_identity_claims,
    user_oauth_bindings,
    users,
)
from knight_tw.storage.sql import insert_new
from knight_tw.storage.user_writes import NameTaken, NewAccount

claims, bindings = external_identity_claims, user_oauth_bindings

_NUMBERS = 20


class IdentityTaken(KnightError):
    """The external account belongs to another account already."""

    status, code = 409, "already_exists"


class LastWayIn(KnightError):
    """Without this binding nobody could log in to the account any more."""

    status, code = 409, "forbidden_target"


@frozen
class Newcomer:
    """An account to be made for an external one.

    Attributes:
        account: `username` is the wish; empty for none.
        prefix: Begins the name when the wish is not free.
        inviter_quota: Referral balance that the inviter gets.
    """

    account: NewAccount
    source: Source
    subject: str
    prefix: str
    inviter_quota: int = 0


def register(
    connection: sa.Connection, new: Newcomer, chance: random.Random, now: int
) -> int:
    """The id of a new account that the external one opens.

    Raises:
        IdentityTaken: somebody else got the id meanwhile.
        NameTaken: somebody else got the name meanwhile; another try finds another.
    """
    email = new.account.email
    if email and external_queries.email_taken(connection, email):
        email = ""
    account = evolve(new.account, email=email)
    name = _free_name(connection, account.username, new.prefix)
    account = evolve(account, username=name)
    user_id = user_writes.create_with_code(connection, account, chance, now)
    bind(connection, new.source, new.subject, user_id, now)
    if account.inviter_id:
        reward_inviter(connection, account.inviter_id, new.inviter_quota)
    return user_id


def _free_name(connection: sa.Connection, wished: str, prefix: str) -> str:
    """The name that was wished for, else the prefix with the first free number."""
    number = external_queries.highest_id(connection) + 1
    numbered = [f"{prefix}{number + more}" for more in range(_NUMBERS)]
    for name in filter(None, (wished, *numbered)):
        if not external_queries.name_taken(connection, name):
            return name
    raise NameTaken("no free user name was found")


def reward_inviter(connection: sa.Connection, user_id: int, quota: int) -> None:
    """Count one more invited account, and credit its referral balance."""
    connection.execute(
        sa.update(users)
        .where(users.c.id == user_id)
        .values(
            aff_count=sa.func.coalesce(users.c.aff_count, 0) + 1,
            aff_quota=sa.func.coalesce(users.c.aff_quota, 0) + quota,
            aff_history=sa.func.coalesce(users.c.aff_history, 0) + quota,
        )
    )


def bind(
    connection: sa.Connection, source: Source, subject: str, user_id: int, now: int
) -> None:
    """Let an external account open `user_id`, in place of the one it had there.

    Raises:
        IdentityTaken: it opens another account, perhaps a deleted one.
    """
    if source.provider_id:
        _bind_custom(connection, source, subject, user_id, now)
    else:
        _bind_column(connection, source, subject, user_id, now)


def _bind_custom(
    connection: sa.Connection, source: Source, subject: str, user_id: int, now: int
) -> None:
    there = bindings.c.provider_id == source.provider_id
    connection.execute(
        sa.delete(bindings).where(
            there, bindings.c.user_id == user_id, bindings.c.provider_user_id != subject
        )
    )
    row = {
        "user_id": user_id,
        "provider_id": source.provider_id,
        "provider_user_id": subject,
        "created_at": _moment(now),
    }
    if insert_new(connection, bindings, [row]):
        return
    found = connection.execute(
        sa.select(bindings)
        .where(there, bindings.c.provider_user_id == subject)
        .with_for_update()
    ).first()
    if found is None or found.provider_user_id != subject:
        raise _taken()
    if found.user_id == user_id:
        return
    if external_queries.exists(connection, found.user_id):
        raise _taken()
    # Other programs remove accounts and leave their bindings.
    connection.execute(
        sa.update(bindings).where(bindings.c.id == found.id).values(user_id=user_id)
    )


def _bind_column(
    connection: sa.Connection, source: Source, subject: str, user_id: int, now: int
) -> None:
    column = users.c[source.column]
    same = sa.select(users.c.id, column.label("stored")).where(
        column == subject, users.c.id != user_id
    )
    if any(row.stored == subject for row in connection.execute(same)):
        raise _taken()
    _claim(connection, source, subject, user_id, now)
    connection.execute(
        sa.update(users).where(users.c.id == user_id).values({source.column: subject})
    )


def _claim(
    connection: sa.Connection, source: Source, subject: str, user_id: int, now: int
) -> None:
    """Make the id this account's own, against all others that try it now.

    Raises:
        IdentityTaken.
    """
    mark = claimed(subject)
    there = claims.c.provider == source.slug
    connection.execute(
        sa.delete(claims).where(
            there, claims.c.user_id == user_id, claims.c.subject != mark
        )
    )
    row = {
        "provider": source.slug,
        "subject": mark,
        "user_id": user_id,
        "created_at": _moment(now),
    }
    if insert_new(connection, claims, [row]):
        return
    # Locking reads see what others have committed since this transaction began.
    found = connection.execute(
        sa.select(claims).where(there, claims.c.subject == mark).with_for_update()
    ).first()
    if found is None:
        raise _taken()
    if found.user_id == user_id:
        return
    holder = connection.execute(
        sa.select(users.c[source.column])
        .where(users.c.id == found.user_id)
        .with_for_update()
    ).scalar()
    if holder == subject:
        raise _taken()
    connection.execute(
        sa.update(claims).where(claims.c.id == found.id).values(user_id=user_id)
    )


def claimed(subject: str) -> str:
    """How an id stands in a claim: numbers as they are, others as a hash, since the
    table's index may not tell `A` from `a`."""
    if subject.isascii() and subject.isdigit() and len(subject) <= 64:
        return subject
    return f"sha256:{sha256(subject.encode()).hexdigest()}"


def move_name(
    connection: sa.Connection,
    source: Source,
    name: str,
    subject: str,
    user_id: int,
    now: int,
) -> bool:
    """Replace a user name in a column by the id; False when it is not there any more.

    Raises:
        IdentityTaken: the id is another account's.
    """
    column = users.c[source.column]
    row = connection.execute(
        sa.select(column).where(users.c.id == user_id).with_for_update()
    ).first()
    if row is None or (row[0] or "").lower() != name.lower():
        return False
    bind(connection, source, subject, user_id, now)
    return True


def unbind(
    connection: sa.Connection, source: Source, user_id: int, *, keep_a_way: bool
) -> bool:
    """True when the account had an id at `source`, which opens it no more.

    Args:
        keep_a_way: Refuse when nothing else would open the account.

    Raises:
        LastWayIn.
    """
    # Two at once must not each count on the other's binding.
    connection.execute(
        sa.select(users.c.id).where(users.c.id == user_id).with_for_update()
    )
    had = _forget(connection, source, user_id)
    if (
        had
        and keep_a_way
        and not external_queries.has_other_way(connection, user_id, source)
    ):
        raise LastWayIn("set a password first: this is the only way to log in")
    return had


def _forget(connection: sa.Connection, source: Source, user_id: int) -> bool:
    if source.provider_id or not source.slug:
        gone = connection.execute(
            sa.delete(bindings).where(
                bindings.c.user_id == user_id,
                bindings.c.provider_id == source.provider_id,
            )
        )
        return gone.rowcount > 0
    connection.execute(
        sa.delete(claims).where(
            claims.c.provider == source.slug, claims.c.user_id == user_id
        )
    )
    column = users.c[source.column]
    blanked = connection.execute(
        sa.update(users)
        .where(users.c.id == user_id, column != "")
        .values({source.column: ""})
    )
    return blanked.rowcount > 0


def use_once(
    connection: sa.Connection, purpose: str, token: str, expires_at: int, now: int
) -> bool:
    """True for the first who brings `token`; it is remembered until `expires_at`."""
    row = {
        "token_hash": sha256(f"{purpose}:{token}".encode()).hexdigest(),
        "purpose": purpose,
        "payload": "",
        "created_at": _moment(now),
        "expires_at": _moment(expires_at),
        "consumed_at": _moment(now),
    }
    return insert_new(connection, auth_flows, [row]) == 1


def _taken() -> IdentityTaken:
    return IdentityTaken("this external account belongs to another account already")


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
