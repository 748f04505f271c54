"""A whole Claude message out of a stream, and a stream out of a whole message.

Events are put together as Anthropic's own clients do it: blocks by their index, the
pieces of a tool's input as one JSON text, later values of the ending win.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from knight_tw.wire import sse, top
from knight_tw.wire.answers import objects
from knight_tw.wire.claude_usage import merged

_ANY = msgspec.json.Decoder()

_PIECES = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
}
"""Kind of a delta to the member that it goes on with, under the same name."""


class Assembly:
    """Events in, one message out. Events are plain objects without errors in them."""

    __slots__ = ("_blocks", "_inputs", "_message")

    def __init__(self) -> None:
        self._message: dict[str, Any] = {"type": "message", "role": "assistant"}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, list[str]] = {}

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        kind = event.get("type")
        if kind == "message_start" and isinstance(event.get("message"), Mapping):
            self._message |= event["message"]
            self._blocks |= dict(enumerate(objects(event["message"].get("content"))))
        elif kind == "content_block_start":
            block = event.get("content_block")
            opened = dict(block) if isinstance(block, Mapping) else {}
            self._blocks[_place(event.get("index"))] = opened
        elif kind == "content_block_delta":
            self._grow(_place(event.get("index")), event.get("delta"))
        elif kind == "message_delta":
            self._end(event)

    @property
    def content(self) -> list[dict[str, Any]]:
        """The blocks so far, in their order."""
        return [self._whole(index) for index in sorted(self._blocks)]

    def close(self) -> dict[str, Any]:
        """The message."""
        ending = {"stop_reason": "end_turn", "stop_sequence": None}
        known = {name: v for name, v in self._message.items() if v is not None}
        return {**ending, **self._message, **known, "content": self.content}

    def _grow(self, index: int, delta: Any) -> None:
        block = self._blocks.get(index)
        if block is None or not isinstance(delta, Mapping):
            return
        member = _PIECES.get(str(delta.get("type")))
        if member is not None:
            piece = delta.get(member)
            if isinstance(piece, str):
                block[member] = str(block.get(member) or "") + piece
        elif delta.get("type") == "input_json_delta":
            piece = delta.get("partial_json")
            if isinstance(piece, str) and piece:
                self._inputs.setdefault(index, []).append(piece)
        elif delta.get("type") == "citations_delta":
            cited = block.get("citations") or []
            block["citations"] = [*cited, delta.get("citation")]

    def _end(self, event: Mapping[str, Any]) -> None:
        for name, value in event.items():
            if name == "delta" and isinstance(value, Mapping):
                self._message |= value
            elif name == "usage":
                usage = self._message.get("usage")
                start = usage if isinstance(usage, Mapping) else {}
                self._message["usage"] = merged(start, value)
            elif name != "type":
                self._message[name] = value

    def _whole(self, index: int) -> dict[str, Any]:
        block = self._blocks[index]
        pieces = self._inputs.get(index)
        if not pieces:
            return block
        try:
            value = _ANY.decode("".join(pieces))
        except (msgspec.DecodeError, RecursionError):
            value = {}
        return {**block, "input": value}


def _place(index: Any) -> int:
    return index if isinstance(index, int) else -1


def restream(message: Mapping[str, Any]) -> bytes:
    """The event stream that says the same as a whole message."""
    return b"".join(
        sse.encode(top.encode(event), event["type"]) for event in _events(message)
    )


def _events(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    usage = message.get("usage")
    usage = dict(usage) if isinstance(usage, Mapping) else {}
    empty: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
    start = {**message, **empty, "usage": {**usage, "output_tokens": 0}}
    yield {"type": "message_start", "message": start}
    for index, block in enumerate(objects(message.get("content"))):
        opened, deltas = _opened(block)
        yield {"type": "content_block_start", "index": index, "content_block": opened}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    names = ("stop_reason", "stop_sequence", "stop_details", "container")
    ending = {name: message[name] for name in names if name in message}
    yield {"type": "message_delta", "delta": ending, "usage": usage}
    yield {"type": "message_stop"}


def _opened(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it is opened, empty, and the deltas that fill it."""
    opened, deltas = dict(block), []
    for kind, member in _PIECES.items():
        if block.get("type") in ("text", "thinking") and member in block:
            opened[member] = ""
            if block[member]:
                deltas.append({"type": kind, member: block[member]})
    for citation in opened.pop("citations", None) or []:
        deltas.append({"type": "citations_delta", "citation": citation})
    if block.get("input") and str(block.get("type")).endswith("tool_use"):
        opened["input"] = {}
        text = top.encode(block["input"]).decode()
        deltas.append({"type": "input_json_delta", "partial_json": text})
    return opened, deltas
