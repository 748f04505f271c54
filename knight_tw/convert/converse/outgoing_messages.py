"""Messages of the middle form as Converse's: turns that alternate, in blocks.

Neighbours of the same role become one turn. The results of tools stand in the user turn
right after the calls, one for each call; the first turn is the user's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from knight_tw.convert import parts as x_parts
from knight_tw.convert import tools
from knight_tw.convert.context import Context
from knight_tw.convert.converse.outgoing_parts import (
    Block,
    Parts,
    cache_point,
    text_block,
    with_text,
)
from knight_tw.errors import InvalidRequest

NOTHING = "..."
"""The text of a turn that has none: the API refuses empty ones."""
NO_RESULT = "(no result)"
"""The result of a call that the client never answered."""

SYSTEM_ROLES = ("system", "developer")


def to_messages(
    messages: Sequence[Mapping[str, Any]], context: Context
) -> tuple[list[Block], list[dict[str, Any]]]:
    """The system blocks and the messages of a Converse request.

    Raises:
        InvalidRequest: a message cannot be read.
        UnsupportedContent: a part that Converse cannot take.
    """
    system: list[Block] = []
    turns = _Turns(context, Parts(context))
    for index, message in enumerate(messages):
        role, param = message.get("role"), f"messages.{index}"
        if message.get("name") and role != "tool":
            context.drop("name")
        if role in SYSTEM_ROLES:
            system += turns.texts(message, f"{param}.content")
        elif role == "user":
            turns.add_user(message, param)
        elif role == "assistant":
            turns.add_assistant(message, param)
        elif role == "tool":
            turns.add_result(message, param)
        else:
            where = f"{param}.role"
            raise InvalidRequest(f"{where} is not a role: {role!r}"[:200], param=where)
    return system, turns.close()


def call_id(identity: Any) -> str:
    """A call's id as Bedrock takes it, the same for the call and its result."""
    return tools.openai_id(tools.claude_id(str(identity or "")))


@define(eq=False)
class _Turns:
    """Converse's messages as they grow."""

    _context: Context
    _parts: Parts
    messages: list[dict[str, Any]] = field(factory=list)
    _waiting: list[str] = field(factory=list)
    """Calls whose results have not come yet."""

    def texts(self, message: Mapping[str, Any], param: str) -> list[Block]:
        """The texts of a message of which others do not count."""
        blocks: list[Block] = []
        for part in x_parts.read_parts(message.get("content"), param):
            block = text_block(part.get(part["type"]))
            if block is not None:
                blocks += [block, *cache_point(part, self._context)]
        return blocks

    def add_user(self, message: Mapping[str, Any], param: str) -> None:
        """A user message."""
        self._answer_missing()
        blocks = self._parts.blocks(message.get("content"), f"{param}.content")
        self._append("user", with_text(blocks, NOTHING))

    def add_assistant(self, message: Mapping[str, Any], param: str) -> None:
        """An assistant message; one that says nothing is left out.

        Reasoning is not given back: its signatures are not Amazon's.
        """
        self._answer_missing()
        calls = x_parts.read_objects(message.get("tool_calls"), f"{param}.tool_calls")
        blocks = self.texts(message, f"{param}.content")
        refusal = text_block(message.get("refusal"))
        blocks += [refusal] if refusal is not None else []
        for call in calls:
            identity = call_id(call.get("id"))
            self._waiting.append(identity)
            name = tools.sent_name(tools.call_name(call), self._context.memory)
            used = {"toolUseId": identity, "name": name}
            arguments = tools.parse_arguments(tools.call_arguments(call))
            blocks.append({"toolUse": {**used, "input": arguments}})
        if blocks:
            self._append("assistant", blocks)

    def add_result(self, message: Mapping[str, Any], param: str) -> None:
        """A tool's result; one that nobody asked for becomes a text."""
        identity = call_id(x_parts.read_text(message, "tool_call_id", param))
        content = self._parts.blocks(message.get("content"), f"{param}.content")
        content = content or [{"text": NOTHING}]
        if identity in self._waiting:
            self._waiting.remove(identity)
            failed = bool(message.get("is_error"))
            self._append("user", [_result(identity, content, failed)])
        else:
            self._append("user", [{"text": f"[result of {identity}]"}, *content])

    def close(self) -> list[dict[str, Any]]:
        """All messages, in the form that the API takes."""
        self._answer_missing()
        if not self.messages or self.messages[0]["role"] != "user":
            first = {"role": "user", "content": [{"text": NOTHING}]}
            self.messages.insert(0, first)
        return self.messages

    def _answer_missing(self) -> None:
        waiting, self._waiting = self._waiting, []
        missing = [{"text": NO_RESULT}]
        results = [_result(identity, missing, True) for identity in waiting]
        if results:
            self._append("user", results)

    def _append(self, role: str, blocks: list[Block]) -> None:
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += blocks
        else:
            self.messages.append({"role": role, "content": blocks})


def _result(identity: str, content: list[Block], failed: bool) -> Block:
    result: Block = {"toolUseId": identity, "content": content}
    return {"toolResult": result | ({"status": "error"} if failed else {})}
