"""A Responses request in the middle form (conversion specification, 12.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import channels
from knight_tw.convert.context import Context
from knight_tw.convert.responses.incoming_items import read_items, to_messages
from knight_tw.convert.responses.incoming_tools import add_tools
from knight_tw.convert.responses.items import ENCRYPTED, LOGPROBS, includes
from knight_tw.errors import InvalidRequest, UnsupportedParameter
from knight_tw.records import Dialect

FIELD_NAMES: Mapping[str, str] = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "thinking": "reasoning",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "logprobs": "top_logprobs",
    "web_search_options": "tools.web_search",
}
"""Fields of the middle form as Responses clients know them."""

SAME = (
    *("temperature", "top_p", "user", "metadata", "service_tier", "moderation"),
    *("safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
    "prompt_cache_options",
)
"""Fields that chat has under the same name."""

STATEFUL = ("previous_response_id", "conversation", "prompt")
"""Fields that only the provider's own memory can honour."""

_READ = frozenset(
    {
        *SAME,
        *STATEFUL,
        *("model", "input", "instructions", "stream", "tools", "tool_choice", "store"),
        *("parallel_tool_calls", "text", "reasoning", "max_output_tokens", "include"),
        *("top_logprobs", "background"),
    }
)
_USUAL: Mapping[str, Any] = {"truncation": "disabled", "stream_options": {}}
"""Fields with the value that says nothing."""

Body = dict[str, Any]


def request_to_x(body: Mapping[str, Any], context: Context) -> Body:
    """The middle form of a client's Responses request.

    Raises:
        InvalidRequest: a field cannot be read; `param` is its path.
        UnsupportedContent: a part that no other API can see.
        UnsupportedParameter: what only a provider with a memory can do, or a forced
            tool that only the Responses API has.
    """
    memory = context.memory
    memory.client, memory.request = Dialect.RESPONSES, body
    memory.field_names.update(FIELD_NAMES)
    _refuse_stateful(body)
    items = read_items(body.get("input"))
    x: Body = {"model": context.model}
    x["messages"] = [*_instructions(body, context), *to_messages(items, context)]
    if not x["messages"]:
        raise InvalidRequest("input has nothing in it", param="input")
    for name in SAME:
        if body.get(name) is not None:
            x[name] = body[name]
    if body.get("max_output_tokens") is not None:
        x["max_completion_tokens"] = body["max_output_tokens"]
    add_tools(x, body, items, context)
    _add_text(x, body, context)
    _add_reasoning(x, body, context)
    _add_logprobs(x, body)
    _add_store(x, body, context)
    if body.get("stream"):
        x |= {"stream": True, "stream_options": {"include_usage": True}}
    _report(body, context)
    return x


def _refuse_stateful(body: Mapping[str, Any]) -> None:
    for name in STATEFUL:
        if body.get(name) is not None:
            raise UnsupportedParameter(
                f"{name} needs a provider that stores responses", param=name
            )
    if body.get("background"):
        raise UnsupportedParameter(
            "responses cannot be made in the background here", param="background"
        )


def _instructions(body: Mapping[str, Any], context: Context) -> list[Body]:
    text = body.get("instructions")
    if text is None or text == "":
        return []
    if not isinstance(text, str):
        raise InvalidRequest("instructions must be a string", param="instructions")
    role = "developer" if channels.takes_developer(context) else "system"
    return [{"role": role, "content": text}]


def _add_text(x: Body, body: Mapping[str, Any], context: Context) -> None:
    """The form of the answer, and how long-winded it shall be."""
    text = _object(body, "text")
    form = _object(text, "format", "text.format")
    if form.get("type") == "json_schema":
        names = ("name", "description", "schema", "strict")
        spec = {name: form[name] for name in names if form.get(name) is not None}
        x["response_format"] = {"type": "json_schema", "json_schema": spec}
    elif form:
        x["response_format"] = {"type": form.get("type")}
    if text.get("verbosity") is not None:
        x["verbosity"] = text["verbosity"]
    for name in text.keys() - {"format", "verbosity"}:
        context.drop(f"text.{name}")


def _add_reasoning(x: Body, body: Mapping[str, Any], context: Context) -> None:
    reasoning = _object(body, "reasoning")
    if reasoning.get("effort") is not None:
        x["reasoning_effort"] = reasoning["effort"]
    for name in reasoning.keys() - {"effort", "summary", "generate_summary"}:
        if reasoning[name] is not None:
            context.drop(f"reasoning.{name}")


def _add_logprobs(x: Body, body: Mapping[str, Any]) -> None:
    number = body.get("top_logprobs")
    if number or includes(body, LOGPROBS):
        x["logprobs"] = True
    if number is not None and "logprobs" in x:
        x["top_logprobs"] = number


def _add_store(x: Body, body: Mapping[str, Any], context: Context) -> None:
    """Only OpenAI stores answers; not to store is what everybody else does anyway."""
    if body.get("store") is None:
        return
    if channels.is_strict(context):
        x["store"] = body["store"]
    elif body["store"]:
        context.drop("store")


def _report(body: Mapping[str, Any], context: Context) -> None:
    """Name everything that goes no further."""
    include = body.get("include")
    entries = include if isinstance(include, list) else []
    if any(entry not in (ENCRYPTED, LOGPROBS) for entry in entries):
        context.drop("include")
    for name, value in body.items():
        if name not in _READ and value is not None and value != _USUAL.get(name):
            context.drop(name)


def _object(obj: Mapping[str, Any], name: str, param: str = "") -> Mapping[str, Any]:
    value = obj.get(name)
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    param = param or name
    raise InvalidRequest(f"{param} must be an object", param=param)
