"""A chat completion as a whole Gemini answer (conversion specification, 10.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import finish, usage
from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.convert.gemini import grounding, logprobs, saying
from knight_tw.convert.gemini.saying import Part
from knight_tw.convert.signatures import FORMATS, GOOGLE
from knight_tw.wire.answers import objects

Body = dict[str, Any]


def response_from_x(x: Mapping[str, Any], context: Context) -> Body:
    """The Gemini answer for a chat completion object."""
    answer: Body = {
        "candidates": [_candidate(choice) for choice in objects(x.get("choices"))]
    }
    if isinstance(x.get("usage"), Mapping):
        answer["usageMetadata"] = usage.to_gemini(x["usage"])
    answer["modelVersion"] = context.model or x.get("model") or ""
    answer["responseId"] = x.get("id") or context.request_id
    return answer


def _candidate(choice: Mapping[str, Any]) -> Body:
    found = choice.get("message")
    message = found if isinstance(found, Mapping) else {}
    index = choice.get("index")
    candidate: Body = {"index": index if isinstance(index, int) else 0}
    candidate |= ending(choice, message.get("refusal"))
    candidate["content"] = saying.body(_parts(message) or [saying.NOTHING])
    content = x_parts.text_of(message.get("content"))
    if sources := grounding.metadata_of(message.get("annotations"), content):
        candidate["groundingMetadata"] = sources
    if likely := logprobs.to_gemini(choice.get("logprobs")):
        candidate["logprobsResult"] = likely
    return candidate


def ending(choice: Mapping[str, Any], refusal: Any) -> Body:
    """Why a candidate ended; the refusal in words stands beside the reason."""
    said, native = (
        name if isinstance(name := choice.get(member), str) else None
        for member in ("finish_reason", "native_finish_reason")
    )
    reason = finish.to_gemini(said, native)
    named: Body = {"finishReason": reason}
    if isinstance(refusal, str) and refusal and reason not in ("STOP", "MAX_TOKENS"):
        named["finishMessage"] = refusal
    return named


def _parts(message: Mapping[str, Any]) -> list[Part]:
    kept = message.get("native_blocks")
    if isinstance(kept, Mapping) and kept.get("format") == FORMATS[GOOGLE]:
        return [part for part in objects(kept.get("content")) if part]
    parts = saying.reasoning_parts(message)
    content = x_parts.text_of(message.get("content"))
    refusal = message.get("refusal")
    text = content or (refusal if isinstance(refusal, str) else "")
    if text:
        _add_text(parts, text)
    parts += saying.image_parts(message.get("images"))
    parts += saying.audio_parts(message.get("audio"), "audio/wav")
    return parts + [saying.call_part(call) for call in calls_of(message)]


def _add_text(parts: list[Part], text: str) -> None:
    """The text; a signature of Google's own that waits for one stands on it."""
    waiting = parts[-1] if parts else {}
    if "thought" not in waiting and "thoughtSignature" in waiting:
        waiting["text"] = text
    else:
        parts.append({"text": text})


def calls_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The calls of a message, a legacy one included."""
    calls: list[Mapping[str, Any]] = list(objects(message.get("tool_calls")))
    legacy = message.get("function_call")
    if not calls and isinstance(legacy, Mapping):
        calls = [{"type": "function", "function": legacy}]
    return calls
