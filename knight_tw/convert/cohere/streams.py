"""A stream of Cohere's chat, version 2, as chat chunks (specification, 7.6).

The type of an event is in its JSON: `message-start`, numbered contents, a plan, tool
calls and citations, each with a start, deltas and an end, and `message-end` with the
reason and the usage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import tools
from knight_tw.convert.chunks import Chunk, Chunks, index_of
from knight_tw.convert.cohere.shared import (
    failed,
    finish_reason,
    placed,
    text_of,
    to_usage,
)
from knight_tw.convert.context import Context
from knight_tw.errors import EmptyAnswer, KnightError
from knight_tw.wire.answers import EMPTY, decode_object, refuse_errors
from knight_tw.wire.sse import Event


class StreamToX:
    """Cohere's events to chat chunks; the usage comes last, in a chunk of its own.

    Attributes:
        finished: `message-end` has come; nothing after it counts.
        error: The failure that Cohere reported, or that the stream is; nothing after
            it counts.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._chunks = Chunks(context)
        self._calls: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        self._length = 0
        self._citations = 0
        self._thinking: Any = None
        """What the last reasoning belonged to: a content's index, or the plan."""
        self.finished = False
        self.error: KnightError | None = None
        self._of_events = {
            "message-start": self._start,
            "content-start": self._content_start,
            "content-delta": self._content,
            "tool-plan-delta": self._plan,
            "tool-call-start": self._open_call,
            "tool-call-delta": self._arguments,
            "citation-start": self._citation,
            "message-end": self._end,
        }

    def feed(self, event: Event) -> list[Chunk]:
        """The chunks that this event leads to; none after the end or an error."""
        if self.finished or self.error is not None or event.data == b"[DONE]":
            return []
        try:
            value = decode_object(event.data)
            take = self._of_events.get(str(value.get("type") or event.event))
            if take is None:
                refuse_errors(value)
                return []
            return take(value)
        except KnightError as error:
            self.error = error
            return []

    def close(self) -> list[Chunk]:
        """What completes an answer that ended without `message-end`."""
        if self.finished or self.error is not None:
            return []
        if not self._chunks.identity:
            self.error = EmptyAnswer(EMPTY)
            return []
        return self._end({})

    def _start(self, event: Mapping[str, Any]) -> list[Chunk]:
        return self._chunks.begin(text_of(event, "id"))

    def _content_start(self, event: Mapping[str, Any]) -> list[Chunk]:
        self._starts[index_of(event)] = self._length
        return self._content(event)

    def _content(self, event: Mapping[str, Any]) -> list[Chunk]:
        content = _message(event).get("content")
        chunks = self._chunks.begin()
        index = index_of(event)
        thought = self._thought(("content", index), text_of(content, "thinking"))
        text = text_of(content)
        self._length += len(text)
        return chunks + thought + self._chunks.text(text)

    def _plan(self, event: Mapping[str, Any]) -> list[Chunk]:
        chunks = self._chunks.begin()
        return chunks + self._thought("plan", text_of(_message(event), "tool_plan"))

    def _thought(self, of: Any, text: str) -> list[Chunk]:
        """Visible reasoning; pieces of different things are parted by a blank line."""
        if not text:
            return []
        between = "\n\n" if self._thinking not in (None, of) else ""
        self._thinking = of
        return self._chunks.thought(between + text)

    def _open_call(self, event: Mapping[str, Any]) -> list[Chunk]:
        chunks = self._chunks.begin()
        call = _message(event).get("tool_calls")
        call = call if isinstance(call, Mapping) else {}
        function = call.get("function")
        self._calls[index_of(event)] = self._chunks.calls
        name = tools.own_name(text_of(function, "name"), self._context.memory)
        arguments = text_of(function, "arguments")
        return chunks + self._chunks.open_call(text_of(call, "id"), name, arguments)

    def _arguments(self, event: Mapping[str, Any]) -> list[Chunk]:
        index = self._calls.get(index_of(event))
        call = _message(event).get("tool_calls")
        function = call.get("function") if isinstance(call, Mapping) else None
        if index is None:
            return []
        return self._chunks.arguments(index, text_of(function, "arguments"))

    def _citation(self, event: Mapping[str, Any]) -> list[Chunk]:
        citation = _message(event).get("citations")
        if not isinstance(citation, Mapping):
            return []
        start = self._starts.get(index_of(citation, "content_index"), 0)
        own = {**placed(citation, start), "index": self._citations}
        self._citations += 1
        return [*self._chunks.begin(), self._chunks.delta({"citations": [own]})]

    def _end(self, event: Mapping[str, Any]) -> list[Chunk]:
        delta = event.get("delta")
        delta = delta if isinstance(delta, Mapping) else {}
        if text_of(delta, "error"):
            raise failed(text_of(delta, "error"))
        has_calls = self._chunks.calls > 0
        reason, native = finish_reason(delta.get("finish_reason"), has_calls)
        self.finished = True
        chunks = self._chunks.begin()
        ending = self._chunks.ending(reason, native)
        return [*chunks, ending, *self._chunks.usage(to_usage(delta.get("usage")))]


def _message(event: Mapping[str, Any]) -> Mapping[str, Any]:
    delta = event.get("delta")
    message = delta.get("message") if isinstance(delta, Mapping) else None
    return message if isinstance(message, Mapping) else {}
