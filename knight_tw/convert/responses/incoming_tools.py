"""The tools of a Responses request, and the choice among them (specification, 12.1).

Tools stand in `tools`, and in input items of type `additional_tools`, with which newer
agents send all of theirs. Tools of a namespace are flattened to `namespace__name`; what
the client calls them is remembered for the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field

from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.errors import InvalidRequest, UnsupportedParameter
from knight_tw.wire.answers import objects

TOOLS_ITEM = "additional_tools"
SEARCH = "web_search"

_MODES = frozenset({"auto", "required", "none"})
_CALLABLE = frozenset({"function", "custom"})
_PLACE = ("city", "region", "country", "timezone")
_SEARCH_SAID = frozenset({"type", "search_context_size", "user_location"})

Body = dict[str, Any]
Tool = dict[str, Any]


def flat_name(namespace: Any, name: str) -> str:
    """The one name of a tool that stands in a namespace."""
    return f"{namespace}__{name}" if isinstance(namespace, str) and namespace else name


def add_tools(
    x: Body, body: Mapping[str, Any], items: list[dict[str, Any]], context: Context
) -> None:
    """Put the tools and the choice among them into a request of the middle form.

    Raises:
        InvalidRequest: a tool or the choice cannot be read; `param` is its path.
        UnsupportedParameter: the choice forces a tool that was left out.
    """
    offer = _Offer(context)
    for tool, param in _all_tools(body, items):
        offer.take(tool, param)
    if offer.search is not None:
        x["web_search_options"] = offer.search
    if offer.tools:
        x["tools"] = list(offer.tools.values())
    choice = body.get("tool_choice")
    if choice is not None:
        found = _choice(choice, offer, context)
        if found is not None and offer.tools:
            x["tool_choice"] = found
    if body.get("parallel_tool_calls") is not None and offer.tools:
        x["parallel_tool_calls"] = body["parallel_tool_calls"]


def _all_tools(
    body: Mapping[str, Any], items: list[dict[str, Any]]
) -> Iterator[tuple[Tool, str]]:
    """Every tool with its path."""
    for index, tool in enumerate(x_parts.read_objects(body.get("tools"), "tools")):
        yield tool, f"tools.{index}"
    for place, item in enumerate(items):
        if item.get("type") == TOOLS_ITEM:
            where = f"input.{place}.tools"
            for index, tool in enumerate(
                x_parts.read_objects(item.get("tools"), where)
            ):
                yield tool, f"{where}.{index}"


@define
class _Offer:
    """The tools of one request, in the middle form.

    Attributes:
        tools: By their flat name; a tool that is offered again replaces the earlier.
        search: Options of a web search, None when it is not offered.
        dropped: Types of tools that no other API has.
        inner: The name within a namespace to the flat one.
    """

    context: Context
    tools: dict[str, Tool] = field(factory=dict)
    search: dict[str, Any] | None = None
    dropped: set[str] = field(factory=set)
    inner: dict[str, str] = field(factory=dict)

    def take(self, tool: Tool, param: str, namespace: str = "") -> None:
        """Take in one tool."""
        kind = tool.get("type")
        if kind == "namespace" and not namespace:
            name = x_parts.read_text(tool, "name", param)
            where = f"{param}.tools"
            entries = x_parts.read_objects(tool.get("tools"), where)
            for index, entry in enumerate(entries):
                self.take(entry, f"{where}.{index}", name)
        elif kind in _CALLABLE:
            self._add(tool, param, namespace)
        elif isinstance(kind, str) and kind.startswith(SEARCH):
            self.search = self._search(tool)
        elif not isinstance(kind, str):
            where = f"{param}.type"
            raise InvalidRequest(f"{where} must be a string", param=where)
        else:
            self.dropped.add(kind)
            self.context.drop(f"tools.{kind}")

    def _add(self, tool: Tool, param: str, namespace: str) -> None:
        own = x_parts.read_text(tool, "name", param)
        name = flat_name(namespace, own)
        if namespace:
            called = {"name": own, "namespace": namespace}
            self.context.memory.tool_names[name] = called
            self.inner.setdefault(own, name)
        make = _function if tool["type"] == "function" else _custom
        self.tools[name] = make(tool, name)

    def _search(self, tool: Tool) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if tool.get("search_context_size") is not None:
            options["search_context_size"] = tool["search_context_size"]
        where = tool.get("user_location")
        if isinstance(where, Mapping):
            place = {name: where[name] for name in _PLACE if where.get(name)}
            options["user_location"] = {"type": "approximate", "approximate": place}
        for name in tool.keys() - _SEARCH_SAID:
            if tool[name]:
                self.context.drop(f"tools.{tool['type']}.{name}")
        return options


def _function(tool: Tool, name: str) -> Tool:
    function: dict[str, Any] = {"name": name}
    for member in ("description", "parameters", "strict"):
        if tool.get(member) is not None:
            function[member] = tool[member]
    return {"type": "function", "function": function}


def _custom(tool: Tool, name: str) -> Tool:
    custom: dict[str, Any] = {"name": name}
    if tool.get("description") is not None:
        custom["description"] = tool["description"]
    form = tool.get("format")
    if isinstance(form, Mapping):
        if form.get("type") == "grammar":
            grammar = {n: form[n] for n in ("syntax", "definition") if n in form}
            form = {"type": "grammar", "grammar": grammar}
        custom["format"] = dict(form)
    return {"type": "custom", "custom": custom}


def _choice(choice: Any, offer: _Offer, context: Context) -> Any:
    """The choice in chat's form; None when there is nothing left to choose."""
    if isinstance(choice, str) and choice in _MODES:
        return choice
    if not isinstance(choice, Mapping):
        raise InvalidRequest("tool_choice is not known", param="tool_choice")
    kind = choice.get("type")
    if kind == "allowed_tools":
        return _allowed(choice, offer, context)
    if kind in _CALLABLE:
        return _named(choice, offer)
    if isinstance(kind, str) and kind.startswith(SEARCH) and offer.search is not None:
        context.drop("tool_choice")  # chat cannot force a search
        return None
    raise UnsupportedParameter(
        f"this channel has no tool of type {kind!r}"[:200], param="tool_choice"
    )


def _named(choice: Mapping[str, Any], offer: _Offer) -> Tool:
    """The reference to one tool, by the kind it was offered as."""
    name = x_parts.read_text(choice, "name", "tool_choice")
    name = flat_name(choice.get("namespace"), name)
    if name not in offer.tools:
        name = offer.inner.get(name, name)
    kind = offer.tools[name]["type"] if name in offer.tools else choice["type"]
    return {"type": kind, kind: {"name": name}}


def _allowed(choice: Mapping[str, Any], offer: _Offer, context: Context) -> Any:
    entries = objects(choice.get("tools"))
    kept = [_named(entry, offer) for entry in entries if entry.get("type") in _CALLABLE]
    for entry in entries:
        if entry.get("type") not in _CALLABLE:
            context.drop(f"tool_choice.{entry.get('type')}")
    if not kept:
        return None
    allowed = {"mode": choice.get("mode") or "auto", "tools": kept}
    return {"type": "allowed_tools", "allowed_tools": allowed}
