"""The strict providers themselves: what they refuse, and what they let through."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.system.providers import chat, claude, gemini, responses
from tests.system.providers.heard import Json, signature
from tests.system.scenarios import SCENARIOS, WEATHER

TURN = SCENARIOS["thinking"].turns[0]
SCHEMA = dict(WEATHER.schema)

CHAT: Json = {
    "model": "gpt-4.1",
    "messages": [
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c",
                    "type": "function",
                    "function": {"name": "f", "arguments": "{}"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
}
RESPONSES: Json = {
    "model": "gpt-5.2",
    "input": [
        {"role": "user", "content": "q"},
        {
            "type": "reasoning",
            "summary": [],
            "encrypted_content": signature("responses", 0),
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ],
    "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False}],
}
CLAUDE: Json = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 4000,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "messages": [
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": [
                {
                    "type": "thinking",
                    "thinking": TURN.thoughts,
                    "signature": signature("claude", 0),
                },
                {"type": "tool_use", "id": "c", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}],
        },
    ],
    "tools": [{"name": "f", "input_schema": SCHEMA}],
}
GEMINI: Json = {
    "model": "gemini-3-pro-preview",
    "stream": False,
    "contents": [
        {"role": "user", "parts": [{"text": "q"}]},
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {"id": "c", "name": "f", "args": {}},
                    "thoughtSignature": signature("gemini", 0),
                }
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "c", "name": "f", "response": {"o": 1}}}
            ],
        },
    ],
    "tools": [{"functionDeclarations": [{"name": "f"}]}],
}

Change = Callable[[Json], Any]

REFUSED: tuple[tuple[Any, Json, str, Change], ...] = (
    (chat, CHAT, "unknown field", lambda b: b.update(top_k=1)),
    (chat, CHAT, "is required", lambda b: b.pop("model")),
    (chat, CHAT, "unknown field", lambda b: b["messages"][1].update(reasoning="x")),
    (chat, CHAT, "without results", lambda b: b["messages"].pop()),
    (chat, CHAT, "no call before", lambda b: b["messages"].pop(1)),
    (chat, CHAT, "only allowed when tools", lambda b: b.update(tools=[])),
    (chat, CHAT, "stream_options", lambda b: b.update(stream_options={})),
    (responses, RESPONSES, "unknown field", lambda b: b.update(stop="x")),
    (responses, RESPONSES, "no tool output", lambda b: b["input"].pop()),
    (responses, RESPONSES, "no tool call", lambda b: b["input"].pop(2)),
    (
        responses,
        RESPONSES,
        "could not be verified",
        lambda b: b["input"][1].update(encrypted_content="x"),
    ),
    (responses, RESPONSES, "at least 16", lambda b: b.update(max_output_tokens=1)),
    (claude, CLAUDE, "max_tokens is required", lambda b: b.pop("max_tokens")),
    (claude, CLAUDE, "unknown field", lambda b: b.update(n=1)),
    (claude, CLAUDE, "got the results", lambda b: b["messages"].pop(1)),
    (claude, CLAUDE, "without results", lambda b: b["messages"].pop()),
    (
        claude,
        CLAUDE,
        "invalid signature",
        lambda b: b["messages"][1]["content"][0].update(signature="x"),
    ),
    (
        claude,
        CLAUDE,
        "cannot be modified",
        lambda b: b["messages"][1]["content"][0].update(thinking="x"),
    ),
    (
        claude,
        CLAUDE,
        "expected a thinking block",
        lambda b: b["messages"][1]["content"].pop(0),
    ),
    (gemini, GEMINI, "unknown field", lambda b: b.update(messages=[])),
    (
        gemini,
        GEMINI,
        "missing a thought_signature",
        lambda b: b["contents"][1]["parts"][0].pop("thoughtSignature"),
    ),
    (
        gemini,
        GEMINI,
        "not valid",
        lambda b: b["contents"][1]["parts"][0].update(thoughtSignature="abcd"),
    ),
    (gemini, GEMINI, "got the responses", lambda b: b["contents"].pop(1)),
    (gemini, GEMINI, "without responses", lambda b: b["contents"].pop()),
    (
        gemini,
        GEMINI,
        "got the responses",
        lambda b: b["contents"][2]["parts"][0]["functionResponse"].pop("id"),
    ),
)
"""Dialect, a good request, what the refusal says, and what makes the request bad."""


class Strict(SynchronousTestCase):
    """What the providers check."""

    def test_good(self) -> None:
        """A right request has no problem, and is understood."""
        for dialect, body in (
            (chat, CHAT),
            (responses, RESPONSES),
            (claude, CLAUDE),
            (gemini, GEMINI),
        ):
            self.assertEqual(dialect.check(body), [])
            heard = dialect.read(body)
            roles = [turn.role for turn in heard.turns]
            self.assertEqual(roles, ["user", "assistant", "user"])
            self.assertEqual((heard.question, heard.spoken), ("q", 1))
            self.assertEqual([arguments for arguments, _ in heard.answered()], [{}])

    def test_bad(self) -> None:
        """Each change makes the request one that is refused, for its reason."""
        for dialect, good, reason, change in REFUSED:
            body = copy.deepcopy(good)
            change(body)
            self.assertIn(reason, "; ".join(dialect.check(body)))
