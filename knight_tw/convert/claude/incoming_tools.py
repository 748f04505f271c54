"""Claude's tools and the choice among them in the middle form (specification, 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert import tools
from knight_tw.convert.context import Context
from knight_tw.errors import InvalidRequest, UnsupportedParameter

_MODES = {"auto": "auto", "any": "required", "none": "none"}
_PLACE = ("city", "region", "country", "timezone")

Body = dict[str, Any]


def add_tools(x: Body, body: Mapping[str, Any], context: Context) -> None:
    """Put Claude's tools and the choice among them into a request of the middle form.

    Raises:
        InvalidRequest: a tool or the choice cannot be read.
        UnsupportedParameter: the choice forces a tool that only Claude has.
    """
    offered = x_parts.read_objects(body.get("tools"), "tools")
    found: list[dict[str, Any]] = []
    only_claude: list[Any] = []
    for index, tool in enumerate(offered):
        kind = tool.get("type")
        if kind in (None, "custom"):
            found.append(_function(tool, f"tools.{index}"))
        elif str(kind).startswith("web_search_"):
            x["web_search_options"] = _web_search(tool)
        else:
            only_claude.append(tool.get("name"))
            context.drop(f"tools.{kind}")
    if found:
        x["tools"] = found
    choice = body.get("tool_choice")
    if choice is not None:
        _add_choice(x, choice, only_claude)


def _function(tool: Mapping[str, Any], param: str) -> dict[str, Any]:
    function: dict[str, Any] = {"name": x_parts.read_text(tool, "name", param)}
    texts = [str(tool.get("description") or "")]
    examples = tool.get("input_examples")
    if isinstance(examples, list) and examples:
        lines = "\n".join(tools.compact(example) for example in examples)
        texts.append(f"Examples of the input:\n{lines}")
    if any(texts):
        function["description"] = "\n\n".join(text for text in texts if text)
    function["parameters"] = tools.schema_of(tool.get("input_schema"))
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    x_tool: dict[str, Any] = {"type": "function", "function": function}
    if tool.get("cache_control"):
        x_tool["cache_control"] = tool["cache_control"]
    return x_tool


def _web_search(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Search options: how often Claude may search stands for how much context."""
    options: dict[str, Any] = {}
    uses = tool.get("max_uses")
    if isinstance(uses, int):
        size = "low" if uses <= 1 else "medium" if uses <= 5 else "high"
        options["search_context_size"] = size
    where = tool.get("user_location")
    if isinstance(where, Mapping):
        place = {name: where[name] for name in _PLACE if where.get(name)}
        options["user_location"] = {"type": "approximate", "approximate": place}
    if tool.get("allowed_domains"):
        options["filters"] = {"allowed_domains": tool["allowed_domains"]}
    return options


def _add_choice(x: Body, choice: Any, only_claude: list[Any]) -> None:
    """The choice; without tools there is none."""
    if not isinstance(choice, Mapping):
        raise InvalidRequest("tool_choice must be an object", param="tool_choice")
    kind, name = choice.get("type"), choice.get("name")
    if kind == "tool" and name in only_claude:
        raise UnsupportedParameter(
            f"only Claude models have the tool {name!r}"[:200], param="tool_choice"
        )
    if kind == "tool":
        x_parts.read_text(choice, "name", "tool_choice")
    elif str(kind) not in _MODES:
        where = "tool_choice.type"
        raise InvalidRequest(f"{where} is not known: {kind!r}"[:200], param=where)
    if not x.get("tools"):
        return
    if kind == "tool":
        x["tool_choice"] = {"type": "function", "function": {"name": name}}
    else:
        x["tool_choice"] = _MODES[str(kind)]
    if isinstance(choice.get("disable_parallel_tool_use"), bool):
        x["parallel_tool_calls"] = not choice["disable_parallel_tool_use"]
