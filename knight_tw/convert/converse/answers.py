"""Whole answers of Converse in the middle form (providers specification, 7.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import finish, tools, usage
from knight_tw.convert.context import Context
from knight_tw.wire.answers import objects, refuse_errors, unreadable

Body = dict[str, Any]

REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
"""Converse's `stopReason` to the middle form; one that is not here is `stop`."""


def response_to_x(answer: Mapping[str, Any], context: Context) -> Body:
    """The chat completion object for a Converse answer.

    Raises:
        UpstreamRefused: it is an error.
        BadUpstreamBody: it is no Converse answer.
    """
    refuse_errors(answer)
    output = answer.get("output")
    message = output.get("message") if isinstance(output, Mapping) else None
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list):
        raise unreadable(tools.compact(answer).encode())
    own = _message(objects(content), context)
    choice: Body = {"index": 0, **ending(answer.get("stopReason"), own)}
    x: Body = {
        "id": context.ids("chatcmpl-"),
        "object": "chat.completion",
        "created": context.created,
        "model": context.model,
        "choices": [{**choice, "logprobs": None, "message": own}],
    }
    reported = to_usage(answer.get("usage"))
    return x if reported is None else {**x, "usage": reported}


def ending(reason: Any, message: Mapping[str, Any]) -> Body:
    """The members of a choice that tell why it ended."""
    has_calls = bool(message.get("tool_calls"))
    if not isinstance(reason, str):
        return {"finish_reason": finish.settled("stop", has_calls)}
    return {
        "finish_reason": finish_reason(reason, has_calls),
        "native_finish_reason": reason,
    }


def finish_reason(reason: str, has_calls: bool) -> str:
    """The reason; where the forced tool is the answer itself there are no calls."""
    if reason == "tool_use" and not has_calls:
        return "stop"
    return finish.settled(REASONS.get(reason, "stop"), has_calls)


def to_usage(reported: Any) -> Body | None:
    """The usage; what was read from or written to a cache is not in `inputTokens`."""
    if not isinstance(reported, Mapping):
        return None
    claude = {"input_tokens": reported.get("inputTokens")}
    claude["output_tokens"] = reported.get("outputTokens")
    for name, own in _CACHED.items():
        if own in reported:
            claude[name] = reported[own]
    return usage.from_claude(claude)


_CACHED = {
    "cache_read_input_tokens": "cacheReadInputTokens",
    "cache_creation_input_tokens": "cacheWriteInputTokens",
}


def text_of(obj: Any, name: str = "text") -> str:
    """A text member, empty when there is none."""
    value = obj.get(name) if isinstance(obj, Mapping) else None
    return value if isinstance(value, str) else ""


def _message(blocks: list[Body], context: Context) -> Body:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Body] = []
    for block in blocks:
        if "text" in block:
            texts.append(text_of(block))
        elif isinstance(block.get("citationsContent"), Mapping):
            cited = objects(block["citationsContent"].get("content"))
            texts += [text_of(part) for part in cited]
        elif isinstance(block.get("reasoningContent"), Mapping):
            thoughts.append(text_of(block["reasoningContent"].get("reasoningText")))
        elif isinstance(block.get("toolUse"), Mapping):
            _take_call(block["toolUse"], texts, calls, context)
    message: Body = {"role": "assistant"}
    message["content"] = "".join(texts) if texts else None
    message["refusal"] = None
    if any(thoughts):
        message["reasoning_content"] = "\n\n".join(text for text in thoughts if text)
    if calls:
        message["tool_calls"] = calls
    return message


def _take_call(
    used: Mapping[str, Any], texts: list[str], calls: list[Body], context: Context
) -> None:
    """A call; the input of the forced tool is the answer's text."""
    name, arguments = text_of(used, "name"), tools.write_arguments(used.get("input"))
    if name and name == context.memory.answer_tool:
        texts.append(arguments)
        return
    function = {"name": tools.own_name(name, context.memory), "arguments": arguments}
    identity = text_of(used, "toolUseId") or context.ids("call_")
    calls.append({"id": identity, "type": "function", "function": function})
