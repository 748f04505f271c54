"""Writing log rows. The log pages read them through `log_queries`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from knight_tw.storage.schema import logs

_LIMITS: Mapping[str, int] = {
    "username": 191,
    "token_name": 191,
    "model_name": 191,
    "group": 191,
    "ip": 191,
    "request_id": 64,
    "upstream_request_id": 128,
    "session_id": 64,
}
"""Characters that the narrowest engine stores."""

_NUMBERS = frozenset(
    column.name for column in logs.c if isinstance(column.type, sa.Integer)
)
_EMPTY: Mapping[str, Any] = {
    column.name: getattr(column.default, "arg", None)
    for column in logs.c
    if column.name not in ("id", "channel_name")
}
"""What a row that leaves a column out stores there."""
_LARGEST = 2**63 - 1


def insert(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts log rows, in order.

    Whatever a client or a provider sent must not keep a batch from being stored: texts
    are cut to their column and cleaned of what no engine stores, numbers are kept
    within 64 bits.

    Args:
        rows: Columns of `logs`; what a row leaves out gets its zero value. `other` may
            be a dict.
    """
    if rows:
        connection.execute(sa.insert(logs), [stored(row) for row in rows])


def stored(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with every column, as it can be stored."""
    return {name: _value(name, row.get(name, zero)) for name, zero in _EMPTY.items()}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return clean(value, _LIMITS.get(name))
    if isinstance(value, dict):
        return clean(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    if name in _NUMBERS and value is not None:
        return max(-_LARGEST, min(_LARGEST, int(value)))
    return value


def clean(text: str, limit: int | None = None) -> str:
    """The text, cut to `limit` characters, without what an engine refuses.

    PostgreSQL stores no NUL, and a lone surrogate has no UTF-8.
    """
    if limit is not None:
        text = text[:limit]
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()
