"""Leases: which process does what only one may do (design.md section 7).

A lease is a row with its holder and an end. Whoever finds the end passed may take it,
in one conditional UPDATE, so that two cannot. Times are the callers' clocks: machines
whose clocks differ by seconds only lose time, since a lease is renewed long before.
"""

from __future__ import annotations

import sqlalchemy as sa

from knight_tw.storage.schema import knight_leases as leases
from knight_tw.storage.sql import insert_new

LENGTH_MS = 15_000
"""How long a lease lasts when its holder dies."""

RENEW_SECONDS = 5.0
"""How often the holder renews it."""


def take(
    connection: sa.Connection,
    name: str,
    holder: str,
    now_ms: int,
    length_ms: int = LENGTH_MS,
) -> bool:
    """True when `holder` has the lease now, newly or still, until `length_ms` later."""
    until = now_ms + length_ms
    free = sa.or_(leases.c.holder == holder, leases.c.until < now_ms)
    taken = connection.execute(
        sa.update(leases)
        .where(leases.c.name == name, free)
        .values(holder=holder, until=until)
    )
    if taken.rowcount:
        return True
    row = {"name": name, "holder": holder, "until": until}
    return insert_new(connection, leases, [row]) == 1


def release(connection: sa.Connection, name: str, holder: str) -> None:
    """Gives the lease up, if `holder` has it: another may take it at once."""
    connection.execute(
        sa.update(leases)
        .where(leases.c.name == name, leases.c.holder == holder)
        .values(holder="", until=0)
    )


def holder(connection: sa.Connection, name: str, now_ms: int) -> str | None:
    """Who has the lease now, or None."""
    asked = sa.select(leases.c.holder).where(
        leases.c.name == name, leases.c.until >= now_ms
    )
    return connection.scalar(asked) or None
