"""Shapes of answers, as the reference gives them: keys and types, never values.

A shape is a type, a tuple of types, None, a list with the shape of every element, or a
dict with the shapes of exactly these members. `number` stands for int and float.
"""

from __future__ import annotations

from typing import Any

number = (int, float)

PERMISSIONS = {
    "read": bool,
    "operate": bool,
    "write": bool,
    "sensitive_write": bool,
    "secret_view": bool,
}
_ACCOUNT = {
    "id": int,
    "username": str,
    "display_name": str,
    "role": int,
    "status": int,
    "email": str,
    "github_id": str,
    "discord_id": str,
    "oidc_id": str,
    "wechat_id": str,
    "telegram_id": str,
    "linux_do_id": str,
    "quota": int,
    "used_quota": int,
    "request_count": int,
    "group": str,
    "aff_code": str,
    "aff_count": int,
    "aff_quota": int,
    "aff_history_quota": int,
    "inviter_id": int,
    "setting": str,
    "stripe_customer": str,
}
SELF = {
    **_ACCOUNT,
    "sidebar_modules": str,
    "permissions": {
        "admin_permissions": {"channel": PERMISSIONS},
        "sidebar_modules": dict,
        "sidebar_settings": bool,
    },
}
LISTED_USER = {
    **_ACCOUNT,
    "password": str,
    "original_password": str,
    "verification_code": str,
    "DeletedAt": (str, type(None)),
    "created_at": int,
    "last_login_at": int,
}
READ_USER = {**LISTED_USER, "admin_permissions": {"channel": PERMISSIONS}}
SESSION = {
    "sid": str,
    "current": bool,
    "login_method": str,
    "ip": str,
    "user_agent": str,
    "created_at": int,
    "last_active_at": int,
    "expires_at": int,
}
BEARER = {
    "access_token": str,
    "token_type": str,
    "access_expires_at": int,
    "session": SESSION,
}
LOGIN = {
    **BEARER,
    "user": SELF,
    "id": int,
    "username": str,
    "display_name": str,
    "role": int,
    "status": int,
    "group": str,
}
PAGE = {"page": int, "page_size": int, "total": int, "items": list}
STATUS = {
    "HeaderNavModules": str,
    "SidebarModulesAdmin": str,
    "announcements": list,
    "announcements_enabled": bool,
    "api_info": list,
    "api_info_enabled": bool,
    "chats": list,
    "chat_link": str,
    "checkin_enabled": bool,
    "custom_currency_exchange_rate": number,
    "custom_currency_symbol": str,
    "data_export_default_time": str,
    "default_collapse_sidebar": bool,
    "default_use_auto_group": bool,
    "demo_site_enabled": bool,
    "discord_client_id": str,
    "discord_oauth": bool,
    "display_in_currency": bool,
    "docs_link": str,
    "email_verification": bool,
    "enable_batch_update": bool,
    "enable_data_export": bool,
    "enable_drawing": bool,
    "enable_task": bool,
    "faq": list,
    "faq_enabled": bool,
    "footer_html": str,
    "github_client_id": str,
    "github_oauth": bool,
    "linuxdo_client_id": str,
    "linuxdo_minimum_trust_level": int,
    "linuxdo_oauth": bool,
    "logo": str,
    "mj_notify_enabled": bool,
    "oidc_authorization_endpoint": str,
    "oidc_client_id": str,
    "oidc_display_name": str,
    "oidc_enabled": bool,
    "passkey_allow_insecure": bool,
    "passkey_attachment": str,
    "passkey_display_name": str,
    "passkey_login": bool,
    "passkey_origins": str,
    "passkey_rp_id": str,
    "passkey_user_verification": str,
    "password_login_enabled": bool,
    "password_register_enabled": bool,
    "price": number,
    "privacy_policy_enabled": bool,
    "quota_display_type": str,
    "quota_per_unit": number,
    "register_enabled": bool,
    "self_use_mode_enabled": bool,
    "server_address": str,
    "setup": bool,
    "start_time": int,
    "stripe_unit_price": number,
    "system_name": str,
    "telegram_bot_name": str,
    "telegram_oauth": bool,
    "theme": str,
    "top_up_link": str,
    "turnstile_check": bool,
    "turnstile_site_key": str,
    "uptime_kuma_enabled": bool,
    "usd_exchange_rate": number,
    "user_agreement_enabled": bool,
    "version": str,
    "wechat_login": bool,
    "wechat_qrcode": str,
}
"""The reference's members, and the two that one-api clients read besides."""

CATALOGUE = {
    "resources": [
        {
            "resource": str,
            "label_key": str,
            "actions": [{"action": str, "label_key": str, "description_key": str}],
        }
    ],
    "roles": [
        {
            "key": str,
            "name": str,
            "built_in": bool,
            "superuser": bool,
            "grants": {"channel": PERMISSIONS},
        }
    ],
}


def misfit(value: Any, shape: Any, where: str = "$") -> str:
    """Where `value` is not of `shape`; empty when it is."""
    if isinstance(shape, dict):
        return _misfit_object(value, shape, where)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where}: {value!r} is not a list"
        found = (misfit(one, shape[0], f"{where}[]") for one in value)
        return next((text for text in found if text), "")
    kinds = shape if isinstance(shape, tuple) else (shape,)
    exact = any(type(value) is kind for kind in kinds)
    return "" if exact else f"{where}: {value!r} is not {shape}"


def _misfit_object(value: Any, shape: dict[str, Any], where: str) -> str:
    if not isinstance(value, dict):
        return f"{where}: {value!r} is not an object"
    different = set(value) ^ set(shape)
    if different:
        return f"{where}: {sorted(different)} missing or too much"
    found = (misfit(value[name], one, f"{where}.{name}") for name, one in shape.items())
    return next((text for text in found if text), "")
