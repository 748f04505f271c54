"""A Claude stream as chat chunks (conversion specification, 4.2).

Claude opens numbered content blocks one after another and fills them by deltas. Chat
has one flat delta, in which tool calls have an index of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from knight_tw.convert import finish, reasoning, tools, usage
from knight_tw.convert.claude.citations import Citations
from knight_tw.convert.context import Context
from knight_tw.convert.signatures import ANTHROPIC, FORMATS, wrap
from knight_tw.errors import EmptyAnswer, KnightError
from knight_tw.wire.answers import EMPTY, decode_object, refuse_errors
from knight_tw.wire.claude_assembly import Assembly
from knight_tw.wire.claude_usage import merged
from knight_tw.wire.sse import Event

Chunk = dict[str, Any]
Delta = dict[str, Any]


@define(eq=False)
class _Block:
    """One content block while it is open."""

    kind: str
    place: int = 0
    """Index among the tool calls, or among the pieces of reasoning."""
    start: int = 0
    """Where its text begins in the content."""
    input: Any = None
    said: bool = False
    """Something of it has gone out: its arguments, or the constants of reasoning."""
    signature: str = ""
    citations: list[Any] = field(factory=list)


class StreamToX:
    """Claude's events to chat chunks; the usage comes last, in a chunk of its own.

    Attributes:
        finished: `message_stop` has come; nothing after it counts.
        error: The failure that Claude reported inside the stream, or that the stream
            is; nothing after it counts.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._id = ""
        self._model = context.model
        self._blocks: dict[int, _Block] = {}
        self._usage: dict[str, Any] = {}
        self._ending: Mapping[str, Any] = {}
        self._tools = 0
        self._pieces = 0
        self._length = 0
        self._thought = False
        self._citations = Citations(indexed=True)
        self._native = Assembly() if context.native else None
        self._started = False
        self.finished = False
        self.error: KnightError | None = None
        self._of_events: dict[str, Callable[[dict[str, Any]], list[Chunk]]] = {
            "message_start": self._start,
            "content_block_start": self._open,
            "content_block_delta": self._delta,
            "content_block_stop": self._stop,
            "message_delta": self._note_end,
            "message_stop": self._end,
        }

    def feed(self, event: Event) -> list[Chunk]:
        """The chunks that this event leads to; none after the end or an error."""
        if self.finished or self.error is not None or not event.data.strip():
            return []
        try:
            value = decode_object(event.data)
            kind = value.get("type") or event.event
            if kind == "error" or "error" in value:
                refuse_errors(value)
            if self._native is not None:
                self._native.feed(value)
            take = self._of_events.get(str(kind))
            return take(value) if take is not None else []
        except KnightError as error:
            self.error = error
            return []

    def close(self) -> list[Chunk]:
        """What completes an answer that ended without `message_stop`."""
        if self.finished or self.error is not None:
            return []
        if not self._started:
            self.error = EmptyAnswer(EMPTY)
            return []
        chunks = [c for index in list(self._blocks) for c in self._stop_block(index)]
        return [*chunks, *self._end({})]

    def _start(self, event: dict[str, Any]) -> list[Chunk]:
        """The role; some providers say it twice, which changes nothing.

        A message that goes on with an earlier one begins with blocks that are whole.
        """
        message = event.get("message")
        message = message if isinstance(message, dict) else {}
        self._usage = merged(self._usage, message.get("usage"))
        if self._started:
            return []
        self._started = True
        self._id = str(message.get("id") or self._context.ids("msg_"))
        self._model = self._context.model or str(message.get("model") or "")
        chunks = [self._chunk({"role": "assistant", "content": ""})]
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else []):
            chunks += self._open({"index": index, "content_block": block})
            chunks += self._stop_block(index)
        return chunks

    def _open(self, event: dict[str, Any]) -> list[Chunk]:
        content = event.get("content_block")
        if not isinstance(content, dict):
            return []
        self._begin()
        block = _Block(str(content.get("type")), start=self._length)
        self._blocks[_index(event)] = block
        if block.kind == "text":
            block.citations += content.get("citations") or []
            return self._text(str(content.get("text") or ""))
        if block.kind in ("thinking", "redacted_thinking"):
            return self._open_reasoning(block, content)
        if block.kind == "tool_use":
            return self._open_tool(block, content)
        return []

    def _begin(self) -> None:
        """A stream without `message_start` begins anyway."""
        if not self._started:
            self._started = True
            self._id = self._context.ids("msg_")

    def _open_reasoning(self, block: _Block, content: dict[str, Any]) -> list[Chunk]:
        block.place = self._pieces
        self._pieces += 1
        if block.kind == "redacted_thinking":
            secret = str(content.get("data") or "")
            entry = reasoning.encrypted_detail(ANTHROPIC, secret, block.place)
            return [self._chunk({"reasoning_details": [entry]})]
        block.signature = str(content.get("signature") or "")
        text = str(content.get("thinking") or "")
        return self._thinking(block, text) if text else []

    def _open_tool(self, block: _Block, content: dict[str, Any]) -> list[Chunk]:
        block.input = content.get("input")
        name = str(content.get("name") or "")
        if name and name == self._context.memory.answer_tool:
            block.kind = "answer"
            return []
        block.place = self._tools
        self._tools += 1
        name = tools.own_name(name, self._context.memory)
        call: dict[str, Any] = {
            "index": block.place,
            "id": content.get("id") or self._context.ids("toolu_"),
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        return [self._chunk({"tool_calls": [call]})]

    def _delta(self, event: dict[str, Any]) -> list[Chunk]:
        block = self._blocks.get(_index(event))
        delta = event.get("delta")
        if block is None or not isinstance(delta, dict):
            return []
        kind = delta.get("type")
        if kind == "text_delta":
            return self._text(str(delta.get("text") or ""))
        if kind == "thinking_delta" and block.kind == "thinking":
            return self._thinking(block, str(delta.get("thinking") or ""))
        if kind == "signature_delta":
            block.signature += str(delta.get("signature") or "")
        elif kind == "input_json_delta":
            return self._arguments(block, str(delta.get("partial_json") or ""))
        elif kind == "citations_delta":
            block.citations.append(delta.get("citation"))
        return []

    def _text(self, text: str) -> list[Chunk]:
        self._length += len(text)
        return [self._chunk({"content": text})] if text else []

    def _thinking(self, block: _Block, text: str) -> list[Chunk]:
        """Visible reasoning; several pieces are parted by a blank line."""
        if not text:
            return []
        between = "\n\n" if self._thought and not block.said else ""
        self._thought = True
        entry: dict[str, Any] = {"text": text, "index": block.place}
        if not block.said:
            block.said = True
            entry = reasoning.text_detail(ANTHROPIC, text, block.place)
        shown = {"reasoning_content": between + text}
        return [self._chunk({**shown, "reasoning_details": [entry]})]

    def _arguments(self, block: _Block, piece: str) -> list[Chunk]:
        if not piece or block.kind not in ("tool_use", "answer"):
            return []
        block.said = True
        if block.kind == "answer":
            return self._text(piece)
        call = {"index": block.place, "function": {"arguments": piece}}
        return [self._chunk({"tool_calls": [call]})]

    def _stop(self, event: dict[str, Any]) -> list[Chunk]:
        return self._stop_block(_index(event))

    def _stop_block(self, index: int) -> list[Chunk]:
        block = self._blocks.pop(index, None)
        if block is None:
            return []
        if block.kind in ("tool_use", "answer") and not block.said:
            return self._arguments(block, tools.write_arguments(block.input))
        if block.kind == "thinking" and block.signature:
            return [self._chunk({"reasoning_details": [_signature(block)]})]
        if block.citations:
            found = self._citations.add(block.citations, block.start, self._length)
            return [self._chunk(found)] if found else []
        return []

    def _note_end(self, event: dict[str, Any]) -> list[Chunk]:
        self._usage = merged(self._usage, event.get("usage"))
        delta = event.get("delta")
        if isinstance(delta, dict):
            self._ending = {**self._ending, **delta}
        return []

    def _end(self, event: dict[str, Any]) -> list[Chunk]:
        """The reason and the usage. Why Claude refused is not told in streams."""
        self.finished = True
        chunks = []
        if self._native is not None:
            kept = {"format": FORMATS[ANTHROPIC], "content": self._native.content}
            chunks.append(self._chunk({"native_blocks": kept}))
        chunks.append(self._reason())
        if self._usage:
            last = self._chunk({})
            last["choices"] = []
            chunks.append({**last, "usage": usage.from_claude(self._usage)})
        return chunks

    def _reason(self) -> Chunk:
        chunk = self._chunk({})
        reason = self._ending.get("stop_reason")
        reason = reason if isinstance(reason, str) else None
        choice = chunk["choices"][0]
        choice["finish_reason"] = finish.from_claude(reason, self._tools > 0)
        if reason == "tool_use" and not self._tools:
            choice["finish_reason"] = "stop"
        if reason is not None:
            choice["native_finish_reason"] = reason
        sequence = self._ending.get("stop_sequence")
        if isinstance(sequence, str):
            choice["stop_sequence"] = sequence
        return chunk

    def _chunk(self, delta: Delta) -> Chunk:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._context.created,
            "model": self._model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
        }


def _index(event: Mapping[str, Any]) -> int:
    """The number of the block that an event is about."""
    index = event.get("index")
    return index if isinstance(index, int) else -1


def _signature(block: _Block) -> dict[str, Any]:
    """The entry that signs a piece; with its constants if nothing of it went out."""
    if block.said:
        return {"signature": wrap(ANTHROPIC, block.signature), "index": block.place}
    return reasoning.text_detail(ANTHROPIC, "", block.place, block.signature)
