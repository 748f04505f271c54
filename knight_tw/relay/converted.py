"""The translation between two dialects: through the middle form and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from attrs import define, field, frozen

from knight_tw.convert import usage as usages
from knight_tw.convert.context import Context
from knight_tw.convert.recall import Recorder
from knight_tw.errors import EmptyAnswer
from knight_tw.protocols.body import Machine
from knight_tw.providers.provider import ChunkStream
from knight_tw.records import Usage
from knight_tw.relay.translate import Whole
from knight_tw.wire import sse, top
from knight_tw.wire.answers import EMPTY, RaisedError, decode_object, refuse_errors
from knight_tw.wire.assembly import Assembly, chunks_of
from knight_tw.wire.chat import Message
from knight_tw.wire.produced import Produced
from knight_tw.wire.responses import with_tools
from knight_tw.wire.sse import Event
from knight_tw.wire.usage import to_object

Json = dict[str, Any]


@frozen(eq=False)
class Upstream:
    """The provider's side of a conversion."""

    response_to_x: Callable[[Mapping[str, Any], Context], Json]
    stream_to_x: Callable[[Context], ChunkStream]


@define(eq=False)
class Converted:
    """Implements `Translation`; one per attempt.

    Args:
        client: The client's dialect, a module of `convert`.
        context: Of the answer.
        shaped: Puts the stream's machine into another framing (Gemini's array).
        recorder: Is told what the answer says, None when nothing is to be kept.
    """

    _client: ModuleType
    _upstream: Upstream
    _context: Context
    _raised_error: RaisedError | None
    _shaped: Callable[[Machine], Machine] = lambda machine: machine
    _recorder: Recorder | None = None
    _x: Json = field(factory=dict)

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`."""
        if not answer or answer.isspace():
            raise EmptyAnswer(EMPTY)
        value = decode_object(answer)
        refuse_errors(value, self._raised_error)
        return self._said(self._upstream.response_to_x(value, self._context))

    def assembled(self, stream: bytes) -> Whole:
        """See `Translation`."""
        decoder, parts = sse.Decoder(), Assembly()
        reading = self._upstream.stream_to_x(self._context)
        for event in (*decoder.feed(stream), *decoder.close()):
            for chunk in reading.feed(event):
                parts.feed(chunk)
        for chunk in reading.close():
            parts.feed(chunk)
        if reading.error is not None:
            raise reading.error
        return self._said(parts.close())

    def restreamed(self, whole: Whole) -> bytes:
        """See `Translation`; of the answer that `whole` has just read."""
        machine = self._shaped(_Replay(self._client.StreamFromX(self._context)))
        pieces = []
        for chunk in chunks_of(self._x, True):
            pieces += machine.feed(Event(top.encode(chunk), b""))
        return b"".join([*pieces, *machine.close()])

    def machine(self) -> Machine:
        """See `Translation`."""
        return self._shaped(
            ConvertedStream(
                self._upstream.stream_to_x(self._context),
                self._client.StreamFromX(self._context),
                self._context,
                self._recorder,
            )
        )

    def _said(self, x: Json) -> Whole:
        """The client's form of an answer in the middle form."""
        self._x = x
        produced = Produced()
        messages = [choice.get("message") for choice in x.get("choices") or ()]
        for message in messages:
            if isinstance(message, Mapping):
                _message(message).add_to(produced)
        if self._recorder is not None and messages and messages[0]:
            self._recorder.said(messages[0])
        body = top.encode(self._client.response_from_x(x, self._context))
        return Whole(body, self._billed(x.get("usage")), produced)

    def _billed(self, usage: Any) -> Usage | None:
        """The usage with what else the provider charges for."""
        return with_tools(usages.to_record(usage), self._context.used)


@define(eq=False)
class ConvertedStream:
    """Implements `Machine`: the provider's events through two machines."""

    _reading: ChunkStream
    _writing: Any
    _context: Context
    _recorder: Recorder | None = None
    _usage: Any = None
    _last: Json = field(factory=dict)
    began: bool = False
    events: int = 0
    produced: Produced = field(factory=Produced)

    @property
    def usage(self) -> Usage | None:
        """What the provider has reported so far."""
        return with_tools(usages.to_record(self._usage), self._context.used)

    @property
    def finished(self) -> bool:
        """True once the provider's terminal event was eaten."""
        return self._reading.finished

    def feed(self, event: Event) -> list[bytes]:
        """See `Machine`."""
        return self._through(self._reading.feed(event))

    def close(self, counted: Usage | None = None) -> list[bytes]:
        """See `Machine`."""
        pieces = self._through(self._reading.close())
        if counted is not None and self.usage is None and self._last:
            head = {**self._last, "choices": [], "usage": to_object(counted)}
            pieces += self._writing.feed(head)
        return [*pieces, *self._writing.close()]

    @property
    def response(self) -> Any:
        """The Responses object so far, for the event that ends a broken stream."""
        return getattr(self._writing, "response", None)

    @property
    def sequence_number(self) -> int:
        """The number of the next Responses event."""
        return getattr(self._writing, "sequence_number", 0)

    def _through(self, chunks: list[Json]) -> list[bytes]:
        if self._reading.error is not None:
            raise self._reading.error
        pieces: list[bytes] = []
        for chunk in chunks:
            self._note(chunk)
            if self._recorder is not None:
                self._recorder.feed(chunk)
            written = self._writing.feed(chunk)
            if written:
                self.events += 1
                pieces += written
        return pieces

    def _note(self, chunk: Json) -> None:
        """What the charge and the retry rule must know of a chunk."""
        if chunk.get("usage"):
            self._usage = chunk["usage"]
        self._last = {k: v for k, v in chunk.items() if k not in ("choices", "usage")}
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta")
            if isinstance(delta, Mapping):
                _message(delta).add_to(self.produced)
            if self.produced.characters or choice.get("finish_reason"):
                self.began = True


@define(eq=False)
class _Replay:
    """A machine that is fed chunks of the middle form as events."""

    _writing: Any
    usage: Usage | None = None
    began: bool = True
    finished: bool = False
    events: int = 0
    produced: Produced = field(factory=Produced)

    def feed(self, event: Event) -> list[bytes]:
        """See `Machine`."""
        pieces: list[bytes] = self._writing.feed(decode_object(event.data))
        return pieces

    def close(self, counted: Usage | None = None) -> list[bytes]:
        """See `Machine`."""
        pieces: list[bytes] = self._writing.close()
        return pieces


def _message(delta: Mapping[str, Any]) -> Message:
    """A delta or message, as far as it counts."""
    return Message(
        content=delta.get("content"),
        reasoning_content=delta.get("reasoning_content"),
        refusal=delta.get("refusal"),
        tool_calls=delta.get("tool_calls"),
    )
