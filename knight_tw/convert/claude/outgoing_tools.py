"""Tools and the choice among them, as Claude takes them (specification 2.7 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert import tools
from knight_tw.convert.claude import models
from knight_tw.convert.claude.outgoing_parts import marker
from knight_tw.convert.context import Context
from knight_tw.convert.schema import strict
from knight_tw.convert.tool_choice import ToolChoice, read_choice
from knight_tw.errors import InvalidRequest

ANSWER_TOOL = "respond"
"""The tool that is forced on models without structured output."""

WEB_SEARCH = "web_search_20250305"
SEARCHES: Mapping[str, int] = {"low": 1, "medium": 5, "high": 10}
"""`search_context_size` to how often Claude may search."""

_MODES = {"auto": "auto", "required": "any", "none": "none"}
_PLACE = ("city", "region", "country", "timezone")

Body = dict[str, Any]


def add_tools(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """Put the tools and the choice among them into a Claude request.

    Raises:
        InvalidRequest: a tool or the choice cannot be read.
    """
    offered = x_parts.read_objects(x.get("tools"), "tools")
    made = read_choice(x.get("tool_choice"))
    choice, allowed = _choice(made, context), made.allowed if made else None
    found = [
        _tool(tool, f"tools.{index}", context)
        for index, tool in enumerate(offered)
        if allowed is None or tools.call_name(tool) in allowed
    ]
    options = x.get("web_search_options")
    if isinstance(options, Mapping):
        found.append(_web_search(options))
    if not found:
        return
    body["tools"] = found
    parallel = x.get("parallel_tool_calls")
    if isinstance(parallel, bool) and (choice or {}).get("type") != "none":
        choice = {**(choice or {"type": "auto"})}
        choice["disable_parallel_tool_use"] = not parallel
    if choice is not None:
        body["tool_choice"] = choice


def _tool(tool: Mapping[str, Any], param: str, context: Context) -> dict[str, Any]:
    function = tool.get("function")
    if tool.get("type") == "custom" and isinstance(tool.get("custom"), Mapping):
        function = tools.as_function(tool["custom"], context.memory)
    if not isinstance(function, Mapping):
        raise InvalidRequest(f"{param} must have a function", param=f"{param}.function")
    name = x_parts.read_text(function, "name", f"{param}.function")
    sent = tools.sent_name(name, context.memory, tools.CLAUDE_LIMIT)
    claude: dict[str, Any] = {"name": sent}
    if isinstance(function.get("description"), str) and function["description"]:
        claude["description"] = function["description"]
    schema = tools.schema_of(function.get("parameters"))
    if function.get("strict") is True and models.takes_structure(context):
        return claude | {"input_schema": strict(schema), "strict": True} | marker(tool)
    return claude | {"input_schema": schema} | marker(tool)


def _choice(choice: ToolChoice | None, context: Context) -> dict[str, Any] | None:
    """Claude's `tool_choice`."""
    if choice is None:
        return None
    if not choice.name:
        return {"type": _MODES[choice.mode]}
    sent = tools.sent_name(choice.name, context.memory, tools.CLAUDE_LIMIT)
    return {"type": "tool", "name": sent}


def _web_search(options: Mapping[str, Any]) -> dict[str, Any]:
    """Claude's own search tool."""
    size = str(options.get("search_context_size") or "medium")
    tool: dict[str, Any] = {"type": WEB_SEARCH, "name": "web_search"}
    tool["max_uses"] = SEARCHES.get(size, SEARCHES["medium"])
    where = options.get("user_location")
    if isinstance(where, Mapping):
        inner = where.get("approximate")
        place = inner if isinstance(inner, Mapping) else where
        known = {name: place[name] for name in _PLACE if place.get(name)}
        tool["user_location"] = {"type": "approximate", **known}
    filters = options.get("filters")
    domains = filters.get("allowed_domains") if isinstance(filters, Mapping) else None
    if isinstance(domains, list) and domains:
        tool["allowed_domains"] = domains
    return tool
