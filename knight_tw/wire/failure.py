"""Reads what providers answer when they refuse: bodies of many shapes to one error.

The shapes are listed in the relay specification, section 5. Reading never fails and is
bounded: what cannot be understood becomes `bad response status code N`, and the body's
beginning is kept as `detail`, which only logs show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from knight_tw.errors import UPSTREAM_TYPE, ClaudeRefused, UpstreamRefused

READ_LIMIT = 256 * 1024
"""Larger failure bodies are not parsed."""
MESSAGE_LIMIT = 8000
DETAIL_LIMIT = 2000

CLAUDE_STATUS: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Statuses of Claude error types, for errors inside a stream, which have none."""

_ANY = msgspec.json.Decoder()
_TEXTS = ("message", "msg", "err", "error_msg", "status_msg", "error_description")
_STATUS = re.compile(r"[45]\d\d")


def read_failure(
    status: int, body: bytes, retry_after: float | None = None
) -> UpstreamRefused:
    """The error that a provider's answer outside 2xx stands for.

    Args:
        status: The answer's status, which the error keeps.
        body: The answer's body, content coding undone.
        retry_after: Seconds the provider asked to wait (`envelope.retry_after`).
    """
    found = _read(body, status) if len(body) <= READ_LIMIT else None
    if found is None:
        found = UpstreamRefused(
            f"bad response status code {status}",
            status=status,
            type=UPSTREAM_TYPE,
            upstream=True,
        )
    found.status = status
    found.retry_after = retry_after
    found.detail = body[:DETAIL_LIMIT].decode(errors="replace")
    return found


def find_error(answer: Any) -> UpstreamRefused | None:
    """The error in a parsed 2xx body or stream event, None when it reports none.

    An `error` object with a type or message counts, an `error` text, and a Responses
    object that failed. The status is the error's own number when it has one, what its
    Claude type means, else 502.
    """
    answer = _unpacked(answer)
    if not isinstance(answer, Mapping):
        return None
    error = answer.get("error")
    if isinstance(error, Mapping):
        if not (error.get("type") or error.get("message") or error.get("code")):
            return None
        found = _from_error(error, 502, claude=answer.get("type") == "error")
    elif _text(error):
        found = _refused(_text(error), answer, 502)
    else:
        nested = answer.get("response")
        if isinstance(nested, Mapping) and isinstance(nested.get("error"), Mapping):
            return find_error(nested)
        return None
    found.status = _own_status(answer, found)
    return found


def _read(body: bytes, status: int) -> UpstreamRefused | None:
    try:
        answer = _ANY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    answer = _unpacked(answer)
    return _from_object(answer, status) if isinstance(answer, Mapping) else None


def _unpacked(answer: Any) -> Any:
    """The object in a list of one, as Gemini wraps it."""
    if isinstance(answer, list) and len(answer) == 1:
        return answer[0]
    return answer


def _from_object(answer: Mapping[str, Any], status: int) -> UpstreamRefused | None:
    """The error of an object in any of the known shapes; None when no text is found."""
    error = answer.get("error")
    nested = answer.get("response")
    header = answer.get("header")
    if isinstance(error, Mapping):
        return _from_error(error, status, claude=answer.get("type") == "error")
    if isinstance(nested, Mapping) and isinstance(nested.get("error"), Mapping):
        return _from_error(nested["error"], status)
    text = _text(error) or _first_text(answer) or _details(answer.get("detail"))
    if not text and isinstance(header, Mapping):
        text = _text(header.get("message"))
    if not text:
        text = _details(answer.get("errors"))
    if not text and isinstance(answer.get("base_resp"), Mapping):
        text = _first_text(answer["base_resp"])
    return _refused(text, answer, status) if text else None


def _from_error(
    error: Mapping[str, Any], status: int, *, claude: bool = False
) -> UpstreamRefused:
    raw = None
    metadata = error.get("metadata")
    if isinstance(metadata, Mapping):
        raw = metadata.get("raw")
    text = (
        _first_text(error) or _details(error.get("detail")) or _text(error.get("error"))
    )
    if not text:
        text = _text(error.get("type")) or f"bad response status code {status}"
    if raw:
        shown = raw if isinstance(raw, str) else msgspec.json.encode(raw).decode()
        text = f"{text} [{shown[:DETAIL_LIMIT]}]"
    return _refused(text, error, status, claude=claude)


def _refused(
    text: str, error: Mapping[str, Any], status: int, *, claude: bool = False
) -> UpstreamRefused:
    """The error with the provider's own type, code and param.

    Google's word (`RESOURCE_EXHAUSTED`) stands in `status`, its `code` is the number.
    """
    word = _text(error.get("status")) if not isinstance(error.get("code"), str) else ""
    kind = _text(error.get("type")) or word
    code = word or _code(error.get("code", error.get("error_code")))
    param = error.get("param")
    refusal = ClaudeRefused if claude and kind else UpstreamRefused
    return refusal(
        text[:MESSAGE_LIMIT],
        status=status,
        code=code,
        type=kind or UPSTREAM_TYPE,
        param=param if isinstance(param, str) else None,
        upstream=True,
        metadata=error.get("metadata"),
    )


def _own_status(answer: Mapping[str, Any], found: UpstreamRefused) -> int:
    error = answer.get("error")
    places = [answer.get("status"), answer.get("status_code"), answer.get("code")]
    if isinstance(error, Mapping):
        places[:0] = [error.get("code"), error.get("status"), error.get("status_code")]
    for value in places:
        text = str(value)
        if not isinstance(value, bool) and _STATUS.fullmatch(text):
            return int(text)
    if isinstance(found, ClaudeRefused):
        return CLAUDE_STATUS.get(found.type, 502)
    return 502


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _code(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value)


def _first_text(error: Mapping[str, Any]) -> str:
    return next((text for name in _TEXTS if (text := _text(error.get(name)))), "")


def _details(detail: Any) -> str:
    """The text of a `detail` or `errors` member: a text, or a list of texts or objects.

    Of FastAPI's objects the place (`loc`) is kept, it names the member at fault.
    """
    if isinstance(detail, Mapping):
        detail = [detail]
    if not isinstance(detail, list):
        return _text(detail)
    lines = []
    for entry in detail[:20]:
        if isinstance(entry, Mapping):
            place = entry.get("loc")
            text = _first_text(entry)
            if isinstance(place, list) and text:
                text = f"{'.'.join(map(str, place))}: {text}"
        else:
            text = _text(entry)
        if text:
            lines.append(text)
    return "; ".join(lines)
