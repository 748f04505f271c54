"""Channels as the relay needs them: each row's JSON columns parsed once, leniently.

Rows come from three generations of programs and from people's hands: a JSON column that
is null, empty or plain text reads as empty, and members of the wrong type are left out.
The pages of channels have their own queries in `channel_queries`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from knight_tw.records import ENABLED, Channel
from knight_tw.storage.schema import channels
from knight_tw.storage.sql import json_object, listed

Row = Mapping[Any, Any]
"""A row by column names."""

_COLUMNS = [
    channels.c[name]
    for name in (
        "id",
        "type",
        "key",
        "open_ai_organization",
        "test_model",
        "status",
        "name",
        "weight",
        "created_time",
        "response_time",
        "base_url",
        "other",
        "models",
        "group",
        "model_mapping",
        "status_code_mapping",
        "priority",
        "auto_ban",
        "tag",
        "setting",
        "param_override",
        "header_override",
        "channel_info",
        "settings",
    )
]
"""What `to_record` reads."""


def load_all(connection: sa.Connection) -> list[Channel]:
    """Every channel, disabled ones too, by id."""
    rows = connection.execute(sa.select(*_COLUMNS).order_by(channels.c.id))
    return [to_record(row) for row in rows.mappings()]


def load(connection: sa.Connection, channel_id: int) -> Channel | None:
    """One channel."""
    asked = sa.select(*_COLUMNS).where(channels.c.id == channel_id)
    row = connection.execute(asked).mappings().first()
    return None if row is None else to_record(row)


def to_record(row: Row) -> Channel:
    """The channel in a row of `channels`."""
    state = json_object(row["channel_info"])
    multi = state.get("is_multi_key") is True
    text = row["key"] or ""
    mode = state.get("multi_key_mode")
    group = row["group"]
    return Channel(
        id=row["id"],
        type=row["type"] or 0,
        name=row["name"] or "",
        status=row["status"] or 0,
        keys=split_keys(text) if multi else (text.strip(),),
        base_url=(row["base_url"] or "").strip(),
        other=row["other"] or "",
        models=listed(row["models"]),
        groups=listed("default" if group is None else group),
        priority=row["priority"] or 0,
        weight=max(0, row["weight"] or 0),
        auto_ban=row["auto_ban"] != 0,
        tag=row["tag"] or "",
        organization=row["open_ai_organization"] or "",
        test_model=row["test_model"] or "",
        model_mapping=_texts(json_object(row["model_mapping"])),
        status_code_mapping=_codes(json_object(row["status_code_mapping"])),
        param_override=json_object(row["param_override"]) or None,
        header_override=_texts(json_object(row["header_override"])) or None,
        setting=json_object(row["setting"]),
        settings=json_object(row["settings"]),
        created_time=row.get("created_time") or 0,
        multi_key=multi,
        multi_key_mode=mode if mode in ("random", "polling") else "random",
        multi_key_polling_index=_number(state.get("multi_key_polling_index")) or 0,
        key_status=_key_status(state.get("multi_key_status_list")) if multi else {},
        response_time=row["response_time"] or 0,
    )


def split_keys(text: str) -> tuple[str, ...]:
    """The keys of a multi-key channel: a JSON array's elements, else the lines.

    Texts of an array are taken as they are, other elements as compact JSON (a Vertex
    service account); blanks are trimmed, empty keys dropped (relay.md 7.5).
    """
    if text.lstrip().startswith("["):
        try:
            array = json.loads(text)
        except (ValueError, RecursionError):
            array = None
        if isinstance(array, list):
            keys = (_key(element) for element in array)
            return tuple(key for key in keys if key)
    return listed(text, "\n")


def _key(element: Any) -> str:
    if isinstance(element, str):
        return element.strip()
    return json.dumps(element, ensure_ascii=False, separators=(",", ":"))


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The members that are texts; numbers and booleans as JSON spells them."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if isinstance(value, str | int | float)
    }


def _codes(values: Mapping[str, Any]) -> dict[str, int]:
    """Status codes by status code; members that are no numbers are left out."""
    codes = {name: _number(value) for name, value in values.items()}
    return {name: code for name, code in codes.items() if code is not None}


def _number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _key_status(values: Any) -> dict[int, int]:
    """Index to status, of the keys that are not enabled."""
    if not isinstance(values, dict):
        return {}
    pairs = ((_number(index), _number(status)) for index, status in values.items())
    return {
        index: status
        for index, status in pairs
        if index is not None and status is not None and status != ENABLED
    }
