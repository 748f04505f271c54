"""How many rows a list has, without reading them all: a count that stops at a bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from knight_tw.storage.matching import Condition


def bounded(
    connection: sa.Connection,
    key: sa.Column[Any],
    where: Sequence[Condition],
    bound: int,
) -> int:
    """How many rows of the table of `key` the conditions take, at most `bound`."""
    some = sa.select(key).where(*where).limit(bound).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()


def total(
    connection: sa.Connection,
    key: sa.Column[Any],
    where: Sequence[Condition],
    bound: int,
    *,
    page: tuple[int, int, int] | None = None,
) -> int:
    """As `bounded`; of the whole table, beyond the bound, about how many there are.

    Args:
        key: The table's number, which grows with each row.
        page: Offset, limit and found rows of a page that was read: one that is not
            full tells the number by itself.
    """
    if page is not None:
        offset, limit, rows = page
        if rows < limit and (rows or not offset):
            return offset + rows
    found = bounded(connection, key, where, bound)
    if where or found < bound:
        return found
    # One statement with both would read the whole table on SQLite.
    first = connection.execute(sa.select(sa.func.min(key))).scalar()
    last = connection.execute(sa.select(sa.func.max(key))).scalar()
    return max(found, int(last or 0) - int(first or 0) + 1)
