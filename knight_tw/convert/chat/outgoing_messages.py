"""Messages of the middle form as plain chat messages (conversion specification, 5).

Plain chat has no pictures in tool results: they follow in a user message that names the
call. It has no errors in tool results either; the text says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from knight_tw.convert import channels, media, tools
from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.convert.signatures import unwrap
from knight_tw.errors import InvalidRequest, UnsupportedContent

Message = dict[str, Any]
Part = x_parts.Part

ATTACHED = "(see attached)"
"""The text of a tool's result that has none, only pictures or files."""
ERROR = "Error: "

SYSTEM_ROLES = ("system", "developer")
_KEPT = ("role", "content", "name", "refusal", "audio")
"""Members of a message that plain chat knows, besides tool calls."""
_FILE = ("file_data", "file_id", "filename")


def to_messages(messages: Sequence[Message], context: Context) -> list[Message]:
    """The messages for a channel that speaks plain chat.

    Raises:
        InvalidRequest: a message cannot be read.
        UnsupportedContent: a part that the channel cannot see.
    """
    lowered = _Lowered(context)
    for index, message in enumerate(messages):
        lowered.add(message, f"messages.{index}")
    return lowered.close()


@define(eq=False)
class _Lowered:
    """Messages as they grow; what tool results carry is held for the next user."""

    _context: Context
    _messages: list[Message] = field(factory=list)
    _attached: list[Part] = field(factory=list)

    def add(self, message: Message, param: str) -> None:
        """Take one message."""
        role = message.get("role")
        if role == "tool":
            self._add_result(message, param)
        elif role == "user":
            self._add_user(message, param)
        elif role == "assistant":
            self._flush()
            self._messages.append(_assistant(message, param, self._context))
        elif role in SYSTEM_ROLES:
            self._messages.append(_system(message, param, self._context))
        else:
            where = f"{param}.role"
            raise InvalidRequest(f"{where} is not a role: {role!r}"[:200], param=where)

    def close(self) -> list[Message]:
        """All messages."""
        self._flush()
        return self._messages

    def _add_user(self, message: Message, param: str) -> None:
        """A user message; what the results before it carry joins it."""
        content = message.get("content")
        parts = _parts(content, f"{param}.content", message, self._context)
        held, self._attached = self._attached, []
        if not held and isinstance(content, str) and not any(map(_marked, parts)):
            lowered: Any = content
        else:
            lowered = x_parts.collapsed([*held, *parts]) if held or parts else ""
        self._messages.append({**_kept(message), "content": lowered})

    def _add_result(self, message: Message, param: str) -> None:
        """A tool's result: its text here, the rest after the turn's last result."""
        content, where = message.get("content"), f"{param}.content"
        call_id = x_parts.read_text(message, "tool_call_id", param)
        sent_id = tools.openai_id(call_id)
        if isinstance(content, list):
            parts = _parts(content, where, message, self._context)
            texts = [part for part in parts if part["type"] == "text"]
            others = [part for part in parts if part["type"] != "text"]
            text = x_parts.joined(texts, "\n")
            if others:
                self._attached.append(x_parts.text_part(f"[from tool call {call_id}]"))
                self._attached += others
                text = text or ATTACHED
        else:
            x_parts.read_parts(content, where)
            text = content or ""
        if message.get("is_error") and not text.startswith(ERROR):
            text = ERROR + text
        result = {"role": "tool", "tool_call_id": sent_id, "content": text}
        self._messages.append(result)

    def _flush(self) -> None:
        if self._attached:
            self._messages.append({"role": "user", "content": self._attached})
            self._attached = []


def _kept(message: Mapping[str, Any]) -> Message:
    return {n: message[n] for n in _KEPT if message.get(n) is not None}


def _system(message: Message, param: str, context: Context) -> Message:
    """The system prompt in the role and the form that the channel takes."""
    role = message["role"]
    if channels.takes_developer(context):
        role = "developer"
    elif not channels.is_strict(context):
        role = "system"
    content = message.get("content")
    if not isinstance(content, str):
        where = f"{param}.content"
        parts = _parts(content, where, message, context)
        marks = any(map(_marked, parts))
        content = parts if marks else x_parts.joined(parts, "\n\n")
    return {**_kept(message), "role": role, "content": content}


def _assistant(message: Message, param: str, context: Context) -> Message:
    lowered = _kept(message)
    content = message.get("content")
    if isinstance(content, list):
        parts = _parts(content, f"{param}.content", message, context)
        plain = x_parts.only_text(parts) and not any(map(_marked, parts))
        content = x_parts.joined(parts) if plain else parts
    lowered["content"] = content or None
    calls = x_parts.read_objects(message.get("tool_calls"), f"{param}.tool_calls")
    if calls:
        lowered["tool_calls"] = [_call(call, context) for call in calls]
    elif lowered["content"] is None and not lowered.get("refusal"):
        lowered["content"] = ""
    if message.get("images"):
        context.drop("images")
    if channels.takes_reasoning(context):
        lowered |= _reasoning(message, context)
    return lowered


def _call(call: Mapping[str, Any], context: Context) -> dict[str, Any]:
    call_id = tools.openai_id(str(call.get("id") or ""))
    if call.get("type") == "custom" and channels.is_strict(context):
        return {"id": call_id, "type": "custom", "custom": call.get("custom")}
    function = {
        "name": tools.sent_name(tools.call_name(call), context.memory),
        "arguments": tools.call_arguments(call) or "{}",
    }
    return {"id": call_id, "type": "function", "function": function}


def _reasoning(message: Mapping[str, Any], context: Context) -> Message:
    """The reasoning for channels that want it back; OpenRouter's with signatures."""
    found: Message = {}
    if message.get("reasoning_content"):
        found["reasoning_content"] = message["reasoning_content"]
    details = message.get("reasoning_details")
    if context.provider_type == channels.OPENROUTER and isinstance(details, list):
        found["reasoning_details"] = [
            _unwrapped(detail) for detail in details if isinstance(detail, Mapping)
        ]
    return found


def _unwrapped(detail: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(detail)
    for name in ("signature", "data"):
        if isinstance(changed.get(name), str):
            changed[name] = unwrap(changed[name])[1]
    return changed


def _parts(
    content: Any, param: str, message: Mapping[str, Any], context: Context
) -> list[Part]:
    """The parts of a content as the channel takes them, markers included."""
    parts = x_parts.read_parts(content, param)
    lowered = [
        _marker(_part(part, f"{param}.{index}", context), part, context)
        for index, part in enumerate(parts)
    ]
    if lowered and x_parts.marked(message):
        lowered[-1] = _marker(lowered[-1], message, context)
    return lowered


def _marked(part: Mapping[str, Any]) -> bool:
    return x_parts.marked(part)


def _marker(part: Part, said: Mapping[str, Any], context: Context) -> Part:
    """The part with the cache marker that the channel knows, or without one."""
    plain = {name: v for name, v in part.items() if name not in x_parts.MARKERS}
    if not x_parts.marked(said):
        return plain
    if channels.takes_cache_control(context):
        control = said.get("cache_control") or {"type": "ephemeral"}
        return {**plain, "cache_control": control}
    if channels.takes_breakpoints(context):
        own = said.get("prompt_cache_breakpoint") or {"mode": "explicit"}
        return {**plain, "prompt_cache_breakpoint": own}
    return plain


def _part(part: Part, param: str, context: Context) -> Part:
    kind = part["type"]
    if kind == "image_url":
        return _image(part, param)
    if kind == "file":
        return _file(part, param, context)
    if kind == "video_url" and context.accepts("video_url") is not True:
        raise UnsupportedContent("the model cannot see videos", param=f"{param}.type")
    return part


def _image(part: Part, param: str) -> Part:
    """A picture without what only the middle form says about it."""
    image = part.get("image_url")
    if isinstance(image, str):
        image = {"url": image}
    if not isinstance(image, Mapping) or not image.get("url"):
        where = f"{param}.image_url.url"
        raise UnsupportedContent("a picture needs a URL", param=where)
    known = {name: image[name] for name in ("url", "detail") if image.get(name)}
    return {**part, "image_url": known}


def _file(part: Part, param: str, context: Context) -> Part:
    """A file by its content; one that was given by URL was downloaded before."""
    file = part.get("file")
    if not isinstance(file, Mapping):
        where = f"{param}.file"
        raise InvalidRequest(f"{where} must be an object", param=where)
    known = {name: file[name] for name in _FILE if file.get(name)}
    url = file.get("file_url")
    if isinstance(url, str) and "file_data" not in known:
        found = media.content_of(url, context, f"{param}.file.file_url")
        if found.kind == "image":
            return {"type": "image_url", "image_url": {"url": found.url}}
        known.setdefault("filename", url.partition("?")[0].rpartition("/")[2])
        known["file_data"] = found.url
    if "file_data" in known and not known.get("filename"):
        known["filename"] = "document.pdf"
    return {"type": "file", "file": known}
