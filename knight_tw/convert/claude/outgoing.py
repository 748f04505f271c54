"""A request of the middle form as a Claude request (conversion specification, 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert.claude import models
from knight_tw.convert.claude.outgoing_messages import to_messages
from knight_tw.convert.claude.outgoing_thinking import add_thinking
from knight_tw.convert.claude.outgoing_tools import ANSWER_TOOL, add_tools
from knight_tw.convert.context import Context
from knight_tw.convert.schema import strict
from knight_tw.errors import UnsupportedParameter

MOST_MARKERS = 4
"""Most cache markers of one request."""

JSON_ONLY = "Answer with one valid JSON object and nothing else."

LEAST_TOP_P = 0.95
"""Smallest `top_p` that goes together with thinking."""

UNSAID = (
    *("seed", "logit_bias", "logprobs", "top_logprobs", "frequency_penalty"),
    *("presence_penalty", "prediction", "store", "modalities", "audio", "verbosity"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    *("moderation", "safety_settings", "safety_identifier"),
)
"""Fields that Claude has nothing like."""

_TIERS = {"default": "standard_only"}

Body = dict[str, Any]


def request_from_x(x: Mapping[str, Any], context: Context) -> Body:
    """The Claude request for a request of the middle form.

    Raises:
        InvalidRequest: a field cannot be read; `param` is its path.
        UnsupportedContent: a message holds what Claude cannot see.
        UnsupportedParameter: a field that changes the meaning has no equivalent.
    """
    _refuse(x)
    body: Body = {"model": context.model, "max_tokens": models.max_tokens(x, context)}
    messages = x_parts.read_objects(x.get("messages"), "messages")
    system, turns = to_messages(messages, context)
    body["messages"] = turns
    add_tools(body, x, context)
    system += _add_format(body, x, context)
    if system:
        body["system"] = system
    add_thinking(body, x, context)
    _add_sampling(body, x, context)
    _add_stops(body, x)
    _add_origin(body, x, context)
    if x.get("stream"):
        body["stream"] = True
    _keep_last_markers(body)
    for name in UNSAID:
        if not _says_nothing(x.get(name)):
            context.drop(name)
    return body


def _refuse(x: Mapping[str, Any]) -> None:
    if x.get("n") not in (None, 1):
        raise UnsupportedParameter("Claude gives one answer at a time", param="n")
    modalities = x.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        raise UnsupportedParameter("Claude does not speak", param="modalities")


def _says_nothing(value: Any) -> bool:
    """True for a value that asks for what happens anyway."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return not value or value == ["text"]
    return False


def _add_format(
    body: Body, x: Mapping[str, Any], context: Context
) -> list[dict[str, Any]]:
    """Ask for the form of the answer; what has to be said as system text is returned.

    Models without structured output are made to call a tool whose input is the answer.
    """
    form = x.get("response_format")
    if not isinstance(form, Mapping):
        return []
    if form.get("type") == "json_object":
        return [x_parts.text_part(JSON_ONLY)]
    if form.get("type") != "json_schema":
        return []
    spec = form.get("json_schema")
    schema = spec.get("schema") if isinstance(spec, Mapping) else None
    if not isinstance(schema, dict):
        return [x_parts.text_part(JSON_ONLY)]
    if models.takes_structure(context):
        wanted = {"type": "json_schema", "schema": strict(schema)}
        body["output_config"] = {"format": wanted}
    else:
        _force_answer_tool(body, schema, context)
    return []


def _force_answer_tool(body: Body, schema: dict[str, Any], context: Context) -> None:
    taken = {tool.get("name") for tool in body.get("tools", [])}
    name = ANSWER_TOOL
    while name in taken:
        name += "_"
    schema = schema if schema.get("type") == "object" else {"type": "object", **schema}
    described = "Give the answer to the user in this form."
    tool = {"name": name, "description": described, "input_schema": schema}
    body["tools"] = [*body.get("tools", []), tool]
    body["tool_choice"] = {"type": "any" if taken else "tool"}
    if not taken:
        body["tool_choice"]["name"] = name
    context.memory.answer_tool = name


def _add_sampling(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """Sampling as far as the model takes it; newer ones take only one of two fields."""
    thinks = body.get("thinking", {}).get("type") not in (None, "disabled")
    takes = models.takes_sampling(context)
    temperature, top_p, top_k = (_number(x, name) for name in SAMPLING)
    if temperature is not None and takes and not thinks:
        body["temperature"] = min(max(temperature, 0.0), 1.0)
    fits = top_p is not None and (not thinks or top_p >= LEAST_TOP_P)
    if fits and takes and "temperature" not in body:
        body["top_p"] = top_p
    if top_k is not None and takes and not thinks:
        body["top_k"] = int(top_k)
    for name in SAMPLING:
        if x.get(name) is not None and name not in body:
            context.drop(name)


SAMPLING = ("temperature", "top_p", "top_k")


def _number(x: Mapping[str, Any], name: str) -> float | None:
    value = x.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def _add_stops(body: Body, x: Mapping[str, Any]) -> None:
    """The stop sequences; the API refuses those of white space alone."""
    stop = x.get("stop")
    entries = [stop] if isinstance(stop, str) else stop
    if isinstance(entries, list):
        kept = [entry for entry in entries if isinstance(entry, str) and entry.strip()]
        if kept:
            body["stop_sequences"] = kept


def _add_origin(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """Who asks, and how urgently."""
    metadata = x.get("metadata")
    known = metadata if isinstance(metadata, Mapping) else {}
    user = known.get("user_id") or x.get("user")
    if isinstance(user, str) and user:
        body["metadata"] = {"user_id": user}
    if set(known) - {"user_id"}:
        context.drop("metadata")
    tier = x.get("service_tier")
    if tier == "fast":
        body["speed"] = "fast"
    elif isinstance(tier, str):
        body["service_tier"] = _TIERS.get(tier, "auto")


def _keep_last_markers(body: Body) -> None:
    """Take out the earliest cache markers when there are more than the API takes."""
    marked = [block for block in _cacheable(body) if "cache_control" in block]
    for block in marked[: max(0, len(marked) - MOST_MARKERS)]:
        del block["cache_control"]


def _cacheable(body: Body) -> list[dict[str, Any]]:
    """Everything that may carry a marker, in the order in which it is cached."""
    found: list[dict[str, Any]] = [*body.get("tools", []), *body.get("system", [])]
    for message in body["messages"]:
        blocks = message["content"]
        for block in blocks if isinstance(blocks, list) else []:
            inner = block.get("content")
            if block["type"] == "tool_result" and isinstance(inner, list):
                found += inner
            found.append(block)
    return found
