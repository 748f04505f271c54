"""Whatever clients and providers send, a conversion ends in order.

One member of a valid body is replaced by something else; the outcome is a body or one
of our own errors, never another exception.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import ModuleType
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import chat, claude
from knight_tw.convert.context import Context
from knight_tw.errors import KnightError
from knight_tw.wire import sse, top

Body = dict[str, Any]

MARKER = {"type": "ephemeral"}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

CHAT_REQUEST: Body = {
    "model": "m",
    "max_tokens": 9000,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 3,
    "stop": ["a"],
    "n": 1,
    "user": "u",
    "metadata": {"user_id": "u"},
    "reasoning_effort": "low",
    "reasoning": {"max_tokens": 2000, "enabled": True, "exclude": False},
    "response_format": {"type": "json_schema", "json_schema": {"schema": {"a": {}}}},
    "web_search_options": {"user_location": {"approximate": {"city": "x"}}},
    "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {"a": 1}}},
        {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar"}}},
    ],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [CALL]}},
    "parallel_tool_calls": True,
    "stream": True,
    "service_tier": "auto",
    "extra_body": {"google": {"a": 1}},
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a", "cache_control": MARKER},
                {"type": "image_url", "image_url": {"url": "data:image/png,x"}},
                {"type": "file", "file": {"file_data": "JVBERi0=", "title": "t"}},
            ],
        },
        {
            "role": "assistant",
            "content": "a",
            "reasoning_details": [{"type": "reasoning.text", "text": "t", "index": 0}],
            "tool_calls": [CALL],
            "native_blocks": {"format": "anthropic-claude-v1", "content": [{}]},
        },
        {"role": "tool", "tool_call_id": "1", "content": "r", "is_error": True},
        {"role": "assistant", "function_call": {"name": "g", "arguments": "{}"}},
        {"role": "function", "name": "g", "content": "r"},
    ],
}
CLAUDE_REQUEST: Body = {
    "model": "m",
    "max_tokens": 9000,
    "system": [{"type": "text", "text": "s", "cache_control": MARKER}],
    "cache_control": MARKER,
    "stop_sequences": ["a"],
    "service_tier": "auto",
    "speed": "fast",
    "stream": True,
    "temperature": 0.5,
    "metadata": {"user_id": "u"},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "output_config": {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {"a": {}}},
    },
    "tools": [
        {"name": "f", "input_schema": {"a": 1}, "input_examples": [{}]},
        {"type": "web_search_20250305", "max_uses": 3, "user_location": {"city": "x"}},
        {"type": "bash_20250124", "name": "bash"},
    ],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image", "source": {"type": "url", "url": "https://e/x"}},
                {
                    "type": "document",
                    "source": {
                        "type": "content",
                        "content": [{"type": "text", "text": "d"}],
                    },
                    "context": "c",
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": "ko1.g.S"},
                {"type": "redacted_thinking", "data": "E"},
                {"type": "text", "text": "b"},
                {"type": "tool_use", "id": "1", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "1", "content": "r"}],
        },
    ],
}
CHAT_ANSWER: Body = {
    "id": "1",
    "created": 3,
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "native_finish_reason": "STOP",
            "stop_sequence": "X",
            "logprobs": {"content": []},
            "message": {
                "content": [{"type": "thinking", "thinking": [{"text": "t"}]}],
                "reasoning_details": [{"text": "t", "signature": "S", "index": 0}],
                "tool_calls": [CALL | {"extra_content": {"google": {}}}],
                "annotations": [{"url_citation": {"url": "u", "start_index": 0}}],
            },
        }
    ],
    "usage": {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}},
}
CLAUDE_ANSWER: Body = {
    "id": "1",
    "content": [
        {"type": "thinking", "thinking": "t", "signature": "S"},
        {"type": "redacted_thinking", "data": "E"},
        {"type": "text", "text": "a", "citations": [{"type": "x"}]},
        {"type": "tool_use", "id": "1", "name": "f", "input": {}},
    ],
    "stop_reason": "refusal",
    "stop_details": {"explanation": "x"},
    "stop_sequence": "X",
    "usage": {
        "input_tokens": 3,
        "service_tier": "standard",
        "cache_creation": {"ephemeral_5m_input_tokens": 3},
    },
}
CHUNKS: list[Body] = [
    {"id": "1", "choices": [{"index": 0, "delta": {"content": "a", "reasoning": "r"}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [CALL | {"index": 0}]}}]},
    {"choices": [{"delta": {"function_call": {"name": "f", "arguments": "{}"}}}]},
    {"choices": [{"index": 0, "delta": {"reasoning_details": [{"text": "t"}]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": {}}]},
    {"choices": [{"delta": {}, "native_finish_reason": "x", "finish_reason": "y"}]},
    {"choices": [{"delta": {"annotations": [{"url_citation": {"url": "u"}}]}}]},
    {"choices": [], "usage": {"prompt_tokens": 3}},
]
EVENTS: list[Body] = [
    {"type": "message_start", "message": {"id": "1", "content": [], "usage": {}}},
    *(
        event
        for index, (block, delta) in enumerate(
            [
                (
                    {"type": "thinking", "thinking": ""},
                    {"type": "thinking_delta", "thinking": "t"},
                ),
                (
                    {"type": "text", "text": ""},
                    {"type": "citations_delta", "citation": {}},
                ),
                (
                    {"type": "tool_use", "id": "1", "name": "f"},
                    {"type": "input_json_delta", "partial_json": "{}"},
                ),
                (
                    {"type": "thinking", "thinking": ""},
                    {"type": "signature_delta", "signature": "S"},
                ),
            ]
        )
        for event in (
            {"type": "content_block_start", "index": index, "content_block": block},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        )
    ),
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
    {"type": "message_stop"},
]

ODD = st.sampled_from(
    (
        *(None, True, 0, -1, 1.5, "", "odd", [], {}, [[]], [{}], [None], ["x"]),
        *({"a": {}}, {"type": "text"}, {"type": "odd"}, [{"type": "text"}]),
        *({"url": 3}, 1e300),
    )
)

Path = tuple[Any, ...]


def paths(value: Any, at: Path = ()) -> list[Path]:
    """The path of everything in a value."""
    found = [at] if at else []
    entries: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    for key, inner in entries:
        found += paths(inner, (*at, key))
    return found


def changed(value: Any, path: Path, odd: Any) -> Any:
    """The value with something else at one place."""
    copied = copy.deepcopy(value)
    place = copied
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = odd
    return copied


def variants(value: Any) -> st.SearchStrategy[Any]:
    """The value with one place replaced."""
    return st.builds(
        lambda path, odd: changed(value, path, odd), st.sampled_from(paths(value)), ODD
    )


def contexts() -> list[Context]:
    """Targets that take different ways."""
    return [
        Context("claude-sonnet-4-5", 14, native=True),
        Context("claude-opus-4-8", 33),
        Context("claude-3-haiku", 14),
        Context("gpt-5", 1),
        Context("m", 20),
    ]


def orderly(work: Callable[[], Any]) -> None:
    """Run it; our own errors are fine, and what it gives is JSON."""
    try:
        top.encode(work())
    except KnightError:
        return


def through(source: ModuleType, target: ModuleType, events: list[Any]) -> None:
    """A stream through both machines."""
    context = Context("m", native=True)
    reading, writing = source.StreamToX(context), target.StreamFromX(context)
    for event in events:
        data = top.encode(event)
        for chunk in reading.feed(sse.Event(data, data)):
            writing.feed(chunk)
    for chunk in reading.close():
        writing.feed(chunk)
    writing.close()


class Robustness(SynchronousTestCase):
    """Every direction that goes through chat or Claude."""

    @settings(max_examples=60, deadline=None)
    @given(variants(CHAT_REQUEST))
    def test_chat_requests(self, body: Any) -> None:
        """A chat client's request for either kind of channel."""
        for target in (claude, chat):
            for context in contexts():
                orderly(
                    lambda target=target, context=context: target.request_from_x(
                        chat.request_to_x(body, context), context
                    )
                )

    @settings(max_examples=60, deadline=None)
    @given(variants(CLAUDE_REQUEST))
    def test_claude_requests(self, body: Any) -> None:
        """A Claude client's request for either kind of channel."""
        for target in (claude, chat):
            for context in contexts():
                orderly(
                    lambda target=target, context=context: target.request_from_x(
                        claude.request_to_x(body, context), context
                    )
                )

    @settings(max_examples=60, deadline=None)
    @given(variants(CHAT_ANSWER), variants(CLAUDE_ANSWER))
    def test_answers(self, chat_answer: Any, claude_answer: Any) -> None:
        """A provider's whole answer for either kind of client."""
        for source, answer in ((chat, chat_answer), (claude, claude_answer)):
            for target in (chat, claude):
                context = Context("m", native=True)
                orderly(
                    lambda s=source, t=target, a=answer, c=context: t.response_from_x(
                        s.response_to_x(a, c), c
                    )
                )

    @settings(max_examples=60, deadline=None)
    @given(variants(CHUNKS), variants(EVENTS))
    def test_streams(self, chunks: Any, events: Any) -> None:
        """A provider's stream for either kind of client."""
        for source, stream in ((chat, chunks), (claude, events)):
            for target in (chat, claude):
                orderly(lambda s=source, t=target, e=stream: through(s, t, e))
