"""How a failure looks to a client: one body for each dialect.

Every failure is one `KnightError`, rendered once, at the edge, in the dialect of the
route (relay specification, section 5). A provider's message is masked on the way out;
our own messages are safe as they are, which keeps refusals cheap while somebody floods
the gateway with them. Reading what providers answer is `failure`'s matter; its
functions are offered here too, because callers need both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from knight_tw.errors import ClaudeRefused, KnightError
from knight_tw.records import Dialect
from knight_tw.wire import sse
from knight_tw.wire.failure import find_error, read_failure
from knight_tw.wire.masking import mask

__all__ = [
    "find_error",
    "in_stream",
    "mask",
    "read_failure",
    "render",
    "retry_after",
    "retry_after_text",
]

_encode = msgspec.json.Encoder().encode

CLAUDE_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    524: "timeout_error",
    529: "overloaded_error",
}
GEMINI_STATUSES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    524: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
MJ_CODES: Mapping[int, int] = {404: 3, 429: 30}
"""Codes of the Midjourney protocol that say more than 4 (refused) or 5 (failed)."""

REASON_DOMAIN = "knight-omega"
LONGEST_WAIT = 86400.0
"""Most seconds a provider's `Retry-After` is believed."""


def render(
    error: KnightError,
    dialect: Dialect,
    request_id: str = "",
    keys: Iterable[str] = (),
) -> bytes:
    """The JSON body of `error` for a client of `dialect`.

    Args:
        request_id: Shown at the end of the message; nothing is added when empty.
        keys: Credentials of the channel that was used; hidden verbatim.
    """
    return _encode(
        _BODIES[dialect](error, _message(error, request_id, keys), request_id)
    )


def in_stream(
    error: KnightError,
    dialect: Dialect,
    request_id: str = "",
    keys: Iterable[str] = (),
    *,
    response: Mapping[str, Any] | None = None,
    sequence_number: int = 0,
) -> bytes:
    """The bytes that end a stream after its first real byte (relay specification 13).

    Args:
        response: Responses only: the response object so far, None before
            `response.created` was sent.
        sequence_number: Responses only: the number of this event.
    """
    message = _message(error, request_id, keys)
    if dialect is Dialect.RESPONSES:
        return _responses_event(error, message, response, sequence_number)
    body = _encode(_BODIES[dialect](error, message, request_id))
    if dialect is Dialect.CLAUDE:
        return sse.encode(body, "error")
    if dialect is Dialect.CHAT:
        return sse.encode(body) + sse.DONE
    return body if dialect is Dialect.REALTIME else sse.encode(body)


def _responses_event(
    error: KnightError,
    message: str,
    response: Mapping[str, Any] | None,
    sequence_number: int,
) -> bytes:
    code = error.code or "server_error"
    event: dict[str, Any] = {"type": "error", "sequence_number": sequence_number}
    if response is None:
        event |= {"code": code, "message": message, "param": error.param}
    else:
        failed = {"status": "failed", "error": {"code": code, "message": message}}
        event |= {"type": "response.failed", "response": {**response, **failed}}
    return sse.encode(_encode(event), event["type"])


def _message(error: KnightError, request_id: str, keys: Iterable[str]) -> str:
    """The message for clients, masked when a provider wrote it, with the request id."""
    text = mask(error.message, keys) if error.upstream else error.message
    return f"{text} (request id: {request_id})" if request_id else text


def claude_type(error: KnightError) -> str:
    """The Claude error type: a Claude provider's own, else what the status means."""
    if isinstance(error, ClaudeRefused):
        return error.type
    kind = CLAUDE_TYPES.get(error.status)
    if kind is None:
        kind = "api_error" if error.status >= 500 else "invalid_request_error"
    return kind


def gemini_status(status: int) -> str:
    """Google's word for an HTTP status."""
    known = GEMINI_STATUSES.get(status)
    return known or ("UNKNOWN" if status >= 500 else "FAILED_PRECONDITION")


def _code(error: KnightError) -> str | None:
    """A provider that named no code leaves null; the bare 404's code is empty text."""
    return None if error.upstream and not error.code else error.code


def _openai(error: KnightError, message: str, _: str) -> dict[str, Any]:
    return {
        "error": {
            "message": message,
            "type": error.type,
            "param": error.param,
            "code": _code(error),
        }
    }


def _claude(error: KnightError, message: str, request_id: str) -> dict[str, Any]:
    return {
        "type": "error",
        "error": {"type": claude_type(error), "message": message},
        "request_id": request_id,
    }


def _gemini(error: KnightError, message: str, _: str) -> dict[str, Any]:
    reason = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": error.code,
        "domain": REASON_DOMAIN,
    }
    return {
        "error": {
            "code": error.status,
            "message": message,
            "status": gemini_status(error.status),
            "details": [reason],
        }
    }


def _realtime(error: KnightError, message: str, request_id: str) -> dict[str, Any]:
    return {
        "type": "error",
        "event_id": f"evt_{request_id}",
        "error": {
            "type": error.type,
            "code": _code(error),
            "message": message,
            "param": error.param,
        },
    }


def _task(error: KnightError, message: str, request_id: str) -> dict[str, Any]:
    """The reference's members beside `error`: old and new clients both read it."""
    return {
        "code": error.code,
        "message": message,
        "data": None,
        **_openai(error, message, request_id),
    }


def _mj(error: KnightError, message: str, _: str) -> dict[str, Any]:
    code = MJ_CODES.get(error.status, 5 if error.status >= 500 else 4)
    return {"description": message, "type": "upstream_error", "code": code}


def _api(_: KnightError, message: str, __: str) -> dict[str, Any]:
    return {"success": False, "message": message}


_BODIES: Mapping[Dialect, Callable[[KnightError, str, str], dict[str, Any]]] = {
    Dialect.CHAT: _openai,
    Dialect.RESPONSES: _openai,
    Dialect.CLAUDE: _claude,
    Dialect.GEMINI: _gemini,
    Dialect.REALTIME: _realtime,
    Dialect.TASK: _task,
    Dialect.MJ: _mj,
    Dialect.API: _api,
}


def retry_after(headers: Iterable[tuple[str, str]], now: float) -> float | None:
    """Seconds that a provider asks to wait, None when it names none that can be read.

    Reads `retry-after-ms`, then `retry-after` as seconds or as an HTTP date.

    Args:
        headers: Names in lower case.
        now: Seconds since 1970, for dates.
    """
    named = dict(headers)
    for text, unit in (
        (named.get("retry-after-ms", ""), 1000.0),
        (named.get("retry-after", ""), 1.0),
    ):
        try:
            seconds = float(text) / unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return min(max(seconds, 0.0), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(named.get("retry-after", "")).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(moment - now, 0.0), LONGEST_WAIT)


def retry_after_text(seconds: float) -> str:
    """The value of our own `Retry-After`: whole seconds, never too few."""
    return str(max(1, math.ceil(seconds)))
