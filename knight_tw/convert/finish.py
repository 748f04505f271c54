"""Why an answer ended, in four vocabularies (conversion specification, 2.5).

The middle form has OpenAI's words in `finish_reason` and the provider's own in
`native_finish_reason`; going back to that provider's dialect, its own word wins.
"""

from __future__ import annotations

from collections.abc import Mapping

CLAUDE: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Claude's `stop_reason` to the middle form; a reason that is not here is `stop`."""

_TO_CLAUDE = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}

_FILTERED = (
    *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE"),
    *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR"),
)
_STOPPED = (
    *("STOP", "FINISH_REASON_UNSPECIFIED", "OTHER", "IMAGE_OTHER", "NO_IMAGE"),
    *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
    *("MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE", "ESCALATION", "CONTINUATION"),
    "PUP_LIMITED_DISABLED",
)
GEMINI: Mapping[str, str] = {
    **dict.fromkeys(_STOPPED, "stop"),
    **dict.fromkeys(_FILTERED, "content_filter"),
    "MAX_TOKENS": "length",
}
"""Gemini's `finishReason` to the middle form; one that is not here is `stop`."""

GEMINI_FAILED = frozenset(
    {"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"}
)
"""With no content at all these are a failed attempt."""

_TO_GEMINI = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "function_call": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
}

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_FROM_INCOMPLETE = {reason: x for x, reason in _INCOMPLETE.items()}


def settled(reason: str, has_calls: bool) -> str:
    """The reason of an answer: with tool calls `stop` becomes `tool_calls`."""
    return "tool_calls" if has_calls and reason == "stop" else reason


def from_claude(reason: str | None, has_calls: bool = False) -> str:
    """A Claude `stop_reason` in the middle form; none given at the end is `stop`."""
    return settled(CLAUDE.get(reason or "", "stop"), has_calls)


def to_claude(
    reason: str | None,
    native: object = None,
    *,
    has_calls: bool = False,
    stop_sequence: str | None = None,
) -> str:
    """The Claude `stop_reason` of an answer in the middle form.

    Args:
        native: The provider's own word, whatever a provider may have sent as such.
    """
    if isinstance(native, str) and native in CLAUDE:
        return native
    reason = settled(reason or "stop", has_calls)
    if reason == "stop" and stop_sequence is not None:
        return "stop_sequence"
    return _TO_CLAUDE.get(reason, "end_turn")


def from_gemini(reason: str | None, has_calls: bool = False) -> str:
    """A Gemini `finishReason` in the middle form; none given at the end is `stop`."""
    return settled(GEMINI.get(reason or "", "stop"), has_calls)


def to_gemini(reason: str | None, native: object = None) -> str:
    """The Gemini `finishReason` of an answer in the middle form."""
    if isinstance(native, str) and native in GEMINI:
        return native
    return _TO_GEMINI.get(reason or "stop", "STOP")


def from_responses(
    status: str | None, incomplete_reason: str | None, has_calls: bool = False
) -> str:
    """A Responses status with its `incomplete_details.reason` in the middle form."""
    if status == "incomplete":
        return _FROM_INCOMPLETE.get(incomplete_reason or "", "length")
    return settled("stop", has_calls)


def to_responses(reason: str | None) -> tuple[str, str | None]:
    """The Responses status and the `incomplete_details.reason`, None when complete."""
    incomplete = _INCOMPLETE.get(reason or "")
    return ("incomplete", incomplete) if incomplete else ("completed", None)
