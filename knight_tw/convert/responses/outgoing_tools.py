"""Tools of the middle form in a Responses request (specification, 13.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert import tools
from knight_tw.convert.context import Context
from knight_tw.errors import InvalidRequest
from knight_tw.wire.answers import objects

Body = dict[str, Any]
Tool = dict[str, Any]


def add_tools(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """Put the tools and the choice among them into a Responses request.

    Raises:
        InvalidRequest: a tool or the choice cannot be read; `param` is its path.
    """
    offered = x_parts.read_objects(x.get("tools"), "tools")
    sent = [_tool(tool, context, f"tools.{n}") for n, tool in enumerate(offered)]
    search = x.get("web_search_options")
    if isinstance(search, Mapping):
        sent.append(_search(search))
    if not sent:
        return
    body["tools"] = sent
    choice = x.get("tool_choice")
    if choice is not None:
        body["tool_choice"] = _choice(choice, context)
    if x.get("parallel_tool_calls") is not None:
        body["parallel_tool_calls"] = x["parallel_tool_calls"]


def _tool(tool: Mapping[str, Any], context: Context, param: str) -> Tool:
    kind = tool.get("type")
    inner = tool.get(kind) if isinstance(kind, str) else None
    if kind not in ("function", "custom") or not isinstance(inner, Mapping):
        where = f"{param}.type"
        raise InvalidRequest(f"{where} is not known: {kind!r}"[:200], param=where)
    name = x_parts.read_text(inner, "name", f"{param}.{kind}")
    sent: Tool = {"type": kind, "name": tools.sent_name(name, context.memory)}
    if inner.get("description") is not None:
        sent["description"] = inner["description"]
    if kind == "function":
        sent["parameters"] = tools.schema_of(inner.get("parameters"))
        sent["strict"] = bool(inner.get("strict"))
    elif isinstance(inner.get("format"), Mapping):
        sent["format"] = _format(inner["format"])
    return sent


def _format(form: Mapping[str, Any]) -> Tool:
    """The form of a free-form tool's input; a grammar lies flat here."""
    grammar = form.get("grammar")
    if form.get("type") != "grammar" or not isinstance(grammar, Mapping):
        return dict(form)
    return {"type": "grammar", **grammar}


def _search(options: Mapping[str, Any]) -> Tool:
    tool: Tool = {"type": "web_search"}
    for name in ("search_context_size", "filters"):
        if options.get(name):
            tool[name] = options[name]
    where = options.get("user_location")
    if isinstance(where, Mapping):
        place = where.get("approximate")
        place = place if isinstance(place, Mapping) else where
        tool["user_location"] = {"type": "approximate"} | dict(place)
    return tool


def _choice(choice: Any, context: Context) -> Any:
    """The choice in the flat form."""
    if isinstance(choice, str):
        return choice
    if not isinstance(choice, Mapping):
        raise InvalidRequest("tool_choice is not known", param="tool_choice")
    if choice.get("type") != "allowed_tools":
        return _reference(choice, context)
    allowed = choice.get("allowed_tools")
    allowed = allowed if isinstance(allowed, Mapping) else choice
    entries = [_reference(tool, context) for tool in objects(allowed.get("tools"))]
    mode = allowed.get("mode") or "auto"
    return {"type": "allowed_tools", "mode": mode, "tools": entries}


def _reference(choice: Mapping[str, Any], context: Context) -> Tool:
    kind = choice.get("type")
    inner = choice.get(kind) if isinstance(kind, str) else None
    inner = inner if isinstance(inner, Mapping) else choice
    name = x_parts.read_text(inner, "name", "tool_choice")
    return {"type": kind, "name": tools.sent_name(name, context.memory)}
