"""Changes of a chat answer's layout that an administrator asks a channel for.

`thinking_to_content`: clients that show only `content` get the reasoning there, between
`<think>` and `</think>`. `force_format`: the answer is rebuilt to OpenAI's schema, for
clients that stumble over what a provider adds (relay specification, end of section 10).
Both work on decoded chunks, so they serve converted streams too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.records import Usage
from knight_tw.wire.answers import objects
from knight_tw.wire.usage import to_object

OPENING, CLOSING = "<think>\n", "\n</think>\n"
REASONING = ("reasoning_content", "reasoning", "reasoning_details")

CHUNK_MEMBERS = ("id", "object", "created", "model")
MORE_MEMBERS = ("service_tier", "system_fingerprint")
MESSAGE_MEMBERS = (
    "role",
    "content",
    "reasoning_content",
    "refusal",
    "tool_calls",
    "function_call",
    "annotations",
    "audio",
)


class ThinkingToContent:
    """A stream's reasoning as content between tags; an open tag is always closed."""

    __slots__ = ("_last", "_open")

    def __init__(self) -> None:
        self._open: set[Any] = set()
        self._last: dict[str, Any] = {}

    def feed(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """The chunk with its reasoning moved, changed in place."""
        for choice in objects(chunk.get("choices")):
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self._move(choice, delta)
                self._last = chunk
        return [chunk]

    def close(self) -> list[dict[str, Any]]:
        """A closing tag for each choice that was still thinking."""
        choices = [
            {"index": index, "delta": {"content": CLOSING}, "finish_reason": None}
            for index in self._open
        ]
        self._open = set()
        if not choices:
            return []
        kept = {name: self._last.get(name) for name in CHUNK_MEMBERS}
        return [{**kept, "choices": choices}]

    def _move(self, choice: Mapping[str, Any], delta: dict[str, Any]) -> None:
        index = choice.get("index", 0)
        reasoning = _take_reasoning(delta)
        content = delta.get("content")
        text = ""
        if reasoning:
            text = reasoning if index in self._open else OPENING + reasoning
            self._open.add(index)
        over = (
            content
            or delta.get("tool_calls")
            or delta.get("function_call")
            or choice.get("finish_reason")
        )
        if over and index in self._open:
            self._open.discard(index)
            text += CLOSING
        if text and isinstance(content, str | None):
            delta["content"] = text + (content or "")


def thinking_in_content(answer: dict[str, Any]) -> None:
    """A whole answer's reasoning as content between tags, in place."""
    for choice in objects(answer.get("choices")):
        message = choice.get("message")
        if not isinstance(message, dict):
            continue
        reasoning = _take_reasoning(message)
        content = message.get("content")
        if reasoning and isinstance(content, str | None):
            message["content"] = f"{OPENING}{reasoning}{CLOSING}{content or ''}"


def _take_reasoning(message: dict[str, Any]) -> str:
    """The reasoning of a message or delta, which then no longer has it."""
    found = [message.pop(name, None) for name in REASONING]
    return next((text for text in found if isinstance(text, str) and text), "")


class ForceFormat:
    """A stream in OpenAI's exact layout.

    Args:
        identity: The answer's id where the provider gives none.
        created: Unix seconds, likewise.
        model: The model's name, likewise.
    """

    __slots__ = ("_created", "_identity", "_model")

    def __init__(self, identity: str, created: int, model: str) -> None:
        self._identity = identity
        self._created = created
        self._model = model

    def feed(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """The chunk rebuilt."""
        head = _head(chunk, self._identity, self._created, self._model)
        rebuilt = head | {
            "object": "chat.completion.chunk",
            "choices": [_choice(c, "delta") for c in objects(chunk.get("choices"))],
        }
        if "usage" in chunk:
            rebuilt["usage"] = chunk["usage"]
        return [rebuilt]

    def close(self) -> list[dict[str, Any]]:
        """Nothing: no chunk is held back."""
        return []


def exact_answer(
    answer: dict[str, Any],
    identity: str,
    created: int,
    model: str,
    counted: Usage | None = None,
) -> None:
    """A whole answer in OpenAI's exact layout, in place.

    Args:
        counted: The usage to show where the provider gives none.
    """
    head = _head(answer, identity, created, model)
    choices = [_choice(c, "message") for c in objects(answer.get("choices"))]
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        usage = to_object(counted or Usage())
    answer.clear()
    answer.update(head, object="chat.completion", choices=choices, usage=usage)


def _head(
    answer: Mapping[str, Any], identity: str, created: int, model: str
) -> dict[str, Any]:
    head = {
        "id": answer.get("id") or identity,
        "object": "",
        "created": answer.get("created") or created,
        "model": answer.get("model") or model,
    }
    more = {name: answer[name] for name in MORE_MEMBERS if answer.get(name) is not None}
    return head | more


def _choice(choice: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A choice with the members OpenAI's has; reasoning stays under its usual name."""
    message = choice.get(place)
    if not isinstance(message, Mapping):
        message = {}
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    kept = {name: message[name] for name in MESSAGE_MEMBERS if name in message}
    if reasoning:
        kept["reasoning_content"] = reasoning
    if place == "message":
        kept = {"role": "assistant", "content": None, "refusal": None} | kept
    return {
        "index": choice.get("index", 0),
        place: kept,
        "logprobs": choice.get("logprobs"),
        "finish_reason": choice.get("finish_reason"),
    }
