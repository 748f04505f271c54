"""What a `tool_choice` of the middle form asks for, read once for every dialect.

Source: OpenAI's chat completions reference, `tool_choice`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from knight_tw.convert import parts, tools
from knight_tw.errors import InvalidRequest

MODES = ("none", "auto", "required")


@frozen
class ToolChoice:
    """A choice that was made.

    Attributes:
        mode: One of `MODES`; `required` with a `name` means that tool.
        name: The one tool that must be called, or empty.
        allowed: The tools that may be called, in the client's order; None for all.
    """

    mode: str
    name: str = ""
    allowed: tuple[str, ...] | None = None


def read_choice(choice: Any) -> ToolChoice | None:
    """The choice, None when the client made none.

    Raises:
        InvalidRequest: it cannot be read.
    """
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice in MODES:
            return ToolChoice(choice)
        raise InvalidRequest("tool_choice is not known", param="tool_choice")
    if not isinstance(choice, Mapping):
        raise InvalidRequest("tool_choice must be an object", param="tool_choice")
    if choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools")
        inner = inner if isinstance(inner, Mapping) else choice
        entries = parts.read_objects(inner.get("tools"), "tool_choice.tools")
        names = tuple(tools.call_name(e) or str(e.get("name")) for e in entries)
        mode = inner.get("mode")
        return ToolChoice(mode if mode in MODES else "auto", allowed=names)
    name = tools.call_name(choice)
    if not name:
        raise InvalidRequest("tool_choice names no tool", param="tool_choice")
    return ToolChoice("required", name)
