"""Claude messages: what the gateway reads of requests, whole answers and streams.

Between a Claude client and a Claude provider bytes go on as they came. An answer is
decoded into the few members that matter: its usage, the model's name (which is replaced
when it was mapped) and its text, for the case that no usage is reported. A stream is
`message_start`, content blocks each with a start, deltas and a stop, `message_delta`
with the reason and the usage, and `message_stop`; `ping` anywhere, `error` at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec
from attrs import define
from msgspec import Struct

from knight_tw.errors import EmptyAnswer
from knight_tw.records import Usage
from knight_tw.wire import sse, top
from knight_tw.wire.answers import (
    EMPTY,
    decode_object,
    objects,
    read_members,
    refuse_errors,
    replaced,
    unreadable,
)
from knight_tw.wire.claude_usage import merged, read_usage
from knight_tw.wire.produced import Produced
from knight_tw.wire.sse import Event

INPUT_COUNTS = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
"""Counts of `message_start` that some providers do not repeat at the end."""


@define(eq=False)
class Answer:
    """A whole answer.

    Attributes:
        body: The bytes for the client.
        usage: What the provider reported, None when nothing or only zeros.
        produced: What it consists of.
        stop_reason: Claude's word for why it ended, empty when missing.
    """

    body: bytes
    usage: Usage | None
    produced: Produced
    stop_reason: str


class _Whole(Struct, gc=False):
    type: Any = None
    model: Any = None
    content: Any = None
    stop_reason: Any = None
    usage: Any = None
    error: Any = None


_WHOLE = msgspec.json.Decoder(_Whole)


def read_answer(body: bytes, *, model: str | None = None) -> Answer:
    """The answer in a 200 body of a messages call.

    Args:
        model: The name to show; None leaves the provider's.

    Raises:
        UpstreamRefused: the body reports an error.
        EmptyAnswer: there is nothing in it.
        BadUpstreamBody: it is no such answer.
    """
    if not body or body.isspace():
        raise EmptyAnswer(EMPTY)
    try:
        whole = _WHOLE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unreadable(body) from None
    if whole.error or not isinstance(whole.content, list):
        refuse_errors(decode_object(body))
        raise unreadable(body)
    produced = Produced()
    for block in objects(whole.content):
        add_block(produced, block)
    if model is not None and whole.model != model:
        body = replaced(body, {"model": model})
    reason = whole.stop_reason if isinstance(whole.stop_reason, str) else ""
    return Answer(body, read_usage(whole.usage), produced, reason)


def add_block(produced: Produced, block: Mapping[str, Any]) -> None:
    """Hand to `produced` what a content block consists of, as far as it is counted."""
    for name in ("text", "thinking", "name"):
        value = block.get(name)
        if isinstance(value, str):
            produced.add(value)
    if block.get("input"):
        produced.add(top.encode(block["input"]).decode())


class _Delta(Struct, gc=False):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None


class _Event(Struct, gc=False):
    type: str = ""
    index: Any = None
    delta: _Delta | None = None
    message: Any = None
    content_block: Any = None
    usage: Any = None
    error: Any = None


_EVENT = msgspec.json.Decoder(_Event)


class ClaudePass:
    """The events of a Claude stream to the bytes for a Claude client.

    Args:
        model: The name to show; None leaves the provider's.
        complete_usage: Repeat at the end what only `message_start` reported, for
            providers that leave it out there (Bedrock).

    Attributes:
        finished: `message_stop` has come; nothing after it counts.
        began: There was content, or a reason for its absence.
        events: Events that went on to the client.
        produced: What the answer consists of so far.
        stop_reason: Claude's word for why it ended, empty while it has not.
    """

    def __init__(
        self, model: str | None = None, *, complete_usage: bool = False
    ) -> None:
        self._model = model
        self._complete = complete_usage
        self._reported: dict[str, Any] = {}
        self._open: dict[int, None] = {}
        self._started = False
        self.finished = False
        self.began = False
        self.events = 0
        self.produced = Produced()
        self.stop_reason = ""

    @property
    def usage(self) -> Usage | None:
        """What the provider has reported, None while it reported only zeros."""
        return read_usage(self._reported)

    def feed(self, event: Event) -> list[bytes]:
        """The bytes for the client that this event leads to, often its own.

        Raises:
            UpstreamRefused: the event is the provider's error.
            BadUpstreamBody: the event cannot be read.
        """
        if self.finished or not event.data.strip():
            return []
        try:
            read = _EVENT.decode(event.data)
        except msgspec.ValidationError:
            read = _odd(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise unreadable(event.data) from None
        if read.error or read.type == "error":
            refuse_errors(decode_object(event.data))
        self.events += 1
        if read.delta is not None and read.type == "content_block_delta":
            self._note_delta(read.delta)
            return [event.raw]
        return [self._note(event, read)]

    def close(self, counted: Usage | None = None) -> list[bytes]:
        """What completes an answer that ended without `message_stop`.

        Args:
            counted: The usage to show when the provider reported none.
        """
        if self.finished or not self._started:
            return []
        self.finished = True
        stops = [{"type": "content_block_stop", "index": n} for n in self._open]
        ending: list[dict[str, Any]] = []
        if not self.stop_reason:
            delta = {"stop_reason": "end_turn", "stop_sequence": None}
            usage = _shown(self._reported, counted)
            ending = [{"type": "message_delta", "delta": delta, "usage": usage}]
        return [_encoded(e) for e in (*stops, *ending, {"type": "message_stop"})]

    def _note_delta(self, delta: _Delta) -> None:
        for piece in (delta.text, delta.thinking, delta.partial_json):
            if piece:
                self.produced.add(piece)
                self.began = True

    def _note(self, event: Event, read: _Event) -> bytes:
        kind = read.type
        if kind == "message_start":
            return self._start(event, read.message)
        if kind == "content_block_start":
            if isinstance(read.index, int):
                self._open[read.index] = None
            if isinstance(read.content_block, dict):
                add_block(self.produced, read.content_block)
                self.began = self.began or read.content_block.get("type") != "text"
        elif kind == "content_block_stop":
            if isinstance(read.index, int):
                self._open.pop(read.index, None)
        elif kind == "message_delta":
            return self._end(event, read)
        elif kind == "message_stop":
            self.finished = self.began = True
        return event.raw

    def _start(self, event: Event, message: Any) -> bytes:
        self._started = True
        if not isinstance(message, dict):
            return event.raw
        self._reported = merged(self._reported, message.get("usage"))
        if self._model is None or message.get("model") == self._model:
            return event.raw
        outer = read_members(event.data)
        inner: dict[str, Any] = dict(read_members(bytes(outer["message"])))
        inner["model"] = self._model
        return sse.encode(top.encode({**outer, "message": inner}), event.event)

    def _end(self, event: Event, read: _Event) -> bytes:
        self.began = True
        delta = decode_object(event.data).get("delta")
        if isinstance(delta, dict) and isinstance(delta.get("stop_reason"), str):
            self.stop_reason = delta["stop_reason"]
        self._reported = merged(self._reported, read.usage)
        usage = read.usage if isinstance(read.usage, dict) else {}
        missing = {n: self._reported.get(n) for n in INPUT_COUNTS if n not in usage}
        missing = {name: value for name, value in missing.items() if value}
        if not (self._complete and missing):
            return event.raw
        changed = replaced(event.data, {"usage": {**missing, **usage}})
        return sse.encode(changed, event.event)


def _odd(event: Event) -> _Event:
    """An event of an unexpected layout: for the client to judge, unless an error."""
    value = decode_object(event.data)
    return _Event(
        type=str(value.get("type") or ""),
        index=value.get("index"),
        message=value.get("message"),
        content_block=value.get("content_block"),
        usage=value.get("usage"),
        error=value.get("error"),
    )


def _shown(reported: Mapping[str, Any], counted: Usage | None) -> dict[str, Any]:
    """The usage of an ending that the provider did not send."""
    if counted is None or read_usage(reported) is not None:
        return {"output_tokens": reported.get("output_tokens") or 0}
    return {"input_tokens": counted.prompt, "output_tokens": counted.completion}


def _encoded(event: dict[str, Any]) -> bytes:
    return sse.encode(top.encode(event), event["type"])


def read_prompt(body: MutableMapping[str, Any]) -> Produced:
    """The text of a request that counts as prompt: system, messages and tools.

    For the estimate of a call and for `count_tokens` of channels that have no such
    route. Pictures and documents as data are not text and are left out.

    Args:
        body: A request's top level, members decoded or not.

    Raises:
        InvalidRequest: a member cannot be read.
    """
    prompt = Produced()
    _add_content(prompt, top.plain(body, "system"))
    for message in objects(top.plain(body, "messages")):
        _add_content(prompt, message.get("content"))
    for tool in objects(top.plain(body, "tools")):
        prompt.add(top.encode(tool).decode())
    return prompt


def _add_content(prompt: Produced, content: Any) -> None:
    if isinstance(content, str):
        prompt.add(content)
    for block in objects(content):
        add_block(prompt, block)
        _add_content(prompt, block.get("content"))
        source = block.get("source")
        if isinstance(source, Mapping) and source.get("type") == "text":
            _add_content(prompt, source.get("data"))
