"""The log rows of relay calls (data model 2.7 and 4.5, billing 16)."""

from __future__ import annotations

from typing import Any

import msgspec

from knight_tw.errors import KnightError
from knight_tw.records import Usage
from knight_tw.relay.call import Call, Sticky

CONSUME, ERROR = 2, 5
"""Values of `logs.type`."""

_SESSION_HEADERS = (
    "x-claude-code-session-id",
    "session_id",
    "session-id",
    "x-session-affinity",
)


def consumption(
    call: Call,
    other: dict[str, Any],
    usage: Usage,
    content: str,
    now: float,
    *,
    claude: bool = False,
) -> dict[str, Any]:
    """The row of a charged call; the ledger adds `quota` and `other.evidence`.

    Args:
        other: The price (`pricing.explain`); it becomes the row's `other`.
        claude: The provider spoke Claude, whose input does not count the cache.
    """
    row = _row(call, CONSUME, now)
    row["content"] = content
    cached = usage.cached + usage.write if claude else 0
    row["prompt_tokens"] = max(usage.prompt - cached, 0)
    row["completion_tokens"] = usage.completion
    row["status"] = 200
    row["duration_ms"] = round((now - call.began) * 1000)
    row["other"] = _other(call, other, now)
    return row


def failure(call: Call, error: KnightError, text: str, now: float) -> dict[str, Any]:
    """The row of a call that failed; `text` is the masked message."""
    row = _row(call, ERROR, now)
    attempt = call.attempt
    other: dict[str, Any] = {
        "error_type": error.type,
        "error_code": error.code,
        "status_code": error.status,
    }
    if attempt is not None:
        channel = attempt.channel
        other["channel_id"] = channel.id
        other["channel_name"] = channel.name
        other["channel_type"] = channel.type
    row["content"] = f"status_code={error.status}, {text}"
    row["status"] = error.status
    row["quota"] = 0
    row["prompt_tokens"] = row["completion_tokens"] = 0
    row["other"] = _other(call, other, now)
    return row


def _row(call: Call, kind: int, now: float) -> dict[str, Any]:
    """The columns that every row of a call has."""
    caller, attempt, token = call.caller, call.attempt, call.caller.token
    user = caller.user
    return {
        "user_id": user.id,
        "created_at": int(now),
        "type": kind,
        "username": user.username,
        "token_name": token.name if token else f"playground-{caller.group}",
        "model_name": call.model,
        "use_time": int(now - call.began),
        "is_stream": call.stream,
        "channel_id": attempt.channel.id if attempt else 0,
        "token_id": token.id if token else 0,
        "group": attempt.group if attempt else caller.group,
        "ip": call.head.client if user.setting.get("record_ip_log") else "",
        "request_id": call.request_id,
        "upstream_request_id": attempt.upstream_id if attempt else "",
        "session_id": _session(call),
    }


def _other(call: Call, other: dict[str, Any], now: float) -> dict[str, Any]:
    """Members of `other` that every row of a call has."""
    other["request_path"] = call.path
    if call.first_byte:
        other["frt"] = round((call.first_byte - call.began) * 1000)
    attempt = call.attempt
    if attempt is not None:
        if attempt.model != call.model:
            other["is_model_mapped"] = True
            other["upstream_model_name"] = attempt.model
        other["admin_info"] = _admin(call, now)
    if call.dropped:
        other["dropped_params"] = call.dropped
    if call.notes:
        other.update(call.notes)
    return other


def _admin(call: Call, now: float) -> dict[str, Any]:
    """What only administrators see: the channels tried and why."""
    admin: dict[str, Any] = {
        "use_channel": [str(attempt.channel.id) for attempt in call.attempts]
    }
    last = call.attempts[-1]
    if last.channel.multi_key:
        admin["is_multi_key"] = True
        admin["multi_key_index"] = last.key_index
    if call.counted:
        admin["local_count_tokens"] = True
    if call.audit:
        admin["param_override"] = call.audit
    if call.sticky is not None:
        admin["channel_affinity"] = _affinity(call, call.sticky)
    if call.record is not None:
        admin["explain"] = call.record.told(call, now)
    return admin


def _affinity(call: Call, sticky: Sticky) -> dict[str, Any]:
    """Which rule the call matched, and what came of it."""
    match = sticky.match
    return {
        "rule_name": match.rule.name,
        "using_group": call.caller.group,
        "key_source": match.source.kind,
        "key": match.source.key,
        "key_fp": match.fingerprint,
        "channel_id": sticky.channel_id,
        "used": sticky.used,
    }


def _session(call: Call) -> str | None:
    """The conversation a call belongs to, as agents name it; at most 64 characters."""
    for name in _SESSION_HEADERS:
        found = call.head.get(name)
        if found:
            return found[:64]
    key = call.top.get("prompt_cache_key")
    if key is None:
        return None
    try:
        return msgspec.json.decode(key, type=str)[:64]
    except msgspec.DecodeError:
        return None
