"""Messages of the middle form as items of a Responses request (specification, 13.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert import tools
from knight_tw.convert.context import Context
from knight_tw.convert.responses.outgoing_parts import input_content, output_content
from knight_tw.convert.responses.thoughts import BETWEEN, call_signature, own_items
from knight_tw.convert.signatures import FORMATS, OPENAI, owner, unwrap
from knight_tw.errors import InvalidRequest
from knight_tw.wire.answers import objects

Item = dict[str, Any]
Message = Mapping[str, Any]

SYSTEM = frozenset({"system", "developer"})
FAILED = "Error: "
NO_RESULT = "(no result)"
NOTHING = "..."
"""What the user says when nobody but the system speaks."""


def to_items(
    messages: list[dict[str, Any]], context: Context
) -> tuple[str, list[Item]]:
    """The instructions and the input items of a conversation.

    Raises:
        InvalidRequest: a message cannot be read; `param` is its path.
        UnsupportedContent: a part that the Responses API cannot see.
    """
    leading = 0
    while leading < len(messages) and messages[leading].get("role") in SYSTEM:
        leading += 1
    texts = [
        x_parts.joined(
            x_parts.read_parts(message.get("content"), f"messages.{index}.content"),
            BETWEEN,
        )
        for index, message in enumerate(messages[:leading])
    ]
    history = _History(context)
    for index in range(leading, len(messages)):
        history.take(messages[index], f"messages.{index}")
    items = history.close() or [_message("user", NOTHING)]
    return BETWEEN.join(filter(None, texts)), items


class _History:
    """Messages in, items out; every call gets its output, every output has a call."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._items: list[Item] = []
        self._open: dict[str, str] = {}
        """Calls without an output so far, by id: the type of the output."""

    def take(self, message: Message, param: str) -> None:
        """Take in the next message."""
        role = message.get("role")
        if role == "tool":
            self._result(message, param)
            return
        self._complete()
        if message.get("name"):
            self._context.drop("name")
        if role == "assistant":
            self._items += self._assistant(message, param)
        elif role == "user" or role in SYSTEM:
            where = f"{param}.content"
            content = input_content(message.get("content"), self._context, where)
            self._items.append(_message(str(role), content))
        else:
            where = f"{param}.role"
            raise InvalidRequest(f"{where} is not known: {role!r}"[:200], param=where)

    def close(self) -> list[Item]:
        """All items."""
        self._complete()
        return self._items

    def _complete(self) -> None:
        """The API refuses a call without an output."""
        for call_id, kind in self._open.items():
            output = {"type": kind, "call_id": call_id, "output": NO_RESULT}
            self._items.append(output)
        self._open = {}

    def _result(self, message: Message, param: str) -> None:
        call_id = tools.openai_id(str(message.get("tool_call_id") or ""))
        where = f"{param}.content"
        content = input_content(message.get("content"), self._context, where)
        if message.get("is_error"):
            content = _as_error(content)
        kind = self._open.pop(call_id, None)
        if kind is not None:
            item = {"type": kind, "call_id": call_id, "output": content}
            self._items.append(item)
            return
        label = {"type": "input_text", "text": f"[result of {call_id}]"}
        parts = [{"type": "input_text", "text": content}]
        if not isinstance(content, str):
            parts = content
        self._items.append(_message("user", [label, *parts]))

    def _assistant(self, message: Message, param: str) -> Iterator[Item]:
        calls = [
            _call(call, self._context) for call in objects(message.get("tool_calls"))
        ]
        for call in calls:
            self._open[call["call_id"]] = f"{call['type']}_output"
        native = _native(message, calls)
        if native is not None:
            yield from native
            return
        thoughts = own_items(message)
        yield from thoughts
        said = output_content(message, self._context, f"{param}.content")
        if said:
            item = _message("assistant", said)
            if isinstance(message.get("phase"), str):
                item["phase"] = message["phase"]
            yield item
        for name in ("images", "audio"):
            if message.get(name):
                self._context.drop(name)
        sent = {thought["encrypted_content"] for thought in thoughts}
        for call, x_call in zip(calls, objects(message.get("tool_calls")), strict=True):
            secret = _secret(x_call)
            if secret and secret not in sent:
                yield {"type": "reasoning", "summary": [], "encrypted_content": secret}
            yield call


def _message(role: str, content: str | list[Item]) -> Item:
    return {"type": "message", "role": role, "content": content}


def _as_error(content: str | list[Item]) -> str | list[Item]:
    """A result that says that it is an error: there is no flag for it here."""
    if isinstance(content, str):
        return content if content.startswith(FAILED) else FAILED + content
    first = content[0] if content else {}
    if str(first.get("text") or "").startswith(FAILED):
        return content
    if first.get("type") == "input_text":
        return [{**first, "text": FAILED + first["text"]}, *content[1:]]
    return [{"type": "input_text", "text": FAILED.strip()}, *content]


def _call(call: dict[str, Any], context: Context) -> Item:
    custom = call.get("custom")
    item: Item = {"type": "function_call"}
    if isinstance(custom, Mapping):
        item["type"] = "custom_tool_call"
    item["call_id"] = tools.openai_id(str(call.get("id") or context.ids("call_")))
    item["name"] = tools.sent_name(tools.call_name(call), context.memory)
    if isinstance(custom, Mapping):
        item["input"] = str(custom.get("input") or "")
    else:
        item["arguments"] = tools.call_arguments(call) or "{}"
    return item


def _secret(call: Mapping[str, Any]) -> str:
    """OpenAI's secret that a Gemini client carries on a call, unwrapped."""
    signature = call_signature(call)
    return unwrap(signature)[1] if owner(signature) == OPENAI else ""


def _native(message: Message, calls: list[Item]) -> list[Item] | None:
    """The provider's own items, if the client has them and did not edit the message."""
    native = message.get("native_blocks")
    if not isinstance(native, Mapping) or native.get("format") != FORMATS[OPENAI]:
        return None
    items = objects(native.get("content"))
    messages = (item for item in items if item.get("type") == "message")
    said = "".join(x_parts.text_of(item.get("content")) for item in messages)
    text = x_parts.text_of(message.get("content"))
    if said.replace(BETWEEN, "") != text.replace(BETWEEN, ""):
        return None
    ids = [item.get("call_id") for item in items if str(item.get("type")) in _CALLS]
    return items if ids == [call["call_id"] for call in calls] else None


_CALLS = frozenset({"function_call", "custom_tool_call"})
