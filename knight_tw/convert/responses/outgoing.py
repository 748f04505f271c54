"""A request of the middle form as a Responses request (conversion specification, 13.1).

Nothing is stored at the provider unless the client asked for it: the reasoning that a
next turn needs is asked for encrypted and travels with the client's history.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from knight_tw.convert import channels, effort
from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.convert.responses.items import ENCRYPTED, LOGPROBS
from knight_tw.convert.responses.outgoing_items import to_items
from knight_tw.convert.responses.outgoing_tools import add_tools
from knight_tw.errors import UnsupportedParameter

LEAST_OUTPUT = 16
"""Smallest `max_output_tokens` that the API takes."""

SAME = (
    *("temperature", "top_p", "user", "metadata", "service_tier", "moderation"),
    *("safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
    "prompt_cache_options",
)
"""Fields with the same name and meaning."""

REFUSED_BY_REASONING = ("temperature", "top_p", "top_logprobs")
"""Fields that reasoning models do not take."""

_READ = frozenset(
    {
        *SAME,
        *("model", "messages", "max_tokens", "max_completion_tokens", "n", "stream"),
        *("stream_options", "tools", "tool_choice", "parallel_tool_calls", "thinking"),
        *("reasoning_effort", "reasoning", "response_format", "verbosity", "logprobs"),
        *("top_logprobs", "web_search_options", "store", "functions", "function_call"),
    }
)

_PLAIN = re.compile(
    r"(?:ft:)?(?:gpt-3\.5|gpt-4(?:o|\.1|\.5)?|chatgpt-4o|gpt-5(?:\.\d+)?(?=-chat))"
    r"(?:-(?:turbo|mini|nano|preview|latest|instruct|chat|search|audio|\d+k|\d{2,4}))*"
    r"(?::.*)?"
)
"""Whole names of OpenAI's models that do not reason; longer ones may mean anything."""

Body = dict[str, Any]


def request_from_x(x: Mapping[str, Any], context: Context) -> Body:
    """The Responses request for a request of the middle form.

    Raises:
        InvalidRequest: a field cannot be read; `param` is its path.
        UnsupportedContent: a message holds what the Responses API cannot see.
        UnsupportedParameter: a field that changes the meaning has no equivalent.
    """
    _refuse(x)
    context.memory.x = x
    body: Body = {"model": context.model}
    messages = x_parts.read_objects(x.get("messages"), "messages")
    instructions, body["input"] = to_items(messages, context)
    if instructions:
        body["instructions"] = instructions
    limit = _limit(x)
    if limit:
        body["max_output_tokens"] = max(limit, LEAST_OUTPUT)
    for name in SAME:
        if x.get(name) is not None:
            body[name] = x[name]
    body["store"] = x["store"] if isinstance(x.get("store"), bool) else False
    if x.get("stream"):
        body["stream"] = True
    _add_text(body, x)
    _add_logprobs(body, x)
    _add_reasoning(body, x, context)
    add_tools(body, x, context)
    for name, value in x.items():
        if name not in _READ and not _says_nothing(value):
            context.drop(name)
    return body


def _refuse(x: Mapping[str, Any]) -> None:
    if x.get("n") not in (None, 1):
        raise UnsupportedParameter("there is one answer at a time here", param="n")
    modalities = x.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        raise UnsupportedParameter(
            "the Responses API does not speak", param="modalities"
        )


def _says_nothing(value: Any) -> bool:
    """True for a value that asks for what happens anyway."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return not value or value == ["text"]
    return False


def _limit(x: Mapping[str, Any]) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        limit = x.get(name)
        if isinstance(limit, int | float) and limit >= 1:
            return int(limit)
    return 0


def _add_text(body: Body, x: Mapping[str, Any]) -> None:
    """The form of the answer, and how long-winded it shall be."""
    text: dict[str, Any] = {}
    form = x.get("response_format")
    if isinstance(form, Mapping):
        spec = form.get("json_schema")
        text["format"] = {"type": form.get("type")}
        if isinstance(spec, Mapping):
            text["format"] |= {n: v for n, v in spec.items() if v is not None}
    if x.get("verbosity") is not None:
        text["verbosity"] = x["verbosity"]
    if text:
        body["text"] = text


def _add_logprobs(body: Body, x: Mapping[str, Any]) -> None:
    if not x.get("logprobs"):
        return
    body["include"] = [LOGPROBS]
    if x.get("top_logprobs") is not None:
        body["top_logprobs"] = x["top_logprobs"]


def _add_reasoning(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """The strength, and reasoning that can be sent back; not to models without any."""
    asked = effort.read(x)
    if _PLAIN.fullmatch(context.model):
        if asked.asked and asked.effort != "none":
            context.drop("reasoning_effort")
        return
    body["include"] = [ENCRYPTED, *body.get("include", [])]
    if asked.asked:
        reasoning: dict[str, Any] = {}
        if asked.effort is not None:
            names = effort.levels(context, effort.EFFORTS)
            reasoning["effort"] = effort.nearest(asked.effort, names)
        if not asked.exclude:
            reasoning["summary"] = "auto"
        body["reasoning"] = reasoning
    if channels.reasons(context.model) and asked.effort != "none":
        for name in REFUSED_BY_REASONING:
            if body.pop(name, None) is not None:
                context.drop(name)
        body["include"] = [ENCRYPTED]
