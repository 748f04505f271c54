"""A Converse stream as chat chunks (providers specification, 7.5).

Events are named by the frame they came in: `messageStart`, numbered content blocks with
a start (only those of tools), deltas and a stop, `messageStop` with the reason, and
`metadata` with the usage, which is the last.
"""

from __future__ import annotations

from typing import Any

from attrs import define

from knight_tw.convert import tools
from knight_tw.convert.chunks import Chunk, Chunks, index_of
from knight_tw.convert.context import Context
from knight_tw.convert.converse.answers import finish_reason, text_of, to_usage
from knight_tw.errors import EmptyAnswer, KnightError
from knight_tw.wire.answers import EMPTY, decode_object
from knight_tw.wire.sse import Event


@define
class _Block:
    """One content block while it is open."""

    call: int = -1
    """Index among the tool calls, -1 when it is none."""
    thought: bool = False


class StreamToX:
    """Converse's events to chat chunks; the usage comes last, in a chunk of its own.

    Attributes:
        finished: `metadata` has come; nothing after it counts.
        error: The failure that the stream reported, or is; nothing after it counts.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._chunks = Chunks(context)
        self._blocks: dict[int, _Block] = {}
        self._thought = False
        self._ended = False
        self.finished = False
        self.error: KnightError | None = None
        self._of_events = {
            "messageStart": self._start,
            "contentBlockStart": self._open,
            "contentBlockDelta": self._delta,
            "messageStop": self._end,
            "metadata": self._metadata,
        }

    def feed(self, event: Event) -> list[Chunk]:
        """The chunks that this event leads to; none after the end or an error."""
        take = self._of_events.get(event.event)
        if self.finished or self.error is not None or take is None:
            return []
        try:
            value = decode_object(event.data)
        except KnightError as error:
            self.error = error
            return []
        return take(value)

    def close(self) -> list[Chunk]:
        """What completes an answer that ended without `metadata`."""
        if self.finished or self.error is not None:
            return []
        if not self._chunks.identity:
            self.error = EmptyAnswer(EMPTY)
            return []
        self.finished = True
        return self._end({})

    def _start(self, _: dict[str, Any]) -> list[Chunk]:
        return self._chunks.begin()

    def _open(self, event: dict[str, Any]) -> list[Chunk]:
        block = self._blocks[index_of(event, "contentBlockIndex")] = _Block()
        chunks = self._chunks.begin()
        start = event.get("start")
        used = start.get("toolUse") if isinstance(start, dict) else None
        name = text_of(used, "name")
        if not isinstance(used, dict) or (
            name and name == self._context.memory.answer_tool
        ):
            return chunks
        name = tools.own_name(name, self._context.memory)
        block.call = self._chunks.calls
        return chunks + self._chunks.open_call(text_of(used, "toolUseId"), name)

    def _delta(self, event: dict[str, Any]) -> list[Chunk]:
        delta = event.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        block = self._blocks.setdefault(index_of(event, "contentBlockIndex"), _Block())
        chunks = self._chunks.begin()
        if "toolUse" in delta:
            piece = text_of(delta["toolUse"], "input")
            if block.call < 0:
                return chunks + self._chunks.text(piece)
            return chunks + self._chunks.arguments(block.call, piece)
        if "reasoningContent" in delta:
            thought = self._thinking(block, text_of(delta["reasoningContent"]))
            return chunks + thought
        return chunks + self._chunks.text(text_of(delta))

    def _thinking(self, block: _Block, text: str) -> list[Chunk]:
        """Visible reasoning; several blocks of it are parted by a blank line."""
        if not text:
            return []
        between = "\n\n" if self._thought and not block.thought else ""
        block.thought = self._thought = True
        return self._chunks.thought(between + text)

    def _end(self, event: dict[str, Any]) -> list[Chunk]:
        if self._ended:
            return []
        self._ended = True
        native = text_of(event, "stopReason")
        reason = finish_reason(native, self._chunks.calls > 0)
        return [*self._chunks.begin(), self._chunks.ending(reason, native or None)]

    def _metadata(self, event: dict[str, Any]) -> list[Chunk]:
        self.finished = True
        ended = self._end({})
        return ended + self._chunks.usage(to_usage(event.get("usage")))
