"""Who may do what: roles, the rule of who may act on whom, channel permissions.

Pure rules over role numbers; the rows come from `storage.user_queries`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from knight_tw.records import ROLE_ADMIN, ROLE_ROOT, ROLE_USER

ROLES = (ROLE_USER, ROLE_ADMIN, ROLE_ROOT)
"""The roles that an account can have."""

CHANNEL_ACTIONS = ("read", "operate", "write", "sensitive_write", "secret_view")
"""The actions on the resource `channel` that an administrator may or may not have."""


def may_act_on(actor_role: int, target_role: int) -> bool:
    """True when somebody of `actor_role` may change somebody of `target_role`."""
    return actor_role == ROLE_ROOT or actor_role > target_role


def channel_permissions(role: int, strict_admin: bool) -> dict[str, bool]:
    """Which channel actions a role has.

    Root has all. Administrators have read, operate and write, and `sensitive_write`
    unless option `authz.strict_admin` is on; nobody else has any.
    """
    if role >= ROLE_ROOT:
        return dict.fromkeys(CHANNEL_ACTIONS, True)
    given = {"read", "operate", "write"} if role >= ROLE_ADMIN else set()
    if given and not strict_admin:
        given.add("sensitive_write")
    return {action: action in given for action in CHANNEL_ACTIONS}


def permissions(role: int, strict_admin: bool) -> dict[str, Any]:
    """`permissions` of the self object: what the consoles show to this role."""
    modules: dict[str, Any] = {}
    if role < ROLE_ADMIN:
        modules = {"admin": False}
    elif role < ROLE_ROOT:
        modules = {"admin": {"setting": False}}
    return {
        "sidebar_settings": role < ROLE_ROOT,
        "sidebar_modules": modules,
        "admin_permissions": {"channel": channel_permissions(role, strict_admin)},
    }


def default_sidebar(role: int) -> str:
    """The default side bar of a new account, as the JSON text it is kept in."""
    modules: dict[str, Any] = {
        "chat": {"enabled": True, "playground": True, "chat": True},
        "console": {
            "enabled": True,
            "detail": True,
            "token": True,
            "log": True,
            "midjourney": True,
            "task": True,
        },
        "personal": {"enabled": True, "topup": True, "personal": True},
    }
    if role >= ROLE_ADMIN:
        modules["admin"] = {
            "enabled": True,
            "channel": True,
            "models": True,
            "redemption": True,
            "user": True,
            "setting": role >= ROLE_ROOT,
        }
    return msgspec.json.encode(modules).decode()


def catalogue(strict_admin: bool) -> dict[str, Any]:
    """Resources, actions and built-in roles, as `GET /api/authz/catalog` lists them."""
    return {
        "resources": [
            {
                "resource": "channel",
                "label_key": "Channel Management",
                "actions": [
                    {"action": action, "label_key": label, "description_key": meaning}
                    for action, (label, meaning) in _CHANNEL_WORDS.items()
                ],
            }
        ],
        "roles": [
            _role("root", "Root", ROLE_ROOT, strict_admin),
            _role("admin", "Admin", ROLE_ADMIN, strict_admin),
        ],
    }


_CHANNEL_WORDS = {
    "read": ("Read channels", "See channels without their secrets."),
    "operate": ("Operate channels", "Test, refresh, enable and disable channels."),
    "write": ("Edit channel routing", "Edit models, groups and routing rules."),
    "sensitive_write": (
        "Edit sensitive channel settings",
        "Create channels; edit keys, addresses and overrides.",
    ),
    "secret_view": ("View channel secrets", "Read the full keys of channels."),
}


def _role(key: str, name: str, role: int, strict_admin: bool) -> dict[str, Any]:
    return {
        "key": key,
        "name": name,
        "built_in": True,
        "superuser": role == ROLE_ROOT,
        "grants": {"channel": channel_permissions(role, strict_admin)},
    }
