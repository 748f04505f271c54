"""Tools and the choice among them, as Gemini takes them (specification, 2.4 and 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from knight_tw.convert import parts as x_parts
from knight_tw.convert import tools
from knight_tw.convert.context import Context
from knight_tw.convert.gemini import models
from knight_tw.convert.gemini.outgoing_names import sent_name
from knight_tw.convert.schema import declares_nothing, read_schema, to_openapi
from knight_tw.convert.tool_choice import ToolChoice, read_choice
from knight_tw.errors import InvalidRequest

BUILT_IN: Final = ("googleSearch", "codeExecution", "urlContext")
"""Functions of these names stand for Google's own tools."""

_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}

Body = dict[str, Any]


def add_tools(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """Put the tools and the choice among them into a Gemini request.

    Raises:
        InvalidRequest: a tool or the choice cannot be read.
    """
    offered = x_parts.read_objects(x.get("tools"), "tools")
    functions = [
        _function(tool, f"tools.{n}", context) for n, tool in enumerate(offered)
    ]
    declared = [
        _declaration(function, f"tools.{n}", context)
        for n, function in enumerate(functions)
        if function["name"] not in BUILT_IN
    ]
    own = [f["name"] for f in functions if f["name"] in BUILT_IN]
    if isinstance(x.get("web_search_options"), Mapping) and BUILT_IN[0] not in own:
        own.append(BUILT_IN[0])
    if declared and own and not models.mixes_tools(context):
        _report(own, x, context)
        own = []
    entries: list[Body] = [{name: {}} for name in own]
    if declared:
        entries.insert(0, {"functionDeclarations": declared})
        _add_choice(body, x, functions, context)
    if entries:
        body["tools"] = entries
    if x.get("parallel_tool_calls") is False and declared:
        context.drop("parallel_tool_calls")


def _report(own: list[str], x: Mapping[str, Any], context: Context) -> None:
    for name in own:
        asked = name == BUILT_IN[0] and x.get("web_search_options") is not None
        context.drop("web_search_options" if asked else f"tools.{name}")


def _function(tool: Mapping[str, Any], param: str, context: Context) -> Body:
    """The function in a tool; a free-form tool becomes one."""
    function = tool.get("function")
    if tool.get("type") == "custom" and isinstance(tool.get("custom"), Mapping):
        function = tools.as_function(tool["custom"], context.memory)
    if not isinstance(function, Mapping):
        where = f"{param}.function"
        raise InvalidRequest(f"{param} must have a function", param=where)
    x_parts.read_text(function, "name", f"{param}.function")
    return dict(function)


def _declaration(function: Body, param: str, context: Context) -> Body:
    declared: Body = {"name": sent_name(function["name"], context)}
    if isinstance(function.get("description"), str) and function["description"]:
        declared["description"] = function["description"]
    schema = read_schema(function.get("parameters"), f"{param}.function.parameters")
    if declares_nothing(schema):
        return declared
    if context.settings.get("gemini_legacy_schema") is True:
        lowered = to_openapi(tools.schema_of(schema))
        return (
            {**declared, "parameters": lowered}
            if lowered.get("properties")
            else declared
        )
    return {**declared, "parametersJsonSchema": tools.schema_of(schema)}


def _add_choice(
    body: Body, x: Mapping[str, Any], functions: list[Body], context: Context
) -> None:
    """Which functions the model may or must call."""
    calling = _choice(read_choice(x.get("tool_choice")), context)
    if calling is None or calling == {"mode": "AUTO"}:
        validated = context.options.get("gemini.strict_tools_validated") is True
        if validated and any(f.get("strict") is True for f in functions):
            calling = {"mode": "VALIDATED"}
    if calling is not None:
        body["toolConfig"] = {"functionCallingConfig": calling}


def _choice(choice: ToolChoice | None, context: Context) -> Body | None:
    """Gemini's `functionCallingConfig`."""
    if choice is None:
        return None
    if choice.name:
        sent = [sent_name(choice.name, context)]
        return {"mode": "ANY", "allowedFunctionNames": sent}
    if choice.allowed is not None:
        mode = "ANY" if choice.mode == "required" else "VALIDATED"
        sent = [sent_name(name, context) for name in choice.allowed]
        return {"mode": mode, "allowedFunctionNames": sent}
    return {"mode": _MODES[choice.mode]}
