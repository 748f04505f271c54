"""What people may write about accounts: names, passwords, the setting document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from knight_tw.records import ROLE_ADMIN
from knight_tw.web.api.answers import flag, integer, invalid, missing, text

LONGEST_NAME, LONGEST_DISPLAY_NAME, LONGEST_REMARK, LONGEST_GROUP = 20, 20, 255, 64
LONGEST_URL, LONGEST_SECRET, LONGEST_EMAIL = 2_000, 500, 50
LONGEST_SIDEBAR, LONGEST_LANGUAGE = 65_536, 16

NOTIFY_TYPES = ("email", "webhook", "bark", "gotify")
_DEFAULT_PRIORITY = 5


def username(body: Mapping[str, Any]) -> str:
    """The user name of a body: 1 to 20 characters, none of them a control character.

    Raises:
        Refusal.
    """
    name = text(body, "username").strip()
    if not name:
        raise missing("username")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise invalid("username", f"1 to {LONGEST_NAME} printable characters")
    return name


def check_no_other_address(name: str, email: str) -> None:
    """Returns when the user name is no address but `email`, the proved one of its
    owner: whoever logs in by address would find the name first.

    Raises:
        Refusal.
    """
    if "@" in name and name.lower() != email.strip().lower():
        raise invalid("username", "no address but your own, proved one")


def display_name(body: Mapping[str, Any], default: str) -> str:
    """The display name of a body; `default` when it is absent or blank."""
    name = text(body, "display_name", "", longest=LONGEST_DISPLAY_NAME)
    return name.strip() or default


def sidebar(body: Mapping[str, Any]) -> str:
    """`sidebar_modules`: a JSON document as text, or the document itself."""
    given = body.get("sidebar_modules")
    document = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    if len(document) > LONGEST_SIDEBAR:
        raise invalid("sidebar_modules", f"at most {LONGEST_SIDEBAR} characters")
    try:
        msgspec.json.decode(document or "{}")
    except (msgspec.DecodeError, RecursionError):
        raise invalid("sidebar_modules", "JSON") from None
    return document


def language(body: Mapping[str, Any]) -> str:
    """The language of messages and console, e.g. `en`."""
    return text(body, "language", "", longest=LONGEST_LANGUAGE)


def setting(body: Mapping[str, Any], role: int) -> dict[str, Any]:
    """The members of `setting` that a body of `PUT /api/user/setting` sets.

    Source: management spec, section 3.2. What the body leaves out of the chosen way to
    be told stays as it was.

    Raises:
        Refusal.
    """
    kind = text(body, "notify_type", "email") or "email"
    if kind not in NOTIFY_TYPES:
        raise invalid("notify_type", f"one of {', '.join(NOTIFY_TYPES)}")
    changes: dict[str, Any] = {
        "notify_type": kind,
        "quota_warning_threshold": _threshold(body),
    }
    for name in ("accept_unset_model_ratio_model", "record_ip_log"):
        if name in body:
            changes[name] = flag(body, name)
    name = "upstream_model_update_notify_enabled"
    if name in body and role >= ROLE_ADMIN:
        changes[name] = flag(body, name)
    changes.update(_WAYS[kind](body))
    return changes


def _threshold(body: Mapping[str, Any]) -> float | int:
    value = body.get("quota_warning_threshold")
    if isinstance(value, str):
        value = integer(body, "quota_warning_threshold")
    if value is None:
        raise missing("quota_warning_threshold")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid("quota_warning_threshold", "a number")
    if not 0 < value <= 1e15:
        raise invalid("quota_warning_threshold", "above 0")
    return value


def _email(body: Mapping[str, Any]) -> dict[str, Any]:
    address = text(body, "notification_email", "", longest=LONGEST_EMAIL).strip()
    if address and "@" not in address.strip("@"):
        raise invalid("notification_email", "an email address")
    return {"notification_email": address} if "notification_email" in body else {}


def _webhook(body: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {"webhook_url": _url(body, "webhook_url")}
    if "webhook_secret" in body:
        secret = text(body, "webhook_secret", "", longest=LONGEST_SECRET)
        changes["webhook_secret"] = secret
    return changes


def _bark(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"bark_url": _url(body, "bark_url")}


def _gotify(body: Mapping[str, Any]) -> dict[str, Any]:
    token = text(body, "gotify_token", "", longest=LONGEST_SECRET).strip()
    if not token:
        raise missing("gotify_token")
    priority = integer(body, "gotify_priority", _DEFAULT_PRIORITY)
    if not 0 <= priority <= 10:
        priority = _DEFAULT_PRIORITY
    return {
        "gotify_url": _url(body, "gotify_url"),
        "gotify_token": token,
        "gotify_priority": priority,
    }


_WAYS = {"email": _email, "webhook": _webhook, "bark": _bark, "gotify": _gotify}


def _url(body: Mapping[str, Any], name: str) -> str:
    address = text(body, name, "", longest=LONGEST_URL).strip()
    if not address:
        raise missing(name)
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        known = False
    if not known:
        raise invalid(name, "an http or https URL")
    return address
