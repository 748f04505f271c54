"""Chat streams: a provider's chunks in the middle form, and the middle form's chunks
for a chat client.

In the middle form a call's id and name come once, each call has an index, and the usage
is the last chunk, without choices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field

from knight_tw.convert import finish, tools, usage
from knight_tw.convert.chat.answers import plain_message, plain_reason, tool_calls
from knight_tw.convert.context import Context
from knight_tw.errors import EmptyAnswer, KnightError
from knight_tw.wire import sse, top
from knight_tw.wire.answers import EMPTY, decode_object, objects, refuse_errors
from knight_tw.wire.sse import Event

Chunk = dict[str, Any]

CHUNK = "chat.completion.chunk"


@define(eq=False)
class _Choice:
    """What is known of one choice."""

    calls: dict[Any, int] = field(factory=dict)
    """The provider's index or id of a call to ours."""
    named: set[int] = field(factory=set)
    """Calls whose name went out."""
    last: int = -1
    ended: bool = False


class StreamToX:
    """A provider's chat events to chunks of the middle form.

    Attributes:
        finished: `[DONE]` has come; nothing after it counts.
        error: The failure that the provider reported inside the stream, or that the
            stream is; nothing after it counts.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._head: Chunk = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: Mapping[str, Any] | None = None
        self.finished = False
        self.error: KnightError | None = None

    def feed(self, event: Event) -> list[Chunk]:
        """The chunks that this event leads to; none after the end or an error."""
        if self.finished or self.error is not None:
            return []
        data = event.data.strip()
        if data == b"[DONE]":
            return self._end()
        try:
            return self._chunks(decode_object(data)) if data else []
        except KnightError as error:
            self.error = error
            return []

    def close(self) -> list[Chunk]:
        """What completes an answer that ended without `[DONE]`."""
        if self.finished or self.error is not None:
            return []
        return self._end()

    def _end(self) -> list[Chunk]:
        """Reasons for choices without one, and the usage."""
        if not self._head:
            self.error = EmptyAnswer(EMPTY)
            return []
        self.finished = True
        chunks = [
            self._chunk(self._stop(index, choice))
            for index, choice in self._choices.items()
            if not choice.ended
        ]
        if self._usage is not None:
            last = {**self._head, "choices": []}
            chunks.append({**last, "usage": usage.from_chat(self._usage)})
        return chunks

    def _stop(self, index: int, choice: _Choice) -> Chunk:
        reason = finish.settled("stop", choice.last >= 0)
        return {"index": index, "delta": {}, "finish_reason": reason}

    def _chunks(self, value: Chunk) -> list[Chunk]:
        choices = objects(value.get("choices"))
        if value.get("error") or not (choices or value.get("usage")):
            refuse_errors(value)
        if not self._head and (choices or value.get("usage")):
            self._begin(value)
        self._note_usage(value.get("usage"))
        return [
            self._chunk(x)
            for choice in choices
            if (x := self._choice(choice, value)) is not None
        ]

    def _begin(self, value: Chunk) -> None:
        self._head = {
            "id": value.get("id") or self._context.ids("chatcmpl-"),
            "object": CHUNK,
            "created": value.get("created") or self._context.created,
            "model": self._context.model or value.get("model"),
        }

    def _note_usage(self, reported: Any) -> None:
        """Keep the last usage that is more than zeros."""
        if isinstance(reported, Mapping):
            said = any(reported.values())
            self._usage = reported if said or self._usage is None else self._usage

    def _choice(self, choice: Chunk, value: Chunk) -> Chunk | None:
        """The choice of the middle form; None when it says nothing."""
        self._note_usage(choice.get("usage"))
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        known = self._choices.setdefault(index, _Choice())
        given = choice.get("delta")
        whole = value.get("object") not in (CHUNK, None, "")
        if whole or not isinstance(given, Mapping):
            given = {}
        delta = plain_message(given, self._context)
        if calls := tool_calls(delta.pop("tool_calls", ())):
            delta["tool_calls"] = [
                self._call(call, place, known) for place, call in enumerate(calls)
            ]
        x: Chunk = {"index": index, "delta": delta, "finish_reason": None}
        if choice.get("logprobs") is not None:
            x["logprobs"] = choice["logprobs"]
        if choice.get("finish_reason") and not known.ended:
            known.ended = True
            x |= plain_reason(choice, known.last >= 0)
        elif not delta:
            return None
        return x

    def _call(self, call: Chunk, place: int, known: _Choice) -> Chunk:
        """A piece of a call under its own index, its id and name only once."""
        index, first = self._place(call, place, known)
        piece: Chunk = {"index": index}
        if first:
            piece["id"] = call.get("id") or self._context.ids("call_")
            custom = isinstance(call.get("custom"), Mapping)
            piece["type"] = "custom" if custom else "function"
        for kind in ("function", "custom"):
            inner = call.get(kind)
            if isinstance(inner, Mapping):
                piece[kind] = self._inner(inner, index, known)
        if call.get("extra_content"):
            piece["extra_content"] = call["extra_content"]
        return piece

    def _place(self, call: Chunk, place: int, known: _Choice) -> tuple[int, bool]:
        """Our index of a call, and whether it is new.

        Without an index a new id is a new call, and no id goes on with the last one.
        """
        index, identity = call.get("index"), call.get("id")
        key: Any = index if isinstance(index, int) else None
        if key is None and isinstance(identity, str) and identity:
            key = identity
        if key is None and known.last >= 0:
            return known.last, False
        key = ("place", place) if key is None else key
        if key in known.calls:
            return known.calls[key], False
        known.last = known.calls[key] = len(known.calls)
        return known.last, True

    def _inner(self, inner: Mapping[str, Any], index: int, known: _Choice) -> Chunk:
        """Name and arguments; a name that is repeated goes out once."""
        said: Chunk = {}
        name = inner.get("name")
        if isinstance(name, str) and name and index not in known.named:
            known.named.add(index)
            said["name"] = tools.own_name(name, self._context.memory)
        for member in ("arguments", "input"):
            value = inner.get(member)
            if isinstance(value, Mapping):
                value = tools.compact(value)
            if isinstance(value, str):
                said[member] = value
        return said

    def _chunk(self, choice: Chunk) -> Chunk:
        return {**self._head, "choices": [choice]}


class StreamFromX:
    """Chunks of the middle form to a chat client's events, encoded.

    The client gets the usage chunk when it asked for it, directly before `[DONE]`;
    then earlier chunks have a `usage` that is null. Calls of free-form tools and the
    one call that legacy clients know are written as the client expects them.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._custom: dict[tuple[int, Any], Chunk] = {}
        self._usage: Chunk | None = None
        self._head: Chunk = {}
        self._ended = False

    def feed(self, chunk: Mapping[str, Any]) -> list[bytes]:
        """The events that this chunk leads to."""
        self._head = {n: v for n, v in chunk.items() if n not in ("choices", "usage")}
        if chunk.get("usage"):
            self._usage = {**self._head, "choices": [], "usage": chunk["usage"]}
        return [
            self._encoded(choice)
            for given in objects(chunk.get("choices"))
            for choice in self._choices(given)
        ]

    def close(self) -> list[bytes]:
        """The end of the stream; nothing when there was no chunk at all."""
        if self._ended or not self._head:
            return []
        self._ended = True
        tail = [self._encoded(choice) for choice in self._kept_calls(None)]
        if self._usage is not None and self._context.include_usage:
            tail.append(sse.encode(top.encode(self._usage)))
        return [*tail, sse.DONE]

    def _choices(self, choice: Chunk) -> Iterator[Chunk]:
        delta = choice.get("delta")
        delta = dict(delta) if isinstance(delta, Mapping) else {}
        had = bool(delta)
        if not self._context.native:
            delta.pop("native_blocks", None)
        memory = self._context.memory
        if "tool_calls" in delta and (memory.custom_tools or self._custom):
            self._keep_custom(delta, choice.get("index"))
        if memory.legacy_functions:
            choice = _as_legacy(choice, delta)
        if choice.get("finish_reason"):
            yield from self._kept_calls(choice.get("index"))
        elif had and not delta:
            return
        yield {**choice, "delta": delta}

    def _keep_custom(self, delta: Chunk, choice: Any) -> None:
        """Take the calls of free-form tools out of a delta, to be written whole."""
        names = self._context.memory.custom_tools
        left: list[Chunk] = []
        for piece in objects(delta["tool_calls"]):
            place = (choice if isinstance(choice, int) else 0, piece.get("index"))
            if place not in self._custom and tools.call_name(piece) not in names:
                left.append(piece)
                continue
            inner = piece.get("function") or {}
            call = self._custom.setdefault(place, {**piece, "function": {}})
            function = call["function"]
            function.setdefault("name", inner.get("name"))
            pieces = function.setdefault("pieces", [])
            pieces.append(str(inner.get("arguments") or ""))
        delta["tool_calls"] = left
        if not left:
            del delta["tool_calls"]

    def _kept_calls(self, choice: Any) -> Iterator[Chunk]:
        """The calls of free-form tools that were kept, of one choice or of all."""
        for place in sorted(self._custom, key=str):
            if choice not in (None, place[0]):
                continue
            call = self._custom.pop(place)
            function = call.pop("function")
            text = tools.custom_input("".join(function["pieces"]))
            custom = {"name": function["name"], "input": text}
            piece = {**call, "type": "custom", "custom": custom}
            delta = {"tool_calls": [piece]}
            yield {"index": place[0], "delta": delta, "finish_reason": None}

    def _encoded(self, choice: Chunk) -> bytes:
        chunk = {**self._head, "choices": [choice]}
        if self._context.include_usage:
            chunk["usage"] = None
        return sse.encode(top.encode(chunk))


def _as_legacy(choice: Chunk, delta: Chunk) -> Chunk:
    """The first call as `function_call` in `delta`, in place; the choice's reason."""
    for piece in objects(delta.pop("tool_calls", ())):
        if piece.get("index") == 0:
            delta["function_call"] = piece.get("function") or {}
    if choice.get("finish_reason") == "tool_calls":
        return {**choice, "finish_reason": "function_call"}
    return choice
