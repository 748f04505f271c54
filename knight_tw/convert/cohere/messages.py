"""Messages of the middle form as Cohere's, version 2.

They are nearly OpenAI's. Reasoning before tool calls is Cohere's `tool_plan`, which it
takes back; other reasoning is not given back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert import reasoning, tools
from knight_tw.convert.context import Context
from knight_tw.errors import InvalidRequest, UnsupportedContent

Message = dict[str, Any]

SYSTEM_ROLES = ("system", "developer")


def to_messages(
    messages: Sequence[Mapping[str, Any]], context: Context
) -> list[Message]:
    """The messages of a Cohere request.

    Raises:
        InvalidRequest: a message cannot be read.
        UnsupportedContent: a part that Cohere cannot see.
    """
    own: list[Message] = []
    for index, message in enumerate(messages):
        role, param = message.get("role"), f"messages.{index}"
        where = f"{param}.content"
        if message.get("name") and role != "tool":
            context.drop("name")
        if role in SYSTEM_ROLES:
            own.append({"role": "system", "content": _text(message, where)})
        elif role == "user":
            own.append({"role": "user", "content": _content(message, where)})
        elif role == "assistant":
            own.append(_assistant(message, param, context))
        elif role == "tool":
            call_id = x_parts.read_text(message, "tool_call_id", param)
            content = _text(message, where)
            own.append({"role": "tool", "tool_call_id": call_id, "content": content})
        else:
            place = f"{param}.role"
            raise InvalidRequest(f"{place} is not a role: {role!r}"[:200], param=place)
    return own


def _text(message: Mapping[str, Any], param: str) -> str:
    """The text of a message that may hold nothing else."""
    parts = x_parts.read_parts(message.get("content"), param)
    for index, part in enumerate(parts):
        if part["type"] != "text":
            raise _unseen(part, f"{param}.{index}.type")
    return x_parts.joined(parts)


def _content(message: Mapping[str, Any], param: str) -> Any:
    """A user's content: a text, or a list with pictures in it."""
    parts = x_parts.read_parts(message.get("content"), param)
    if x_parts.only_text(parts):
        return x_parts.joined(parts)
    return [_part(part, f"{param}.{index}") for index, part in enumerate(parts)]


def _part(part: Mapping[str, Any], param: str) -> Message:
    if part["type"] == "text":
        return x_parts.text_part(part["text"])
    image = part.get("image_url")
    if part["type"] != "image_url":
        raise _unseen(part, f"{param}.type")
    image = {"url": image} if isinstance(image, str) else image
    if not isinstance(image, Mapping):
        where = f"{param}.image_url"
        raise InvalidRequest(f"{where} must be an object", param=where)
    own = {"url": x_parts.read_text(image, "url", f"{param}.image_url")}
    if image.get("detail") in ("auto", "low", "high"):
        own["detail"] = image["detail"]
    return {"type": "image_url", "image_url": own}


def _unseen(part: Mapping[str, Any], param: str) -> UnsupportedContent:
    kind = str(part["type"])
    return UnsupportedContent(f"Cohere models cannot see {kind}"[:200], param=param)


def _assistant(message: Mapping[str, Any], param: str, context: Context) -> Message:
    own: Message = {"role": "assistant"}
    text = x_parts.text_of(message.get("content"))
    refusal = message.get("refusal")
    text = text or (refusal if isinstance(refusal, str) else "")
    calls = x_parts.read_objects(message.get("tool_calls"), f"{param}.tool_calls")
    if text or not calls:
        own["content"] = text
    if calls:
        own["tool_calls"] = [_call(call, context) for call in calls]
        plan = reasoning.shown(message)
        if plan:
            own["tool_plan"] = plan
    return own


def _call(call: Mapping[str, Any], context: Context) -> Message:
    name = tools.sent_name(tools.call_name(call), context.memory)
    arguments = tools.compact(tools.parse_arguments(tools.call_arguments(call)))
    function = {"name": name, "arguments": arguments}
    return {"id": str(call.get("id") or ""), "type": "function", "function": function}
