"""The items of a Responses stream while they are made (conversion specification, 12.3).

Every item is added empty, filled by deltas, and done whole. Each class here writes the
events of one kind of item and keeps what the final response lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from knight_tw.convert.responses import items, references
from knight_tw.convert.responses.items import Item
from knight_tw.convert.tools import custom_input
from knight_tw.wire import sse, top


class Events:
    """Numbers and encodes the events of one stream.

    Attributes:
        sequence_number: The number of the next event.
    """

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self.sequence_number = 0

    def put(self, kind: str, **members: Any) -> None:
        """Write one event."""
        event = {"type": kind, "sequence_number": self.sequence_number, **members}
        self.sequence_number += 1
        self._written.append(sse.encode(top.encode(event), kind))

    def take(self) -> list[bytes]:
        """The events written since the last time."""
        written, self._written = self._written, []
        return written


class Open(Protocol):
    """An item that is not done yet."""

    def close(self, status: str) -> Item:
        """Write the item's end; the whole item."""
        ...


class OpenReasoning:
    """A reasoning item: its summary in one part, and its secret.

    Attributes:
        secret: The encrypted content, empty while it is not known.
    """

    def __init__(self, events: Events, index: int, identity: str) -> None:
        self._events = events
        self._index = index
        self._identity = identity
        self._texts: list[str] | None = None
        self.secret = ""
        events.put(
            "response.output_item.added",
            output_index=index,
            item=items.reasoning_item(identity, ()),
        )

    def _put(self, kind: str, **members: Any) -> None:
        self._events.put(
            f"response.reasoning_summary_{kind}",
            item_id=self._identity,
            output_index=self._index,
            summary_index=0,
            **members,
        )

    def add(self, text: str) -> None:
        """A piece of the summary; an empty one opens its part alone."""
        if self._texts is None:
            self._texts = []
            self._put("part.added", part={"type": "summary_text", "text": ""})
        if text:
            self._texts.append(text)
            self._put("text.delta", delta=text)

    def close(self, status: str) -> Item:
        """Write the item's end; the whole item."""
        texts = [] if self._texts is None else ["".join(self._texts)]
        if texts:
            part = {"type": "summary_text", "text": texts[0]}
            self._put("text.done", text=texts[0])
            self._put("part.done", part=part)
        item = items.reasoning_item(self._identity, texts, self.secret)
        self._events.put(
            "response.output_item.done", output_index=self._index, item=item
        )
        return item


class OpenMessage:
    """A message: text with annotations, or a refusal, each a part of its own.

    Args:
        start: Where the message begins in the content of the middle form.
    """

    def __init__(self, events: Events, index: int, identity: str, start: int) -> None:
        self._events = events
        self._index = index
        self._identity = identity
        self._start = start
        self._parts: list[Item] = []
        self._texts: list[str] = []
        self._logprobs: list[Any] = []
        self._member = ""
        self.phase: Any = None
        events.put(
            "response.output_item.added",
            output_index=index,
            item=items.message_item(identity, (), "in_progress"),
        )

    def _put(self, kind: str, **members: Any) -> None:
        self._events.put(
            f"response.{kind}",
            item_id=self._identity,
            output_index=self._index,
            content_index=len(self._parts) - 1,
            **members,
        )

    def say(self, text: str, logprobs: list[Any]) -> None:
        """A piece of text."""
        if self._member != "text":
            self._open("text", {"type": "output_text", "text": "", "annotations": []})
        self._texts.append(text)
        self._logprobs += logprobs
        self._put("output_text.delta", delta=text, logprobs=logprobs)

    def refuse(self, text: str) -> None:
        """A piece of a refusal."""
        if self._member != "refusal":
            self._open("refusal", items.refusal_part(""))
        self._texts.append(text)
        self._put("refusal.delta", delta=text)

    def cite(self, annotation: Mapping[str, Any]) -> None:
        """An annotation of the text; what is no URL citation has no form here."""
        found = references.from_x(annotation, self._start)
        if found is None or self._member != "text":
            return
        cited = self._parts[-1]["annotations"]
        cited.append(found)
        self._put(
            "output_text.annotation.added",
            annotation_index=len(cited) - 1,
            annotation=found,
        )

    def close(self, status: str) -> Item:
        """Write the item's end; the whole item."""
        self._close_part()
        item = items.message_item(self._identity, self._parts, status, self.phase)
        self._events.put(
            "response.output_item.done", output_index=self._index, item=item
        )
        return item

    def _open(self, member: str, part: Item) -> None:
        self._close_part()
        self._member = member
        self._parts.append(part)
        self._put("content_part.added", part=part)

    def _close_part(self) -> None:
        if not self._member:
            return
        part, text = self._parts[-1], "".join(self._texts)
        part[self._member] = text
        if self._member == "text":
            if self._logprobs:
                part["logprobs"] = self._logprobs
            self._put("output_text.done", text=text, logprobs=self._logprobs)
        else:
            self._put("refusal.done", refusal=text)
        self._put("content_part.done", part=part)
        self._member, self._texts, self._logprobs = "", [], []


class OpenCall:
    """A tool call.

    Args:
        named: The members that name the tool for the client.
        custom: It is a free-form call, whose input is text.
        packed: Its input comes as the argument of a function, and is unpacked at the
            end, when it is whole.
    """

    def __init__(
        self,
        events: Events,
        index: int,
        item: Item,
        *,
        named: Mapping[str, Any],
        packed: bool,
    ) -> None:
        self._events = events
        self._index = index
        self._custom = item["type"] == "custom_tool_call"
        self._member = "input" if self._custom else "arguments"
        self._item = {**item, **named}
        self._packed = packed
        self._pieces: list[str] = []
        events.put(
            "response.output_item.added",
            output_index=index,
            item={**self._item, self._member: ""},
        )

    def _put(self, kind: str, **members: Any) -> None:
        name = "custom_tool_call_input" if self._custom else "function_call_arguments"
        self._events.put(
            f"response.{name}.{kind}",
            item_id=self._item["id"],
            output_index=self._index,
            **members,
        )

    def add(self, piece: str) -> None:
        """A piece of the arguments."""
        if not piece:
            return
        self._pieces.append(piece)
        if not self._packed:
            self._put("delta", delta=piece)

    def close(self, status: str) -> Item:
        """Write the item's end; the whole item."""
        whole = "".join(self._pieces)
        if self._packed:
            whole = custom_input(whole)
            self._put("delta", delta=whole)
        elif not whole and not self._custom:
            whole = "{}"
            self._put("delta", delta=whole)
        if self._custom:
            self._put("done", input=whole)
        else:
            self._put("done", name=self._item["name"], arguments=whole)
        item = {**self._item, "status": status, self._member: whole}
        self._events.put(
            "response.output_item.done", output_index=self._index, item=item
        )
        return item
