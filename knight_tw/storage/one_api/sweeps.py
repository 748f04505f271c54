"""The changes that are the same statement for many rows of one-api's tables.

Each is a value, so that the same condition changes rows in the upgrade and counts them
in a check, where the new columns do not exist yet: conditions use one-api's columns
only. Repeating a sweep changes nothing more. Source: data model, section 7, steps 4, 5,
8 and 9.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from knight_tw.records import DISABLED
from knight_tw.storage.columns import I64
from knight_tw.storage.schema import logs, redemptions, tokens, users

DELETED = 3
"""one-api's status of a deleted account; its name is changed, its tokens stay."""

TEST_ROW, SYSTEM_ROW = 5, 4
"""one-api's type of the log row of a channel test, which means an error here."""

_MODELS = sa.column("models", sa.Text())
_SUBNET = sa.column("subnet", sa.Text())
_ELAPSED = sa.column("elapsed_time", I64)


@frozen
class Sweep:
    """One UPDATE.

    Attributes:
        says: What happens to the rows, for the report; empty when it is not worth
            saying, as for columns that begin with their zero value.
        where: Which rows, by columns that one-api has; None means all.
        needs: The column of one-api's that it reads, which older programs lack.
        instead_of: The column of one-api's without which it is run.
    """

    table: sa.Table
    values: Mapping[str, Any]
    where: sa.ColumnElement[bool] | None = None
    says: str = ""
    needs: str = ""
    instead_of: str = ""

    def fits(self, columns: Collection[str]) -> bool:
        """Whether it is to be run on a table that has these columns in one-api."""
        if self.instead_of in columns:
            return False
        return not self.needs or self.needs in columns

    def run(self, connection: sa.Connection) -> int:
        """Changes the rows; how many."""
        statement = sa.update(self.table).values(dict(self.values))
        if self.where is not None:
            statement = statement.where(self.where)
        return connection.execute(statement).rowcount

    def count(self, connection: sa.Connection) -> int:
        """How many rows it would change."""
        asked = sa.select(sa.func.count()).select_from(self.table)
        if self.where is not None:
            asked = asked.where(self.where)
        return int(connection.scalar(asked) or 0)


def accounts(now: int) -> tuple[Sweep, ...]:
    """Sweeps over users: the mark of deletion."""
    deleted = {"deleted_at": datetime.fromtimestamp(now, UTC), "status": DISABLED}
    return (
        Sweep(users, {"setting": ""}),
        Sweep(
            users,
            deleted,
            users.c.status == DELETED,
            "deleted accounts get the mark of deletion that new-api reads",
        ),
    )


def _lines() -> sa.ColumnElement[str]:
    """A comma-separated list with one entry a line, without blanks."""
    return sa.func.replace(sa.func.replace(_SUBNET, " ", ""), ",", "\n")


CREDENTIALS = (
    Sweep(
        tokens,
        {"model_limits": "", "model_limits_enabled": False, "auto_groups": ""},
    ),
    Sweep(
        tokens,
        {"model_limits": _MODELS, "model_limits_enabled": True},
        sa.and_(_MODELS.is_not(None), _MODELS != ""),
        "lists of models become model limits",
        "models",
    ),
    Sweep(
        tokens,
        {"allow_ips": _lines()},
        sa.and_(_SUBNET.is_not(None), _SUBNET != ""),
        "networks (subnet) become address limits",
        "subnet",
    ),
    Sweep(
        tokens,
        {"remain_quota": 0},
        sa.and_(tokens.c.unlimited_quota == sa.true(), tokens.c.remain_quota < 0),
        "unlimited tokens with a remainder of -1 get 0",
    ),
)

CODES = (Sweep(redemptions, {"used_user_id": 0, "expired_time": 0}),)

_BLANK = {"other": "{}", "group": ""}
_SECONDS = {"use_time": (sa.func.coalesce(_ELAPSED, 0) + 500) // 1000}

# One statement for every row: there may be millions.
LOG_ROWS = (
    Sweep(
        logs, {**_BLANK, **_SECONDS}, None, "times become seconds", needs="elapsed_time"
    ),
    Sweep(logs, _BLANK, instead_of="elapsed_time"),
    Sweep(
        logs,
        {"type": SYSTEM_ROW},
        logs.c.type == TEST_ROW,
        "channel tests become system rows, so that they are no errors",
    ),
)
