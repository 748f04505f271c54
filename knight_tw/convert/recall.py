"""Reasoning that a client did not give back (specification 2.1, memory of signatures).

Some providers refuse a turn with tool calls whose signed reasoning is missing, and most
chat clients keep text and calls only. So after an answer with calls the signed part of
it is kept under each call's id, and put back into the next request that lacks it. Here
is what is kept and where it goes; keeping, sealing and forgetting are the relay's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from knight_tw.convert.context import Context
from knight_tw.wire import top
from knight_tw.wire.answers import objects
from knight_tw.wire.assembly import Assembly

LIMIT = 512 * 1024
"""Most bytes of one turn's record; of a larger turn nothing is kept."""

Record = dict[str, Any]
"""What is kept of one turn: `type` (the channel's type id), `details`, `signatures`."""

_OF_CALLS = ("index", "id", "extra_content")


@define(eq=False)
class Recorder:
    """Collects what must be kept of one answer; no more than the limit."""

    _context: Context
    _parts: Assembly = field(factory=Assembly)
    _size: int = 0
    _whole: Mapping[str, Any] | None = None

    def said(self, message: Mapping[str, Any]) -> None:
        """Take in the message of an answer that came in one piece."""
        self._whole = message

    def feed(self, chunk: Mapping[str, Any]) -> None:
        """Take in one chunk of the middle form."""
        for choice in objects(chunk.get("choices")):
            delta = choice.get("delta")
            if choice.get("index") in (0, None) and isinstance(delta, Mapping):
                self._take(delta)

    def _take(self, delta: Mapping[str, Any]) -> None:
        calls = [
            {name: call[name] for name in _OF_CALLS if name in call}
            for call in objects(delta.get("tool_calls"))
        ]
        kept: dict[str, Any] = {"tool_calls": calls} if calls else {}
        if delta.get("reasoning_details"):
            kept["reasoning_details"] = delta["reasoning_details"]
            self._size += len(top.encode(kept))
        if kept and self._size <= LIMIT:
            self._parts.feed({"choices": [{"index": 0, "delta": kept}]})

    def close(self) -> dict[str, Record]:
        """The records by tool call id; none for answers that need none."""
        if self._whole is not None:
            return records(self._whole, self._context)
        choices = self._parts.close()["choices"]
        if not choices or self._size > LIMIT:
            return {}
        return records(choices[0]["message"], self._context)


def records(message: Mapping[str, Any], context: Context) -> dict[str, Record]:
    """What must be kept of an assistant message, by the id of each of its calls.

    The same record stands under every id: a client may answer any of the calls first.
    """
    calls = objects(message.get("tool_calls"))
    details = objects(message.get("reasoning_details"))
    signed = any(entry.get("signature") or entry.get("data") for entry in details)
    signatures = {
        str(call["id"]): call["extra_content"]
        for call in calls
        if call.get("id") and call.get("extra_content")
    }
    if not (signed or signatures):
        return {}
    record: Record = {"type": context.provider_type}
    record |= {"details": details, "signatures": signatures}
    if len(top.encode(record)) > LIMIT:
        return {}
    return {str(call["id"]): record for call in calls if call.get("id")}


def lacking(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids to look up: of each turn with calls but no signed reasoning the first."""
    return [
        str(objects(message["tool_calls"])[0].get("id"))
        for message in messages
        if _lacks(message)
    ]


def put_back(
    messages: Sequence[dict[str, Any]],
    kept: Mapping[str, Record],
    context: Context,
) -> list[dict[str, Any]]:
    """The messages with the reasoning that was kept of them.

    Args:
        kept: Records by the ids of `lacking`; those of another channel type are of no
            use here.
    """
    return [
        _with(message, record) if (record := _find(message, kept, context)) else message
        for message in messages
    ]


def _find(
    message: Mapping[str, Any], kept: Mapping[str, Record], context: Context
) -> Record | None:
    if not _lacks(message):
        return None
    record = kept.get(str(objects(message["tool_calls"])[0].get("id")))
    if record is None or record.get("type") != context.provider_type:
        return None
    return record


def _lacks(message: Mapping[str, Any]) -> bool:
    """True for a turn with calls and nothing that a provider signed."""
    calls = objects(message.get("tool_calls"))
    if message.get("role") != "assistant" or not calls:
        return False
    signed = any(
        entry.get("signature") or entry.get("data")
        for entry in objects(message.get("reasoning_details"))
    )
    return not (signed or any(call.get("extra_content") for call in calls))


def _with(message: Mapping[str, Any], record: Record) -> dict[str, Any]:
    signatures = record.get("signatures")
    known = signatures if isinstance(signatures, Mapping) else {}
    calls = [
        {**call, "extra_content": known[str(call.get("id"))]}
        if str(call.get("id")) in known
        else call
        for call in objects(message["tool_calls"])
    ]
    details = objects(record.get("details"))
    whole: dict[str, Any] = {**message, "tool_calls": calls}
    return {**whole, "reasoning_details": details} if details else whole
