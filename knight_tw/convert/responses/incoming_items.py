"""The items of a Responses request as messages (specification, 12.1).

A Responses history is flat: messages, reasoning, calls and their outputs follow each
other. Here everything that the assistant did until somebody else speaks is one message,
with the reasoning before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert import tools
from knight_tw.convert.context import Context
from knight_tw.convert.parts import Part
from knight_tw.convert.reasoning import Detail
from knight_tw.convert.responses.incoming_parts import collapsed, read_content
from knight_tw.convert.responses.incoming_tools import TOOLS_ITEM, flat_name
from knight_tw.convert.responses.thoughts import BETWEEN, pending_detail, read_item
from knight_tw.errors import InvalidRequest, UnsupportedParameter

Item = Mapping[str, Any]
Message = dict[str, Any]

ROLES = frozenset({"user", "system", "developer", "assistant"})
OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})


def read_items(value: Any) -> list[dict[str, Any]]:
    """The items of `input`; a text is one message of the user.

    Raises:
        InvalidRequest: it is neither a text nor a list of objects.
    """
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    return x_parts.read_objects(value, "input")


def to_messages(items: list[dict[str, Any]], context: Context) -> list[Message]:
    """The messages of a history.

    Raises:
        InvalidRequest: an item cannot be read; `param` is its path.
        UnsupportedContent: a part that no other API can see.
        UnsupportedParameter: an item that only the provider's memory knows.
    """
    turns = _Turns(context)
    for index, item in enumerate(items):
        turns.take(item, f"input.{index}")
    return turns.close()


class _Turns:
    """Items in, messages out."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._messages: list[Message] = []
        self._assistant: _Assistant | None = None
        self._held: list[Item] = []
        """Reasoning whose message has not come yet."""

    def take(self, item: Item, param: str) -> None:
        """Take in the next item."""
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind == "message":
            self._take_message(item, param)
        elif kind == "reasoning":
            self._held.append(item)
        elif kind == "function_call":
            self._acting().call(item, _function(item, param))
        elif kind == "custom_tool_call":
            self._acting().call(item, _custom(item, param))
        elif kind in OUTPUTS:
            self._take_output(item, param)
        elif kind == "item_reference":
            raise UnsupportedParameter(
                "items are not stored here and cannot be referred to", param=param
            )
        elif not isinstance(kind, str):
            where = f"{param}.type"
            raise InvalidRequest(f"{where} must be a string", param=where)
        elif kind != TOOLS_ITEM:
            self._context.drop(f"input.{kind}")

    def close(self) -> list[Message]:
        """All messages."""
        self._end_turn()
        return self._messages

    def _take_message(self, item: Item, param: str) -> None:
        role = item.get("role")
        if role not in ROLES:
            where = f"{param}.role"
            raise InvalidRequest(f"{where} is not known: {role!r}"[:200], param=where)
        parts = read_content(item.get("content"), f"{param}.content")
        if role == "assistant":
            self._acting().say(parts, item.get("phase"))
            return
        self._end_turn()
        self._held = []
        self._messages.append({"role": role, "content": collapsed(parts)})

    def _take_output(self, item: Item, param: str) -> None:
        call_id = x_parts.read_text(item, "call_id", param)
        parts = read_content(item.get("output"), f"{param}.output")
        self._end_turn()
        message = {"role": "tool", "tool_call_id": call_id, "content": collapsed(parts)}
        self._messages.append(message)

    def _acting(self) -> _Assistant:
        """The assistant's message that is being made, with its reasoning so far."""
        if self._assistant is None:
            self._assistant = _Assistant()
        for item in self._held:
            self._assistant.think(item)
        self._held = []
        return self._assistant

    def _end_turn(self) -> None:
        if self._assistant is not None:
            self._messages.append(self._assistant.message())
            self._assistant = None


class _Assistant:
    """What the assistant did between two turns of others, as one message."""

    def __init__(self) -> None:
        self._parts: list[list[Part]] = []
        self._calls: list[dict[str, Any]] = []
        self._shown: list[str] = []
        self._details: list[Detail] = []
        self._thoughts = 0
        self._pending = ""
        self._phase: Any = None

    def think(self, item: Item) -> None:
        """Take in a reasoning item."""
        self._settle()
        read = read_item(item, self._thoughts, wrapped=False)
        self._thoughts += 1
        self._shown += read.shown
        self._details += read.details
        self._pending = read.pending

    def say(self, parts: list[Part], phase: Any) -> None:
        """Take in a message."""
        self._parts.append(parts)
        self._phase = phase if isinstance(phase, str) else self._phase

    def call(self, item: Item, call: dict[str, Any]) -> None:
        """Take in a call; a Gemini signature that waits for one becomes its."""
        if self._pending:
            call["extra_content"] = {"google": {"thought_signature": self._pending}}
            self._pending = ""
        self._calls.append(call)

    def message(self) -> Message:
        """The message."""
        self._settle()
        message: Message = {"role": "assistant", "content": self._content()}
        if self._calls:
            message["tool_calls"] = self._calls
        if self._shown:
            message["reasoning_content"] = BETWEEN.join(self._shown)
        if self._details:
            message["reasoning_details"] = self._details
        if self._phase is not None:
            message["phase"] = self._phase
        return message

    def _settle(self) -> None:
        if self._pending:
            self._details.append(pending_detail(self._pending, self._thoughts - 1))
            self._pending = ""

    def _content(self) -> str | list[Part] | None:
        """The content; between the texts of two messages stands a blank line."""
        contents = [collapsed(parts) for parts in self._parts if parts]
        if all(isinstance(content, str) for content in contents):
            texts = [content for content in contents if isinstance(content, str)]
            text = BETWEEN.join(filter(None, texts))
            return text or (None if self._calls else "")
        return [part for parts in self._parts for part in parts]


def _function(item: Item, param: str) -> dict[str, Any]:
    arguments = item.get("arguments")
    if not isinstance(arguments, str):
        arguments = tools.write_arguments(arguments)
    function = {"name": _name(item, param), "arguments": arguments}
    call_id = x_parts.read_text(item, "call_id", param)
    return {"id": call_id, "type": "function", "function": function}


def _custom(item: Item, param: str) -> dict[str, Any]:
    text = item.get("input")
    custom = {"name": _name(item, param), "input": text if text is not None else ""}
    call_id = x_parts.read_text(item, "call_id", param)
    return {"id": call_id, "type": "custom", "custom": custom}


def _name(item: Item, param: str) -> str:
    name = x_parts.read_text(item, "name", param)
    return flat_name(item.get("namespace"), name)
