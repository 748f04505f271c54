"""A notice as the request that brings it: webhook, Bark, Gotify, or through the worker.

Billing specification, section 15. Bark: https://bark.day.app; Gotify:
https://gotify.net/api-docs#/message/createMessage.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import msgspec
from attrs import evolve, field, frozen

from knight_tw.errors import KnightError

MARK = "{{value}}"
EMAIL, WEBHOOK, BARK, GOTIFY = "email", "webhook", "bark", "gotify"

LOW_BALANCE, CHANNEL_UPDATE, CHANNEL_TEST = (
    "quota_exceed",
    "channel_update",
    "channel_test",
)
"""Kinds of notices."""

_JSON = ("Content-Type", "application/json; charset=utf-8")
_BARK_AGENT, _GOTIFY_AGENT = "OneAPI-Bark-Notify/1.0", "NewAPI-Gotify-Notify/1.0"
_DEFAULT_PRIORITY = 5


class NoWay(KnightError):
    """The account does not say where its notices go."""

    status, code = 409, "not_configured"


@frozen
class Notice:
    """Something that people want to know.

    Attributes:
        content: With a `{{value}}` for each of the first `values`, in order.
        values: Sent to webhooks as they are, too.
    """

    kind: str
    title: str
    content: str
    values: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The content with its values."""
        first, *rest = self.content.split(MARK)
        filled = [*self.values, *("" for _ in rest)]
        pairs = zip(filled, rest, strict=False)
        return first + "".join(f"{value}{after}" for value, after in pairs)


@frozen
class Errand:
    """A request to somewhere that an account chose."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    worker_headers: tuple[tuple[str, str], ...] = field(default=())
    """What is sent besides when the worker runs the errand."""


def errand(setting: Mapping[str, Any], notice: Notice, now: int) -> Errand:
    """The request that brings a notice to where `setting` says.

    Raises:
        NoWay: by e-mail, or an address is missing.
    """
    make = _WAYS.get(way(setting))
    made = None if make is None else make(setting, notice, now)
    if made is None:
        raise NoWay("no address for notices is set")
    return made


def way(setting: Mapping[str, Any]) -> str:
    """How the account wants to be told."""
    return str(setting.get("notify_type") or EMAIL)


def through_worker(asked: Errand, url: str, key: str) -> Errand:
    """The same errand, run by the worker at `url`."""
    body: dict[str, Any] = {
        "url": asked.url,
        "key": key,
        "method": asked.method,
        "headers": dict((*asked.headers, *asked.worker_headers)),
    }
    if asked.body:
        body["body"] = msgspec.Raw(asked.body)
    return Errand("POST", url, (_JSON,), msgspec.json.encode(body))


def _webhook(setting: Mapping[str, Any], notice: Notice, now: int) -> Errand | None:
    url, secret = _text(setting, "webhook_url"), _text(setting, "webhook_secret")
    if not url:
        return None
    body = msgspec.json.encode(
        {
            "type": notice.kind,
            "title": notice.title,
            "content": notice.text,
            "values": list(notice.values),
            "timestamp": now,
        }
    )
    asked = Errand("POST", url, (_JSON,), body)
    if not secret:
        return asked
    signature = hmac.new(secret.encode(), body, sha256).hexdigest()
    return evolve(
        asked,
        headers=(_JSON, ("X-Webhook-Signature", signature)),
        worker_headers=(("Authorization", f"Bearer {secret}"),),
    )


def _bark(setting: Mapping[str, Any], notice: Notice, _: int) -> Errand | None:
    url = _text(setting, "bark_url")
    if not url:
        return None
    for name, value in (("title", notice.title), ("content", notice.text)):
        url = url.replace(f"{{{{{name}}}}}", quote(value, safe=""))
    return Errand("GET", url, (("User-Agent", _BARK_AGENT),))


def _gotify(setting: Mapping[str, Any], notice: Notice, _: int) -> Errand | None:
    url, token = _text(setting, "gotify_url"), _text(setting, "gotify_token")
    if not url or not token:
        return None
    priority = setting.get("gotify_priority")
    if not isinstance(priority, int) or not 0 <= priority <= 10:
        priority = _DEFAULT_PRIORITY
    message = {"title": notice.title, "message": notice.text, "priority": priority}
    return Errand(
        "POST",
        f"{url.rstrip('/')}/message?token={quote(token, safe='')}",
        (_JSON, ("User-Agent", _GOTIFY_AGENT)),
        msgspec.json.encode(message),
    )


_WAYS: Mapping[str, Callable[[Mapping[str, Any], Notice, int], Errand | None]] = {
    WEBHOOK: _webhook,
    BARK: _bark,
    GOTIFY: _gotify,
}


def _text(setting: Mapping[str, Any], name: str) -> str:
    value = setting.get(name)
    return value.strip() if isinstance(value, str) else ""
