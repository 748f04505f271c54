"""A chat client's request in the middle form: aliases and legacy fields made uniform.

Clients of older libraries speak of `functions` and `function_call`; their calls have no
ids, so results are matched by name (conversion specification, 2.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.errors import InvalidRequest
from knight_tw.records import Dialect

Body = dict[str, Any]
Message = dict[str, Any]

LEGACY = ("functions", "function_call")


def request_to_x(body: Mapping[str, Any], context: Context) -> Body:
    """The middle form of a chat request.

    Raises:
        InvalidRequest: a field cannot be read; `param` is its path.
    """
    memory = context.memory
    memory.client, memory.request = Dialect.CHAT, body
    x: Body = {name: v for name, v in body.items() if name not in LEGACY}
    x["model"] = context.model
    messages = x_parts.read_objects(body.get("messages"), "messages")
    legacy = _Legacy(context)
    x["messages"] = [
        legacy.read(_message(message, f"messages.{index}"), f"messages.{index}")
        for index, message in enumerate(messages)
    ]
    if any(body.get(name) for name in LEGACY):
        memory.legacy_functions = True
        _modernise(x, body)
    return x


def _message(message: Message, param: str) -> Message:
    """The message with its content checked and its reasoning under one name."""
    if not isinstance(message.get("role"), str):
        where = f"{param}.role"
        raise InvalidRequest(f"{where} must be a string", param=where)
    x_parts.read_parts(message.get("content"), f"{param}.content")
    if "reasoning" not in message:
        return message
    changed = {name: v for name, v in message.items() if name != "reasoning"}
    if isinstance(message["reasoning"], str):
        changed.setdefault("reasoning_content", message["reasoning"])
    return changed


def _modernise(x: Body, body: Mapping[str, Any]) -> None:
    """`functions` as tools and `function_call` as the choice among them, in place."""
    functions = x_parts.read_objects(body.get("functions"), "functions")
    if functions and not x.get("tools"):
        x["tools"] = [{"type": "function", "function": f} for f in functions]
    choice = body.get("function_call")
    if choice is None or x.get("tool_choice") is not None:
        return
    if isinstance(choice, Mapping):
        name = x_parts.read_text(choice, "name", "function_call")
        choice = {"type": "function", "function": {"name": name}}
    x["tool_choice"] = choice


@define(eq=False)
class _Legacy:
    """Gives calls without ids one, and their results the id of the call they answer."""

    _context: Context
    _open: dict[str, list[str]] = field(factory=dict)
    """Ids of unanswered calls by function name."""

    def read(self, message: Message, param: str) -> Message:
        """The message with tool calls in the place of legacy ones."""
        call = message.get("function_call")
        if message["role"] == "function":
            return self._answered(message, param)
        if message["role"] != "assistant" or not isinstance(call, Mapping):
            return message
        return (
            message if message.get("tool_calls") else self._called(message, call, param)
        )

    def _called(self, message: Message, call: Mapping[str, Any], param: str) -> Message:
        name = x_parts.read_text(call, "name", f"{param}.function_call")
        call_id = self._context.ids("call_")
        self._open.setdefault(name, []).append(call_id)
        changed = {n: v for n, v in message.items() if n != "function_call"}
        function = {"name": name, "arguments": call.get("arguments") or ""}
        modern = {"id": call_id, "type": "function", "function": function}
        return {**changed, "tool_calls": [modern]}

    def _answered(self, message: Message, param: str) -> Message:
        name = x_parts.read_text(message, "name", param)
        waiting = self._open.get(name)
        call_id = waiting.pop(0) if waiting else self._context.ids("call_")
        return {**message, "role": "tool", "tool_call_id": call_id}
