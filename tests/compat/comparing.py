"""Says whether a stored value is what a manifest says, in whatever form each has it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from knight_tw.storage.columns import parse_moment
from tests.compat.originals import Row, zone


def told(value: Any) -> Any:
    """A value in the one form that both sides are compared in."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return told(value.decode())
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(
            microsecond=value.microsecond // 1000 * 1000
        )
    return value


def same(expected: Any, stored: Any) -> bool:
    """Whether `stored`, as we read it, means what the manifest says."""
    if isinstance(stored, datetime) and isinstance(expected, str):
        moment = parse_moment(expected)
        if moment is None:
            return False
        local = moment if moment.tzinfo else moment.replace(tzinfo=zone())
        return abs((local - stored).total_seconds()) < 0.001
    left, right = told(expected), told(stored)
    if isinstance(left, str) and isinstance(right, str) and left != right:
        # The manifests of PostgreSQL show a JSON text without its quotes.
        document = _json(right)
        return document is not None and document in (_json(left), left)
    return bool(left == right)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def differences(expected: Row, stored: Row) -> dict[str, tuple[Any, Any]]:
    """Columns of the manifest's row that are stored otherwise."""
    return {
        name: (value, stored[name])
        for name, value in expected.items()
        if name in stored and not same(value, stored[name])
    }


def as_upgraded(table: str, row: Row) -> Row:
    """What a row of a one-api manifest is after the upgrade (data model, section 7)."""
    change = _UPGRADED.get(table)
    return dict(row) if change is None else change(dict(row))


def _user(row: Row) -> Row:
    if row["status"] == 3:
        row["status"] = 2
    if not row["aff_code"]:
        del row["aff_code"]
    return row


def _token(row: Row) -> Row:
    if row["unlimited_quota"] and row["remain_quota"] < 0:
        row["remain_quota"] = 0
    row["model_limits"] = row["models"] or ""
    row["model_limits_enabled"] = bool(row["models"])
    row["allow_ips"] = (row["subnet"] or "").replace(",", "\n")
    return row


def _channel(row: Row) -> Row:
    row["type"] = row["type_2026"]
    for name, value in row["expect"].items():
        column, member, key = name.partition(".")
        row[column] = json.dumps({key: value}) if member else value
    return row


def _code(row: Row) -> Row:
    return row | {"used_user_id": 0, "expired_time": 0, "deleted_at": None}


def _log(row: Row) -> Row:
    row["use_time"] = (row["elapsed_time"] + 500) // 1000
    row["type"] = 4 if row["type"] == 5 else row["type"]
    return row | {"other": "{}", "group": ""}


_UPGRADED = {
    "users": _user,
    "tokens": _token,
    "channels": _channel,
    "redemptions": _code,
    "logs": _log,
}
