"""The administrator's system prompt in a request."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import InvalidRequest
from knight_tw.records import Dialect
from knight_tw.wire import top
from knight_tw.wire.system_prompt import inject, role_of, split_messages

USER = {"role": "user", "content": "hi"}
TEXT = {"type": "text", "text": "own"}
FIRST = {"type": "text", "text": "P"}


def injected(
    members: dict[str, Any],
    dialect: Dialect,
    *,
    override: bool = False,
    role: str = "system",
) -> Any:
    """The body after the prompt `P` went in, read from bytes and written again."""
    body: dict[str, Any] = dict(top.read_top(json.dumps(members).encode()))
    inject(body, dialect, "P", override=override, role=role)
    return msgspec.json.decode(top.encode(body))


class Chat(SynchronousTestCase):
    """Chat bodies."""

    def test_added(self) -> None:
        """A request without system text gets a first message of the given role."""
        for role in ("system", "developer"):
            found = injected({"messages": [USER]}, Dialect.CHAT, role=role)
            self.assertEqual(found["messages"], [{"role": role, "content": "P"}, USER])
        found = injected({"prefix": "x"}, Dialect.CHAT)
        self.assertEqual(found["messages"], [{"role": "system", "content": "P"}])

    def test_left_alone(self) -> None:
        """The request's own system text stays without the override."""
        for role in ("system", "developer"):
            members = {"messages": [USER, {"role": role, "content": "own"}]}
            self.assertEqual(injected(members, Dialect.CHAT), members)

    def test_in_front(self) -> None:
        """With the override the prompt stands before a text or a list of parts."""
        for content, expected in (
            ("own", "P\nown"),
            ([TEXT], [FIRST, TEXT]),
            ("", "P"),
            (None, "P"),
        ):
            members = {"messages": [USER, {"role": "system", "content": content}]}
            found = injected(members, Dialect.CHAT, override=True)
            self.assertEqual(
                found["messages"][1], {"role": "system", "content": expected}
            )

    def test_decoded_messages(self) -> None:
        """Messages that somebody decoded already are handled, and not changed."""
        message = {"role": "system", "content": "own"}
        messages = [message, 5]
        body: dict[str, Any] = {"messages": messages}
        inject(body, Dialect.CHAT, "P", override=True)
        self.assertEqual(body["messages"][0]["content"], "P\nown")
        self.assertEqual((message["content"], messages), ("own", [message, 5]))

    def test_refused(self) -> None:
        """What has no place for a prompt is refused by name."""
        for members, param in (
            ({"messages": "x"}, "messages"),
            ({"messages": [{"role": "system", "content": 5}]}, "messages.0.content"),
        ):
            error = self.assertRaises(
                InvalidRequest, injected, members, Dialect.CHAT, override=True
            )
            self.assertEqual(error.param, param)
        body = {"messages": "x"}
        self.assertRaises(InvalidRequest, split_messages, body)


class Others(SynchronousTestCase):
    """The other dialects."""

    def test_claude_and_responses(self) -> None:
        """`system` and `instructions` are filled, left alone, or put behind."""
        for dialect, name in (
            (Dialect.CLAUDE, "system"),
            (Dialect.RESPONSES, "instructions"),
        ):
            for before in ({}, {name: None}, {name: ""}):
                self.assertEqual(injected(before, dialect)[name], "P")
            self.assertEqual(injected({name: "own"}, dialect)[name], "own")
            found = injected({name: "own"}, dialect, override=True)
            self.assertEqual(found[name], "P\nown")
        found = injected({"system": [TEXT]}, Dialect.CLAUDE, override=True)
        self.assertEqual(found["system"], [FIRST, TEXT])
        error = self.assertRaises(
            InvalidRequest, injected, {"system": 5}, Dialect.CLAUDE, override=True
        )
        self.assertEqual(error.param, "system")

    def test_gemini(self) -> None:
        """The first part of the instruction, in either spelling."""
        prompt, own = {"text": "P"}, {"text": "own"}
        for name in ("systemInstruction", "system_instruction"):
            for parts in ([own], own):
                members = {name: {"role": "x", "parts": parts}}
                self.assertEqual(injected(members, Dialect.GEMINI), members)
                found = injected(members, Dialect.GEMINI, override=True)
                self.assertEqual(found[name], {"role": "x", "parts": [prompt, own]})
            for empty in ({"parts": []}, {"parts": [{"text": ""}]}, {}):
                found = injected({name: empty}, Dialect.GEMINI)
                self.assertEqual(found[name]["parts"][0], prompt)
        found = injected({}, Dialect.GEMINI)
        self.assertEqual(found, {"systemInstruction": {"parts": [prompt]}})
        members = {"systemInstruction": {"parts": "x"}}
        error = self.assertRaises(InvalidRequest, injected, members, Dialect.GEMINI)
        self.assertEqual(error.param, "systemInstruction.parts")

    def test_no_place(self) -> None:
        """Dialects without a system prompt, and an empty prompt, change nothing."""
        self.assertEqual(injected({"a": 1}, Dialect.REALTIME), {"a": 1})
        body: dict[str, Any] = {"messages": [USER]}
        inject(body, Dialect.CHAT, "", override=True)
        self.assertEqual(body, {"messages": [USER]})


class Roles(SynchronousTestCase):
    """`role_of`."""

    def test_roles(self) -> None:
        """A role is read from text or objects; what has none has an empty one."""
        for message, expected in (
            (Raw(b'{"role":"user","content":"x"}'), "user"),
            (Raw(b"[1]"), ""),
            (Raw(b'{"role":5}'), ""),
            ({"role": "user"}, "user"),
            ("user", ""),
        ):
            self.assertEqual(role_of(message), expected)
