"""A Responses stream as chat chunks (conversion specification, 13.3).

Items are known by their `output_index`, because some providers write another item id
into every event. What the events of an item did not say is taken from the item when it
is done, and from the whole response at the end: some providers send no deltas for one
or the other kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from knight_tw.convert import tools
from knight_tw.convert.context import Context
from knight_tw.convert.reasoning import (
    encrypted_detail,
    summary_detail,
    text_detail,
)
from knight_tw.convert.responses import references
from knight_tw.convert.responses.answer_in import (
    as_markdown,
    ending,
    head,
    in_markdown,
    x_call,
    x_image,
    x_usage,
)
from knight_tw.convert.responses.thoughts import BETWEEN, texts_of
from knight_tw.convert.signatures import FORMATS, OPENAI
from knight_tw.errors import EmptyAnswer, KnightError
from knight_tw.wire.answers import EMPTY, decode_object, objects, refuse_errors
from knight_tw.wire.responses import count_tools, refuse_failed, refused
from knight_tw.wire.sse import Event

Chunk = dict[str, Any]
Delta = dict[str, Any]
Json = dict[str, Any]

_CALLS = frozenset({"function_call", "custom_tool_call"})
_UNKNOWN_KEPT = 4096
"""Most pieces kept for an item that has not appeared yet."""


@define(eq=False)
class _Item:
    """One output item while its events come in.

    Attributes:
        texts: How much was sent of each text part, by `content_index`.
        starts: Where each text part begins in the content.
        cited: Annotations sent of each text part.
        shown: Which kind of reasoning text is sent, `summary` or `text`; the other
            kind, if there is one, says the same. `part` is its last part.
        piece: The `index` of its `reasoning_details`.
        place: The index of the tool call, -1 while it is not open.
        sent: Characters sent of a call's arguments, before JSON escapes.
        early: Pieces of arguments that came before the item.
        custom: The call is a free-form one; `escaped` when it goes out as JSON.
        done: Everything of it was sent.
    """

    texts: dict[Any, int] = field(factory=dict)
    starts: dict[Any, int] = field(factory=dict)
    cited: dict[Any, int] = field(factory=dict)
    refused: int = 0
    shown: str = ""
    part: Any = None
    piece: int = -1
    secret: bool = False
    place: int = -1
    sent: int = 0
    early: list[str] = field(factory=list)
    custom: bool = False
    escaped: bool = False
    done: bool = False


class StreamToX:
    """Responses events to chat chunks of the middle form.

    Attributes:
        finished: The terminal event has come; nothing after it counts.
        error: The failure that the provider reported, or that the stream is.
        tool_calls: Uses of the provider's own tools by price name, known at the end.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._head: Json = {}
        self._items: dict[Any, _Item] = {}
        self._output: list[Json] = []
        self._length = 0
        self._speaker: _Item | None = None
        self._thought = False
        self._pieces = 0
        self._tools = 0
        self._notes = 0
        self._images = 0
        self._phase: Any = None
        self.finished = False
        self.error: KnightError | None = None
        self._of_events: dict[str, Callable[[Json], list[Delta]]] = {
            "response.output_text.delta": self._text,
            "response.output_text.annotation.added": self._annotation,
            "response.refusal.delta": self._refusal,
            "response.reasoning_summary_text.delta": self._summary,
            "response.reasoning_text.delta": self._reasoning,
            "response.output_item.added": self._added,
            "response.output_item.done": self._done,
            "response.function_call_arguments.delta": self._arguments,
            "response.function_call_arguments.done": self._all_arguments,
            "response.custom_tool_call_input.delta": self._arguments,
            "response.custom_tool_call_input.done": self._all_arguments,
        }

    def feed(self, event: Event) -> list[Chunk]:
        """The chunks that this event leads to; none after the end or an error."""
        if self.finished or self.error is not None or not event.data.strip():
            return []
        if event.data.strip() == b"[DONE]":
            return self.close()
        try:
            value = decode_object(event.data)
            return self._take(str(value.get("type") or event.event), value)
        except KnightError as error:
            self.error = error
            return []

    def close(self) -> list[Chunk]:
        """What completes an answer that ended without its terminal event."""
        if self.finished or self.error is not None:
            return []
        if not self._head:
            self.error = EmptyAnswer(EMPTY)
            return []
        return self._end({})

    def _take(self, kind: str, value: Json) -> list[Chunk]:
        response = value.get("response")
        if kind in ("response.failed", "error"):
            self._fail(value)
        if isinstance(response, dict):
            refuse_failed(response.get("status"), response.get("error"))
            started = self._start(response)
            if kind in ("response.completed", "response.incomplete"):
                return [*started, *self._end(response)]
            return started
        take = self._of_events.get(kind)
        if take is None:
            if "error" in value:
                refuse_errors(value)
            return []
        started = self._start({})
        return [*started, *map(self._chunk, take(value))]

    def _fail(self, value: Json) -> None:
        response = value.get("response")
        holder = response if isinstance(response, Mapping) else value
        error = holder.get("error")
        raise refused(error if isinstance(error, Mapping) else value)

    def _start(self, response: Json) -> list[Chunk]:
        if self._head:
            return []
        known = head(response, self._context)
        self._head = {"id": known["id"], "object": "chat.completion.chunk", **known}
        return [self._chunk({"role": "assistant", "content": ""})]

    def _item(self, event: Json) -> _Item:
        """The item that an event belongs to."""
        key = event.get("output_index")
        if key is None:
            key = event.get("item_id")
        return self._items.setdefault(key, _Item())

    # text ----------------------------------------------------------------------

    def _text(self, event: Json) -> list[Delta]:
        item, part = self._item(event), event.get("content_index")
        deltas = self._say(item, part, event.get("delta"))
        logprobs = objects(event.get("logprobs"))
        if logprobs and deltas:
            deltas[-1]["logprobs"] = {"content": logprobs, "refusal": None}
        return deltas

    def _say(self, item: _Item, part: Any, text: Any) -> list[Delta]:
        """A piece of a message; a blank line stands between two of them."""
        if not isinstance(text, str) or not text:
            return []
        between = ""
        if self._length and self._speaker is not item:
            between = BETWEEN
        self._speaker = item
        self._length += len(between)
        item.starts.setdefault(part, self._length)
        item.texts[part] = item.texts.get(part, 0) + len(text)
        self._length += len(text)
        return [{"content": between + text}]

    def _annotation(self, event: Json) -> list[Delta]:
        annotation = event.get("annotation")
        item, part = self._item(event), event.get("content_index")
        return self._cite(item, part, annotation)

    def _cite(self, item: _Item, part: Any, annotation: Any) -> list[Delta]:
        if not isinstance(annotation, Mapping):
            return []
        item.cited[part] = item.cited.get(part, 0) + 1
        start = item.starts.get(part, self._length)
        end = start + item.texts.get(part, 0)
        name, entry = references.to_x(annotation, start, end)
        self._notes += 1
        return [{name: [{**entry, "index": self._notes - 1}]}]

    def _refusal(self, event: Json) -> list[Delta]:
        text = event.get("delta")
        if not isinstance(text, str) or not text:
            return []
        self._item(event).refused += len(text)
        return [{"refusal": text}]

    # reasoning -----------------------------------------------------------------

    def _summary(self, event: Json) -> list[Delta]:
        place = event.get("summary_index")
        return self._think(self._item(event), "summary", place, event.get("delta"))

    def _reasoning(self, event: Json) -> list[Delta]:
        place = event.get("content_index")
        return self._think(self._item(event), "text", place, event.get("delta"))

    def _think(self, item: _Item, kind: str, part: Any, text: Any) -> list[Delta]:
        """Visible reasoning; a blank line stands between two parts of it."""
        if not isinstance(text, str) or not text or item.shown not in ("", kind):
            return []
        if not item.shown:
            item.shown, item.piece = kind, self._pieces
            self._pieces += 1
            make = summary_detail if kind == "summary" else text_detail
            detail = make(OPENAI, text, item.piece)
            said = (BETWEEN if self._thought else "") + text
            self._thought = True
        else:
            said = (BETWEEN if item.part != part else "") + text
            detail = {kind: said, "index": item.piece}
        item.part = part
        return [{"reasoning_content": said, "reasoning_details": [detail]}]

    def _think_rest(self, item: _Item, value: Json) -> list[Delta]:
        """What no delta said of a reasoning item that is done."""
        deltas: list[Delta] = []
        if not item.shown:
            for kind, name in (("summary", "summary"), ("text", "content")):
                for part, text in enumerate(texts_of(value, name)):
                    deltas += self._think(item, kind, part, text)
        secret = value.get("encrypted_content")
        if isinstance(secret, str) and secret and not item.secret:
            item.secret = True
            identity = value.get("id")
            identity = identity if isinstance(identity, str) else None
            entry = encrypted_detail(OPENAI, secret, self._pieces, identity)
            self._pieces += 1
            deltas.append({"reasoning_details": [entry]})
        return deltas

    # calls ---------------------------------------------------------------------

    def _added(self, event: Json) -> list[Delta]:
        value = event.get("item")
        if not isinstance(value, dict):
            return []
        item = self._item(event)
        early, item.early = item.early, []
        if isinstance(identity := value.get("id"), str):
            unknown = self._items.get(identity, item)
            early += unknown.early if unknown is not item else []
            self._items[identity] = item
        if value.get("type") not in _CALLS:
            return []
        deltas = self._open(item, value) if value.get("name") else []
        if not deltas:
            item.early = early
            return []
        return [*deltas, *(d for piece in early for d in self._argue(item, piece))]

    def _open(self, item: _Item, value: Json) -> list[Delta]:
        """The call's id and name; its arguments follow."""
        if item.place >= 0:
            return []
        item.place, self._tools = self._tools, self._tools + 1
        item.custom = value.get("type") == "custom_tool_call"
        call = x_call({**value, "arguments": "", "input": ""}, self._context)
        item.escaped = item.custom and call["type"] == "function"
        if item.escaped:
            call["function"]["arguments"] = '{"input":"'
        return [{"tool_calls": [{"index": item.place, **call}]}]

    def _arguments(self, event: Json) -> list[Delta]:
        item, piece = self._item(event), event.get("delta")
        if not isinstance(piece, str) or not piece:
            return []
        if item.place < 0:
            if len(item.early) < _UNKNOWN_KEPT:
                item.early.append(piece)
            return []
        return self._argue(item, piece)

    def _argue(self, item: _Item, piece: str) -> list[Delta]:
        """A piece of a call's arguments, or of a free-form call's input."""
        item.sent += len(piece)
        if item.escaped:
            piece = tools.compact(piece)[1:-1]
        inner = {"arguments": piece}
        name = "function"
        if item.custom and not item.escaped:
            name, inner = "custom", {"input": piece}
        return [{"tool_calls": [{"index": item.place, name: inner}]}]

    def _all_arguments(self, event: Json) -> list[Delta]:
        item = self._item(event)
        return self._argue_rest(item, event) if item.place >= 0 else []

    def _argue_rest(self, item: _Item, value: Json) -> list[Delta]:
        """What was not sent yet of the whole arguments."""
        whole = value.get("input") if item.custom else value.get("arguments")
        if not isinstance(whole, str) or item.done:
            return []
        return self._argue(item, rest) if (rest := whole[item.sent :]) else []

    def _call_rest(self, item: _Item, value: Json) -> list[Delta]:
        deltas = self._open(item, value)
        early, item.early = item.early, []
        deltas += [d for piece in early for d in self._argue(item, piece)]
        deltas += self._argue_rest(item, value)
        if item.escaped:
            end = {"index": item.place, "function": {"arguments": '"}'}}
            deltas.append({"tool_calls": [end]})
        elif not item.sent and not item.custom:
            deltas += self._argue(item, "{}")
        return deltas

    # ends ----------------------------------------------------------------------

    def _done(self, event: Json) -> list[Delta]:
        value = event.get("item")
        if not isinstance(value, dict):
            return []
        self._output.append(value)
        return self._complete(self._item(event), value)

    def _complete(self, item: _Item, value: Json) -> list[Delta]:
        """What was not sent yet of an item that is done."""
        if item.done:
            return []
        kind = value.get("type")
        deltas: list[Delta] = []
        if kind == "message":
            deltas = self._message_rest(item, value)
        elif kind == "reasoning":
            deltas = self._think_rest(item, value)
        elif kind in _CALLS:
            deltas = self._call_rest(item, value)
        elif kind == "image_generation_call":
            deltas = self._image(item, value)
        item.done = True
        return deltas

    def _message_rest(self, item: _Item, value: Json) -> list[Delta]:
        deltas: list[Delta] = []
        for part, content in enumerate(objects(value.get("content"))):
            refusal, text = content.get("refusal"), content.get("text")
            if isinstance(refusal, str) and refusal[item.refused :]:
                deltas.append({"refusal": refusal[item.refused :]})
            if isinstance(text, str):
                deltas += self._say(item, part, text[item.texts.get(part, 0) :])
            for note in objects(content.get("annotations"))[item.cited.get(part, 0) :]:
                deltas += self._cite(item, part, note)
        self._phase = value.get("phase") or self._phase
        return deltas

    def _image(self, item: _Item, value: Json) -> list[Delta]:
        image = x_image(value)
        if image is None:
            return []
        if as_markdown(self._context):
            return self._say(item, None, in_markdown(image))
        self._images += 1
        return [{"images": [{**image, "index": self._images - 1}]}]

    def _end(self, response: Json) -> list[Chunk]:
        """Everything that was not sent, the reason and the usage."""
        self.finished = True
        output = objects(response.get("output"))
        deltas = [
            delta
            for place, value in enumerate(output)
            for delta in self._complete(self._place(place, value), value)
        ]
        for item in self._items.values():
            if item.place >= 0 and not item.done:
                deltas += self._call_rest(item, {})
                item.done = True
        output = output or self._output
        self._context.used.update(count_tools(output))
        if isinstance(self._phase, str):
            deltas.append({"phase": self._phase})
        if self._context.native:
            kept = {"format": FORMATS[OPENAI], "content": output}
            deltas.append({"native_blocks": kept})
        return [*map(self._chunk, deltas), *self._last_chunks(response, output)]

    def _last_chunks(self, response: Json, output: list[Json]) -> list[Chunk]:
        last = self._chunk({})
        last["choices"][0] |= ending(response, self._tools > 0)
        if not isinstance(response.get("usage"), Mapping):
            return [last]
        usage = x_usage(response["usage"], output)
        return [last, {**self._head, "choices": [], "usage": usage}]

    def _place(self, place: int, value: Json) -> _Item:
        """The item of the whole response; by its id when events had no index."""
        item = self._items.get(place) or self._items.get(value.get("id"))
        return item if item is not None else self._items.setdefault(place, _Item())

    def _chunk(self, delta: Delta) -> Chunk:
        choice: Json = {"index": 0, "delta": delta, "finish_reason": None}
        if "logprobs" in delta:
            choice["logprobs"] = delta.pop("logprobs")
        return {**self._head, "choices": [choice]}
