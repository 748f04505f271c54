"""Puts an administrator's system prompt into a request, in the client's dialect.

Relay specification, section 9, step 4: a request without system text gets the prompt;
one that has some is left alone, unless the prompt shall stand in front of it: joined
with one line break to a text, as a new first block to a list. It happens before any
conversion, so every provider gets it.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from knight_tw.errors import InvalidRequest
from knight_tw.records import Dialect
from knight_tw.wire import top

SYSTEM_ROLES = ("system", "developer")

Body = MutableMapping[str, Any]


class _Role(Struct, gc=False):
    role: Any = None


_ROLE = msgspec.json.Decoder(_Role)
_LIST = msgspec.json.Decoder(list[Raw])


def inject(
    body: Body, dialect: Dialect, prompt: str, *, override: bool, role: str = "system"
) -> None:
    """Put `prompt` into a request body, in place.

    Args:
        dialect: The body's; dialects without a system prompt are left alone.
        override: Whether the prompt stands in front of the request's own.
        role: The role of the message that a chat request without one gets.

    Raises:
        InvalidRequest: the place for it holds something else.
    """
    if not prompt:
        return
    if dialect is Dialect.CHAT:
        _into_chat(body, prompt, override, role)
    elif dialect is Dialect.GEMINI:
        _into_gemini(body, prompt, override)
    elif dialect is Dialect.CLAUDE:
        _into_member(body, "system", prompt, override)
    elif dialect is Dialect.RESPONSES:
        _into_member(body, "instructions", prompt, override)


def split_messages(body: Body, name: str = "messages") -> list[Any]:
    """The list's entries, still undecoded when nobody decoded them.

    Raises:
        InvalidRequest: the member is no list.
    """
    value = body.get(name)
    if isinstance(value, Raw):
        try:
            return list(_LIST.decode(value))
        except (msgspec.DecodeError, RecursionError):
            raise InvalidRequest(f"{name} must be a list", param=name) from None
    if isinstance(value, list):
        return list(value)
    if value is None:
        return []
    raise InvalidRequest(f"{name} must be a list", param=name)


def role_of(message: Any) -> str:
    """A message's role, empty when it has none; only that member is decoded."""
    if isinstance(message, Raw):
        try:
            message = {"role": _ROLE.decode(message).role}
        except (msgspec.DecodeError, RecursionError):
            return ""
    role = message.get("role") if isinstance(message, Mapping) else None
    return role if isinstance(role, str) else ""


def find_system(messages: list[Any]) -> int | None:
    """The place of the first system or developer message."""
    for index, message in enumerate(messages):
        if role_of(message) in SYSTEM_ROLES:
            return index
    return None


def in_front(content: Any, prompt: str, param: str) -> Any:
    """`content` with the prompt before it: in the text, or as a new first block."""
    if isinstance(content, str):
        return f"{prompt}\n{content}"
    if isinstance(content, list):
        return [{"type": "text", "text": prompt}, *content]
    raise InvalidRequest(f"{param} must be a string or a list", param=param)


def _into_chat(body: Body, prompt: str, override: bool, role: str) -> None:
    messages = split_messages(body)
    index = find_system(messages)
    if index is None:
        body["messages"] = [{"role": role, "content": prompt}, *messages]
        return
    if override:
        param = f"messages.{index}"
        message = messages[index]
        if isinstance(message, Raw):
            message = top.decoded(message, param)
        content = message.get("content") or ""
        first = in_front(content, prompt, f"{param}.content") if content else prompt
        messages[index] = {**message, "content": first}
        body["messages"] = messages


def _into_member(body: Body, name: str, prompt: str, override: bool) -> None:
    content = top.plain(body, name)
    if not content:
        body[name] = prompt
    elif override:
        body[name] = in_front(content, prompt, name)


def _into_gemini(body: Body, prompt: str, override: bool) -> None:
    """The parts of `systemInstruction`, in whichever spelling the client used."""
    snake = "system_instruction" in body
    name = "system_instruction" if snake else "systemInstruction"
    instruction = top.read_object(body, name) or {}
    parts = instruction.get("parts") or []
    if isinstance(parts, dict):
        parts = [parts]
    if not isinstance(parts, list):
        raise InvalidRequest(f"{name}.parts must be a list", param=f"{name}.parts")
    if override or not any(isinstance(p, dict) and p.get("text") for p in parts):
        body[name] = {**instruction, "parts": [{"text": prompt}, *parts]}
