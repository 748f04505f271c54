"""Holds in the database: thread-side functions that take them and give them up.

Locks are always taken in the order `knight_holds`, `tokens`, `users`, rows of one table
by id, here as in `posting`, so that two transactions never wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from knight_tw.ledger.charges import HoldRow, TokenRow
from knight_tw.storage.schema import knight_holds, knight_journal, tokens, users
from knight_tw.storage.sql import chunks

CLOSED = 2**63 - 1
"""Position of a journal whose files are deleted: should a backup bring them back,
nothing in them is applied again."""

LOST_SECONDS = 86_400
"""A journal without a sign of life for that long belongs to a lost machine."""

FORGOTTEN_SECONDS = 7 * 86_400
"""After that long the row of a closed journal is removed."""


@frozen
class Wish:
    """A hold to take.

    Attributes:
        token_id: The limited token that pays too; 0 when there is none.
        keep_user, keep_token: What must stay in the rows besides: promises that this
            process made in memory.
        seen: User's and token's balance as just read; the hold is taken only if they
            are still the same. None: if they are large enough.
    """

    call_id: str
    user_id: int
    token_id: int
    amount: int
    journal: str
    now: int
    keep_user: int = 0
    keep_token: int = 0
    seen: tuple[int, int] | None = None


@frozen
class Reading:
    """Balances of a user and of a limited token (0 without one) as the rows say.

    `taken` tells whether the wish was granted; the balances are those afterwards.
    """

    user: int
    token: int
    taken: bool = False


def read(connection: sa.Connection, user_id: int, token_id: int) -> Reading:
    """The balances; rows that do not exist have nothing."""
    user = connection.scalar(sa.select(users.c.quota).where(users.c.id == user_id))
    token = 0
    if token_id:
        query = sa.select(tokens.c.remain_quota).where(tokens.c.id == token_id)
        token = connection.scalar(query) or 0
    return Reading(user or 0, token)


def take(connection: sa.Connection, wish: Wish) -> Reading:
    """Sets `wish.amount` aside in the rows when they have it, else changes nothing.

    Two conditional UPDATEs decide by their row counts, token first; the row in
    `knight_holds` that belongs to them is written by the same transaction.
    """
    seen_user, seen_token = wish.seen or (None, None)
    token_paid = not wish.token_id or _lower(
        connection,
        tokens.c.remain_quota,
        wish.token_id,
        wish.amount,
        wish.amount + wish.keep_token,
        seen_token,
    )
    taken = token_paid and _lower(
        connection,
        users.c.quota,
        wish.user_id,
        wish.amount,
        max(1, wish.amount + wish.keep_user),
        seen_user,
    )
    if taken and wish.amount:
        connection.execute(
            sa.insert(knight_holds).values(
                id=wish.call_id,
                user_id=wish.user_id,
                token_id=wish.token_id,
                amount=wish.amount,
                journal=wish.journal,
                created_at=wish.now,
            )
        )
    elif token_paid and wish.token_id and not taken:
        _raise(connection, tokens.c.remain_quota, wish.token_id, wish.amount)
    now = read(connection, wish.user_id, wish.token_id)
    return Reading(now.user, now.token, taken)


def _lower(
    connection: sa.Connection,
    balance: sa.Column[Any],
    key: int,
    amount: int,
    least: int,
    seen: int | None,
) -> bool:
    """True when the row had `least` (or exactly `seen`) and now has `amount` less."""
    enough = balance >= least if seen is None else balance == seen
    return (
        connection.execute(
            sa.update(balance.table)
            .where(balance.table.c.id == key, enough)
            .values({balance: balance - amount})
        ).rowcount
        == 1
    )


def _raise(
    connection: sa.Connection, balance: sa.Column[Any], key: int, amount: int
) -> None:
    connection.execute(
        sa.update(balance.table)
        .where(balance.table.c.id == key)
        .values({balance: sa.func.coalesce(balance, 0) + amount})
    )


def locked_holds(connection: sa.Connection, calls: Iterable[str]) -> dict[str, HoldRow]:
    """The rows of `knight_holds` of these calls that exist, locked."""
    found: dict[str, HoldRow] = {}
    for some in chunks(sorted(calls)):
        query = sa.select(knight_holds).where(knight_holds.c.id.in_(some))
        found |= _held(connection, query)
    return found


def _held(connection: sa.Connection, query: sa.Select[Any]) -> dict[str, HoldRow]:
    ordered = query.order_by(knight_holds.c.id).with_for_update()
    return {
        row.id: HoldRow(row.user_id or 0, row.token_id or 0, row.amount or 0)
        for row in connection.execute(ordered)
    }


def locked_tokens(
    connection: sa.Connection, keys: Iterable[int]
) -> dict[int, TokenRow]:
    """Remainders of the tokens that exist, deleted ones included, locked."""
    c = tokens.c
    found: dict[int, TokenRow] = {}
    for some in chunks(sorted(keys)):
        query = sa.select(c.id, c.remain_quota, c.unlimited_quota).where(c.id.in_(some))
        for key, remain, unlimited in connection.execute(_locking(query, c.id)):
            found[key] = TokenRow(remain or 0, bool(unlimited))
    return found


def locked_users(connection: sa.Connection, keys: Iterable[int]) -> dict[int, int]:
    """Balances of the users that exist, deleted ones included, locked."""
    c = users.c
    found: dict[int, int] = {}
    for some in chunks(sorted(keys)):
        query = sa.select(c.id, c.quota).where(c.id.in_(some))
        for key, quota in connection.execute(_locking(query, c.id)):
            found[key] = quota or 0
    return found


def _locking(query: sa.Select[Any], key: sa.Column[Any]) -> sa.Select[Any]:
    return query.order_by(key).with_for_update()


def delete_holds(connection: sa.Connection, calls: Iterable[str]) -> None:
    """Removes the rows of these calls."""
    for some in chunks(sorted(calls)):
        connection.execute(sa.delete(knight_holds).where(knight_holds.c.id.in_(some)))


def release_journal(connection: sa.Connection, journal: str) -> list[tuple[int, int]]:
    """Gives back every hold that a journal's process left behind.

    Returns:
        User and token of each, for whoever remembers balances.
    """
    query = sa.select(knight_holds).where(knight_holds.c.journal == journal)
    return _release(connection, _held(connection, query))


def _release(
    connection: sa.Connection, held: Mapping[str, HoldRow]
) -> list[tuple[int, int]]:
    back_users: dict[int, int] = {}
    back_tokens: dict[int, int] = {}
    for row in held.values():
        back_users[row.user_id] = back_users.get(row.user_id, 0) + row.amount
        if row.token_id:
            back_tokens[row.token_id] = back_tokens.get(row.token_id, 0) + row.amount
    for key in sorted(back_tokens):
        _raise(connection, tokens.c.remain_quota, key, back_tokens[key])
    for key in sorted(back_users):
        _raise(connection, users.c.quota, key, back_users[key])
    delete_holds(connection, held)
    return [(row.user_id, row.token_id) for row in held.values()]


def release_lost(connection: sa.Connection, now: int) -> list[tuple[int, int]]:
    """Gives back the holds of journals without a sign of life for a day.

    Should such a machine come back, its settlements find no hold and take the whole
    amount. Rows of closed journals are removed after a week; those of journals whose
    files may still exist somewhere stay, for they say what was applied.

    Returns:
        User and token of each hold.
    """
    c = knight_journal.c
    alive = sa.select(c.journal).where(c.updated_at >= now - LOST_SECONDS)
    old = knight_holds.c.created_at < now - LOST_SECONDS
    query = sa.select(knight_holds).where(old, knight_holds.c.journal.not_in(alive))
    released = _release(connection, _held(connection, query))
    forget_closed(connection, now)
    return released


def forget_closed(connection: sa.Connection, now: int) -> None:
    """Removes the rows of journals closed a week ago."""
    c = knight_journal.c
    old = c.updated_at < now - FORGOTTEN_SECONDS
    connection.execute(sa.delete(knight_journal).where(c.sequence == CLOSED, old))
