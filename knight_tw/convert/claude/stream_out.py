"""Chat chunks as a Claude stream: the block machine (conversion specification, 6.2).

A Claude stream is a row of numbered blocks, each opened, filled and closed before the
next. Chat deltas of text, reasoning and several tool calls may come mixed. So one block
is open at a time; a call whose turn has not come is kept until the one before is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field

from knight_tw.convert import finish, reasoning, tools, usage
from knight_tw.convert.claude.answers import message_id
from knight_tw.convert.claude.citations import url_citation, web_citation
from knight_tw.convert.claude.thinking import call_signature, shown_signature
from knight_tw.convert.context import Context
from knight_tw.convert.signatures import ANTHROPIC, native
from knight_tw.errors import BadUpstreamBody
from knight_tw.wire import sse, top
from knight_tw.wire.answers import objects

CLOSED_TOOL = "the upstream went on with a tool call that was over"

Event = dict[str, Any]
Events = Iterator[Event]


@define(eq=False)
class _Tool:
    """One tool call: waiting for its id and name or its turn, open, or over."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(factory=list)
    """What has not been written yet."""
    signature: str = ""
    custom: bool = False
    state: str = "waiting"

    def take(self, piece: Mapping[str, Any]) -> str:
        """Take in one delta of it; what it adds to the arguments is returned."""
        self.id = self.id or str(piece.get("id") or "")
        self.name = self.name or tools.call_name(piece)
        self.signature = self.signature or call_signature(piece)
        inner = piece.get("function") or {}
        if isinstance(piece.get("custom"), Mapping):
            self.custom, inner = True, {"arguments": piece["custom"].get("input")}
        added = inner.get("arguments") if isinstance(inner, Mapping) else None
        if isinstance(added, dict):
            added = tools.compact(added)
        return added if isinstance(added, str) else ""

    def rest(self) -> str:
        """The arguments that were kept, taken out."""
        text = "".join(self.arguments)
        self.arguments.clear()
        if self.custom:
            return tools.compact({"input": text})
        return text


class StreamFromX:
    """Chat chunks to Claude's events, encoded. Choices beyond the first are ignored."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._next = 0
        self._open = ""
        """Type of the open block, empty when none is."""
        self._place: Any = None
        self._signed = False
        self._tools: dict[Any, _Tool] = {}
        self._live: _Tool | None = None
        self._text: list[str] = []
        self._ending: dict[str, Any] = {}
        self._refused = False
        self._usage: Any = None
        self._started = False
        self._ended = False

    def feed(self, chunk: Mapping[str, Any]) -> list[bytes]:
        """The events that this chunk leads to.

        Raises:
            BadUpstreamBody: the chunk goes on with a tool call that is over.
        """
        return [_encoded(event) for event in self._feed(chunk)]

    def close(self) -> list[bytes]:
        """The end of the message; nothing when there was no chunk at all."""
        if self._ended or not self._started:
            return []
        self._ended = True
        return [_encoded(event) for event in self._end()]

    def _feed(self, chunk: Mapping[str, Any]) -> Events:
        if isinstance(chunk.get("usage"), Mapping):
            self._usage = chunk["usage"]
        if not self._started:
            self._started = True
            yield self._start(chunk)
        for choice in objects(chunk.get("choices")):
            if choice.get("index") in (0, None):
                yield from self._choice(choice)

    def _choice(self, choice: Mapping[str, Any]) -> Events:
        delta = choice.get("delta")
        delta = delta if isinstance(delta, Mapping) else {}
        yield from self._reason(delta)
        for name in ("content", "refusal"):
            text = delta.get(name)
            if isinstance(text, str) and text:
                self._refused = self._refused or name == "refusal"
                yield from self._say(text)
        yield from self._cite(delta.get("annotations"))
        calls = objects(delta.get("tool_calls"))
        for position, piece in enumerate(calls):
            yield from self._call(piece, position)
        for name in ("finish_reason", "native_finish_reason", "stop_sequence"):
            if choice.get(name) is not None:
                self._ending[name] = choice[name]
        if choice.get("finish_reason") is not None:
            yield from self._write_tools()

    def _start(self, chunk: Mapping[str, Any]) -> Event:
        message: Event = {
            "id": message_id(chunk.get("id"), self._context),
            "type": "message",
            "role": "assistant",
            "model": self._context.model or chunk.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": self._context.estimate, "output_tokens": 0},
        }
        return {"type": "message_start", "message": message}

    def _reason(self, delta: Mapping[str, Any]) -> Events:
        """Reasoning: the texts of the details where there are any, else the text."""
        entries = reasoning.details(delta)
        spoken = any(entry.get("text") or entry.get("summary") for entry in entries)
        if not spoken:
            yield from self._think(reasoning.shown(delta), None)
        for entry in entries:
            text = entry.get("text") or entry.get("summary")
            if isinstance(text, str):
                yield from self._think(text, entry.get("index"))
            for piece in reasoning.pieces({"reasoning_details": [entry]}):
                yield from self._sign(piece)

    def _think(self, text: str, place: Any) -> Events:
        if not text:
            return
        other = None not in (place, self._place) and place != self._place
        if self._open != "thinking" or other or self._signed:
            yield from self._open_thinking()
        self._place = place if place is not None else self._place
        yield self._delta({"type": "thinking_delta", "thinking": text})

    def _open_thinking(self) -> Events:
        yield from self._begin({"type": "thinking", "thinking": "", "signature": ""})
        self._place, self._signed = None, False

    def _sign(self, piece: reasoning.Piece) -> Events:
        """Claude's hidden reasoning is a block of its own, any signature a delta."""
        if piece.encrypted and piece.letter == ANTHROPIC:
            secret = native(ANTHROPIC, piece.signature)
            if secret:
                yield from self._begin({"type": "redacted_thinking", "data": secret})
                yield from self._close_block()
        elif piece.signature:
            signature = shown_signature(
                reasoning.Piece(piece.letter or ANTHROPIC, signature=piece.signature)
            )
            yield from self._put_signature(signature)

    def _put_signature(self, signature: str) -> Events:
        if self._open != "thinking" or self._signed:
            yield from self._open_thinking()
        self._signed = True
        yield self._delta({"type": "signature_delta", "signature": signature})

    def _say(self, text: str) -> Events:
        if self._open != "text":
            yield from self._begin({"type": "text", "text": ""})
        self._text.append(text)
        yield self._delta({"type": "text_delta", "text": text})

    def _cite(self, annotations: Any) -> Events:
        """Citations of the text block that is open; others have lost their place."""
        for annotation in objects(annotations):
            cited = url_citation(annotation)
            if cited is not None and self._open == "text":
                start, end = cited.get("start_index"), cited.get("end_index")
                text = "".join(self._text)
                span = text[start:end] if isinstance(start, int) else ""
                citation = web_citation(cited, span)
                yield self._delta({"type": "citations_delta", "citation": citation})

    def _call(self, piece: Mapping[str, Any], position: int) -> Events:
        index = piece.get("index")
        index = position if index is None else index
        tool = self._tools.get(index)
        if tool is None:
            first = self._live is None and not self._kept()
            tool = self._tools[index] = _Tool()
            if first:
                self._live = tool
        added = tool.take(piece)
        if tool.state == "over":
            if added:
                raise BadUpstreamBody(CLOSED_TOOL)
            return
        if added:
            tool.arguments.append(added)
        if tool is self._live and tool.id and tool.name and not tool.custom:
            yield from self._continue(tool)

    def _kept(self) -> bool:
        """True while a call waits for its turn."""
        return any(tool.state == "waiting" for tool in self._tools.values())

    def _continue(self, tool: _Tool) -> Events:
        """Write what is known of a call, its opening first."""
        if tool.state == "waiting":
            if tool.signature:
                yield from self._put_signature(tool.signature)
            yield from self._begin(self._tool_use(tool))
            self._live, tool.state = tool, "open"
        piece = tool.rest()
        if piece:
            yield self._delta({"type": "input_json_delta", "partial_json": piece})

    def _tool_use(self, tool: _Tool) -> Event:
        call_id = tools.claude_id(tool.id or self._context.ids("toolu_"))
        return {"type": "tool_use", "id": call_id, "name": tool.name, "input": {}}

    def _write_tools(self) -> Events:
        """Close what is open and write the calls that were kept, in their order."""
        yield from self._close_block()
        for _, tool in sorted(self._tools.items(), key=_order):
            if tool.state == "waiting" and (tool.name or tool.id):
                yield from self._continue(tool)
                yield from self._close_block()

    def _begin(self, block: Event) -> Events:
        """Open a block. Calls that were kept are complete then, and go before it."""
        if self._open == "tool_use" and self._kept():
            yield from self._write_tools()
        yield from self._close_block()
        self._open = block["type"]
        yield {
            "type": "content_block_start",
            "index": self._next,
            "content_block": block,
        }

    def _close_block(self) -> Events:
        if not self._open:
            return
        if self._open == "tool_use" and self._live is not None:
            self._live.state = "over"
            self._live = None
        self._open = ""
        yield {"type": "content_block_stop", "index": self._next}
        self._next += 1

    def _delta(self, delta: Event) -> Event:
        return {"type": "content_block_delta", "index": self._next, "delta": delta}

    def _end(self) -> Events:
        yield from self._write_tools()
        if not self._next:
            yield from self._begin({"type": "text", "text": ""})
            yield from self._close_block()
        sequence = self._ending.get("stop_sequence")
        reason = finish.to_claude(
            "content_filter" if self._refused else self._ending.get("finish_reason"),
            self._ending.get("native_finish_reason"),
            has_calls=any(tool.state == "over" for tool in self._tools.values()),
            stop_sequence=sequence,
        )
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        known = self._usage or {"prompt_tokens": self._context.estimate}
        yield {
            "type": "message_delta",
            "delta": delta,
            "usage": usage.to_claude(known),
        }
        yield {"type": "message_stop"}


def _order(entry: tuple[Any, _Tool]) -> tuple[bool, Any]:
    index = entry[0]
    whole = isinstance(index, int)
    return (not whole, index if whole else str(index))


def _encoded(event: Event) -> bytes:
    return sse.encode(top.encode(event), event["type"])
