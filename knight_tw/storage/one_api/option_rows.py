"""Which option rows a database of one-api needs besides those it has.

No row is removed or renamed: what one-api alone reads stays as it is and does no harm.
Pure; source: data model, sections 6 and 7, step 10.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from knight_tw.options.table import OPTIONS

RENAMED: Mapping[str, str] = {
    "OidcEnabled": "oidc.enabled",
    "OidcClientId": "oidc.client_id",
    "OidcClientSecret": "oidc.client_secret",
    "OidcWellKnown": "oidc.well_known",
    "OidcAuthorizationEndpoint": "oidc.authorization_endpoint",
    "OidcTokenEndpoint": "oidc.token_endpoint",
    "OidcUserinfoEndpoint": "oidc.user_info_endpoint",
}
"""one-api's key, and ours for the same text."""

DISPLAY, TOKENS = "general_setting.quota_display_type", "TOKENS"
CHATS, CHAT_NAME = "Chats", "Chat"

RATIOS = ("ModelRatio", "CompletionRatio")
"""Price tables that hide our newer defaults when they are stored."""

_Table = dict[str, msgspec.Raw]


def needed(rows: Mapping[str, str]) -> dict[str, str]:
    """The rows to write, by key: new ones, and price tables with more entries.

    Repeating it with the result added gives nothing new.
    """
    wanted = {new: rows[old] for old, new in RENAMED.items() if rows.get(old)}
    if rows.get("DisplayInCurrencyEnabled") == "false":
        wanted[DISPLAY] = TOKENS
    if link := rows.get("ChatLink", "").strip():
        wanted[CHATS] = _with_chat(rows.get(CHATS) or OPTIONS[CHATS].default, link)
    missing = {key: text for key, text in wanted.items() if key not in rows}
    if CHATS in wanted and wanted[CHATS] != rows.get(CHATS):
        missing[CHATS] = wanted[CHATS]
    for key in RATIOS:
        filled = _filled(rows.get(key, ""), OPTIONS[key].default)
        if filled is not None and filled != rows[key]:
            missing[key] = filled
    return missing


def added_prices(old: str, new: str) -> int:
    """How many entries a price table has gained."""
    before, after = _table(old), _table(new)
    return len(after or ()) - len(before or ())


def unreadable(rows: Mapping[str, str]) -> list[str]:
    """Keys of stored price tables that are no JSON object."""
    return [key for key in RATIOS if rows.get(key) and _table(rows[key]) is None]


def _with_chat(text: str, link: str) -> str:
    """The list of chat clients with one-api's own at its end, once."""
    try:
        chats = msgspec.json.decode(text, type=list[dict[str, str]])
    except msgspec.DecodeError:
        return text
    if any(CHAT_NAME in chat for chat in chats):
        return text
    return msgspec.json.encode([*chats, {CHAT_NAME: link}]).decode()


def _filled(stored: str, shipped: str) -> str | None:
    """A stored price table with the models that it lacks; numbers stay as spelt.

    An entry such as `model(33)` is a price for one of one-api's channel types; where
    the model has no other it becomes the model's.
    """
    table = _table(stored)
    if table is None:
        return None
    plain = dict(table)
    for name, price in table.items():
        model, bracket, _ = name.rpartition("(")
        if bracket and name.endswith(")") and name[len(model) + 1 : -1].isdecimal():
            plain.setdefault(model, price)
    filled = {**(_table(shipped) or {}), **plain}
    if filled.keys() == table.keys():
        return stored
    ordered = {name: filled[name] for name in (*plain, *filled)}
    return msgspec.json.encode(ordered).decode()


def _table(text: str) -> _Table | None:
    try:
        return msgspec.json.decode(text, type=_Table)
    except msgspec.DecodeError:
        return None
