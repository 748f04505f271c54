"""A chat stream on its way to a chat client: what is looked for, what is changed.

A stream is `data: {chunk}` events and at last `data: [DONE]`. Most events go on as the
bytes they came in. The pass reads each chunk into the few members that matter (half a
microsecond) and keeps the usage, the finish reasons, and all text for the case that the
provider reports no usage. It changes only what the client must see differently (relay
specification, section 13):

- no usage for a client that did not ask; for one that did, exactly one usage chunk,
  without choices, directly before `[DONE]`, also when the provider put the usage on its
  last content chunk, or on each;
- the model's name, when it was mapped, and an id where the provider gives none;
- the layout, when the channel asks for it (`reshape`).

So the end of the stream is held back until `close`, which is told what we counted in
case the provider reported no usage. Legacy text completions have the same streams with
`text` choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from knight_tw.records import Usage
from knight_tw.wire import sse, top
from knight_tw.wire.answers import (
    AS_OPENAI,
    Reading,
    decode_object,
    read_members,
    refuse_errors,
    rename_reasons,
    replaced,
    unreadable,
)
from knight_tw.wire.chat import MOST_CHOICES, Message, reason_text, with_timings
from knight_tw.wire.produced import Produced
from knight_tw.wire.sse import Event
from knight_tw.wire.usage import read_usage, to_object

CHUNK, TEXT_CHUNK = "chat.completion.chunk", "text_completion"


class Reshape(Protocol):
    """A change of the layout, chunk by chunk."""

    def feed(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """The chunks that go on in the place of this one."""
        ...

    def close(self) -> list[dict[str, Any]]:
        """The chunks that have to follow the last one."""
        ...


class _Choice(Struct, gc=False):
    index: Any = 0
    delta: Message | None = None
    text: Any = None
    finish_reason: Any = None
    usage: Any = None


class _Chunk(Struct, gc=False):
    id: Any = None
    object: Any = None
    created: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    timings: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)


class ChatPass:
    """The events of a provider's chat stream to the bytes for the client.

    Args:
        include_usage: Whether the client gets the usage chunk.
        model: The name to show; None leaves the provider's.
        identity: The answer's id when the provider gives none.
        own_chunk: Whether usage on a content chunk moves into a chunk of its own; else
            such a chunk goes on as it is to clients that asked for usage.
        reading: How the provider's answers are read.
        reshape: Changes of the layout, in this order.

    Attributes:
        began: There was content or a finish reason.
        finished: The provider's `[DONE]` has come; nothing after it counts.
        events: Chunks that went on to the client.
        produced: What the answer consists of so far.
    """

    def __init__(
        self,
        include_usage: bool,
        model: str | None = None,
        *,
        identity: str = "",
        own_chunk: bool = True,
        reading: Reading = AS_OPENAI,
        reshape: Sequence[Reshape] = (),
    ) -> None:
        self._include_usage = include_usage
        self._model = model
        self._identity = identity
        self._own_chunk = own_chunk
        self._reading = reading
        self._renamed = reading.finish_reasons
        self._reshape = tuple(reshape)
        self._usage: Any = None
        self._usage_event: Event | None = None
        self._usage_shown = False
        self._last = _Chunk()
        self._choices: dict[int, str] = {}
        self.began = False
        self.finished = False
        self.events = 0
        self.produced = Produced()

    @property
    def usage(self) -> Usage | None:
        """What the provider reported last, None while it reported only zeros."""
        if not isinstance(self._usage, dict):
            return None
        return read_usage(dict(self._usage), self._reading.complete)

    @property
    def finish_reasons(self) -> dict[int, str]:
        """The finish reason of each choice by its index, empty text when still open."""
        return dict(self._choices)

    def feed(self, event: Event) -> list[bytes]:
        """The bytes for the client that this event leads to, often its own.

        Raises:
            UpstreamRefused: the event is the provider's error.
            BadUpstreamBody: the event is not JSON.
        """
        if self.finished:
            return []
        if event.data == b"[DONE]":
            self.finished = True
            return []
        unwrap = self._reading.unwrap
        try:
            if unwrap is not None and event.data.strip():
                event = _encoded(unwrap(decode_object(event.data)), event)
            chunk = _CHUNK.decode(event.data)
            if self._renamed and chunk.choices and self._renames(chunk.choices):
                event, chunk = self._with_reasons(event)
        except msgspec.ValidationError:
            return self._odd(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if event.data.strip():
                raise unreadable(event.data) from None
            return []
        return self._pass(event, chunk)

    def close(self, counted: Usage | None = None) -> list[bytes]:
        """The end of the stream: open choices closed, the usage chunk, `[DONE]`.

        Choices without a finish reason get `stop` when `[DONE]` did not come either.
        Nothing at all when the provider ended without having begun.

        Args:
            counted: The usage to show when the provider reported none.
        """
        if not (self.began or self.finished):
            return []
        tail: list[bytes] = []
        if not self.finished:
            self.finished = True
            tail += self._pack([self._chunk([self._stop(i)]) for i in self._open()])
        rest: list[dict[str, Any]] = []
        for position, machine in enumerate(self._reshape):
            rest += self._reshaped(machine.close(), position + 1)
        tail += [sse.encode(top.encode(chunk)) for chunk in rest]
        if self._include_usage:
            tail += self._usage_bytes(counted)
        return [*tail, sse.DONE]

    def _pass(self, event: Event, chunk: _Chunk) -> list[bytes]:
        choices = chunk.choices
        if chunk.error or not (choices or chunk.usage):
            refuse_errors(decode_object(event.data), self._reading.raised_error)
        changes: dict[str, Any] = {}
        if chunk.usage:
            self._note_usage(with_timings(chunk.usage, chunk.timings))
            if not choices:
                self._usage_event = event
                return []
            if self._own_chunk or not self._include_usage:
                changes["usage"] = None
            else:
                self._usage_shown = True
        if choices:
            self._last = chunk
            for choice in choices:
                self._note(choice)
            if self.produced.characters:
                self.began = True
        if self._model is not None and chunk.model != self._model:
            changes["model"] = self._model
        if self._identity and not chunk.id:
            changes["id"] = self._identity
        self.events += 1
        if not (changes or self._reshape):
            return [event.raw]
        return self._changed(event, changes)

    def _renames(self, choices: list[_Choice]) -> bool:
        return any(reason_text(c.finish_reason) in self._renamed for c in choices)

    def _with_reasons(self, event: Event) -> tuple[Event, _Chunk]:
        """The event with OpenAI's finish reasons in the place of the provider's."""
        answer = decode_object(event.data)
        rename_reasons(answer, self._renamed)
        renamed = _encoded(answer, event)
        return renamed, _CHUNK.decode(renamed.data)

    def _odd(self, event: Event) -> list[bytes]:
        """An event that is no chunk: an error, or an object for the client to judge."""
        if not event.data.lstrip().startswith((b"{", b"[")):
            return []
        refuse_errors(decode_object(event.data), self._reading.raised_error)
        self.events += 1
        return [event.raw]

    def _note(self, choice: _Choice) -> None:
        index = choice.index if isinstance(choice.index, int) else 0
        if choice.delta is not None:
            choice.delta.add_to(self.produced)
            if choice.delta.audio:
                self.began = True
        if isinstance(choice.text, str):
            self.produced.add(choice.text)
        if index not in self._choices and len(self._choices) < MOST_CHOICES:
            self._choices[index] = ""
        if isinstance(choice.finish_reason, str) and index in self._choices:
            self._choices[index] = choice.finish_reason
            self.began = True
        if choice.usage:
            self._note_usage(choice.usage)

    def _note_usage(self, usage: Any) -> None:
        """Keep the last usage that is more than zeros."""
        if isinstance(usage, dict) and (self._usage is None or read_usage(dict(usage))):
            self._usage = usage

    def _changed(self, event: Event, changes: dict[str, Any]) -> list[bytes]:
        if "usage" in changes and not self._include_usage:
            event = _without_usage(event)
            del changes["usage"]
        if not self._reshape:
            data = replaced(event.data, changes) if changes else event.data
            return [sse.encode(data, event.event)]
        return self._pack([{**decode_object(event.data), **changes}])

    def _pack(self, chunks: list[dict[str, Any]]) -> list[bytes]:
        """The bytes of chunks, after the changes of layout."""
        return [sse.encode(top.encode(chunk)) for chunk in self._reshaped(chunks, 0)]

    def _reshaped(
        self, chunks: list[dict[str, Any]], start: int
    ) -> list[dict[str, Any]]:
        for machine in self._reshape[start:]:
            chunks = [new for chunk in chunks for new in machine.feed(chunk)]
        return chunks

    def _open(self) -> list[int]:
        return [index for index, reason in self._choices.items() if not reason]

    def _stop(self, index: int) -> dict[str, Any]:
        if self._last.object == TEXT_CHUNK:
            return {"index": index, "text": "", "finish_reason": "stop"}
        return {"index": index, "delta": {}, "finish_reason": "stop"}

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """A chunk like the provider's last one, with other choices."""
        return {
            "id": self._last.id or self._identity,
            "object": TEXT_CHUNK if self._last.object == TEXT_CHUNK else CHUNK,
            "created": self._last.created or 0,
            "model": self._last.model if self._model is None else self._model,
            "choices": choices,
            **more,
        }

    def _usage_bytes(self, counted: Usage | None) -> list[bytes]:
        """The one usage chunk: the provider's own, the one we counted, or the moved."""
        if self.usage is None and counted is not None:
            return self._pack([self._chunk([], usage=to_object(counted))])
        event = self._usage_event
        if event is not None:
            if self._model is None and not self._reshape:
                return [event.raw]
            changes = {} if self._model is None else {"model": self._model}
            return self._pack([{**decode_object(event.data), **changes}])
        if self._usage is None or self._usage_shown:
            return []
        return self._pack([self._chunk([], usage=self._usage)])


def _encoded(chunk: dict[str, Any], event: Event) -> Event:
    """An event like `event` with another chunk in it."""
    data = top.encode(chunk)
    return Event(data, sse.encode(data, event.event), event.event)


def _without_usage(event: Event) -> Event:
    """The event with its chunk's `usage` taken out, everything else as it is."""
    members: dict[str, Any] = dict(read_members(event.data))
    del members["usage"]
    return _encoded(members, event)
