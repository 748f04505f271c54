"""Chat chunks as a Gemini stream (conversion specification, 10.2).

A `functionCall` needs complete arguments, so calls are held back until the reason of
the end is known. The last object carries them, the reason and the usage, which chat
streams send after the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from knight_tw.convert import reasoning, usage
from knight_tw.convert.context import Context
from knight_tw.convert.gemini import grounding, logprobs, saying
from knight_tw.convert.gemini.answers_out import ending
from knight_tw.convert.gemini.saying import Part
from knight_tw.wire import sse, top
from knight_tw.wire.answers import objects
from knight_tw.wire.chat import MOST_CHOICES

Chunk = Mapping[str, Any]

KEPT_TEXT = 4 * 1024 * 1024
"""Most characters in which annotations are given their place."""
MOST_CALLS = 1000


@define(eq=False)
class _Choice:
    """A choice as it grows."""

    calls: dict[int, dict[str, Any]] = field(factory=dict)
    text: list[str] = field(factory=list)
    length: int = 0
    letters: dict[str, str] = field(factory=dict)
    refusal: str = ""
    annotations: list[Any] = field(factory=list)
    ended: dict[str, Any] | None = None


class StreamFromX:
    """Chat chunks to the bytes of Gemini's events."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._choices: dict[int, _Choice] = {}
        self._usage: Any = None
        self._id = ""
        self._model = context.model
        self._over = False

    def feed(self, chunk: Chunk) -> list[bytes]:
        """The events that this chunk leads to."""
        if self._over:
            return []
        self._id = self._id or str(chunk.get("id") or "")
        self._model = self._model or str(chunk.get("model") or "")
        pieces = [
            piece
            for choice in objects(chunk.get("choices"))
            for piece in self._choice(choice)
        ]
        if isinstance(chunk.get("usage"), Mapping):
            self._usage = chunk["usage"]
        if self._usage is not None and self._all_ended():
            pieces += self._end()
        return pieces

    def close(self) -> list[bytes]:
        """The last event, if it is not out yet; none of a stream without any chunk."""
        return [] if self._over or not self._choices else self._end()

    def _all_ended(self) -> bool:
        choices = self._choices.values()
        return bool(choices) and all(c.ended is not None for c in choices)

    def _choice(self, choice: Mapping[str, Any]) -> list[bytes]:
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        if index not in self._choices and len(self._choices) >= MOST_CHOICES:
            return []
        state = self._choices.setdefault(index, _Choice())
        delta = choice.get("delta")
        parts = _parts(delta, state) if isinstance(delta, Mapping) else []
        if choice.get("finish_reason"):
            state.ended = {
                name: choice.get(name)
                for name in ("finish_reason", "native_finish_reason")
            }
        likely = logprobs.to_gemini(choice.get("logprobs"))
        if not parts and not likely:
            return []
        candidate: dict[str, Any] = {"index": index}
        candidate["content"] = saying.body(parts or [saying.NOTHING])
        if likely:
            candidate["logprobsResult"] = likely
        return [self._event({"candidates": [candidate]})]

    def _end(self) -> list[bytes]:
        self._over = True
        last: dict[str, Any] = {
            "candidates": [_last(i, choice) for i, choice in self._choices.items()]
        }
        if self._usage is not None:
            last["usageMetadata"] = usage.to_gemini(self._usage)
        return [self._event(last)]

    def _event(self, answer: dict[str, Any]) -> bytes:
        named = {"modelVersion": self._model, "responseId": self._id}
        return sse.encode(top.encode({**answer, **named}))


def _last(index: int, choice: _Choice) -> dict[str, Any]:
    """A candidate's last object: its calls, why it ended, what it rests on."""
    parts = [saying.call_part(call) for _, call in sorted(choice.calls.items())]
    if choice.refusal and not choice.length:
        parts.insert(0, {"text": choice.refusal})
    candidate: dict[str, Any] = {"index": index}
    candidate["content"] = saying.body(parts or [saying.NOTHING])
    candidate |= ending(choice.ended or {}, choice.refusal)
    sources = grounding.metadata_of(choice.annotations, "".join(choice.text))
    return {**candidate, "groundingMetadata": sources} if sources else candidate


def _parts(delta: Mapping[str, Any], state: _Choice) -> list[Part]:
    """The parts that go out at once; calls, refusals and sources are kept."""
    parts = _reasoning(delta, state)
    content = delta.get("content")
    if isinstance(content, str) and content:
        parts.append({"text": content})
        if state.length < KEPT_TEXT:
            state.text.append(content)
        state.length += len(content)
    parts += saying.image_parts(delta.get("images"))
    parts += saying.audio_parts(delta.get("audio"), saying.SAMPLES)
    for call in objects(delta.get("tool_calls")):
        _keep_call(call, state.calls)
    if isinstance(delta.get("function_call"), Mapping):
        _keep_call({"index": 0, "function": delta["function_call"]}, state.calls)
    if isinstance(delta.get("refusal"), str):
        state.refusal += delta["refusal"]
    state.annotations += objects(delta.get("annotations"))
    return parts


def _reasoning(delta: Mapping[str, Any], state: _Choice) -> list[Part]:
    """Reasoning and its signatures, which may come without their constants."""
    text = reasoning.shown(delta)
    parts = [saying.thought(text)] if text else []
    for piece in reasoning.pieces(delta):
        index = str(piece.index)
        piece.letter = piece.letter or state.letters.get(index, "")
        if len(state.letters) < MOST_CALLS:
            state.letters[index] = piece.letter
        if piece.encrypted:
            parts += saying.sealed(piece)
        elif signature := saying.named_signature(piece):
            parts.append(saying.thought("", signature))
    return parts


def _keep_call(call: Mapping[str, Any], calls: dict[int, dict[str, Any]]) -> None:
    """Add a piece of a call to what is known of it."""
    index = call.get("index")
    index = index if isinstance(index, int) else len(calls)
    if index not in calls and len(calls) >= MOST_CALLS:
        return
    known = calls.setdefault(index, {"type": "function"})
    for name in ("id", "type", "extra_content"):
        if call.get(name) and (name == "type" or not known.get(name)):
            known[name] = call[name]
    for name in ("function", "custom"):
        piece = call.get(name)
        if not isinstance(piece, Mapping):
            continue
        inner = known.setdefault(name, {})
        for member in ("name", "arguments", "input"):
            value = piece.get(member)
            if not isinstance(value, str):
                continue
            if member == "name":
                inner["name"] = inner.get("name") or value
            else:
                inner[member] = inner.get(member, "") + value
