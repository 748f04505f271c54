"""What an answer consists of, kept for counting when the provider reports no usage."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

KEPT = 4 * 1024 * 1024
"""Most characters kept of one answer; of what is beyond only the length is known."""


class Produced:
    """Text, reasoning, tool names and arguments of one answer, in the order they came.

    An answer whose usage is known is hardly ever looked at: with `later` it is read
    only when somebody asks.
    """

    __slots__ = ("_characters", "_kept", "_later", "_limit")

    def __init__(
        self, limit: int = KEPT, later: Callable[[Produced], None] | None = None
    ) -> None:
        self._kept = io.StringIO()
        self._limit = limit
        self._characters = 0
        self._later = later

    @property
    def characters(self) -> int:
        """All of them, also those beyond the limit."""
        if self._later is not None:
            self._read()
        return self._characters

    def add(self, text: str) -> None:
        """Take in one more piece."""
        characters = self._characters
        if characters < self._limit:
            self._kept.write(text[: self._limit - characters])
        self._characters = characters + len(text)

    @property
    def text(self) -> str:
        """What was kept; scale a count of it by `characters / len(text)`."""
        if self._later is not None:
            self._read()
        return self._kept.getvalue()

    def _read(self) -> None:
        later, self._later = self._later, None
        if later is not None:
            later(self)

    def add_content(self, content: Any) -> None:
        """Take in a `content` member: a text, or a list of parts with text in them."""
        if isinstance(content, str):
            self.add(content)
        elif isinstance(content, list):
            for part in content:
                if isinstance(part, dict):
                    self.add_content(part.get("text"))
                    self.add_content(part.get("thinking"))

    def add_calls(self, calls: Any) -> None:
        """Take in names and arguments of a `tool_calls` member."""
        if not isinstance(calls, list):
            return
        for call in calls:
            if isinstance(call, dict):
                self.add_call(call.get("function"))
                self.add_call(call.get("custom"))

    def add_call(self, call: Any) -> None:
        """Take in one called function or custom tool."""
        if not isinstance(call, dict):
            return
        for name in ("name", "arguments", "input"):
            value = call.get(name)
            if isinstance(value, str):
                self.add(value)
