"""What both versions of Cohere's chat share: reasons, usage, sampling fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import finish
from knight_tw.convert.context import Context
from knight_tw.errors import UPSTREAM_TYPE, UnsupportedParameter, UpstreamRefused
from knight_tw.wire.usage import count, first_count

Body = dict[str, Any]

SAFETY = "cohere_safety_setting"
"""The option with the safety mode; `NONE` sends none."""

UNSAID = (
    *("logit_bias", "top_logprobs", "prediction", "store", "audio", "verbosity"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "user"),
    *("metadata", "service_tier", "safety_identifier", "moderation"),
    "safety_settings",
)
"""Fields that neither version has anything like."""

_SAME = ("temperature", "seed")
_RENAMED = {"top_p": "p", "top_k": "k"}
_PENALTIES = ("frequency_penalty", "presence_penalty")

_REASONS = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "USER_CANCEL": "stop",
    "MAX_TOKENS": "length",
    "ERROR_LIMIT": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}
_FAILED = frozenset({"ERROR", "TIMEOUT"})


def refuse(x: Mapping[str, Any]) -> None:
    """Refuse what changes the meaning and that Cohere has nothing like.

    Raises:
        UnsupportedParameter: several answers, or a spoken one.
    """
    if x.get("n") not in (None, 1):
        raise UnsupportedParameter("Cohere gives one answer at a time", param="n")
    modalities = x.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        raise UnsupportedParameter("Cohere does not speak", param="modalities")


def sampling(x: Mapping[str, Any]) -> Body:
    """Limits and sampling fields under Cohere's names."""
    body: Body = {}
    for name in ("max_completion_tokens", "max_tokens"):
        limit = _number(x, name)
        if limit is not None and limit >= 1:
            body.setdefault("max_tokens", int(limit))
    for name in (*_SAME, *_RENAMED, *_PENALTIES):
        value = _number(x, name)
        if value is None:
            continue
        if name in _PENALTIES:
            value = min(max(value, 0), 1)
        body[_RENAMED.get(name, name)] = value
    stop = x.get("stop")
    entries = [stop] if isinstance(stop, str) else stop
    if isinstance(entries, list):
        stops = [entry for entry in entries if isinstance(entry, str) and entry]
        body |= {"stop_sequences": stops} if stops else {}
    return body


def _number(x: Mapping[str, Any], name: str) -> float | None:
    value = x.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def add_safety(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """The safety mode, unless tools or documents forbid to choose one."""
    mode = x.get("safety_mode") or context.options.get(SAFETY)
    if body.get("tools") or body.get("documents"):
        return
    if isinstance(mode, str) and mode not in ("", "NONE"):
        body["safety_mode"] = mode


def report_unsaid(x: Mapping[str, Any], context: Context, *more: str) -> None:
    """Put what was said and cannot be passed on into the loss report."""
    for name in (*UNSAID, *more):
        if x.get(name) not in (None, False, [], {}, ""):
            context.drop(name)


def finish_reason(reason: Any, has_calls: bool) -> tuple[str, str | None]:
    """The reason of an answer in the middle form, and in Cohere's own word.

    Raises:
        UpstreamRefused: the word stands for a failure.
    """
    native = reason.upper() if isinstance(reason, str) else None
    if native in _FAILED:
        raise failed(f"the upstream ended with {native}")
    return finish.settled(_REASONS.get(native or "", "stop"), has_calls), native


def failed(message: str) -> UpstreamRefused:
    """The error for an answer that broke off on Cohere's side."""
    return UpstreamRefused(
        message[:2000],
        status=502,
        code="bad_response",
        type=UPSTREAM_TYPE,
        upstream=True,
        retryable=True,
    )


def to_usage(reported: Any) -> Body | None:
    """The usage by what Cohere bills, else by its token counts; None without either."""
    obj = reported if isinstance(reported, Mapping) else {}
    for name in ("billed_units", "tokens"):
        units = obj.get(name)
        if not isinstance(units, Mapping):
            continue
        prompt = first_count(units, "input_tokens")
        completion = first_count(units, "output_tokens")
        if prompt or completion:
            return _usage(prompt or 0, completion or 0, obj.get("cached_tokens"))
    return None


def _usage(prompt: int, completion: int, cached: Any) -> Body:
    usage: Body = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if cached is not None:
        details = {"cached_tokens": min(count(cached), prompt), "audio_tokens": 0}
        usage["prompt_tokens_details"] = details
    return usage


def text_of(obj: Any, name: str = "text") -> str:
    """A text member, empty when there is none."""
    value = obj.get(name) if isinstance(obj, Mapping) else None
    return value if isinstance(value, str) else ""


def placed(citation: Mapping[str, Any], start: int) -> Body:
    """The citation with its place in a content of which its text begins at `start`."""
    own = dict(citation)
    for name in ("start", "end"):
        value = own.get(name)
        if isinstance(value, int):
            own[f"{name}_index"] = start + value
    return own
