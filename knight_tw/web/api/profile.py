"""How an account looks on the wire: to itself, to administrators, in a login."""

from __future__ import annotations

from typing import Any

from knight_tw.accounts import access
from knight_tw.accounts.sessions import Opened
from knight_tw.storage.session_queries import Session
from knight_tw.storage.user_queries import Row
from knight_tw.storage.user_writes import read_setting

_SAME = (
    "id",
    "username",
    "display_name",
    "role",
    "status",
    "email",
    "github_id",
    "discord_id",
    "oidc_id",
    "wechat_id",
    "telegram_id",
    "linux_do_id",
    "group",
    "quota",
    "used_quota",
    "request_count",
    "aff_count",
    "aff_quota",
    "inviter_id",
    "setting",
    "stripe_customer",
)
"""Columns that both views have under their own name."""


def own_view(row: Row, strict_admin: bool) -> dict[str, Any]:
    """The self object (management spec, section 3.1)."""
    return {
        **_shared(row),
        "sidebar_modules": read_setting(row["setting"]).get("sidebar_modules") or "",
        "permissions": access.permissions(row["role"], strict_admin),
    }


def admin_view(row: Row, strict_admin: bool | None = None) -> dict[str, Any]:
    """An account in the lists and reads of administrators, without any secret.

    Args:
        strict_admin: Adds `admin_permissions`; None leaves them out, as lists do.
    """
    deleted = row["deleted_at"]
    view = {
        **_shared(row),
        "password": "",
        "original_password": "",
        "verification_code": "",
        "DeletedAt": None if deleted is None else _iso(deleted.isoformat()),
        "created_at": row["created_at"],
        "last_login_at": row["last_login_at"],
    }
    if row["remark"]:
        view["remark"] = row["remark"]
    if strict_admin is not None:
        granted = access.channel_permissions(row["role"], strict_admin)
        view["admin_permissions"] = {"channel": granted}
    return view


def bare_view(role: int, status: int) -> dict[str, Any]:
    """The account object of which only role and status are filled."""
    empty: Row = dict.fromkeys(_TEXTS, "")
    empty.update(dict.fromkeys(_NUMBERS, 0), deleted_at=None, role=role, status=status)
    return admin_view(empty)


def session_view(session: Session, current: str) -> dict[str, Any]:
    """A session; `current` is the sid of the one that asks."""
    return {
        "sid": session.sid,
        "current": session.sid == current,
        "login_method": session.login_method,
        "ip": session.ip,
        "user_agent": session.user_agent,
        "created_at": session.created_at,
        "last_active_at": session.last_active_at,
        "expires_at": session.expires_at,
    }


def bearer_view(opened: Opened) -> dict[str, Any]:
    """What the newest generation's consoles need of a session."""
    return {
        "access_token": opened.access_token,
        "token_type": "Bearer",
        "access_expires_at": opened.access_expires_at,
        "session": session_view(opened.session, opened.session.sid),
    }


def login_view(opened: Opened, row: Row, strict_admin: bool) -> dict[str, Any]:
    """The data of a login: the older generations' fields and the newest one's."""
    flat = ("id", "username", "display_name", "role", "status", "group")
    return {
        **{name: row[name] for name in flat},
        **bearer_view(opened),
        "user": own_view(row, strict_admin),
    }


_TEXTS = (
    "username",
    "display_name",
    "email",
    "github_id",
    "discord_id",
    "oidc_id",
    "wechat_id",
    "telegram_id",
    "linux_do_id",
    "group",
    "aff_code",
    "setting",
    "stripe_customer",
    "remark",
)
_NUMBERS = (
    "id",
    "quota",
    "used_quota",
    "request_count",
    "aff_count",
    "aff_quota",
    "aff_history",
    "inviter_id",
    "created_at",
    "last_login_at",
)


def _shared(row: Row) -> dict[str, Any]:
    view = {name: row[name] for name in _SAME}
    view["aff_code"] = row["aff_code"] or ""
    view["aff_history_quota"] = row["aff_history"]
    return view


def _iso(text: str) -> str:
    return text.replace("+00:00", "Z")
