"""What the model catalogue reads and writes: which models are enabled where, and the
`models` and `vendors` tables that describe them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from knight_tw.records import ENABLED
from knight_tw.storage.matching import Condition, contains
from knight_tw.storage.schema import abilities, channels, models, vendors
from knight_tw.storage.sql import new_id

Row = dict[str, Any]


@frozen
class Offer:
    """A model that an enabled channel offers to a group."""

    group: str
    model: str
    channel_id: int
    channel_type: int
    channel_name: str


def offers(connection: sa.Connection) -> list[Offer]:
    """Every enabled ability, the channels of highest priority first."""
    rows = connection.execute(
        sa.select(
            abilities.c.group,
            abilities.c.model,
            channels.c.id,
            channels.c.type,
            channels.c.name,
        )
        .join(channels, channels.c.id == abilities.c.channel_id)
        .where(abilities.c.enabled == sa.true(), channels.c.status == ENABLED)
        .order_by(channels.c.priority.desc(), channels.c.id)
    )
    return [
        Offer(group, model, number, kind or 0, name or "")
        for group, model, number, kind, name in rows
    ]


def enabled_models(connection: sa.Connection) -> list[str]:
    """Names of the models that some enabled channel offers."""
    query = sa.select(abilities.c.model).where(abilities.c.enabled == sa.true())
    return list(connection.execute(query.distinct()).scalars())


@frozen
class ModelFilter:
    """Which described models; an empty field does not restrict.

    Attributes:
        keyword: Part of the name, description or tags.
        vendor: A vendor's id or part of its name.
        status: `enabled`, `disabled` or nothing.
        sync: `yes`, `no` or nothing: may the official list overwrite the row?
    """

    keyword: str = ""
    vendor: str = ""
    status: str = ""
    sync: str = ""

    def conditions(self) -> list[Condition]:
        """The WHERE clauses, deleted rows left out."""
        c = models.c
        where: list[Condition] = [c.deleted_at.is_(None)]
        if self.keyword:
            places = (c.model_name, c.description, c.tags)
            where.append(sa.or_(*(contains(place, self.keyword) for place in places)))
        if self.vendor.isdecimal() and len(self.vendor) < 19:
            where.append(c.vendor_id == int(self.vendor))
        elif self.vendor:
            named = sa.select(vendors.c.id).where(contains(vendors.c.name, self.vendor))
            where.append(c.vendor_id.in_(named))
        if self.status in ("enabled", "disabled"):
            enabled = c.status == ENABLED
            where.append(enabled if self.status == "enabled" else sa.not_(enabled))
        if self.sync in ("yes", "no"):
            synced = c.sync_official != 0
            where.append(synced if self.sync == "yes" else sa.not_(synced))
        return where


def described(
    connection: sa.Connection, chosen: ModelFilter, offset: int, limit: int
) -> tuple[list[Row], int]:
    """One page of described models, newest first, and how many there are."""
    where = chosen.conditions()
    count = sa.select(sa.func.count()).select_from(models).where(*where)
    query = sa.select(models).where(*where).order_by(models.c.id.desc())
    rows = _rows(connection, query.offset(offset).limit(limit))
    return rows, connection.execute(count).scalar_one()


def vendor_counts(connection: sa.Connection, chosen: ModelFilter) -> dict[int, int]:
    """How many described models each vendor (0 = none) has within the filter."""
    vendor = sa.func.coalesce(models.c.vendor_id, 0)
    rows = connection.execute(
        sa.select(vendor, sa.func.count()).where(*chosen.conditions()).group_by(vendor)
    )
    return {int(number): count for number, count in rows}


def every_description(connection: sa.Connection) -> list[Row]:
    """All described models."""
    return _rows(connection, sa.select(models).where(models.c.deleted_at.is_(None)))


def model(connection: sa.Connection, model_id: int) -> Row | None:
    """One described model."""
    return _one(connection, models, models.c.id == model_id)


def model_named(connection: sa.Connection, name: str) -> Row | None:
    """The described model of this name."""
    return _one(connection, models, models.c.model_name == name)


def vendor(connection: sa.Connection, vendor_id: int) -> Row | None:
    """One vendor."""
    return _one(connection, vendors, vendors.c.id == vendor_id)


def vendor_named(connection: sa.Connection, name: str) -> Row | None:
    """The vendor of this name."""
    return _one(connection, vendors, vendors.c.name == name)


def vendor_page(
    connection: sa.Connection, keyword: str, offset: int, limit: int
) -> tuple[list[Row], int]:
    """One page of vendors by id, and how many there are."""
    where: list[Condition] = [vendors.c.deleted_at.is_(None)]
    if keyword:
        places = (vendors.c.name, vendors.c.description)
        where.append(sa.or_(*(contains(place, keyword) for place in places)))
    count = sa.select(sa.func.count()).select_from(vendors).where(*where)
    query = sa.select(vendors).where(*where).order_by(vendors.c.id)
    rows = _rows(connection, query.offset(offset).limit(limit))
    return rows, connection.execute(count).scalar_one()


def every_vendor(connection: sa.Connection) -> list[Row]:
    """All vendors, by id."""
    query = sa.select(vendors).where(vendors.c.deleted_at.is_(None))
    return _rows(connection, query.order_by(vendors.c.id))


def insert(
    connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]
) -> Row:
    """A new row of `models` or `vendors`, as it is stored."""
    number = new_id(connection, table, values)
    return _one(connection, table, table.c.id == number) or {}


def update(
    connection: sa.Connection, table: sa.Table, row_id: int, values: Mapping[str, Any]
) -> Row | None:
    """The row of `models` or `vendors` after columns were set, or None."""
    alive = (table.c.id == row_id, table.c.deleted_at.is_(None))
    if values:
        connection.execute(sa.update(table).where(*alive).values(**values))
    return _one(connection, table, table.c.id == row_id)


def delete(connection: sa.Connection, table: sa.Table, row_id: int, now: float) -> bool:
    """Mark a row of `models` or `vendors` as deleted; False when there is none."""
    alive = (table.c.id == row_id, table.c.deleted_at.is_(None))
    gone = sa.update(table).where(*alive)
    moment = datetime.fromtimestamp(now, UTC)
    return connection.execute(gone.values(deleted_at=moment)).rowcount == 1


def matched(row: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The model names that a description is about, by its `name_rule`: 0 the very
    name, 1 names that begin with it, 2 that hold it, 3 that end with it."""
    name, rule = row["model_name"], row["name_rule"] or 0
    if rule == 1:
        return [one for one in names if one.startswith(name)]
    if rule == 2:
        return [one for one in names if name in one]
    if rule == 3:
        return [one for one in names if one.endswith(name)]
    return [one for one in names if one == name]


def _one(
    connection: sa.Connection, table: sa.Table, condition: Condition
) -> Row | None:
    rows = _rows(
        connection, sa.select(table).where(condition, table.c.deleted_at.is_(None))
    )
    return rows[0] if rows else None


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[Row]:
    return [dict(row._mapping) for row in connection.execute(query)]
