"""Daily gifts: who took one on which day, and how much it was."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from knight_tw.errors import KnightError
from knight_tw.storage import user_writes
from knight_tw.storage.schema import checkins, knight_usage
from knight_tw.storage.sql import insert_new

Row = dict[str, Any]


class AlreadyTaken(KnightError):
    """The account took the gift of that day."""

    status, code = 409, "already_exists"


def take(
    connection: sa.Connection, user_id: int, day: str, quota: int, now: int
) -> None:
    """Adds the day's gift to the balance; the day's unique index lets one through.

    Args:
        day: `YYYY-MM-DD`.

    Raises:
        AlreadyTaken.
    """
    row = {
        "user_id": user_id,
        "checkin_date": day,
        "quota_awarded": quota,
        "created_at": now,
    }
    if insert_new(connection, checkins, [row]) != 1:
        raise AlreadyTaken("you have checked in today")
    if quota:
        user_writes.add_quota(connection, user_id, quota)


def of_month(connection: sa.Connection, user_id: int, month: str) -> list[Row]:
    """The gifts of a month `YYYY-MM`, newest first: `{checkin_date, quota_awarded}`."""
    rows = connection.execute(
        sa.select(checkins.c.checkin_date, checkins.c.quota_awarded)
        .where(
            checkins.c.user_id == user_id,
            checkins.c.checkin_date.between(f"{month}-01", f"{month}-31"),
        )
        .order_by(checkins.c.checkin_date.desc())
    )
    return [dict(row) for row in rows.mappings()]


def sums(connection: sa.Connection, user_id: int, day: str) -> tuple[int, int, bool]:
    """How many gifts the account took, their sum, and whether that of `day` is one."""
    mine = checkins.c.user_id == user_id
    counted = sa.select(
        sa.func.count(), sa.func.coalesce(sa.func.sum(checkins.c.quota_awarded), 0)
    )
    number, quota = connection.execute(counted.where(mine)).one()
    today = sa.select(checkins.c.id).where(mine, checkins.c.checkin_date == day)
    return int(number), int(quota), connection.execute(today).first() is not None


def usage_since(connection: sa.Connection, user_id: int, moment: int) -> list[Row]:
    """Sums per hour and model of the account's calls that were answered, since then."""
    c = knight_usage.c
    names = ("count", "quota", "prompt_tokens", "completion_tokens")
    rows = connection.execute(
        sa.select(
            c.bucket_ts,
            c.model_name,
            *(sa.func.sum(c[name]).label(name) for name in names),
        )
        .where(c.user_id == user_id, c.bucket_ts >= moment, c.status < 400)
        .group_by(c.bucket_ts, c.model_name)
    )
    return [dict(row) for row in rows.mappings()]
