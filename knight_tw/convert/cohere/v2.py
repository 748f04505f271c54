"""Cohere's chat, version 2: requests out, whole answers in (specification, 7.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import effort, tools
from knight_tw.convert import parts as x_parts
from knight_tw.convert.cohere.messages import to_messages
from knight_tw.convert.cohere.shared import (
    Body,
    add_safety,
    finish_reason,
    placed,
    refuse,
    report_unsaid,
    sampling,
    text_of,
    to_usage,
)
from knight_tw.convert.cohere.streams import StreamToX
from knight_tw.convert.context import Context
from knight_tw.convert.tool_choice import ToolChoice, read_choice
from knight_tw.errors import InvalidRequest
from knight_tw.wire.answers import objects, refuse_errors, unreadable

__all__ = ["StreamToX", "media_urls", "request_from_x", "response_to_x"]

PASSED = ("documents", "citation_options", "strict_tools", "priority")
"""Cohere's own fields, for clients that know where they are."""

_MODES: Mapping[str, str | None] = {
    "auto": None,
    "required": "REQUIRED",
    "none": "NONE",
}


def media_urls(x: Mapping[str, Any], context: Context) -> list[str]:
    """Nothing: Cohere fetches pictures itself."""
    return []


def request_from_x(x: Mapping[str, Any], context: Context) -> Body:
    """The Cohere request for a request of the middle form.

    Raises:
        InvalidRequest: a field cannot be read; `param` is its path.
        UnsupportedContent: a message holds what Cohere cannot see.
        UnsupportedParameter: a field that changes the meaning has no equivalent.
    """
    refuse(x)
    messages = x_parts.read_objects(x.get("messages"), "messages")
    body: Body = {"model": context.model}
    body["messages"] = to_messages(messages, context)
    body |= sampling(x)
    if x.get("logprobs") is True:
        body["logprobs"] = True
    body |= {name: x[name] for name in PASSED if x.get(name) is not None}
    _add_tools(body, x, context)
    _add_format(body, x)
    _add_thinking(body, x, context)
    add_safety(body, x, context)
    if x.get("stream"):
        body["stream"] = True
    report_unsaid(x, context, "web_search_options")
    return body


def _add_tools(body: Body, x: Mapping[str, Any], context: Context) -> None:
    offered = x_parts.read_objects(x.get("tools"), "tools")
    mode, allowed = _offered(read_choice(x.get("tool_choice")))
    found = []
    for index, tool in enumerate(offered):
        if allowed is None or tools.call_name(tool) in allowed:
            found.append(_tool(tool, f"tools.{index}", context))
    if not found:
        return
    body["tools"] = found
    if mode is not None:
        body["tool_choice"] = mode
    strict = any(_function(tool).get("strict") is True for tool in offered)
    if strict:
        body.setdefault("strict_tools", True)
    if x.get("parallel_tool_calls") is False:
        context.drop("parallel_tool_calls")


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    function = tool.get("function")
    return function if isinstance(function, Mapping) else {}


def _tool(tool: Mapping[str, Any], param: str, context: Context) -> Body:
    function = _function(tool)
    if tool.get("type") == "custom" and isinstance(tool.get("custom"), Mapping):
        function = tools.as_function(tool["custom"], context.memory)
    if not function:
        raise InvalidRequest(f"{param} must have a function", param=f"{param}.function")
    name = x_parts.read_text(function, "name", f"{param}.function")
    own: Body = {"name": tools.sent_name(name, context.memory)}
    if isinstance(function.get("description"), str) and function["description"]:
        own["description"] = function["description"]
    own["parameters"] = tools.schema_of(function.get("parameters"))
    return {"type": "function", "function": own}


def _offered(
    choice: ToolChoice | None,
) -> tuple[str | None, tuple[str, ...] | None]:
    """Cohere's `tool_choice`, None for auto; the names of the tools left, None for all.

    A named tool is the only one that is offered, and required.
    """
    if choice is None:
        return None, None
    return _MODES[choice.mode], (choice.name,) if choice.name else choice.allowed


def _add_format(body: Body, x: Mapping[str, Any]) -> None:
    """JSON, of a schema or of any: Cohere has one type for both."""
    form = x.get("response_format")
    kind = form.get("type") if isinstance(form, Mapping) else None
    if not isinstance(form, Mapping) or kind not in ("json_object", "json_schema"):
        return
    spec = form.get("json_schema")
    schema = spec.get("schema", spec) if isinstance(spec, Mapping) else None
    own: Body = {"type": "json_object"}
    body["response_format"] = own | ({"json_schema": schema} if schema else {})


def _add_thinking(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """How hard to think, for the models that do; Cohere's own object passes."""
    thinking = x.get("thinking")
    if isinstance(thinking, Mapping) and "token_budget" in thinking:
        body["thinking"] = dict(thinking)
        return
    asked = effort.read(x)
    if not asked.asked:
        return
    if "reasoning" not in context.model:
        if asked.effort != "none":
            context.drop("thinking" if thinking else "reasoning_effort")
        return
    if asked.effort == "none":
        body["thinking"] = {"type": "disabled"}
        return
    body["thinking"] = {"type": "enabled"}
    if asked.budget is not None and asked.budget > 0:
        body["thinking"]["token_budget"] = asked.budget


def response_to_x(answer: Mapping[str, Any], context: Context) -> Body:
    """The chat completion object for a Cohere answer.

    Raises:
        UpstreamRefused: it is an error, or broke off on Cohere's side.
        BadUpstreamBody: it is no Cohere answer.
    """
    refuse_errors(answer)
    own = answer.get("message")
    if not isinstance(own, Mapping):
        raise unreadable(tools.compact(answer).encode())
    message = _message(own, context)
    has_calls = bool(message.get("tool_calls"))
    reason, native = finish_reason(answer.get("finish_reason"), has_calls)
    choice: Body = {"index": 0, "finish_reason": reason}
    if native is not None:
        choice["native_finish_reason"] = native
    choice |= {"logprobs": to_logprobs(answer.get("logprobs")), "message": message}
    x: Body = {
        "id": text_of(answer, "id") or context.ids("chatcmpl-"),
        "object": "chat.completion",
        "created": context.created,
        "model": context.model,
        "choices": [choice],
    }
    usage = to_usage(answer.get("usage"))
    return x if usage is None else {**x, "usage": usage}


def to_logprobs(items: Any) -> Body | None:
    """OpenAI's `logprobs` for Cohere's list; a piece of several tokens is one entry."""
    content = [
        {
            "token": text_of(item),
            "logprob": sum(item["logprobs"]),
            "bytes": list(text_of(item).encode()),
            "top_logprobs": [],
        }
        for item in objects(items)
        if isinstance(item.get("logprobs"), list)
        and all(isinstance(number, int | float) for number in item["logprobs"])
    ]
    return {"content": content, "refusal": None} if content else None


def _message(own: Mapping[str, Any], context: Context) -> Body:
    texts: list[str] = []
    thoughts = [text_of(own, "tool_plan")]
    starts: list[int] = []
    blocks = own.get("content")
    blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
    for block in objects(blocks):
        starts.append(sum(map(len, texts)))
        if block.get("type") == "thinking":
            thoughts.append(text_of(block, "thinking"))
        else:
            texts.append(text_of(block))
    message: Body = {"role": "assistant"}
    message["content"] = "".join(texts) if texts else None
    message["refusal"] = None
    if any(thoughts):
        message["reasoning_content"] = "\n\n".join(text for text in thoughts if text)
    citations = [_placed(c, starts) for c in objects(own.get("citations"))]
    if citations:
        message["citations"] = citations
    calls = [to_call(call, context) for call in objects(own.get("tool_calls"))]
    if calls:
        message["tool_calls"] = calls
    return message


def _placed(citation: Body, starts: list[int]) -> Body:
    """The citation with its place in the whole content."""
    index = citation.get("content_index")
    start = starts[index] if isinstance(index, int) and 0 <= index < len(starts) else 0
    return placed(citation, start)


def to_call(call: Mapping[str, Any], context: Context) -> Body:
    """A tool call of the middle form."""
    function = _function(call)
    name = tools.own_name(text_of(function, "name"), context.memory)
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = tools.write_arguments(arguments)
    return {
        "id": text_of(call, "id") or context.ids("call_"),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
