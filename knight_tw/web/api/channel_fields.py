"""Channels as the API shows them, and list arguments (management API, section 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve
from twisted.web.server import Request

from knight_tw.channels.drafts import SINGLE_KEY
from knight_tw.channels.keys import KeyRing, stored
from knight_tw.storage.channel_queries import SORTS, ChannelFilter, Order
from knight_tw.web.api.answers import Paging, paging, query, query_flag, query_integer

Row = dict[str, Any]

SEARCH_SIZE = 20
"""Rows of a search result when the request does not say."""

_COLUMNS: Mapping[str, str] = {
    "id": "id",
    "type": "type",
    "openai_organization": "open_ai_organization",
    "test_model": "test_model",
    "status": "status",
    "name": "name",
    "weight": "weight",
    "created_time": "created_time",
    "test_time": "test_time",
    "response_time": "response_time",
    "base_url": "base_url",
    "other": "other",
    "balance": "balance",
    "balance_updated_time": "balance_updated_time",
    "models": "models",
    "group": "group",
    "used_quota": "used_quota",
    "model_mapping": "model_mapping",
    "status_code_mapping": "status_code_mapping",
    "priority": "priority",
    "auto_ban": "auto_ban",
    "other_info": "other_info",
    "tag": "tag",
    "setting": "setting",
    "param_override": "param_override",
    "header_override": "header_override",
    "remark": "remark",
    "settings": "settings",
}
"""Member of the answer to column; the key is not among them."""

_NUMBERS = (
    "type",
    "status",
    "weight",
    "created_time",
    "test_time",
    "response_time",
    "balance",
    "balance_updated_time",
    "used_quota",
    "priority",
)
_TEXTS = ("name", "base_url", "other", "models", "group", "other_info", "settings")


def shown(row: Mapping[str, Any], *, reasons: bool) -> Row:
    """A channel as answers carry it: never with its key.

    Args:
        reasons: Also why and when single keys were disabled.
    """
    told = {name: row[column] for name, column in _COLUMNS.items()}
    for name in _NUMBERS:
        told[name] = told[name] or 0
    for name in _TEXTS:
        told[name] = told[name] or ""
    if told["auto_ban"] is None:
        told["auto_ban"] = 1
    told["key"] = ""
    told["channel_info"] = _info(row, reasons)
    return told


def _info(row: Mapping[str, Any], reasons: bool) -> Row:
    ring = KeyRing.read(row["key"] or "", row["channel_info"])
    if ring is None:
        return {**SINGLE_KEY, **_known(stored(row["channel_info"]))}
    told = ring.column()
    if not reasons:
        told.pop("multi_key_disabled_reason", None)
        told.pop("multi_key_disabled_time", None)
    return told


def _known(info: Mapping[str, Any]) -> Row:
    """What a single-key channel keeps: the mode it once had, nothing about keys."""
    mode = info.get("multi_key_mode")
    return {"multi_key_mode": mode} if isinstance(mode, str) else {}


def filter_of(request: Request) -> ChannelFilter:
    """The filter that a list's query asks for."""
    status = query(request, "status").lower()
    kind = query_integer(request, "type", -1)
    group = query(request, "group")
    return ChannelFilter(
        status={"1": "enabled", "0": "disabled"}.get(status, status),
        kind=kind if kind >= 0 else None,
        group="" if group in ("all", "null") else group,
    )


def search_of(request: Request) -> ChannelFilter:
    """As `filter_of`, with the words of a search."""
    return evolve(
        filter_of(request),
        keyword=query(request, "keyword"),
        model=query(request, "model"),
    )


def order_of(request: Request) -> Order:
    """The order that a list's query asks for."""
    column = query(request, "sort_by")
    if column in SORTS:
        return Order(column, query(request, "sort_order").lower() != "asc")
    return Order("id") if query_flag(request, "id_sort") else Order()


def search_paging(request: Request) -> Paging:
    """The page of a search, with more rows than usual when none are named."""
    asked = paging(request)
    named = any(query(request, name) for name in ("page_size", "ps", "size"))
    return asked if named else evolve(asked, size=SEARCH_SIZE)
