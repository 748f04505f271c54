"""Whole chat answers: a provider's in the middle form, and the middle form's for a
chat client.

Providers of chat differ in details: reasoning under two names or as parts of the
content, calls without ids, legacy function calls, words of their own for the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import finish, tools, usage
from knight_tw.convert.context import Context
from knight_tw.errors import EmptyAnswer
from knight_tw.wire.answers import EMPTY, objects, refuse_errors

Body = dict[str, Any]

REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
"""The finish reasons that OpenAI's clients know."""

_KEPT = ("service_tier", "system_fingerprint")
_NOT_SHOWN = frozenset({"reasoning", "function_call", "tool_calls"})


def response_to_x(answer: Mapping[str, Any], context: Context) -> Body:
    """The middle form of a provider's chat completion object.

    Raises:
        UpstreamRefused: it is an error.
        EmptyAnswer: there is no choice in it.
    """
    choices = objects(answer.get("choices"))
    if not choices:
        refuse_errors(answer)
        raise EmptyAnswer(EMPTY)
    x: Body = {"id": answer.get("id") or context.ids("chatcmpl-")}
    x["object"] = "chat.completion"
    x["created"] = answer.get("created") or context.created
    x["model"] = context.model or answer.get("model")
    x["choices"] = [_choice(choice, place, context) for place, choice in _each(choices)]
    reported = answer.get("usage") or choices[-1].get("usage")
    if isinstance(reported, Mapping):
        x["usage"] = usage.from_chat(reported)
    return x | {name: answer[name] for name in _KEPT if answer.get(name)}


def _each(choices: list[Body]) -> list[tuple[int, Body]]:
    """Choices with their index, by default their place."""
    return [
        (index if isinstance(index := choice.get("index"), int) else place, choice)
        for place, choice in enumerate(choices)
    ]


def _choice(choice: Mapping[str, Any], index: int, context: Context) -> Body:
    given = choice.get("message")
    message = plain_message(given if isinstance(given, Mapping) else {}, context)
    calls = [
        whole_call(call, context) for call in tool_calls(message.pop("tool_calls", ()))
    ]
    message.setdefault("refusal", None)
    if calls:
        message["tool_calls"] = calls
    reasons = plain_reason(choice, bool(calls))
    x: Body = {"index": index, **reasons, "logprobs": choice.get("logprobs")}
    if choice.get("stop_sequence") is not None:
        x["stop_sequence"] = choice["stop_sequence"]
    return {**x, "message": {"role": "assistant", "content": None, **message}}


def plain_message(message: Mapping[str, Any], context: Context) -> Body:
    """A message or a delta with text and reasoning apart, and modern tool calls.

    Members that are null are left out.
    """
    plain = {n: v for n, v in message.items() if v is not None and n not in _NOT_SHOWN}
    reasoning = [message.get("reasoning_content") or message.get("reasoning")]
    if isinstance(plain.get("content"), list):
        text, thought = _apart(plain.pop("content"))
        plain["content"] = text
        reasoning.append(thought)
    thought = "".join(text for text in reasoning if isinstance(text, str))
    plain.pop("reasoning_content", None)
    if thought:
        plain["reasoning_content"] = thought
    calls = tool_calls(message.get("tool_calls"))
    legacy = message.get("function_call")
    if isinstance(legacy, Mapping) and not calls:
        calls = [{"index": 0, "type": "function", "function": dict(legacy)}]
    if calls:
        plain["tool_calls"] = calls
    return plain


def _apart(parts: list[Any]) -> tuple[str, str]:
    """Text and reasoning of a content that is a list of parts (Mistral)."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in objects(parts):
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        thinking = part.get("thinking")
        if isinstance(thinking, str):
            thoughts.append(thinking)
        thoughts += [str(inner.get("text") or "") for inner in objects(thinking)]
    return "".join(texts), "".join(thoughts)


def tool_calls(calls: Any) -> list[Body]:
    """The calls of a message or delta; what is no object does not count."""
    return [dict(call) for call in objects(calls)]


def whole_call(call: Mapping[str, Any], context: Context) -> Body:
    """A call with an id, a type and the name that the client gave the tool."""
    whole = {name: v for name, v in call.items() if name not in ("index", "type")}
    whole = {"id": call.get("id") or context.ids("call_"), "type": "function", **whole}
    if isinstance(call.get("custom"), Mapping):
        return {**whole, "type": "custom"}
    function = {
        "name": tools.own_name(tools.call_name(call), context.memory),
        "arguments": tools.call_arguments(call),
    }
    return {**whole, "id": whole["id"] or context.ids("call_"), "function": function}


def plain_reason(choice: Mapping[str, Any], has_calls: bool) -> Body:
    """The reason in OpenAI's words, the provider's own beside it when it differs."""
    said = choice.get("finish_reason")
    said = said if isinstance(said, str) and said else "stop"
    if said == "function_call":
        said = "tool_calls"
    reason = finish.settled(said if said in REASONS else "stop", has_calls)
    native = choice.get("native_finish_reason")
    if native is None and said not in REASONS:
        native = said
    reasons = {"finish_reason": reason}
    return reasons if native is None else {**reasons, "native_finish_reason": native}


def response_from_x(x: Mapping[str, Any], context: Context) -> Body:
    """The chat completion object for a chat client.

    Free-form tools are called as such again, legacy clients get a `function_call`.
    """
    choices = [_shown_choice(choice, context) for choice in objects(x.get("choices"))]
    return {**x, "model": context.model or x.get("model"), "choices": choices}


def _shown_choice(choice: Body, context: Context) -> Body:
    given = choice.get("message")
    message = dict(given) if isinstance(given, Mapping) else {}
    if not context.native:
        message.pop("native_blocks", None)
    calls = objects(message.get("tool_calls"))
    if not calls:
        return {**choice, "message": message}
    if context.memory.legacy_functions:
        message["function_call"] = message.pop("tool_calls")[0].get("function")
        if choice.get("finish_reason") == "tool_calls":
            choice = {**choice, "finish_reason": "function_call"}
    else:
        message["tool_calls"] = [tools.restored(call, context.memory) for call in calls]
    return {**choice, "message": message}
