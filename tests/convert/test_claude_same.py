"""Claude to Claude: only foreign reasoning is taken out."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import claude
from knight_tw.errors import InvalidRequest
from knight_tw.wire import top


def kept(messages: Any) -> Any:
    """The messages that are sent on."""
    body: dict[str, Any] = dict(top.read_top(top.encode({"messages": messages})))
    claude.keep_own_reasoning(body)
    return msgspec.json.decode(top.encode(body))["messages"]


class KeepOwnReasoning(SynchronousTestCase):
    """`keep_own_reasoning`."""

    def test_bytes_stay(self) -> None:
        """A body without wrapped signatures is not touched."""
        text = b'{"messages": [{"role":"user", "content":"hi", "n":1.50}]}'
        body: dict[str, Any] = dict(top.read_top(text))
        before = bytes(body["messages"])
        claude.keep_own_reasoning(body)
        self.assertEqual(bytes(body["messages"]), before)

    def test_foreign_reasoning_goes(self) -> None:
        """Other providers' blocks are dropped, Claude's own unwrapped, turns that
        consist of nothing else left out."""
        text = {"type": "text", "text": "ko1. is just text"}
        bare = {"type": "thinking", "thinking": "t", "signature": "S"}
        google = bare | {"signature": "ko1.g.X"}
        hidden = {"type": "redacted_thinking", "data": "ko1.a.E"}
        user = {"role": "user", "content": "hi"}
        turn = {"role": "assistant", "content": [google, bare, hidden, text, "odd"]}
        only = {"role": "assistant", "content": [google]}
        empty = {"role": "assistant", "content": []}
        own = [bare, hidden | {"data": "E"}, text, "odd"]
        self.assertEqual(
            kept([user, turn, only, empty, "odd"]),
            [user, turn | {"content": own}, empty, "odd"],
        )

    def test_odd_messages(self) -> None:
        """What is no list is for the provider to refuse; broken JSON is ours."""
        self.assertEqual(kept("ko1."), "ko1.")
        body: dict[str, Any] = {"messages": msgspec.Raw(b'["ko1.",')}
        self.assertRaises(InvalidRequest, claude.keep_own_reasoning, body)
        none: dict[str, Any] = {}
        claude.keep_own_reasoning(none)
        self.assertEqual(none, {})
