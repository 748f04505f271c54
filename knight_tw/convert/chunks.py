"""Chat chunks of the middle form, as stream machines give them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define

from knight_tw.convert.context import Context

Chunk = dict[str, Any]


def index_of(event: Mapping[str, Any], name: str = "index") -> int:
    """The number of the part that an event belongs to; -1 when it says none."""
    index = event.get(name)
    return index if isinstance(index, int) else -1


@define(eq=False)
class Chunks:
    """The chunks of one stream, all with the same id, date and model.

    Attributes:
        identity: Empty until the stream has begun.
        calls: Tool calls so far.
    """

    _context: Context
    identity: str = ""
    calls: int = 0

    def begin(self, identity: str = "") -> list[Chunk]:
        """The role, once; a provider without ids gets one made up."""
        if self.identity:
            return []
        self.identity = identity or self._context.ids("chatcmpl-")
        return [self.delta({"role": "assistant", "content": ""})]

    def delta(self, delta: Mapping[str, Any]) -> Chunk:
        """A piece of the answer."""
        choice = {"index": 0, "delta": dict(delta), "finish_reason": None}
        return {**self._frame(), "choices": [choice]}

    def text(self, text: str) -> list[Chunk]:
        """A piece of the content; nothing for no text."""
        return [self.delta({"content": text})] if text else []

    def thought(self, text: str) -> list[Chunk]:
        """A piece of visible reasoning."""
        return [self.delta({"reasoning_content": text})] if text else []

    def open_call(self, call_id: str, name: str, arguments: str = "") -> list[Chunk]:
        """The beginning of the next tool call; its index is `calls - 1` then."""
        function = {"name": name, "arguments": arguments}
        call = {"index": self.calls, "id": call_id or self._context.ids("call_")}
        self.calls += 1
        entry = {**call, "type": "function", "function": function}
        return [self.delta({"tool_calls": [entry]})]

    def arguments(self, index: int, piece: str) -> list[Chunk]:
        """A piece of a call's arguments."""
        if not piece:
            return []
        call = {"index": index, "function": {"arguments": piece}}
        return [self.delta({"tool_calls": [call]})]

    def ending(self, reason: str, native: str | None) -> Chunk:
        """The chunk that says why the answer ended."""
        choice: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": reason}
        if native is not None:
            choice["native_finish_reason"] = native
        return {**self._frame(), "choices": [choice]}

    def usage(self, usage: Mapping[str, Any] | None) -> list[Chunk]:
        """The last chunk, nothing when the provider reported nothing."""
        if usage is None:
            return []
        return [{**self._frame(), "choices": [], "usage": dict(usage)}]

    def _frame(self) -> Chunk:
        return {
            "id": self.identity,
            "object": "chat.completion.chunk",
            "created": self._context.created,
            "model": self._context.model,
        }
