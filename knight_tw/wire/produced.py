"""What an answer consists of, kept for counting when the provider reports no usage."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

KEPT = 4 * 1024 * 1024
"""Most characters kept of one answer; of what is beyond only the length is known."""


class Produced:
    """Text, reasoning, tool names and arguments of one answer, in the order they came.

    Attributes:
        characters: All of them, also those beyond the limit.
    """

    __slots__ = ("_kept", "_limit", "characters")

    def __init__(self, limit: int = KEPT) -> None:
        self._kept = io.StringIO()
        self._limit = limit
        self.characters = 0

    def add(self, text: str) -> None:
        """Take in one more piece."""
        if self.characters < self._limit:
            self._kept.write(text[: self._limit - self.characters])
        self.characters += len(text)

    @property
    def text(self) -> str:
        """What was kept; scale a count of it by `characters / len(text)`."""
        return self._kept.getvalue()

    def add_content(self, content: Any) -> None:
        """Take in a `content` member: a text, or a list of parts with text in them."""
        if isinstance(content, str):
            self.add(content)
        elif isinstance(content, list):
            for part in content:
                if isinstance(part, Mapping):
                    self.add_content(part.get("text"))
                    self.add_content(part.get("thinking"))

    def add_calls(self, calls: Any) -> None:
        """Take in names and arguments of a `tool_calls` member."""
        if not isinstance(calls, list):
            return
        for call in calls:
            if isinstance(call, Mapping):
                self.add_call(call.get("function"))
                self.add_call(call.get("custom"))

    def add_call(self, call: Any) -> None:
        """Take in one called function or custom tool."""
        if not isinstance(call, Mapping):
            return
        for name in ("name", "arguments", "input"):
            value = call.get(name)
            if isinstance(value, str):
                self.add(value)
