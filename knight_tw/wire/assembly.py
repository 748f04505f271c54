"""A whole chat answer out of a stream, and a stream out of a whole answer.

Some providers stream although nobody asked, others do not although somebody did. Chunks
are put together as OpenAI's own clients do it: texts are joined, tool calls by their
index, later values win.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.wire import sse, top
from knight_tw.wire.answers import objects
from knight_tw.wire.chat_pass import CHUNK, TEXT_CHUNK

JOINED = (
    *("content", "reasoning_content", "reasoning", "refusal", "arguments", "input"),
    *("text", "summary", "signature", "data", "transcript"),
)
"""Members whose pieces are texts to be joined."""


class Assembly:
    """Chunks in, one answer out. Chunks are plain objects without errors in them."""

    __slots__ = ("_answer", "_choices")

    def __init__(self) -> None:
        self._answer: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def feed(self, chunk: Mapping[str, Any]) -> None:
        """Take in one chunk."""
        for name, value in chunk.items():
            if name != "choices" and value is not None:
                self._answer[name] = value
        for piece in objects(chunk.get("choices")):
            self._add(piece)

    def close(self) -> dict[str, Any]:
        """The answer, `chat.completion` or `text_completion`."""
        text = self._answer.get("object") == TEXT_CHUNK
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            choice.setdefault("finish_reason", "stop")
            if not text:
                choice["message"] = _message(choice.pop("delta", {}))
        kind = TEXT_CHUNK if text else "chat.completion"
        return {**self._answer, "object": kind, "choices": choices}

    def _add(self, piece: Mapping[str, Any]) -> None:
        index = piece.get("index")
        index = index if isinstance(index, int) else 0
        choice = self._choices.setdefault(index, {"index": index})
        for name, value in piece.items():
            if value is None:
                continue
            if name == "delta" and isinstance(value, Mapping):
                _merge(choice.setdefault("delta", {}), value)
            elif name == "text" and isinstance(value, str):
                choice["text"] = choice.get("text", "") + value
            elif name == "logprobs" and isinstance(value, Mapping):
                _merge(choice.setdefault("logprobs", {}), value)
            else:
                choice[name] = value


def restream(answer: Mapping[str, Any], include_usage: bool) -> bytes:
    """The event stream that says the same as a whole answer, `[DONE]` included."""
    chunks = chunks_of(answer, include_usage)
    return b"".join([*(sse.encode(top.encode(chunk)) for chunk in chunks), sse.DONE])


def chunks_of(answer: Mapping[str, Any], include_usage: bool) -> list[dict[str, Any]]:
    """The chunks that say the same as a whole answer."""
    head = {name: v for name, v in answer.items() if name not in ("choices", "usage")}
    if head.get("object") != TEXT_CHUNK:
        head["object"] = CHUNK
    chunks: list[dict[str, Any]] = []
    for choice in objects(answer.get("choices")):
        piece = dict(choice)
        if "message" in piece:
            piece["delta"] = _delta(piece.pop("message"))
        reason = piece.pop("finish_reason", None) or "stop"
        last: dict[str, Any] = {"index": piece.get("index", 0)}
        last["finish_reason"] = reason
        if "delta" in piece:
            last["delta"] = {}
        else:
            last["text"] = ""
        chunks.append({**head, "choices": [{**piece, "finish_reason": None}]})
        chunks.append({**head, "choices": [last]})
    if include_usage and answer.get("usage"):
        chunks.append({**head, "choices": [], "usage": answer["usage"]})
    return chunks


def _delta(message: Any) -> Any:
    """A message as one delta: its tool calls numbered."""
    if not isinstance(message, Mapping) or not message.get("tool_calls"):
        return message
    calls = enumerate(objects(message["tool_calls"]))
    return {**message, "tool_calls": [{"index": n, **call} for n, call in calls]}


def _merge(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Add one object's members: joined texts, extended lists, merged objects."""
    for name, value in piece.items():
        known = whole.get(name)
        if value is None:
            whole.setdefault(name, None)
        elif isinstance(value, str) and isinstance(known, str) and name in JOINED:
            whole[name] = known + value
        elif isinstance(value, Mapping):
            whole[name] = known if isinstance(known, dict) else {}
            _merge(whole[name], value)
        elif isinstance(value, list):
            whole[name] = known if isinstance(known, list) else []
            _extend(whole[name], value)
        elif value != "" or known is None:
            whole[name] = value


def _extend(whole: list[Any], pieces: list[Any]) -> None:
    """Add list entries; objects that carry an `index` continue the entry with it."""
    for piece in pieces:
        if not isinstance(piece, Mapping):
            whole.append(piece)
            continue
        index = piece.get("index")
        known = next(
            (e for e in whole if index is not None and e.get("index") == index), None
        )
        if known is None:
            known = {}
            whole.append(known)
        _merge(known, piece)


def _message(delta: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, **delta}
    for call in objects(message.get("tool_calls")):
        call.pop("index", None)
    return message
