"""A Claude request in the middle form (conversion specification, 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import effort
from knight_tw.convert import parts as x_parts
from knight_tw.convert.claude.incoming_messages import from_messages, system_message
from knight_tw.convert.claude.incoming_tools import add_tools
from knight_tw.convert.context import Context
from knight_tw.errors import InvalidRequest
from knight_tw.records import Dialect

UNSAID = (
    *("container", "diagnostics", "inference_geo", "context_management"),
    *("mcp_servers", "user_profile_id", "workspace_id"),
)
"""Fields that no other dialect has."""

FIELD_NAMES: Mapping[str, str] = {
    "stop": "stop_sequences",
    "reasoning_effort": "thinking",
    "reasoning": "thinking",
    "user": "metadata.user_id",
    "response_format": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "web_search_options": "tools.web_search",
}
"""Fields of the middle form as Claude's clients know them."""

_TIERS = {"auto": "auto", "standard_only": "default"}
_SAME = ("temperature", "top_p", "top_k")

Body = dict[str, Any]


def request_to_x(body: Mapping[str, Any], context: Context) -> Body:
    """The middle form of a client's Claude request.

    Raises:
        InvalidRequest: a field cannot be read; `param` is its path.
        UnsupportedContent: a block that only Claude itself can see.
        UnsupportedParameter: a tool is forced that only Claude has.
    """
    memory = context.memory
    memory.client, memory.request = Dialect.CLAUDE, body
    memory.field_names.update(FIELD_NAMES)
    x: Body = {"model": context.model}
    if body.get("max_tokens"):
        x["max_tokens"] = body["max_tokens"]
    messages = x_parts.read_objects(body.get("messages"), "messages")
    x["messages"] = [
        *system_message(body.get("system")),
        *from_messages(messages, context),
    ]
    if body.get("cache_control"):
        _mark_end(x["messages"], body["cache_control"])
    for name in _SAME:
        if body.get(name) is not None:
            x[name] = body[name]
    if body.get("stop_sequences"):
        x["stop"] = body["stop_sequences"]
    if body.get("stream"):
        x["stream"] = True
    _add_reasoning(x, body)
    _add_format(x, body)
    add_tools(x, body, context)
    _add_origin(x, body)
    for name in UNSAID:
        if body.get(name):
            context.drop(name)
    return x


def _mark_end(messages: list[dict[str, Any]], marker: Any) -> None:
    """A marker on the whole request stands for one on its last part."""
    last = messages[-1] if messages else {}
    content = last.get("content")
    if isinstance(content, str) and content:
        content = [x_parts.text_part(content)]
    if isinstance(content, list) and content:
        last["content"] = [*content[:-1], {"cache_control": marker} | content[-1]]


def _add_reasoning(x: Body, body: Mapping[str, Any]) -> None:
    """The strength: an effort beats a budget, which is carried exactly as well."""
    config = _object(body, "output_config")
    thinking = _object(body, "thinking")
    level = config.get("effort")
    if level is not None and level not in effort.EFFORTS:
        where = "output_config.effort"
        raise InvalidRequest(f"{where} is not known: {level!r}"[:200], param=where)
    kind = thinking.get("type")
    reasoning: dict[str, Any] = {}
    budget = _whole(thinking.get("budget_tokens"))
    if kind == "disabled":
        level = "none"
    elif kind == "between_tools" and level is None:
        level = "low"
    elif kind == "enabled" and level is None and budget is not None:
        level = effort.from_budget(budget)
        reasoning["max_tokens"] = budget
    elif kind in ("enabled", "adaptive") and level is None:
        reasoning["enabled"] = True
    if thinking.get("display") == "omitted":
        reasoning["exclude"] = True
    if level is not None:
        x["reasoning_effort"] = level
    if reasoning:
        x["reasoning"] = reasoning


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value)


def _add_format(x: Body, body: Mapping[str, Any]) -> None:
    config = _object(body, "output_config")
    form = config.get("format") or body.get("output_format")
    if not isinstance(form, Mapping) or form.get("type") != "json_schema":
        return
    schema = form.get("schema")
    if not isinstance(schema, dict):
        where = "output_config.format.schema"
        raise InvalidRequest(f"{where} must be an object", param=where)
    spec = {"name": "response", "schema": schema, "strict": True}
    x["response_format"] = {"type": "json_schema", "json_schema": spec}


def _add_origin(x: Body, body: Mapping[str, Any]) -> None:
    """Who asks, and how urgently."""
    user = _object(body, "metadata").get("user_id")
    if isinstance(user, str) and user:
        x["user"] = user
    tier = body.get("service_tier")
    if isinstance(tier, str) and tier in _TIERS:
        x["service_tier"] = _TIERS[tier]
    if body.get("speed") == "fast":
        x["service_tier"] = "fast"


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    raise InvalidRequest(f"{name} must be an object", param=name)
