"""Claude's messages in the middle form (conversion specification, 5).

A Claude user turn may hold the results of tools; they become messages of their own,
before the rest of the turn. An assistant turn's blocks are taken apart into reasoning,
text and calls; the blocks of Claude's own tools, whose outcome is in the text that
follows, are left out and reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define, field

from knight_tw.convert import parts as x_parts
from knight_tw.convert import reasoning, tools
from knight_tw.convert.claude.incoming_parts import Block, marker, to_parts
from knight_tw.convert.context import Context
from knight_tw.convert.signatures import ANTHROPIC, GOOGLE, owner, wrap
from knight_tw.errors import InvalidRequest

Message = dict[str, Any]


def system_message(system: Any) -> list[Message]:
    """The system prompt as a message; none when there is none.

    Raises:
        InvalidRequest: it is neither a text nor a list of text blocks.
    """
    parts = x_parts.read_parts(system, "system")
    for index, block in enumerate(parts):
        if block["type"] != "text":
            where = f"system.{index}.type"
            raise InvalidRequest(f"{where} must be text", param=where)
    texts = [
        {**x_parts.text_part(block["text"]), **marker(block)}
        for block in parts
        if block["text"]
    ]
    return [{"role": "system", "content": x_parts.collapsed(texts)}] if texts else []


def from_messages(messages: Sequence[Message], context: Context) -> list[Message]:
    """The messages of the middle form for those of a Claude request.

    Raises:
        InvalidRequest: a message cannot be read.
        UnsupportedContent: a block that only Claude itself can see.
    """
    found: list[Message] = []
    for index, message in enumerate(messages):
        param = f"messages.{index}"
        role = message.get("role")
        blocks = x_parts.read_parts(message.get("content"), f"{param}.content")
        if role == "user":
            found += _user(blocks, f"{param}.content", context)
        elif role == "assistant":
            found.append(_Turn(context, f"{param}.content").read(blocks))
        elif role == "system":
            parts = to_parts(blocks, f"{param}.content", context)
            found.append({"role": "system", "content": x_parts.collapsed(parts)})
        else:
            where = f"{param}.role"
            raise InvalidRequest(f"{where} is not a role: {role!r}"[:200], param=where)
    return found


def _user(blocks: Sequence[Block], param: str, context: Context) -> Iterator[Message]:
    """The results of tools in a user turn, then what else is in it."""
    parts: list[x_parts.Part] = []
    for index, block in enumerate(blocks):
        where = f"{param}.{index}"
        if block["type"] == "tool_result":
            yield _result(block, where, context)
        else:
            parts += to_parts([block], param, context, first=index)
    if parts:
        yield {"role": "user", "content": x_parts.collapsed(parts)}
    elif not any(block["type"] == "tool_result" for block in blocks):
        yield {"role": "user", "content": ""}


def _result(block: Block, param: str, context: Context) -> Message:
    call_id = x_parts.read_text(block, "tool_use_id", param)
    content = block.get("content")
    if not isinstance(content, str):
        where = f"{param}.content"
        parts = to_parts(x_parts.read_parts(content, where), where, context)
        plain = x_parts.only_text(parts) and not any(map(x_parts.marked, parts))
        content = x_parts.joined(parts, "\n") if plain else parts
    message: Message = {"role": "tool", "tool_call_id": call_id, "content": content}
    if block.get("is_error"):
        message["is_error"] = True
    return {**message, **marker(block)}


@define(eq=False)
class _Turn:
    """An assistant turn taken apart, block by block.

    A signature of Gemini stands on a thinking block before the call it belongs to; it
    is put back on that call, or kept by itself when no call follows.
    """

    _context: Context
    _param: str
    _texts: list[x_parts.Part] = field(factory=list)
    _thoughts: list[str] = field(factory=list)
    _details: list[reasoning.Detail] = field(factory=list)
    _calls: list[dict[str, Any]] = field(factory=list)
    _google: str = ""
    _index: int = 0

    def read(self, blocks: Sequence[Block]) -> Message:
        """The assistant message of the middle form."""
        for index, block in enumerate(blocks):
            self._take(block, f"{self._param}.{index}")
        self._keep_google()
        marks = any(map(x_parts.marked, self._texts))
        text = x_parts.joined(self._texts)
        message: Message = {"role": "assistant"}
        message["content"] = self._texts if marks else text or None
        if not self._calls and not message["content"]:
            message["content"] = ""
        if self._thoughts:
            message["reasoning_content"] = "\n\n".join(self._thoughts)
        if self._details:
            message["reasoning_details"] = self._details
        if self._calls:
            message["tool_calls"] = self._calls
        return message

    def _take(self, block: Block, param: str) -> None:
        kind = block["type"]
        if kind == "text":
            if block["text"]:
                text = x_parts.text_part(block["text"])
                self._texts.append({**text, **marker(block)})
        elif kind == "thinking":
            self._take_thinking(block, param)
        elif kind == "redacted_thinking":
            secret = x_parts.read_text(block, "data", param)
            self._add(reasoning.encrypted_detail(ANTHROPIC, secret, self._index))
        elif kind == "tool_use":
            self._take_call(block, param)
        else:
            self._context.drop(kind)

    def _take_thinking(self, block: Block, param: str) -> None:
        text = x_parts.read_text(block, "thinking", param)
        signature = block.get("signature")
        signature = signature if isinstance(signature, str) else ""
        letter = owner(signature) or ANTHROPIC
        if letter == GOOGLE:
            self._keep_google()
            self._google, signature = signature, ""
        if text:
            self._thoughts.append(text)
        if text or signature:
            self._add(reasoning.text_detail(letter, text, self._index, signature))

    def _take_call(self, block: Block, param: str) -> None:
        arguments = tools.write_arguments(block.get("input"))
        function = {
            "name": x_parts.read_text(block, "name", param),
            "arguments": arguments,
        }
        call_id = x_parts.read_text(block, "id", param)
        call: dict[str, Any] = {"id": call_id, "type": "function", "function": function}
        if self._google:
            signature = wrap(GOOGLE, self._google)
            call["extra_content"] = {"google": {"thought_signature": signature}}
            self._google = ""
        self._calls.append(call)

    def _keep_google(self) -> None:
        """A signature that no call followed belongs to the text or the thought."""
        if self._google:
            self._add(reasoning.encrypted_detail(GOOGLE, self._google, self._index))
            self._google = ""

    def _add(self, detail: reasoning.Detail) -> None:
        self._details.append(detail)
        self._index += 1
