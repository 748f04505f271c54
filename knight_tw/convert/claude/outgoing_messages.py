"""Messages of the middle form as Claude's: turns with content blocks (specification 3).

Claude wants the results of tools in the user turn right after the calls, before
anything else in it, one for each call; reasoning first in an assistant turn, signed by
Claude itself; and a user turn at the beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from knight_tw.convert import parts as x_parts
from knight_tw.convert import reasoning, tools
from knight_tw.convert.claude import models
from knight_tw.convert.claude.outgoing_parts import Block, marker, to_blocks
from knight_tw.convert.context import Context
from knight_tw.convert.signatures import ANTHROPIC, FORMATS, native
from knight_tw.errors import InvalidRequest, UnsupportedContent

NOTHING = "..."
"""The text of a user turn that has none: the API refuses empty ones."""
NO_RESULT = "(no result)"
"""The result of a call that the client never answered."""

SYSTEM_ROLES = ("system", "developer")
THINKING = ("thinking", "redacted_thinking")


def to_messages(
    messages: Sequence[dict[str, Any]], context: Context
) -> tuple[list[Block], list[dict[str, Any]]]:
    """The system blocks and the messages of a Claude request.

    Raises:
        InvalidRequest: a message cannot be read.
        UnsupportedContent: a part that Claude cannot see.
    """
    system: list[Block] = []
    turns = _Turns(context)
    for index, message in enumerate(messages):
        role, param = message.get("role"), f"messages.{index}"
        if message.get("name") and role != "tool":
            context.drop("name")
        if role in SYSTEM_ROLES:
            blocks = _system_blocks(message, param)
            if turns.messages and models.takes_inline_system(context):
                turns.add_system(blocks)
            else:
                system += blocks
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


def lacks_thinking(messages: Sequence[Mapping[str, Any]]) -> bool:
    """True when the last assistant turn calls tools without having thought before.

    With thinking on the API refuses such a turn: the client did not keep the blocks.
    """
    for message in reversed(messages):
        if message["role"] == "assistant":
            blocks = message["content"]
            calls = any(block["type"] == "tool_use" for block in blocks)
            return calls and blocks[0]["type"] not in THINKING
    return False


@define(eq=False)
class _Turns:
    """Claude's messages as they grow; results of tools are held until their turn."""

    _context: Context
    messages: list[dict[str, Any]] = field(factory=list)
    _waiting: list[str] = field(factory=list)
    _results: list[Block] = field(factory=list)
    _strays: list[Block] = field(factory=list)
    _system: list[Block] = field(factory=list)

    def add_system(self, blocks: list[Block]) -> None:
        """A system message between others, after the results that belong together."""
        self._system += blocks
        if not self._waiting:
            self._flush()

    def add_user(self, message: Mapping[str, Any], param: str) -> None:
        """A user message; results of tools that stand before it join it."""
        content = message.get("content")
        blocks = to_blocks(
            x_parts.read_parts(content, f"{param}.content"),
            f"{param}.content",
            self._context,
        )
        _mark_last(blocks, message)
        plain = isinstance(content, str) and not (blocks and x_parts.marked(blocks[0]))
        if plain and not (self._waiting or self._results or self._strays):
            self._append("user", content or NOTHING)
            return
        self._flush(blocks, empty=not isinstance(content, str))

    def add_assistant(self, message: Mapping[str, Any], param: str) -> None:
        """An assistant message; one that says nothing is left out."""
        self._flush()
        blocks = _assistant_blocks(message, param, self._context)
        if blocks:
            self._append("assistant", blocks)
            calls = [block for block in blocks if block["type"] == "tool_use"]
            self._waiting = [block["id"] for block in calls]

    def add_result(self, message: Mapping[str, Any], param: str) -> None:
        """A tool's result; one that nobody asked for becomes a text."""
        call_id = tools.claude_id(x_parts.read_text(message, "tool_call_id", param))
        content = _result_content(message, f"{param}.content", self._context)
        if call_id not in self._waiting:
            self._strays += _stray(call_id, content)
            return
        self._waiting.remove(call_id)
        result: Block = {"type": "tool_result", "tool_use_id": call_id}
        result["content"] = content
        if message.get("is_error"):
            result["is_error"] = True
        self._results.append(result | marker(message))

    def close(self) -> list[dict[str, Any]]:
        """All messages, in the form that the API takes."""
        self._flush()
        messages = self.messages
        if not messages or messages[0]["role"] != "user":
            messages.insert(0, {"role": "user", "content": NOTHING})
        if messages[-1]["role"] == "assistant":
            _strip_end(messages)
        return messages

    def _flush(self, blocks: list[Block] | None = None, *, empty: bool = False) -> None:
        """Write what is held, and `blocks`, as one user message."""
        held = [*self._results, *map(_missing, self._waiting), *self._strays]
        self._waiting, self._results, self._strays = [], [], []
        held += blocks or []
        if held:
            self._append("user", held)
        elif empty or blocks is not None:
            self._append("user", NOTHING)
        if self._system:
            self._append("system", self._system)
            self._system = []

    def _append(self, role: str, content: Any) -> None:
        self.messages.append({"role": role, "content": content})


def _system_blocks(message: Mapping[str, Any], param: str) -> list[Block]:
    """One text block for each text of a system message."""
    blocks: list[Block] = []
    where = f"{param}.content"
    for index, part in enumerate(x_parts.read_parts(message.get("content"), where)):
        if part["type"] != "text":
            raise UnsupportedContent(
                f"a system message cannot hold {part['type']}",
                param=f"{where}.{index}.type",
            )
        if part["text"]:
            blocks.append({"type": "text", "text": part["text"], **marker(part)})
    _mark_last(blocks, message)
    return blocks


def _assistant_blocks(
    message: Mapping[str, Any], param: str, context: Context
) -> list[Block]:
    """Reasoning, text, refusal and calls, in this order."""
    calls = x_parts.read_objects(message.get("tool_calls"), f"{param}.tool_calls")
    kept = _native_blocks(message, calls)
    if kept is not None:
        return kept
    for name in ("images", "audio"):
        if message.get(name):
            context.drop(name)
    blocks = [*_reasoning_blocks(message)]
    content = x_parts.read_parts(message.get("content"), f"{param}.content")
    for index, part in enumerate(content):
        if part["type"] not in ("text", "refusal"):
            raise UnsupportedContent(
                f"an assistant message cannot hold {part['type']} for Claude",
                param=f"{param}.content.{index}.type",
            )
        text = part.get(part["type"])
        if isinstance(text, str) and text:
            blocks.append({"type": "text", "text": text, **marker(part)})
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        blocks.append(x_parts.text_part(refusal))
    blocks += [_tool_use(call, context) for call in calls]
    _mark_last(blocks, message)
    return blocks


def _native_blocks(
    message: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]
) -> list[Block] | None:
    """Claude's own content array that a client gives back, if it did not edit it."""
    kept = message.get("native_blocks")
    if not isinstance(kept, Mapping) or kept.get("format") != FORMATS[ANTHROPIC]:
        return None
    content = kept.get("content")
    if not isinstance(content, list) or not content:
        return None
    blocks = [block for block in content if isinstance(block, dict)]
    texts = [block for block in blocks if block.get("type") == "text"]
    ids = [block.get("id") for block in blocks if block.get("type") == "tool_use"]
    same = x_parts.joined(texts) == x_parts.text_of(message.get("content"))
    return blocks if same and ids == [call.get("id") for call in calls] else None


def _reasoning_blocks(message: Mapping[str, Any]) -> list[Block]:
    """Reasoning that Claude itself signed; anything else it would refuse."""
    blocks: list[Block] = []
    for piece in reasoning.pieces(message):
        signature = native(ANTHROPIC, piece.signature)
        if piece.letter != ANTHROPIC or signature is None:
            continue
        if piece.encrypted:
            blocks.append({"type": "redacted_thinking", "data": signature})
        else:
            thinking = {"type": "thinking", "thinking": piece.text}
            blocks.append({**thinking, "signature": signature})
    return blocks


def _tool_use(call: Mapping[str, Any], context: Context) -> Block:
    name = tools.sent_name(tools.call_name(call), context.memory, tools.CLAUDE_LIMIT)
    arguments = tools.parse_arguments(tools.call_arguments(call))
    call_id = tools.claude_id(str(call.get("id") or ""))
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def _result_content(
    message: Mapping[str, Any], param: str, context: Context
) -> str | list[Block]:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    return to_blocks(x_parts.read_parts(content, param), param, context)


def _stray(call_id: str, content: str | list[Block]) -> list[Block]:
    """The result of a call that is not there, as a text for the model."""
    title = f"[result of {call_id}]"
    if isinstance(content, str):
        return [x_parts.text_part(f"{title} {content}".rstrip())]
    return [x_parts.text_part(title), *content]


def _missing(call_id: str) -> Block:
    result: Block = {"type": "tool_result", "tool_use_id": call_id}
    return {**result, "content": NO_RESULT, "is_error": True}


def _mark_last(blocks: list[Block], message: Mapping[str, Any]) -> None:
    """A marker on the message itself stands for one on its last block."""
    if blocks and x_parts.marked(message):
        blocks[-1] = {**blocks[-1], **marker(message)}


def _strip_end(messages: list[dict[str, Any]]) -> None:
    """The API refuses an answer begun by the client that ends in white space."""
    blocks = messages[-1]["content"]
    last = blocks[-1]
    if last["type"] != "text":
        return
    text = last["text"].rstrip()
    blocks[-1:] = [{**last, "text": text}] if text else []
    if not blocks:
        messages.pop()
