"""Gemini's tools and the choice among them in the middle form (specification, 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert import tools
from knight_tw.convert.context import Context
from knight_tw.convert.schema import from_openapi, read_schema
from knight_tw.errors import InvalidRequest

SEARCHES = ("googleSearch", "googleSearchRetrieval")
"""Google's own tools that have something like them elsewhere."""

_MODES = {
    "AUTO": "auto",
    "MODE_UNSPECIFIED": "auto",
    "ANY": "required",
    "NONE": "none",
    "VALIDATED": "auto",
}

Body = dict[str, Any]


def add_tools(x: Body, body: Mapping[str, Any], context: Context) -> None:
    """Put the tools of a Gemini request, and the choice, into `x`.

    Raises:
        InvalidRequest: a tool or the choice cannot be read.
    """
    functions: list[Body] = []
    given = body.get("tools")
    entries = (
        [given] if isinstance(given, dict) else x_parts.read_objects(given, "tools")
    )
    for index, entry in enumerate(entries):
        where = f"tools.{index}.functionDeclarations"
        declared = x_parts.read_objects(entry.get("functionDeclarations"), where)
        functions += [_tool(f, f"{where}.{n}") for n, f in enumerate(declared)]
        for name in entry:
            if name in SEARCHES:
                x["web_search_options"] = {}
            elif name != "functionDeclarations":
                context.drop(f"tools.{name}")
    config = _object(body.get("toolConfig"), "toolConfig")
    for name in config:
        if name != "functionCallingConfig":
            context.drop(f"toolConfig.{name}")
    if functions:
        x["tools"] = functions
        calling = "toolConfig.functionCallingConfig"
        _add_choice(x, _object(config.get("functionCallingConfig"), calling))


def _tool(declared: Mapping[str, Any], param: str) -> Body:
    function: Body = {"name": x_parts.read_text(declared, "name", param)}
    if isinstance(declared.get("description"), str) and declared["description"]:
        function["description"] = declared["description"]
    schema = declared.get("parametersJsonSchema")
    if schema is None:
        old = read_schema(declared.get("parameters"), f"{param}.parameters")
        schema = from_openapi(old)
    else:
        schema = read_schema(schema, f"{param}.parametersJsonSchema")
    function["parameters"] = tools.schema_of(schema)
    return {"type": "function", "function": function}


def _add_choice(x: Body, calling: Mapping[str, Any]) -> None:
    mode = calling.get("mode")
    names = calling.get("allowedFunctionNames")
    if mode is None and not names:
        return
    where = "toolConfig.functionCallingConfig"
    choice = _MODES.get(str(mode or "AUTO").upper())
    if choice is None:
        raise InvalidRequest(f"{where}.mode is not known", param=f"{where}.mode")
    if not isinstance(names, list) or not names or choice == "none":
        x["tool_choice"] = choice
        return
    functions = [{"type": "function", "function": {"name": str(n)}} for n in names]
    if len(functions) == 1 and choice == "required":
        x["tool_choice"] = functions[0]
        return
    allowed = {"mode": choice, "tools": functions}
    x["tool_choice"] = {"type": "allowed_tools", "allowed_tools": allowed}


def _object(value: Any, param: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    raise InvalidRequest(f"{param} must be an object", param=param)
