"""Log rows as the API shows them, and the filters of the log pages (management API,
sections 9 and 18)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.web.server import Request

from knight_tw.storage.log_queries import LogFilter
from knight_tw.web.api.answers import invalid, query, query_integer

Row = dict[str, Any]

USER_BOUND = 10_000
"""Up to here rows are counted for users."""

ADMIN_BOUND = 100_000
"""Up to here rows are counted for administrators."""

_SHOWN: Mapping[str, str] = {
    "id": "id",
    "user_id": "user_id",
    "created_at": "created_at",
    "type": "type",
    "content": "content",
    "username": "username",
    "token_name": "token_name",
    "model_name": "model_name",
    "quota": "quota",
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "use_time": "use_time",
    "is_stream": "is_stream",
    "channel": "channel_id",
    "token_id": "token_id",
    "group": "group",
    "ip": "ip",
    "request_id": "request_id",
    "other": "other",
}
_TEXTS = (
    "content",
    "username",
    "token_name",
    "model_name",
    "group",
    "ip",
    "request_id",
    "other",
)
_EXTRA = ("upstream_request_id", "status", "session_id")
"""Members that are there only when the row has them."""

_HIDDEN = ("admin_info", "audit_info", "channel_name")
"""Members of `other` that common users do not see."""


def shown(row: Mapping[str, Any], channel_name: str = "") -> Row:
    """A row as administrators see it."""
    told: Row = {}
    for name, column in _SHOWN.items():
        value = row[column]
        told[name] = ("" if name in _TEXTS else 0) if value is None else value
    told["is_stream"] = bool(told["is_stream"])
    told["channel_name"] = channel_name
    for name in _EXTRA:
        if row[name]:
            told[name] = row[name]
    return told


def for_user(row: Mapping[str, Any], number: int) -> Row:
    """A row as its owner sees it: numbered by its place, nothing about channels."""
    told = shown(row)
    told["id"] = number
    told["other"] = _without_hidden(told["other"])
    return told


def _without_hidden(other: str) -> str:
    """`other` without what only administrators may see; empty when unreadable, since
    then nobody knows what is in it."""
    try:
        found = json.loads(other or "{}")
    except (ValueError, RecursionError):
        return ""
    if not isinstance(found, dict):
        return ""
    if not any(name in found for name in _HIDDEN):
        return other
    left = {name: value for name, value in found.items() if name not in _HIDDEN}
    return json.dumps(left, ensure_ascii=False, separators=(",", ":"))


def filter_of(request: Request, *, user_id: int | None = None) -> LogFilter:
    """The filter of a log page; with `user_id`, of the own rows.

    The names of the newer pages (`model`, `token`) and of the older ones (`model_name`,
    `token_name`) mean the same; each may be given several times.
    """
    asked = Arguments(request)
    site = user_id is None
    return LogFilter(
        user_id=user_id,
        kinds=asked.numbers("type"),
        start=max(query_integer(request, "start_timestamp", 0), 0),
        end=max(query_integer(request, "end_timestamp", 0), 0),
        usernames=asked.texts("username") if site else (),
        tokens=asked.texts("token_name", "token"),
        models=asked.texts("model_name", "model"),
        groups=asked.texts("group"),
        channels=asked.numbers("channel") if site else (),
        request_ids=asked.texts("request_id"),
        upstream_request_ids=asked.texts("upstream_request_id"),
        session_ids=asked.texts("session_id"),
        status_codes=asked.numbers("status_code"),
        least_duration=max(query_integer(request, "min_duration", 0), 0),
        least_cost=max(query_integer(request, "min_cost", 0), 0),
        content=query(request, "q"),
    )


MOST_VALUES = 50
"""Values of one filter argument."""


class Arguments:
    """The query arguments of a request, each possibly several times."""

    def __init__(self, request: Request) -> None:
        self._args = request.args or {}

    def texts(self, *names: str) -> Sequence[str]:
        """The values of one argument, under any of its names; empty ones left out."""
        found = []
        for name in names:
            for value in self._args.get(name.encode(), ()):
                text = value.decode("utf-8", "replace").replace("\0", "").strip()
                if text and text not in found:
                    found.append(text)
        if len(found) > MOST_VALUES:
            raise invalid(names[0], f"at most {MOST_VALUES} values")
        return tuple(found)

    def numbers(self, name: str) -> Sequence[int]:
        """As `texts`, of whole numbers; 0 and what is no number count as absent."""
        found = (text for text in self.texts(name) if text.isdecimal())
        return tuple(int(text) for text in found if len(text) < 19 and int(text))
