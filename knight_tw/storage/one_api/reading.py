"""What a one-api database holds, and what its upgrade would change; reads only.

Older programs lack some columns (`config`, `system_prompt`, `subnet`, …), so what is
there is asked of the database; what is not reads as empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from knight_tw.options import Options
from knight_tw.price_book import PriceBook
from knight_tw.records import ENABLED
from knight_tw.storage import meta
from knight_tw.storage.completion import SchemaRefused, one_api_started
from knight_tw.storage.one_api import lark, option_rows, sweeps
from knight_tw.storage.one_api.channel_types import Move, moved
from knight_tw.storage.one_api.report import Report
from knight_tw.storage.one_api.sweeps import Sweep
from knight_tw.storage.options import load as load_options
from knight_tw.storage.schema import channels, metadata, users
from knight_tw.storage.sql import listed

TABLES = (
    "users",
    "tokens",
    "channels",
    "abilities",
    "options",
    "redemptions",
    "logs",
)
"""The tables of one-api."""

TYPES_KEY = "one_api_types"
"""Where `knight_meta` keeps the channels' types of one-api: JSON, id to type."""

_NEEDED = {
    "users": {"username", "password", "role", "status", "quota"},
    "tokens": {"user_id", "key", "remain_quota", "unlimited_quota"},
    "channels": {"type", "key", "status", "models"},
    "options": {"key", "value"},
}
"""Columns without which it is the database of some other program."""

_CHANNEL_COLUMNS = (
    *("id", "type", "key", "status", "name", "base_url", "other", "models"),
    *("config", "system_prompt"),
)

Columns = Mapping[str, frozenset[str]]
"""The columns of each of one-api's tables that exists."""


def columns(connection: sa.Connection) -> Columns:
    """The columns of one-api's tables.

    Raises:
        SchemaRefused: it is not one-api that made these tables.
    """
    inspector = sa.inspect(connection)
    present = set(inspector.get_table_names())
    found = {
        name: frozenset(column["name"] for column in inspector.get_columns(name))
        for name in TABLES
        if name in present
    }
    for name, needed in _NEEDED.items():
        if lacking := needed - found.get(name, frozenset()):
            raise SchemaRefused(
                f"the database has a table users, but its {name} are not one-api's"
                f" (no {', '.join(sorted(lacking))}): is it another program's?"
            )
    return found


def note_types(connection: sa.Connection) -> None:
    """Writes down which type each channel has in one-api; `knight_meta` exists."""
    rows = connection.execute(sa.select(channels.c.id, channels.c.type))
    types = {row.id: row.type or 0 for row in rows}
    meta.put(connection, TYPES_KEY, json.dumps(types))


def noted_types(connection: sa.Connection) -> dict[int, int]:
    """The types that an upgrade under way has written down, by channel."""
    if not one_api_started(connection):
        return {}
    noted = json.loads(meta.get(connection, TYPES_KEY) or "{}")
    return {int(channel): old for channel, old in noted.items()}


def foresee(connection: sa.Connection, now: int) -> Report:
    """What the upgrade changes, or the rest of one that was interrupted."""
    old_types = noted_types(connection)
    found = columns(connection)
    rows = load_options(connection)
    swept = (sweeps.accounts(now), sweeps.CREDENTIALS, sweeps.CODES, sweeps.LOG_ROWS)
    changes = {
        group[0].table.name: tuple(_counted(connection, group, found))
        for group in swept
        if group[0].table.name in found
    }
    changes["users"] += tuple(_people(connection, rows, found))
    changes["options"] = tuple(_option_changes(rows))
    counted = count_all(connection, found)
    moves = tuple(_moves(connection, found["channels"], old_types))
    models = _served(connection, moves)
    return Report(counted, changes, moves, tuple(_warnings(rows, found, models)))


def _counted(
    connection: sa.Connection, group: Sequence[Sweep], found: Columns
) -> Iterator[tuple[int, str]]:
    for sweep in group:
        fits = sweep.says and sweep.fits(found[sweep.table.name])
        if fits and (count := sweep.count(connection)):
            yield count, sweep.says


def _people(
    connection: sa.Connection, rows: Mapping[str, str], found: Columns
) -> Iterator[tuple[int, str]]:
    if without := len(without_code(connection)):
        yield without, "accounts without a referral code get one"
    if lark.COLUMN not in found["users"] or not lark.configured(rows):
        return
    if bound := lark.bound(connection):
        yield bound, "accounts are bound to the new login provider Lark"


def without_code(connection: sa.Connection) -> list[int]:
    """Ids of the accounts without a referral code."""
    empty = sa.or_(users.c.aff_code.is_(None), users.c.aff_code == "")
    return list(connection.scalars(sa.select(users.c.id).where(empty)))


def _option_changes(rows: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    needed = option_rows.needed(rows)
    if new := sorted(key for key in needed if key not in rows):
        yield len(new), f"new ones: {', '.join(new)}"
    for key in option_rows.RATIOS:
        if key in needed:
            count = option_rows.added_prices(rows[key], needed[key])
            yield 1, f"{key} gets {count} prices of models that it lacks"
    if option_rows.CHATS in needed and option_rows.CHATS in rows:
        yield 1, "Chats gets the chat link"


def _moves(
    connection: sa.Connection, names: frozenset[str], old_types: Mapping[int, int]
) -> Iterator[Move]:
    asked: list[Any] = [sa.column(name) for name in _CHANNEL_COLUMNS if name in names]
    query = sa.select(*asked).select_from(channels).order_by(channels.c.id)
    for row in connection.execute(query).mappings():
        yield moved(dict(row), old_types.get(row["id"], row["type"] or 0))


def count_all(connection: sa.Connection, names: Iterable[str]) -> dict[str, int]:
    """Rows per table."""
    counts = {}
    for name in names:
        asked = sa.select(sa.func.count()).select_from(metadata.tables[name])
        counts[name] = int(connection.scalar(asked) or 0)
    return counts


def _served(connection: sa.Connection, moves: Iterable[Move]) -> set[str]:
    """The models of the channels that are enabled afterwards."""
    off = {move.id for move in moves if move.disabled}
    asked = sa.select(channels.c.id, channels.c.models)
    rows = connection.execute(asked.where(channels.c.status == ENABLED))
    return {model for row in rows if row.id not in off for model in listed(row.models)}


def _warnings(
    rows: Mapping[str, str], found: Columns, models: Iterable[str]
) -> Iterator[str]:
    prices = PriceBook.from_options(
        Options.from_rows({**rows, **option_rows.needed(rows)})
    )
    if unpriced := sorted(name for name in models if not prices.has_price(name)):
        yield (
            "models without a price, for which one-api took a ratio of 30; calls are"
            f" refused until they have one: {', '.join(unpriced)}"
        )
    for key in option_rows.unreadable(rows):
        yield f"option {key} is no table of numbers: it stays as it is, without effect"
    if lark.COLUMN in found["users"] and lark.configured(rows):
        yield "the login with Lark is a custom OAuth provider here: try it once"
