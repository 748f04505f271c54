"""A Converse request, answer and stream as Amazon's documentation has them."""

from __future__ import annotations

from typing import Any

import msgspec

from knight_tw.convert.context import Context
from knight_tw.wire import sse

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
PNG_URL = f"data:image/png;base64,{PNG}"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "D",
        "parameters": PARAMETERS,
    },
}
CALL = {
    "id": "call.1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
}


def context(model: str = "nova-pro-v1:0", **more: Any) -> Context:
    """What a conversion gets besides the body."""
    return Context(model, 33, request_id="r", created=5, **more)


def events(*pairs: tuple[str, Any]) -> list[sse.Event]:
    """Events as the frame decoder gives them."""
    return [sse.Event(msgspec.json.encode(data), b"", name) for name, data in pairs]


def delta(index: int, **content: Any) -> tuple[str, Any]:
    """One `contentBlockDelta`."""
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": content}


THOUGHT = {"text": "t1", "signature": "s"}
ANSWER = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": THOUGHT}},
                {"reasoningContent": {"redactedContent": "x"}},
                {"text": "Hello "},
                {"citationsContent": {"content": [{"text": "you"}], "citations": []}},
                {
                    "toolUse": {
                        "toolUseId": "u1",
                        "name": "weather",
                        "input": {"city": "Rome"},
                    }
                },
                {"newKind": {}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": {
        "inputTokens": 10,
        "outputTokens": 4,
        "totalTokens": 19,
        "cacheReadInputTokens": 5,
        "cacheWriteInputTokens": 0,
    },
    "metrics": {"latencyMs": 1},
}
STREAM = events(
    ("messageStart", {"role": "assistant"}),
    delta(0, reasoningContent={"text": "t"}),
    delta(0, reasoningContent={"text": "1"}),
    delta(0, reasoningContent={"signature": "s"}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    delta(1, text="Hello "),
    delta(2, text="you"),
    (
        "contentBlockStart",
        {
            "contentBlockIndex": 3,
            "start": {"toolUse": {"toolUseId": "u1", "name": "weather"}},
        },
    ),
    delta(3, toolUse={"input": '{"city":'}),
    delta(3, toolUse={"input": '"Rome"}'}),
    ("contentBlockStop", {"contentBlockIndex": 3}),
    ("messageStop", {"stopReason": "tool_use"}),
    ("metadata", {"usage": ANSWER["usage"], "metrics": {"latencyMs": 1}}),
)
"""The same answer in pieces."""
