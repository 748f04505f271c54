"""A whole response out of its stream, and a stream out of a whole response.

Some providers only stream, some never do. The terminal event of a stream carries the
whole response, but some backends leave its `output` empty; then the items are those
that were done on the way, and of an item that never was, what its deltas said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from knight_tw.wire import sse, top
from knight_tw.wire.answers import objects

Item = dict[str, Any]

_TEXTS: Mapping[str, tuple[str, str]] = {
    "response.output_text.delta": ("output_text", "text"),
    "response.refusal.delta": ("refusal", "refusal"),
    "response.reasoning_text.delta": ("reasoning_text", "text"),
}
"""Deltas of parts of an item's `content`: the part's type and its text member."""

_MEMBERS: Mapping[str, str] = {
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}
_SUMMARY = "response.reasoning_summary_text.delta"

_UNFILLED: Mapping[str, Mapping[str, Any]] = {
    "message": {"content": [], "status": "in_progress"},
    "reasoning": {"summary": [], "content": [], "status": "in_progress"},
    "function_call": {"arguments": "", "status": "in_progress"},
    "custom_tool_call": {"input": "", "status": "in_progress"},
}
"""Members of an item as it is added, before its deltas."""


class Assembly:
    """Events in, one response out. Events are plain objects without errors in them."""

    __slots__ = ("_done", "_open", "_response")

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}
        self._open: dict[Any, Item] = {}
        self._done: dict[Any, Item] = {}

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        kind, place = str(event.get("type")), event.get("output_index")
        response, item = event.get("response"), event.get("item")
        if isinstance(response, Mapping):
            self._response.update(response)
        elif kind == "response.output_item.added" and isinstance(item, Mapping):
            self._open[place] = dict(item)
        elif kind == "response.output_item.done" and isinstance(item, Mapping):
            self._done[place] = dict(item)
        elif isinstance(delta := event.get("delta"), str):
            _grow(self._open.setdefault(place, {}), kind, event, delta)

    def close(self) -> dict[str, Any]:
        """The response; one without an end is incomplete."""
        response = {"object": "response", **self._response}
        if response.get("status") in (None, "in_progress", "queued"):
            response["status"] = "incomplete"
        if not response.get("output"):
            items = {**self._open, **self._done}
            places = sorted(
                items, key=lambda place: (not isinstance(place, int), place)
            )
            response["output"] = [items[place] for place in places if items[place]]
        return response


def _grow(item: Item, kind: str, event: Mapping[str, Any], delta: str) -> None:
    """Add a delta to the item it belongs to."""
    if kind in _MEMBERS:
        name = _MEMBERS[kind]
        item[name] = str(item.get(name) or "") + delta
    elif kind in _TEXTS:
        part_type, member = _TEXTS[kind]
        parts = item.setdefault("content", [])
        part = _part(parts, event.get("content_index"), {"type": part_type, member: ""})
        part[member] = str(part.get(member) or "") + delta
        if part_type == "output_text":
            part.setdefault("annotations", [])
    elif kind == _SUMMARY:
        parts = item.setdefault("summary", [])
        empty = {"type": "summary_text", "text": ""}
        part = _part(parts, event.get("summary_index"), empty)
        part["text"] = str(part.get("text") or "") + delta


def _part(parts: list[Any], index: Any, empty: Item) -> Item:
    """The part at `index`, made of `empty` when it is the next one."""
    place = index if isinstance(index, int) and 0 <= index < len(parts) else len(parts)
    if place == len(parts):
        parts.append(empty)
    return parts[place] if isinstance(parts[place], dict) else {}


def restream(answer: Mapping[str, Any]) -> bytes:
    """The event stream that says the same as a whole response."""
    began = {**answer, "status": "in_progress", "output": [], "usage": None}
    began["incomplete_details"] = None
    ending = "incomplete" if answer.get("status") == "incomplete" else "completed"
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": began},
        {"type": "response.in_progress", "response": began},
    ]
    for place, item in enumerate(objects(answer.get("output"))):
        events += _item_events(item, place)
    events.append({"type": f"response.{ending}", "response": answer})
    return b"".join(
        sse.encode(top.encode({**event, "sequence_number": number}), event["type"])
        for number, event in enumerate(events)
    )


def _item_events(item: Item, place: int) -> Iterator[dict[str, Any]]:
    """An item added, filled and done."""
    kind = item.get("type")
    at = {"item_id": item.get("id"), "output_index": place}
    unfilled = {k: v for k, v in _UNFILLED.get(str(kind), {}).items() if k in item}
    added = {**item, **unfilled}
    yield {
        "type": "response.output_item.added",
        "output_index": place,
        "item": added,
    }
    if kind == "message":
        for index, part in enumerate(objects(item.get("content"))):
            yield from _content_events({**at, "content_index": index}, part)
    elif kind == "reasoning":
        for index, part in enumerate(objects(item.get("summary"))):
            yield from _summary_events({**at, "summary_index": index}, part)
    elif kind == "function_call":
        text = item.get("arguments", "")
        yield _delta("function_call_arguments", at, text)
        done = {"arguments": text, "name": item.get("name")}
        yield {"type": "response.function_call_arguments.done", **at, **done}
    elif kind == "custom_tool_call":
        text = item.get("input", "")
        yield _delta("custom_tool_call_input", at, text)
        yield {"type": "response.custom_tool_call_input.done", **at, "input": text}
    yield {"type": "response.output_item.done", "output_index": place, "item": item}


def _content_events(at: Mapping[str, Any], part: Item) -> Iterator[dict[str, Any]]:
    """A part of a message; parts of unknown kinds come in one piece."""
    kind = part.get("type")
    member = {"output_text": "text", "refusal": "refusal"}.get(str(kind))
    if member is None:
        yield {"type": "response.content_part.added", **at, "part": part}
    else:
        text = part.get(member, "")
        more = {"logprobs": part.get("logprobs") or []} if member == "text" else {}
        empty = {**part, member: ""}
        if member == "text":
            empty |= {"annotations": [], "logprobs": []}
        yield {"type": "response.content_part.added", **at, "part": empty}
        yield {**_delta(str(kind), at, text), **more}
        for index, annotation in enumerate(objects(part.get("annotations"))):
            noted = {"annotation_index": index, "annotation": annotation}
            yield {"type": "response.output_text.annotation.added", **at, **noted}
        yield {"type": f"response.{kind}.done", **at, member: text, **more}
    yield {"type": "response.content_part.done", **at, "part": part}


def _summary_events(at: Mapping[str, Any], part: Item) -> Iterator[dict[str, Any]]:
    text = part.get("text", "")
    name = "response.reasoning_summary"
    yield {"type": f"{name}_part.added", **at, "part": {**part, "text": ""}}
    yield _delta("reasoning_summary_text", at, text)
    yield {"type": f"{name}_text.done", **at, "text": text}
    yield {"type": f"{name}_part.done", **at, "part": part}


def _delta(name: str, at: Mapping[str, Any], text: Any) -> dict[str, Any]:
    return {"type": f"response.{name}.delta", **at, "delta": text}
