"""Chat chunks as a Responses stream (conversion specification, 12.3).

One item is open at a time. It is closed when something else begins; of tool calls that
grow at the same time the first is written live and the others are kept until it is
closed. The end event carries the whole response and waits for the usage, which is
chat's last chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from knight_tw.convert import finish, reasoning, tools, usage
from knight_tw.convert.context import Context
from knight_tw.convert.responses import items
from knight_tw.convert.responses.items import Item
from knight_tw.convert.responses.stream_items import (
    Events,
    Open,
    OpenCall,
    OpenMessage,
    OpenReasoning,
)
from knight_tw.convert.responses.thoughts import call_signature
from knight_tw.convert.signatures import ANTHROPIC, detail_letter, wrap
from knight_tw.errors import BadUpstreamBody
from knight_tw.wire.answers import objects

Chunk = Mapping[str, Any]


@define(eq=False)
class _Call:
    """A tool call of the middle form while its pieces come in."""

    place: int
    id: str = ""
    name: str = ""
    custom: bool = False
    secret: str = ""
    pieces: list[str] = field(factory=list)
    closed: bool = False


class StreamFromX:
    """Chat chunks of the middle form to a Responses client's events, encoded.

    `response` and `sequence_number` are what an error event in the middle of the stream
    needs (`wire.envelope.in_stream`).
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        request = context.memory.request
        self._wanted = items.includes(request, items.ENCRYPTED)
        self._hidden = items.hides_reasoning(request)
        self._events = Events()
        self._end = ""
        self._response: Item | None = None
        self._output: list[Item] = []
        self._open: Open | None = None
        self._calls: dict[Any, _Call] = {}
        self._live: _Call | None = None
        self._made = {"rs": 0, "msg": 0, "ig": 0}
        self._said = 0
        self._text: list[str] = []
        self._letter = ""
        self._finish: str | None = None
        self._usage: Mapping[str, Any] | None = None
        self._ended = False

    @property
    def sequence_number(self) -> int:
        """The number of the next event."""
        return self._events.sequence_number

    @property
    def response(self) -> Item | None:
        """The response as far as it is written, None before the first event."""
        if self._response is None:
            return None
        return {**self._response, "output": self._output}

    def feed(self, chunk: Chunk) -> list[bytes]:
        """The events that this chunk leads to.

        Raises:
            BadUpstreamBody: a piece belongs to a tool call that is over.
        """
        if self._ended:
            return []
        self._begin(chunk)
        if isinstance(chunk.get("usage"), Mapping):
            self._usage = chunk["usage"]
        for choice in objects(chunk.get("choices")):
            if choice.get("index") in (0, None):
                self._take(choice)
        return self._events.take()

    def close(self) -> list[bytes]:
        """The end of the stream; nothing when there was no chunk at all.

        An answer without a finish reason is incomplete.
        """
        if self._ended or self._response is None:
            return []
        self._ended = True
        ending: tuple[str, str | None] = ("incomplete", None)
        if self._finish is not None:
            ending = finish.to_responses(self._finish)
        self._close_all(ending[0])
        counts = None if self._usage is None else usage.to_responses(self._usage)
        over = items.ended(self._response, ending, self._output, counts)
        self._events.put(f"response.{ending[0]}", response=over)
        return self._events.take()

    def _begin(self, chunk: Chunk) -> None:
        """The two events that open every stream."""
        if self._response is not None:
            return
        self._end = items.tail(chunk.get("id")) or self._context.ids("")
        created = chunk.get("created")
        self._response = items.response_object(
            self._context.memory.request,
            identity=f"resp_{self._end}",
            created=created if isinstance(created, int) else self._context.created,
            model=self._context.model or chunk.get("model"),
            service_tier=chunk.get("service_tier"),
        )
        self._events.put("response.created", response=self._response)
        self._events.put("response.in_progress", response=self._response)

    def _take(self, choice: Chunk) -> None:
        delta = choice.get("delta")
        if isinstance(delta, Mapping) and delta:
            self._think(delta)
            self._say(delta, choice)
            for image in objects(delta.get("images")):
                self._draw(image)
            for piece in objects(delta.get("tool_calls")):
                self._call(piece)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self._finish = reason
            self._close_all(finish.to_responses(reason)[0])

    # reasoning -----------------------------------------------------------------

    def _think(self, delta: Mapping[str, Any]) -> None:
        details = reasoning.details(delta)
        text = reasoning.shown(delta)
        if text and not self._hidden:
            self._reason(text, details)
        for detail in details:
            self._sign(detail)

    def _reason(self, text: str, details: list[Mapping[str, Any]]) -> None:
        """Visible reasoning; a piece that is signed stands alone, without glue."""
        opened = self._opened()
        if opened is None:
            exact = [d.get("text") or d.get("summary") for d in details]
            text = "".join(part for part in exact if isinstance(part, str)) or text
            opened = self._open_reasoning()
        opened.add(text)

    def _opened(self) -> OpenReasoning | None:
        """The open reasoning item that can still grow."""
        opened = self._open
        return opened if isinstance(opened, OpenReasoning) else None

    def _sign(self, detail: Mapping[str, Any]) -> None:
        """A signature closes its item; without one it gets an item of its own."""
        value = detail.get("signature") or detail.get("data")
        letter = self._letter = detail_letter(detail) or self._letter
        if not isinstance(value, str) or not (value and letter and self._wanted):
            return
        encrypted = "data" in detail
        if encrypted and letter == ANTHROPIC:
            self._close_open()
        opened = self._opened()
        if opened is None:
            opened = self._open_reasoning()
            if not encrypted:
                opened.add("")
        opened.secret = wrap(letter, value)
        self._close_open()

    def _open_reasoning(self) -> OpenReasoning:
        self._close_open()
        opened = OpenReasoning(self._events, len(self._output), self._new_id("rs"))
        self._open = opened
        return opened

    # text ----------------------------------------------------------------------

    def _say(self, delta: Mapping[str, Any], choice: Chunk) -> None:
        text, refusal = delta.get("content"), delta.get("refusal")
        if isinstance(text, str) and text:
            logprobs = choice.get("logprobs")
            tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
            self._message().say(text, tokens if isinstance(tokens, list) else [])
            self._said += len(text)
            self._text.append(text)
        if isinstance(refusal, str) and refusal and refusal != "".join(self._text):
            self._message().refuse(refusal)
        phase = delta.get("phase")
        if isinstance(self._open, OpenMessage):
            self._open.phase = phase or self._open.phase
            for annotation in objects(delta.get("annotations")):
                self._open.cite(annotation)

    def _message(self) -> OpenMessage:
        opened = self._open
        if isinstance(opened, OpenMessage):
            return opened
        self._close_open()
        place, identity = len(self._output), self._new_id("msg")
        opened = OpenMessage(self._events, place, identity, self._said)
        self._open = opened
        return opened

    def _draw(self, image: Mapping[str, Any]) -> None:
        """A generated image, which is whole from the beginning."""
        item = items.image_item(
            items.numbered("ig", self._end, self._made["ig"]), image
        )
        if item is None:
            return
        self._close_open()
        self._made["ig"] += 1
        place = len(self._output)
        begun = {**item, "status": "in_progress", "result": None}
        self._events.put("response.output_item.added", output_index=place, item=begun)
        self._events.put("response.output_item.done", output_index=place, item=item)
        self._output.append(item)

    # calls ---------------------------------------------------------------------

    def _call(self, piece: Mapping[str, Any]) -> None:
        index = piece.get("index")
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = _Call(len(self._calls))
        text = _note(call, piece)
        if call.closed:
            if text:
                raise BadUpstreamBody("a tool call went on after its end")
            return
        if call is self._live and isinstance(self._open, OpenCall):
            self._open.add(text)
            return
        call.pieces.append(text)
        if self._live is None and call.id and call.name:
            self._start(call)

    def _start(self, call: _Call) -> None:
        """Open the item of a call and write what is known of its arguments."""
        self._sign_call(call)
        self._close_open()
        custom = call.custom or call.name in self._context.memory.custom_tools
        item: Item = {"id": f"{'ctc' if custom else 'fc'}_{self._end}_{call.place}"}
        item["type"] = "custom_tool_call" if custom else "function_call"
        item |= {"status": "in_progress", "call_id": call.id}
        opened = OpenCall(
            self._events,
            len(self._output),
            item,
            named=items.client_name(call.name, self._context.memory),
            packed=custom and not call.custom,
        )
        self._open, self._live = opened, call
        for piece in call.pieces:
            opened.add(piece)
        call.pieces = []

    def _sign_call(self, call: _Call) -> None:
        """Gemini signs calls: the signature goes to the reasoning in front of it."""
        if not call.secret or not self._wanted:
            return
        opened = self._opened() or self._open_reasoning()
        opened.secret = call.secret
        self._close_open()

    # ends ----------------------------------------------------------------------

    def _close_open(self, status: str = "completed") -> None:
        """Close the open item, and after a call those that were kept meanwhile."""
        opened, self._open = self._open, None
        if opened is None:
            return
        self._output.append(opened.close(status))
        if self._live is not None:
            self._live.closed, self._live = True, None

    def _close_all(self, status: str) -> None:
        """Close everything; what was cut off is so in its last item."""
        waiting = [call for call in self._calls.values() if self._waits(call)]
        self._close_open("completed" if waiting else status)
        for call in waiting:
            call.id = call.id or self._context.ids("call_")
            self._start(call)
            self._close_open(status if call is waiting[-1] else "completed")

    def _waits(self, call: _Call) -> bool:
        return not call.closed and call is not self._live

    def _new_id(self, prefix: str) -> str:
        number = self._made[prefix]
        self._made[prefix] = number + 1
        return items.numbered(prefix, self._end, number)


def _note(call: _Call, piece: Mapping[str, Any]) -> str:
    """Keep what a piece says about its call; the text it adds to the arguments."""
    if not call.id and isinstance(piece.get("id"), str):
        call.id = piece["id"]
    call.secret = call.secret or call_signature(piece)
    text: Any = None
    for name, member in (("function", "arguments"), ("custom", "input")):
        inner = piece.get(name)
        if isinstance(inner, Mapping):
            call.custom = name == "custom"
            call.name = call.name or tools.call_name(piece)
            text = inner.get(member)
    return text if isinstance(text, str) else ""
