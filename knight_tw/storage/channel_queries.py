"""What the channel pages read and write. Each write of a channel writes its abilities
(one row per group and model) in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from knight_tw.records import AUTO_DISABLED, DISABLED, ENABLED
from knight_tw.storage.matching import Condition, contains, literal
from knight_tw.storage.schema import abilities, channels
from knight_tw.storage.sql import listed, new_id

Row = dict[str, Any]

BULK_LIMIT = 10_000
"""The most channels that one bulk change or one page in tag mode touches."""

SORTS: Mapping[str, sa.Column[Any]] = {
    name: channels.c[name]
    for name in ("id", "name", "priority", "balance", "response_time", "test_time")
}
"""Columns a list may be sorted by."""

_CHUNK = 50
_ABILITY_COLUMNS = frozenset({"status", "models", "group", "priority", "weight", "tag"})


@frozen
class ChannelFilter:
    """Which channels; an empty field does not restrict.

    Attributes:
        status: `enabled`, `disabled` or nothing.
        keyword: Part of the name or address, the id, or a whole key.
        model: Part of the model list.
        ids: These only, whatever else is said.
    """

    status: str = ""
    kind: int | None = None
    group: str = ""
    keyword: str = ""
    model: str = ""
    tag: str | None = None
    ids: Sequence[int] = ()

    def conditions(self, *, kind: bool = True) -> list[Condition]:
        """The WHERE clauses; `kind=False` leaves the type out (counts per type)."""
        where: list[Condition] = []
        if self.status == "enabled":
            where.append(channels.c.status == ENABLED)
        elif self.status == "disabled":
            where.append(channels.c.status != ENABLED)
        if kind and self.kind is not None:
            where.append(channels.c.type == self.kind)
        if self.group:
            where.append(_member(channels.c.group, self.group))
        if self.keyword:
            where.append(_found(self.keyword))
        if self.model:
            where.append(contains(channels.c.models, self.model))
        if self.tag is not None:
            where.append(channels.c.tag == self.tag)
        if self.ids:
            where.append(channels.c.id.in_(self.ids))
        return where


@frozen
class Order:
    """How a list is sorted; ties go by id, newest first."""

    column: str = ""
    descending: bool = True

    def clauses(self) -> list[sa.UnaryExpression[Any]]:
        """The ORDER BY: by priority, then id, unless another column is named."""
        column = SORTS.get(self.column, channels.c.priority)
        first = column.desc() if self.descending else column.asc()
        return [first, channels.c.id.desc()]


def page(
    connection: sa.Connection,
    chosen: ChannelFilter,
    order: Order,
    offset: int,
    limit: int,
) -> tuple[list[Row], int]:
    """One page of channels and how many the filter takes."""
    where = chosen.conditions()
    count = sa.select(sa.func.count()).select_from(channels).where(*where)
    rows = _rows(
        connection,
        sa.select(channels)
        .where(*where)
        .order_by(*order.clauses())
        .offset(offset)
        .limit(limit),
    )
    return rows, connection.execute(count).scalar_one()


def tag_page(
    connection: sa.Connection,
    chosen: ChannelFilter,
    order: Order,
    offset: int,
    limit: int,
) -> tuple[list[Row], int]:
    """All channels of one page of tags, and how many tags there are."""
    tagged = [*chosen.conditions(), channels.c.tag.is_not(None), channels.c.tag != ""]
    distinct = sa.select(channels.c.tag).where(*tagged).group_by(channels.c.tag)
    count = sa.select(sa.func.count()).select_from(distinct.subquery())
    shown = connection.execute(
        distinct.order_by(channels.c.tag).offset(offset).limit(limit)
    ).scalars()
    rows = _rows(
        connection,
        sa.select(channels)
        .where(*tagged, channels.c.tag.in_(list(shown)))
        .order_by(*order.clauses())
        .limit(BULK_LIMIT),
    )
    return rows, connection.execute(count).scalar_one()


def type_counts(connection: sa.Connection, chosen: ChannelFilter) -> dict[int, int]:
    """How many channels of each type the filter, its own type left out, takes."""
    rows = connection.execute(
        sa.select(channels.c.type, sa.func.count())
        .where(*chosen.conditions(kind=False))
        .group_by(channels.c.type)
    )
    return {kind or 0: count for kind, count in rows}


def find(connection: sa.Connection, channel_id: int) -> Row | None:
    """One channel, its key included."""
    rows = _rows(connection, sa.select(channels).where(channels.c.id == channel_id))
    return rows[0] if rows else None


def select(connection: sa.Connection, chosen: ChannelFilter) -> list[Row]:
    """The channels that the filter takes, by id, at most `BULK_LIMIT`."""
    return _rows(
        connection,
        sa.select(channels)
        .where(*chosen.conditions())
        .order_by(channels.c.id)
        .limit(BULK_LIMIT),
    )


def insert(connection: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """New channels with their abilities; their ids."""
    made = []
    for values in rows:
        made.append(new_id(connection, channels, values))
        refresh_abilities(connection, {**values, "id": made[-1]})
    return made


def change(
    connection: sa.Connection,
    channel_id: int,
    decide: Callable[[Row], Mapping[str, Any]],
) -> tuple[Row, Mapping[str, Any]] | None:
    """The channel after `decide`, which gets the row and says which columns to set, and
    those columns. None when there is no such channel.

    What `decide` raises leaves the row as it was; it may be called more than once.
    """
    query = sa.select(channels).where(channels.c.id == channel_id)
    rows = _rows(connection, query.with_for_update())
    if not rows:
        return None
    values = decide(dict(rows[0]))
    if values:
        record(connection, channel_id, values)
    after = {**rows[0], **values}
    if not _ABILITY_COLUMNS.isdisjoint(values):
        refresh_abilities(connection, after)
    return after, values


def change_many(
    connection: sa.Connection,
    ids: Sequence[int],
    decide: Callable[[Row], Mapping[str, Any]],
) -> list[int]:
    """`change` for several channels; the ids of those that changed."""
    changed = []
    for channel_id in ids:
        done = change(connection, channel_id, decide)
        if done is not None and done[1]:
            changed.append(channel_id)
    return changed


def record(
    connection: sa.Connection, channel_id: int, values: Mapping[str, Any]
) -> None:
    """Set columns (times, balance) that no ability depends on."""
    connection.execute(
        sa.update(channels).where(channels.c.id == channel_id).values(**values)
    )


def delete(connection: sa.Connection, ids: Sequence[int]) -> int:
    """Remove channels and their abilities; how many channels there were."""
    connection.execute(sa.delete(abilities).where(abilities.c.channel_id.in_(ids)))
    return connection.execute(
        sa.delete(channels).where(channels.c.id.in_(ids))
    ).rowcount


def disabled(connection: sa.Connection) -> list[int]:
    """Ids of the channels that are disabled, by hand or automatically."""
    off = channels.c.status.in_((DISABLED, AUTO_DISABLED))
    return list(connection.execute(sa.select(channels.c.id).where(off)).scalars())


def set_status(connection: sa.Connection, ids: Sequence[int], status: int) -> list[int]:
    """Set the status of channels by hand; the ids of those that changed."""
    differs = (channels.c.id.in_(ids), channels.c.status != status)
    changed = list(
        connection.execute(sa.select(channels.c.id).where(*differs)).scalars()
    )
    if changed:
        connection.execute(
            sa.update(channels).where(channels.c.id.in_(changed)).values(status=status)
        )
        connection.execute(
            sa.update(abilities)
            .where(abilities.c.channel_id.in_(changed))
            .values(enabled=status == ENABLED)
        )
    return changed


def set_tag(connection: sa.Connection, ids: Sequence[int], tag: str | None) -> int:
    """Give channels a tag, or none; how many there were."""
    connection.execute(
        sa.update(abilities).where(abilities.c.channel_id.in_(ids)).values(tag=tag)
    )
    return connection.execute(
        sa.update(channels).where(channels.c.id.in_(ids)).values(tag=tag)
    ).rowcount


def with_tag(connection: sa.Connection, tag: str) -> list[int]:
    """Ids of the channels of a tag."""
    return list(
        connection.execute(sa.select(channels.c.id).where(channels.c.tag == tag))
        .scalars()
        .all()
    )


def refresh_abilities(connection: sa.Connection, row: Mapping[str, Any]) -> None:
    """Write the abilities of one channel anew.

    Names that MySQL's collation takes for equal would collide in the key, so of such
    only the first is kept there; a name too long for the key is left out.
    """
    connection.execute(sa.delete(abilities).where(abilities.c.channel_id == row["id"]))
    folding = connection.dialect.name == "mysql"
    made = list(_abilities(row, folding))
    for start in range(0, len(made), _CHUNK):
        connection.execute(sa.insert(abilities), made[start : start + _CHUNK])


def refresh_many(connection: sa.Connection, ids: Sequence[int]) -> None:
    """Write the abilities of some channels anew."""
    for row in _rows(connection, sa.select(channels).where(channels.c.id.in_(ids))):
        refresh_abilities(connection, row)


def every_id(connection: sa.Connection) -> list[int]:
    """Ids of all channels."""
    return list(
        connection.execute(sa.select(channels.c.id).order_by(channels.c.id)).scalars()
    )


def forget_orphans(connection: sa.Connection) -> None:
    """Remove abilities of channels that are no more."""
    known = sa.select(channels.c.id)
    connection.execute(sa.delete(abilities).where(abilities.c.channel_id.not_in(known)))


def names(connection: sa.Connection, ids: Iterable[int]) -> dict[int, str]:
    """Names of channels by id."""
    rows = connection.execute(
        sa.select(channels.c.id, channels.c.name).where(channels.c.id.in_(set(ids)))
    )
    return {row.id: row.name or "" for row in rows}


def _abilities(row: Mapping[str, Any], folding: bool) -> Iterable[Row]:
    """The ability rows that a channel row stands for."""
    seen: set[tuple[str, str]] = set()
    for group in listed(row.get("group")):
        for model in listed(row.get("models")):
            place = (group, model)
            if folding:
                place = (group.casefold(), model.casefold())
            if place in seen or len(model) > 255 or len(group) > 64:
                continue
            seen.add(place)
            yield {
                "group": group,
                "model": model,
                "channel_id": row["id"],
                "enabled": row.get("status", ENABLED) == ENABLED,
                "priority": row.get("priority") or 0,
                "weight": row.get("weight") or 0,
                "tag": row.get("tag"),
            }


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[Row]:
    return [dict(row._mapping) for row in connection.execute(query)]


def _member(column: sa.Column[Any], value: str) -> Condition:
    """A comma-separated column has `value` as one entry."""
    found = literal(value)
    shapes = (f"{found},%", f"%,{found}", f"%,{found},%")
    return sa.or_(
        column == value, *(column.like(shape, escape="!") for shape in shapes)
    )


def _found(keyword: str) -> Condition:
    """A channel whose id or key is `keyword`, or whose name or address holds it."""
    ways = [
        contains(channels.c.name, keyword),
        contains(channels.c.base_url, keyword),
        channels.c.key == keyword,
    ]
    if keyword.isdecimal() and len(keyword) < 19:
        ways.append(channels.c.id == int(keyword))
    return sa.or_(*ways)
