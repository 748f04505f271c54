"""Chat clients' requests in the middle form."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import chat
from knight_tw.convert.context import Context
from knight_tw.errors import InvalidRequest

USER = {"role": "user", "content": "hi"}

Body = dict[str, Any]


def read(body: Body, context: Context | None = None) -> Body:
    """The middle form of a chat request."""
    return chat.request_to_x({"messages": [USER]} | body, context or Context("mapped"))


class Incoming(SynchronousTestCase):
    """Aliases and legacy fields."""

    def test_most_stays(self) -> None:
        """What is chat already is the middle form; the model is the mapped one."""
        body = {"model": "asked", "seed": 3, "unheard_of": [1]}
        x = read(body)
        self.assertEqual(x, body | {"model": "mapped", "messages": [USER]})

    def test_reasoning(self) -> None:
        """The alias gives way to the real name."""
        table = [
            ({"reasoning": "r"}, "r"),
            ({"reasoning": "r", "reasoning_content": "c"}, "c"),
            ({"reasoning": 3}, None),
        ]
        for given, wanted in table:
            message = {"role": "assistant", "content": "a"} | given
            (found,) = read({"messages": [message]})["messages"]
            self.assertEqual(found.get("reasoning_content"), wanted)
            self.assertNotIn("reasoning", found)

    def test_legacy_functions(self) -> None:
        """Functions are tools, results find their calls by name."""
        calls = {"role": "assistant", "content": None}
        f = calls | {"function_call": {"name": "f", "arguments": "{}"}}
        result = {"role": "function", "name": "f", "content": "1"}
        context = Context("m", request_id="r")
        x = read(
            {
                "functions": [{"name": "f"}],
                "function_call": {"name": "f"},
                "messages": [USER, f, f, result, result, result],
            },
            context,
        )
        self.assertEqual(x["tools"], [{"type": "function", "function": {"name": "f"}}])
        named = {"type": "function", "function": {"name": "f"}}
        self.assertEqual(x["tool_choice"], named)
        self.assertFalse({"functions", "function_call"} & set(x))
        self.assertTrue(context.memory.legacy_functions)
        ids = [m["tool_calls"][0]["id"] for m in x["messages"][1:3]]
        answered = [m["tool_call_id"] for m in x["messages"][3:]]
        self.assertEqual(answered[:2], ids)
        self.assertNotIn(answered[2], ids)

    def test_modern_fields_win(self) -> None:
        """Tools, calls and a choice that are there already stay."""
        tools = [{"type": "function", "function": {"name": "g"}}]
        both: Body = {"role": "assistant", "content": None, "function_call": {}}
        both["tool_calls"] = [{"id": "1"}]
        x = read(
            {
                "functions": [{"name": "f"}],
                "function_call": "auto",
                "tools": tools,
                "tool_choice": "none",
                "messages": [both],
            }
        )
        self.assertEqual((x["tools"], x["tool_choice"]), (tools, "none"))
        self.assertEqual(x["messages"], [both])
        self.assertEqual(read({"function_call": "auto"})["tool_choice"], "auto")

    def test_faults(self) -> None:
        """What cannot be read is refused by its path."""
        call = {"role": "assistant", "function_call": {}}
        table: list[tuple[Body, str]] = [
            ({"messages": "hi"}, "messages"),
            ({"messages": [{}]}, "messages.0.role"),
            (
                {"messages": [USER, {"role": "user", "content": 3}]},
                "messages.1.content",
            ),
            ({"messages": [call]}, "messages.0.function_call.name"),
            ({"messages": [{"role": "function"}]}, "messages.0.name"),
            ({"functions": "f"}, "functions"),
            ({"function_call": {}, "functions": [{}]}, "function_call.name"),
        ]
        for body, param in table:
            error = self.assertRaises(InvalidRequest, read, body)
            self.assertEqual(error.param, param)
