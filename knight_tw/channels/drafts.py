"""From what an administrator sends to rows of `channels`: making and changing them.

Making (management API, section 7.2) has three modes: `single`, `batch` (a row per key)
and `multi_to_single` (one row with many keys). Changing (7.3) goes by presence: what
the body leaves out stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from knight_tw.channels.columns import (
    CODEX,
    VERTEX,
    check_whole,
    columns,
    invalid,
    number,
    parse_object,
)
from knight_tw.channels.keys import (
    MODES,
    KeyRing,
    compact,
    split_objects,
    stored,
)
from knight_tw.errors import InvalidRequest
from knight_tw.records import AUTO_DISABLED, DISABLED, ENABLED
from knight_tw.storage.channels import split_keys

Row = dict[str, Any]

MOST_ROWS = 1000
"""The most channels that one request makes."""

SENSITIVE = frozenset(
    {
        "type",
        "key",
        "base_url",
        "other",
        "open_ai_organization",
        "setting",
        "settings",
        "param_override",
        "header_override",
        "channel_info",
    }
)
"""Columns whose change decides where keys go; it needs `sensitive_write`."""

SINGLE_KEY: Mapping[str, Any] = {
    "is_multi_key": False,
    "multi_key_size": 0,
    "multi_key_status_list": None,
    "multi_key_polling_index": 0,
    "multi_key_mode": "",
}


@frozen
class Order:
    """A request to make channels, whatever generation's form it had."""

    mode: str
    channel: Mapping[str, Any]
    multi_key_mode: str = "random"
    prefix_names: bool = False

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Order:
        """The order in a body: `{mode, channel, ...}`, or a bare channel object, whose
        key makes a channel per line.

        Raises:
            InvalidRequest: no such mode, or no channel in it.
        """
        if "channel" not in body and "mode" not in body:
            return cls("batch", body)
        channel, mode = body.get("channel"), body.get("mode") or "single"
        if not isinstance(channel, Mapping):
            raise InvalidRequest("channel is required", param="channel")
        if mode not in ("single", "batch", "multi_to_single"):
            raise invalid("mode", "single, batch or multi_to_single")
        keys_by = body.get("multi_key_mode") or "random"
        if keys_by not in MODES:
            raise invalid("multi_key_mode", "random or polling")
        prefix = bool(body.get("batch_add_set_key_prefix_2_name"))
        return cls(mode, channel, keys_by, prefix)


def new_rows(order: Order, now: int) -> list[Row]:
    """The rows that an order makes.

    Raises:
        InvalidRequest: the channel is not valid, or there are too many keys.
    """
    row: Row = {"status": ENABLED, "group": "default", **columns(order.channel)}
    row["created_time"] = now
    row["status"] = status_of(order.channel, ENABLED)
    check_whole(row)
    keys = read_keys(row, order.channel.get("key"))
    if not keys:
        raise InvalidRequest("the key must not be empty", param="key")
    if order.mode == "multi_to_single":
        ring = KeyRing(list(dict.fromkeys(keys)), order.multi_key_mode)
        return [{**row, "key": ring.text(), "channel_info": ring.column()}]
    if order.mode == "single" and len(keys) > 1:
        raise invalid("key", "one key in mode single")
    if len(keys) > MOST_ROWS:
        raise invalid("key", f"at most {MOST_ROWS} keys")
    named = order.prefix_names and order.mode == "batch"
    return [_single(row, key, named) for key in keys]


def _single(row: Row, key: str, named: bool) -> Row:
    made = {**row, "key": key, "channel_info": dict(SINGLE_KEY)}
    if named:
        made["name"] = f"{row.get('name', '')} {key[:8]}"
    return made


def status_of(body: Mapping[str, Any], default: int) -> int:
    """The status a body asks for.

    Raises:
        InvalidRequest: not a status of channels.
    """
    value = body.get("status")
    if value is None:
        return default
    status = number("status", value)
    if status not in (ENABLED, DISABLED, AUTO_DISABLED):
        raise invalid("status", "1, 2 or 3")
    return status


def read_keys(row: Mapping[str, Any], text: Any) -> list[str]:
    """The keys in the text of a form, each in the form of the row's type.

    Raises:
        InvalidRequest: not a text, or not the JSON that the type needs.
    """
    if isinstance(text, Mapping | list):
        text = compact(text)
    if not isinstance(text, str | None):
        raise invalid("key", "text")
    text = (text or "").strip()
    if not text:
        return []
    kind, settings = row.get("type") or 0, stored(row.get("settings"))
    if kind == CODEX:
        return [_codex(key) for key in split_objects(text)]
    if kind == VERTEX and settings.get("vertex_key_type") != "api_key":
        return split_objects(text)
    return list(split_keys(text))


def _codex(key: str) -> str:
    found = parse_object("key", key)
    if not (found.get("access_token") and found.get("account_id")):
        raise invalid("key", "a JSON object with access_token and account_id")
    return key


def changes(row: Row, body: Mapping[str, Any], *, with_status: bool) -> Row:
    """The columns of `row` that `body` changes, with their new values.

    Args:
        with_status: The caller's dialect may set the status here.

    Raises:
        InvalidRequest: what results is not valid.
    """
    wanted = columns(body)
    status = status_of(body, row["status"])
    if status != row["status"]:
        if not with_status:
            raise InvalidRequest("the status has its own route", param="status")
        wanted["status"] = status
    after = {**row, **wanted}
    check_whole(after)
    wanted |= _key_changes(row, after, body)
    return {
        name: value for name, value in wanted.items() if not _same(row, name, value)
    }


def _key_changes(row: Row, after: Row, body: Mapping[str, Any]) -> Row:
    """What a body changes of key and `channel_info`."""
    keys = read_keys(after, body.get("key"))
    ring = KeyRing.read(row["key"] or "", row["channel_info"])
    mode = body.get("multi_key_mode")
    if ring is None:
        if len(keys) > 1:
            raise invalid("key", "one key, since this channel has one")
        return {"key": keys[0]} if keys else {}
    if mode is not None and mode not in MODES:
        raise invalid("multi_key_mode", "random or polling")
    if mode is None and not keys:
        return {}
    ring.mode = mode or ring.mode
    if keys:
        added = body.get("key_mode") == "append"
        ring.replace([*ring.keys, *keys] if added else keys)
    return {"key": ring.text(), "channel_info": ring.column()}


def _same(row: Row, name: str, value: Any) -> bool:
    """True when a column already holds the value; null and empty are one thing."""
    held = row.get(name)
    if name == "channel_info":
        return bool(stored(held) == value)
    if name == "base_url":
        held = (held or "").rstrip("/")
    return bool(held == value) or (held is None and value in ("", 0))


GUARDED = "guarded_address"
"""Member of `settings`: each connection of the channel passes the address guard."""


def addresses(row: Mapping[str, Any]) -> tuple[str, str]:
    """Base URL and proxy of a row."""
    proxy = stored(row.get("setting")).get("proxy") or ""
    return (row.get("base_url") or "").rstrip("/"), str(proxy)


def guarded(before: Mapping[str, Any], values: Row, *, root: bool) -> Row:
    """`values` with the mark that says whether the address guard is to watch.

    Whoever is not root and changes an address sets the mark; a write of root's clears
    it; nobody sets it by hand.
    """
    after = {**before, **values}
    settings = stored(after.get("settings"))
    moved = addresses(after) != addresses(before) and any(addresses(after))
    watched = bool(stored(before.get("settings")).get(GUARDED)) or moved
    wanted = watched and not root
    if wanted == bool(settings.get(GUARDED)):
        return values
    settings.pop(GUARDED, None)
    if wanted:
        settings[GUARDED] = True
    return {**values, "settings": compact(settings) if settings else ""}


def edits_of_tag(body: Mapping[str, Any]) -> Row:
    """The columns that an edit of all channels of a tag sets; empty members, which the
    form sends for what stays, are left out.

    Raises:
        InvalidRequest: a member is not valid.
    """
    told = {
        name: body[name]
        for name in (
            "priority",
            "weight",
            "model_mapping",
            "models",
            "groups",
            "param_override",
            "header_override",
        )
        if body.get(name) not in (None, "")
    }
    wanted = columns(told)
    if body.get("new_tag") is not None:
        wanted["tag"] = columns({"tag": body["new_tag"]})["tag"]
    return wanted


def copy_of(row: Row, suffix: str, reset_balance: bool, now: int) -> Row:
    """A row like `row`, under another name and with a history of its own."""
    made = {name: value for name, value in row.items() if name != "id"}
    made |= {
        "name": (row["name"] or "")[: 191 - len(suffix)] + suffix,
        "created_time": now,
        "test_time": 0,
        "response_time": 0,
    }
    if reset_balance:
        made |= {"balance": 0, "used_quota": 0, "balance_updated_time": 0}
    return made
