"""Tools and their calls where dialects differ: ids, names, free-form tools (2.7)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from knight_tw.convert.context import Memory

CLAUDE_LIMIT = 128
"""Most characters of a tool name that Claude takes."""

OPENAI_LIMIT = 64
"""Most characters of a call id or a tool name that OpenAI takes."""

UNPARSED = "_arguments"
"""The member that carries arguments that are no JSON object."""

_CUSTOM_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}
_NOT_CLAUDE = re.compile(r"[^A-Za-z0-9_-]")
_ANY = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


def claude_id(call_id: str) -> str:
    """The id as Claude takes it, the same for each occurrence of the same id."""
    return _NOT_CLAUDE.sub("_", call_id) or "_"


def openai_id(call_id: str) -> str:
    """The id as OpenAI takes it: a longer one is cut and told apart by a hash."""
    if len(call_id) <= OPENAI_LIMIT:
        return call_id
    return f"{call_id[:40]}_{hashlib.sha256(call_id.encode()).hexdigest()[:16]}"


def compact(value: Any) -> str:
    """JSON text without blanks."""
    return _encode(value).decode()


def parse_arguments(text: Any) -> dict[str, Any]:
    """The object in a call's arguments; what is none is kept under `_arguments`."""
    if isinstance(text, dict):
        return text
    if not isinstance(text, str) or not text.strip():
        return {}
    try:
        value = _ANY.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {UNPARSED: text}
    return value if isinstance(value, dict) else {UNPARSED: text}


def write_arguments(value: Any) -> str:
    """The arguments text of an object; the reverse of `parse_arguments`."""
    if not isinstance(value, Mapping):
        return "{}" if value is None else compact(value)
    raw = value.get(UNPARSED)
    if len(value) == 1 and isinstance(raw, str):
        return raw
    return compact(value)


def schema_of(parameters: Any) -> dict[str, Any]:
    """A tool's schema with an object at the top, otherwise unchanged (2.4)."""
    if not isinstance(parameters, dict) or not parameters:
        return {"type": "object", "properties": {}}
    return parameters if "type" in parameters else {"type": "object", **parameters}


def call_name(call: Mapping[str, Any]) -> str:
    """The name in a tool call of the middle form, of either kind."""
    inner = call.get("function") or call.get("custom") or {}
    name = inner.get("name") if isinstance(inner, Mapping) else None
    return name if isinstance(name, str) else ""


def call_arguments(call: Mapping[str, Any]) -> str:
    """The arguments text of a tool call, a free-form one's as a function would have."""
    function = call.get("function")
    if isinstance(function, Mapping):
        arguments = function.get("arguments")
        return arguments if isinstance(arguments, str) else write_arguments(arguments)
    custom = call.get("custom")
    text = custom.get("input") if isinstance(custom, Mapping) else None
    return compact({"input": text if isinstance(text, str) else ""})


def as_function(custom: Mapping[str, Any], memory: Memory) -> dict[str, Any]:
    """The function `{name, description, parameters}` that stands for a free-form tool.

    Its name is remembered, so that `restored` can turn its calls back.
    """
    name = str(custom.get("name") or "")
    memory.custom_tools.add(name)
    texts = [str(custom.get("description") or ""), _grammar(custom.get("format"))]
    function: dict[str, Any] = {"name": name}
    if any(texts):
        function["description"] = "\n\n".join(text for text in texts if text)
    return {**function, "parameters": dict(_CUSTOM_SCHEMA)}


def _grammar(form: Any) -> str:
    """What a grammar demands, in words for the model."""
    if not isinstance(form, Mapping) or form.get("type") != "grammar":
        return ""
    inner = form.get("grammar")
    grammar = inner if isinstance(inner, Mapping) else form
    syntax, definition = grammar.get("syntax"), grammar.get("definition")
    if not definition:
        return ""
    return f"The input must match this {syntax or 'lark'} grammar:\n{definition}"


def restored(call: dict[str, Any], memory: Memory) -> dict[str, Any]:
    """A whole tool call as the client offered the tool: free-form ones as such."""
    name = call_name(call)
    if call.get("type") == "custom" or name not in memory.custom_tools:
        return call
    custom = {"name": name, "input": custom_input(call_arguments(call))}
    rest = {k: v for k, v in call.items() if k not in ("function", "type")}
    return {**rest, "type": "custom", "custom": custom}


def custom_input(arguments: str) -> str:
    """The free text in the arguments of a function that stands for a free-form tool."""
    text = parse_arguments(arguments).get("input")
    return text if isinstance(text, str) else arguments


def sent_name(name: str, memory: Memory, limit: int = OPENAI_LIMIT) -> str:
    """A tool's name as OpenAI and Claude take it; a changed one is remembered.

    Letters, digits, `_` and `-` are taken everywhere; Gemini has dots and colons too.
    """
    sent = _NOT_CLAUDE.sub("_", name)
    if len(sent) > limit or memory.sent_names.get(sent, name) != name:
        tail = hashlib.sha256(name.encode()).hexdigest()[:8]
        sent = f"{sent[: limit - 9]}_{tail}"
    if sent != name:
        memory.sent_names[sent] = name
    return sent


def own_name(sent: str, memory: Memory) -> str:
    """The name that `sent_name` changed to `sent`."""
    return memory.sent_names.get(sent, sent)
