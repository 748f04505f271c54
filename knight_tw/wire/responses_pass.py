"""A Responses stream on its way to a Responses client.

A stream is named events with rising `sequence_number`: `response.created` and
`response.in_progress` with the response object, items that are added, filled by deltas
and done, and at last `response.completed` or `response.incomplete` with the whole
response and its usage; `response.failed` or `error` in their place. There is no
`[DONE]`, though some providers send one, which is swallowed. Events go on as the bytes
they came in; only the model's name is written into those that carry a response, when it
was mapped, and the event's name is added where a provider leaves it out.

The terminal event is held back until `close`, which is told what we counted in case
the provider reported no usage.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from knight_tw.records import Usage
from knight_tw.wire import sse, top
from knight_tw.wire.answers import (
    decode_object,
    read_members,
    refuse_errors,
    replaced,
    unreadable,
)
from knight_tw.wire.produced import Produced
from knight_tw.wire.responses import (
    SEARCH,
    Item,
    count_tools,
    refuse_failed,
    refused,
    usage_object,
    with_tools,
)
from knight_tw.wire.sse import Event
from knight_tw.wire.usage import read_usage

CREATED = "response.created"
TERMINAL = frozenset({"response.completed", "response.incomplete"})
FAILED = frozenset({"response.failed", "error"})
PROGRESS = frozenset({CREATED, "response.queued", "response.in_progress"})
ADDED, DONE = "response.output_item.added", "response.output_item.done"

_FRAMES = frozenset({"message", "reasoning"})
"""Items that are added before there is anything in them."""
_SILENT = frozenset(
    {"response.content_part.added", "response.reasoning_summary_part.added"}
)
_NOT_TEXT = "response.audio.delta"

KEPT_ITEMS = 1024 * 1024
"""Most bytes of done items kept for a stream that breaks off without its end."""

_NULL = Raw(b"null")


class _Event(Struct, gc=False):
    type: str = ""
    sequence_number: Any = None
    delta: Any = None
    item: Raw = _NULL
    response: Raw = _NULL
    error: Any = None


class _Response(Struct, gc=False):
    model: Any = None
    status: Any = None
    output: Raw = _NULL
    usage: Any = None
    error: Any = None


class _Named(Struct, gc=False):
    type: Any = None
    name: Any = None


_EVENT = msgspec.json.Decoder(_Event)
_RESPONSE = msgspec.json.Decoder(_Response)
_NAMED = msgspec.json.Decoder(_Named)
_ALL_NAMED = msgspec.json.Decoder(list[_Named])
_ITEMS = msgspec.json.Decoder(list[Item])


class ResponsesPass:
    """The events of a provider's Responses stream to the bytes for the client.

    Args:
        model: The name to show; None leaves the provider's.
        search: The price name of a web search (`responses.search_tool`).

    Attributes:
        began: There was content, a call, or the end.
        finished: The terminal event has come; nothing after it counts.
        events: Events that went on to the client.
        produced: What the answer consists of so far.
        sequence_number: The number of the next event, if one had to be added.
    """

    def __init__(self, model: str | None = None, *, search: str = SEARCH) -> None:
        self._model = model
        self._search = search
        self._reported: Any = None
        self._tools: dict[str, int] = {}
        self._response: Raw | None = None
        self._items: list[Raw] = []
        self._kept = 0
        self._last: Event | None = None
        self._closed = False
        self.began = False
        self.finished = False
        self.events = 0
        self.produced = Produced()
        self.sequence_number = 0

    @property
    def usage(self) -> Usage | None:
        """What the provider reported, None while it reported only zeros."""
        return with_tools(read_usage(self._reported), self._tools)

    @property
    def response(self) -> dict[str, Any] | None:
        """The response as far as it is known, None before `response.created`."""
        if self._response is None:
            return None
        return {**decode_object(bytes(self._response)), "output": self._items}

    def feed(self, event: Event) -> list[bytes]:
        """The bytes for the client that this event leads to, often its own.

        Raises:
            UpstreamRefused: the event is the provider's error.
            BadUpstreamBody: the event is not JSON.
        """
        if self.finished or not event.data.strip():
            return []
        if event.data == b"[DONE]":
            self.finished = True
            return []
        try:
            read = _EVENT.decode(event.data)
        except msgspec.ValidationError:
            refuse_errors(decode_object(event.data))
            self.events += 1
            return [event.raw]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise unreadable(event.data) from None
        return self._pass(event, read, read.type or event.event)

    def close(self, counted: Usage | None = None) -> list[bytes]:
        """The terminal event; of a stream that broke off `response.incomplete`.

        Nothing at all when the provider ended without having begun.

        Args:
            counted: The usage to show when the provider reported none.
        """
        if self._closed or not (self.began or self.finished):
            return []
        self._closed = True
        self.finished = True
        event = self._last
        if event is None:
            return self._broken_off(counted)
        if counted is not None and self._reported is None:
            usage = Raw(top.encode(usage_object(counted)))
            event = self._with_response(event, {"usage": usage})
        return [event.raw]

    def _pass(self, event: Event, read: _Event, kind: str) -> list[bytes]:
        number = read.sequence_number
        last = number if isinstance(number, int) else self.sequence_number
        self.sequence_number = last + 1
        if not event.event and kind:
            event = Event(event.data, sse.encode(event.data, kind), kind)
        if kind in FAILED:
            self._fail(event, read)
        elif kind in TERMINAL:
            event = self._note_response(event, read.response)
            self.began = self.finished = True
            self.events += 1
            self._last = event
            return []
        elif kind in PROGRESS:
            event = self._note_response(event, read.response)
        elif not kind:
            refuse_errors(decode_object(event.data))
        else:
            self._note(kind, read)
        self.events += 1
        return [event.raw]

    def _fail(self, event: Event, read: _Event) -> None:
        """Raise the provider's error; its usage still counts."""
        if bytes(read.response) != b"null":
            response = self._read_response(read.response)
            raise refused(response.error)
        answer = decode_object(event.data)
        nested = answer.get("error")
        raise refused(nested if isinstance(nested, dict) else answer)

    def _note_response(self, event: Event, raw: Raw) -> Event:
        """Keep the response of an event, and write the shown model's name into it."""
        if bytes(memoryview(raw)[:1]) != b"{":
            return event
        response = self._read_response(raw)
        refuse_failed(response.status, response.error)
        self._response = raw
        if self._model is None or response.model in (None, self._model):
            return event
        event = self._with_response(event, {"model": self._model})
        self._response = read_members(event.data)["response"]
        return event

    def _read_response(self, raw: Raw) -> _Response:
        """What counts of a response; its usage and uses of tools are kept."""
        try:
            response = _RESPONSE.decode(raw)
        except msgspec.ValidationError:
            return _Response()
        if response.usage:
            self._reported = response.usage
        self._note_output(response.output)
        return response

    def _note_output(self, output: Raw) -> None:
        """The whole list of items says how often tools were used, if it is filled.

        It is what was produced when there were no deltas.
        """
        try:
            self._tools = (
                count_tools(_ALL_NAMED.decode(output), self._search) or self._tools
            )
            if not self.produced.characters:
                for item in _ITEMS.decode(output):
                    item.add_to(self.produced)
        except msgspec.DecodeError:
            return

    def _with_response(self, event: Event, changes: dict[str, Any]) -> Event:
        """The event with members of its response replaced, all else as it is."""
        response = read_members(event.data).get("response", Raw(b"{}"))
        changed = Raw(replaced(bytes(response), changes))
        data = replaced(event.data, {"response": changed})
        return Event(data, sse.encode(data, event.event), event.event)

    def _note(self, kind: str, read: _Event) -> None:
        """What an event between the first and the last adds to the answer."""
        if kind in (ADDED, DONE):
            self._note_item(kind, read.item)
            return
        if isinstance(read.delta, str) and kind != _NOT_TEXT:
            self.produced.add(read.delta)
        if kind not in _SILENT:
            self.began = True

    def _note_item(self, kind: str, raw: Raw) -> None:
        try:
            item = _NAMED.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            return
        if kind == DONE or item.type not in _FRAMES:
            self.began = True
        if kind == ADDED:
            if isinstance(item.name, str):
                self.produced.add(item.name)
            return
        for name, number in count_tools([item], self._search).items():
            self._tools[name] = self._tools.get(name, 0) + number
        size = len(memoryview(raw))
        if self._kept + size <= KEPT_ITEMS:
            self._kept += size
            self._items.append(raw)

    def _broken_off(self, counted: Usage | None) -> list[bytes]:
        """What completes the client's stream when the provider's has no end."""
        response = self.response
        if response is None:
            return []
        usage = self.usage or counted
        response |= {
            "status": "incomplete",
            "incomplete_details": None,
            "usage": usage_object(usage) if usage is not None else None,
        }
        kind = "response.incomplete"
        event = {"type": kind, "sequence_number": self.sequence_number}
        self.sequence_number += 1
        return [sse.encode(top.encode({**event, "response": response}), kind)]
