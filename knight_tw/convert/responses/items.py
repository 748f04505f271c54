"""The pieces a response is made of: ids, output items, the response object itself.

An item has an id of its own, which names it in every event of a stream and never
changes; a call's `call_id` is another thing, it ties the call to its result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from knight_tw.convert.context import Context, Memory
from knight_tw.convert.tools import call_arguments, call_name, restored

Item = dict[str, Any]

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"
"""Values of `include`."""

_PREFIXES = ("chatcmpl-", "resp_", "msg_")

_ECHOED: Mapping[str, Any] = {
    "instructions": None,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "temperature": None,
    "top_p": None,
    "max_output_tokens": None,
    "metadata": {},
    "text": {"format": {"type": "text"}},
    "reasoning": {"effort": None, "summary": None},
    "truncation": "disabled",
    "previous_response_id": None,
}
"""Fields of the request that every response repeats, with their defaults."""

_ECHOED_IF_SAID = (
    *("store", "user", "safety_identifier", "prompt_cache_key", "top_logprobs"),
    *("prompt_cache_retention", "prompt_cache_options", "max_tool_calls", "background"),
)
_MERGED = ("text", "reasoning")
_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})


def tail(identity: Any) -> str:
    """An answer's id without the prefix of its dialect; empty when it has none."""
    if not isinstance(identity, str):
        return ""
    for prefix in _PREFIXES:
        if identity.startswith(prefix):
            return identity.removeprefix(prefix)
    return identity


def numbered(prefix: str, end: str, number: int) -> str:
    """The id of the `number`th item of a kind; the first one has no number."""
    return f"{prefix}_{end}_{number}" if number else f"{prefix}_{end}"


def includes(request: Mapping[str, Any], value: str) -> bool:
    """True when the request asks for `value` in its `include`."""
    asked = request.get("include")
    return isinstance(asked, list) and value in asked


def hides_reasoning(request: Mapping[str, Any]) -> bool:
    """True when the client does not want to see any reasoning."""
    reasoning = request.get("reasoning")
    return isinstance(reasoning, Mapping) and reasoning.get("summary") == "none"


def reasoning_item(identity: str, texts: Sequence[str], secret: str = "") -> Item:
    """A reasoning item; `secret` is its encrypted content."""
    item: Item = {"id": identity, "type": "reasoning"}
    item["summary"] = [{"type": "summary_text", "text": text} for text in texts]
    if secret:
        item["encrypted_content"] = secret
    return item


def message_item(
    identity: str, parts: Sequence[Item], status: str, phase: Any = None
) -> Item:
    """An assistant's message."""
    item: Item = {"id": identity, "type": "message", "role": "assistant"}
    item |= {"status": status, "content": list(parts)}
    if isinstance(phase, str):
        item["phase"] = phase
    return item


def refusal_part(text: str) -> Item:
    """The part of a message that says why there is no answer."""
    return {"type": "refusal", "refusal": text}


def image_item(identity: str, image: Mapping[str, Any]) -> Item | None:
    """A generated image; None for one that is not in a data URL."""
    url = image.get("image_url")
    url = url.get("url") if isinstance(url, Mapping) else url
    if not isinstance(url, str) or not url.startswith("data:") or "," not in url:
        return None
    item: Item = {"id": identity, "type": "image_generation_call"}
    return item | {"status": "completed", "result": url.partition(",")[2]}


def client_name(name: str, memory: Memory) -> Item:
    """The members of a call that name its tool as the client offered it."""
    known = memory.tool_names.get(name)
    if isinstance(known, Mapping):
        return dict(known)
    return {"name": known if isinstance(known, str) else name}


def call_item(end: str, number: int, call: dict[str, Any], context: Context) -> Item:
    """A whole tool call; free-form tools are called in their own way.

    Args:
        end: The tail of the answer's id.
        number: Which call of the answer this is, from 0.
    """
    call = restored(call, context.memory)
    custom = call.get("type") == "custom"
    item: Item = {"id": f"{'ctc' if custom else 'fc'}_{end}_{number}"}
    item["type"] = "custom_tool_call" if custom else "function_call"
    item["status"] = "completed"
    item["call_id"] = call.get("id") or context.ids("call_")
    item |= client_name(call_name(call), context.memory)
    if custom:
        inner = call.get("custom")
        text = inner.get("input") if isinstance(inner, Mapping) else None
        item["input"] = text if isinstance(text, str) else ""
    else:
        item["arguments"] = call_arguments(call) or "{}"
    return item


def response_object(
    request: Mapping[str, Any],
    *,
    identity: str,
    created: int,
    model: Any,
    service_tier: Any = None,
) -> Item:
    """A response that has just begun, with everything that it repeats of the request.

    `status`, `incomplete_details`, `output` and `usage` are those of the beginning.
    """
    response: Item = {"id": identity, "object": "response", "created_at": created}
    response |= {"status": "in_progress", "incomplete_details": None, "error": None}
    response |= {"model": model, "output": [], **_echo(request), "usage": None}
    if service_tier in _TIERS:
        response["service_tier"] = service_tier
    return response


def _echo(request: Mapping[str, Any]) -> Item:
    echoed: Item = {}
    for name, default in _ECHOED.items():
        said = request.get(name)
        if said is None:
            said = default
        elif name in _MERGED and isinstance(said, Mapping):
            said = {**default, **said}
        echoed[name] = said
    for name in _ECHOED_IF_SAID:
        if request.get(name) is not None:
            echoed[name] = request[name]
    return echoed


def ended(
    response: Item,
    ending: tuple[str, str | None],
    output: Sequence[Item],
    usage: Mapping[str, Any] | None,
) -> Item:
    """The response when it is over.

    Args:
        ending: The status, and the reason of an incomplete one.
        usage: A Responses `usage` object.
    """
    status, reason = ending
    over = {**response, "status": status, "output": list(output), "usage": usage}
    over["incomplete_details"] = {"reason": reason} if reason else None
    if status == "completed":
        over["completed_at"] = response["created_at"]
    return over
