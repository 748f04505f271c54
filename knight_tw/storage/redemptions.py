"""Redemption codes: made, listed, changed, and exchanged for quota."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from knight_tw.errors import KnightError, NotFound
from knight_tw.storage import totals, user_writes
from knight_tw.storage.matching import Condition, literal
from knight_tw.storage.schema import redemptions as codes

Row = dict[str, Any]

UNUSED, DISABLED, USED = 1, 2, 3
EXPIRED = "expired"
"""What a search asks for to see unused codes whose time is over."""

MOST_COUNTED = 100_000
"""Where counting the codes of a list ends."""

_ESCAPE = "!"


class CodeRefused(KnightError):
    """Unknown, disabled, used or expired: never told apart."""

    status, code = 409, "code_used"


def redeem(connection: sa.Connection, key: str, user_id: int, now: int) -> int:
    """The quota of a code that is now used up, added to the account.

    Raises:
        CodeRefused: nothing was written; also for the second of two at once.
    """
    asked = sa.select(codes).where(codes.c.key == key, _living())
    row = connection.execute(asked.with_for_update()).first()
    good = (
        row is not None
        # MySQL's comparison knows no case.
        and hmac.compare_digest((row.key or "").encode(), key.encode())
        and row.status == UNUSED
        and (row.quota or 0) > 0
        and not 0 < (row.expired_time or 0) < now
    )
    if row is None or not good:
        raise _refused()
    taken = connection.execute(
        sa.update(codes)
        .where(codes.c.id == row.id, codes.c.status == UNUSED)
        .values(status=USED, redeemed_time=now, used_user_id=user_id)
    )
    if taken.rowcount != 1:
        raise _refused()
    user_writes.add_quota(connection, user_id, row.quota)
    return int(row.quota)


def create(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts codes, all or none."""
    connection.execute(sa.insert(codes), [dict(row) for row in rows])


def find(connection: sa.Connection, code_id: int) -> Row | None:
    """A code that was not deleted."""
    asked = sa.select(codes).where(codes.c.id == code_id, _living())
    row = connection.execute(asked).first()
    return None if row is None else _filled(row)


def search(
    connection: sa.Connection,
    keyword: str,
    status: str,
    now: int,
    offset: int,
    limit: int,
) -> tuple[list[Row], int]:
    """One page of codes, newest first, and how many there are.

    Args:
        keyword: The id or the beginning of the name; empty for all.
        status: `1` (usable now), `2`, `3`, `EXPIRED`, or empty for all.
    """
    where = [_living(), *_named(keyword), *_in_status(status, now)]
    rows = connection.execute(
        sa.select(codes)
        .where(*where)
        .order_by(codes.c.id.desc())
        .offset(offset)
        .limit(limit)
    )
    found = [_filled(row) for row in rows]
    return found, totals.total(connection, codes.c.id, where, MOST_COUNTED)


def update(connection: sa.Connection, code_id: int, values: Mapping[str, Any]) -> Row:
    """The code after some columns were set.

    Raises:
        NotFound: there is none. CodeRefused: its status is to be set and it is used.
    """
    row = connection.execute(
        sa.select(codes).where(codes.c.id == code_id, _living()).with_for_update()
    ).first()
    if row is None:
        raise NotFound("redemption code not found")
    if "status" in values and row.status == USED:
        raise CodeRefused("the code has been used")
    connection.execute(
        sa.update(codes).where(codes.c.id == code_id).values(dict(values))
    )
    return _filled(row) | dict(values)


def delete(connection: sa.Connection, code_id: int, now: int) -> bool:
    """True when the code was there and is hidden now."""
    return _hide(connection, now, codes.c.id == code_id) == 1


def delete_invalid(connection: sa.Connection, now: int) -> int:
    """How many used, disabled and expired codes were hidden."""
    worthless = sa.or_(codes.c.status.in_((USED, DISABLED)), _over(now))
    return _hide(connection, now, worthless)


def _hide(connection: sa.Connection, now: int, which: Condition) -> int:
    moment = datetime.fromtimestamp(now, UTC)
    return connection.execute(
        sa.update(codes).where(which, _living()).values(deleted_at=moment)
    ).rowcount


def _living() -> Condition:
    return codes.c.deleted_at.is_(None)


def _over(now: int) -> Condition:
    """Unused, and its time has passed."""
    return sa.and_(
        codes.c.status == UNUSED, codes.c.expired_time > 0, codes.c.expired_time < now
    )


def _named(keyword: str) -> list[Condition]:
    if not keyword:
        return []
    hits: list[Condition] = [codes.c.name.ilike(f"{literal(keyword)}%", escape=_ESCAPE)]
    if keyword.isascii() and keyword.isdigit():
        hits.append(codes.c.id == min(int(keyword[:18]), 2**53))
    return [sa.or_(*hits)]


def _in_status(status: str, now: int) -> list[Condition]:
    if status == EXPIRED:
        return [_over(now)]
    if status not in ("1", "2", "3"):
        return []
    wanted = [codes.c.status == int(status)]
    if status == str(UNUSED):
        forever = sa.func.coalesce(codes.c.expired_time, 0) == 0
        wanted.append(sa.or_(forever, codes.c.expired_time >= now))
    return wanted


def _filled(row: sa.Row[Any]) -> Row:
    """A row as a dict, NULLs as the zero values they mean."""
    filled: Row = dict(row._mapping)
    for name in ("user_id", "quota", "created_time", "redeemed_time", "used_user_id"):
        filled[name] = filled[name] or 0
    filled["expired_time"] = filled["expired_time"] or 0
    filled["status"] = filled["status"] or UNUSED
    filled["name"] = filled["name"] or ""
    return filled


def _refused() -> CodeRefused:
    return CodeRefused("the code cannot be redeemed")
