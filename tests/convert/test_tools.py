"""Ids, names, arguments and free-form tools."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import tools
from knight_tw.convert.context import Memory

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


class Ids(SynchronousTestCase):
    """Ids of calls."""

    def test_claude_ids(self) -> None:
        """What Claude does not take becomes an underscore; an empty id is none."""
        self.assertEqual(tools.claude_id("call.1/a-b_C"), "call_1_a-b_C")
        self.assertEqual(tools.claude_id(""), "_")

    def test_openai_ids(self) -> None:
        """Up to 64 characters stay; a longer id is cut and stays its own."""
        self.assertEqual(tools.openai_id("x" * 64), "x" * 64)
        long, other = tools.openai_id("x" * 65), tools.openai_id("x" * 66)
        self.assertEqual((len(long), long[:41]), (57, "x" * 40 + "_"))
        self.assertNotEqual(long, other)


class Names(SynchronousTestCase):
    """Names that a target does not take."""

    def test_names_come_back(self) -> None:
        """A changed name is remembered; different names stay different."""
        memory = Memory()
        names = ["plain_name", "a.b", "a:b", "n" * 80]
        sent = [tools.sent_name(name, memory) for name in names]
        self.assertEqual(sent[:2], ["plain_name", "a_b"])
        self.assertEqual(len(set(sent)), len(names))
        self.assertTrue(all(len(name) <= 64 for name in sent))
        self.assertEqual([tools.own_name(name, memory) for name in sent], names)
        self.assertEqual(tools.sent_name("a.b", memory), "a_b")


class Arguments(SynchronousTestCase):
    """Arguments as text and as object."""

    def test_what_is_no_object_is_kept(self) -> None:
        """Text that is no JSON object travels under a name of its own, and back."""
        for text in ("[1]", "{broken", '"x"', "5"):
            value = tools.parse_arguments(text)
            self.assertEqual(value, {"_arguments": text})
            self.assertEqual(tools.write_arguments(value), text)

    def test_nothing_is_an_empty_object(self) -> None:
        """No arguments are `{}` both ways."""
        for nothing in ("", "  ", None, 3):
            self.assertEqual(tools.parse_arguments(nothing), {})
        self.assertEqual(tools.write_arguments(None), "{}")
        self.assertEqual(tools.write_arguments([1, 2]), "[1,2]")
        self.assertEqual(tools.parse_arguments({"a": 1}), {"a": 1})

    @settings(max_examples=60, deadline=None)
    @given(st.dictionaries(st.text(), JSON))
    def test_objects_survive(self, value: dict[str, object]) -> None:
        """Any JSON object comes back equal."""
        text = tools.write_arguments(value)
        self.assertEqual(tools.write_arguments(tools.parse_arguments(text)), text)

    def test_call_of_either_kind(self) -> None:
        """Name and arguments of function calls and of free-form ones."""
        function = {"function": {"name": "f", "arguments": {"a": 1}}}
        custom = {"custom": {"name": "c", "input": "x"}}
        odd = {"function": "?", "custom": {}}
        self.assertEqual(tools.call_name(function), "f")
        self.assertEqual(tools.call_arguments(function), '{"a":1}')
        self.assertEqual(tools.call_name(custom), "c")
        self.assertEqual(tools.call_arguments(custom), '{"input":"x"}')
        self.assertEqual(tools.call_name(odd), "")
        self.assertEqual(tools.call_arguments(odd), '{"input":""}')

    def test_schemas_have_an_object_at_the_top(self) -> None:
        """Missing schemas and types are filled in, others stay."""
        empty = {"type": "object", "properties": {}}
        for nothing in (None, {}, [], "x"):
            self.assertEqual(tools.schema_of(nothing), empty)
        self.assertEqual(tools.schema_of({"a": 1}), {"type": "object", "a": 1})
        self.assertEqual(tools.schema_of({"type": "x"}), {"type": "x"})


class FreeForm(SynchronousTestCase):
    """Free-form tools where the target has only functions."""

    def test_a_function_stands_for_the_tool(self) -> None:
        """Its one argument is the text; the grammar is told in words."""
        memory = Memory()
        grammar = {"type": "grammar", "grammar": {"definition": "start: X"}}
        flat = {"type": "grammar", "syntax": "regex", "definition": "a+"}
        function = tools.as_function(
            {"name": "c", "description": "d", "format": grammar}, memory
        )
        self.assertEqual(function["parameters"]["required"], ["input"])
        self.assertTrue(function["description"].startswith("d\n\nThe input must"))
        self.assertIn("start: X", function["description"])
        told = tools.as_function({"name": "e", "format": flat}, memory)
        self.assertIn("regex", told["description"])
        bare = {"name": "g", "format": {"type": "grammar"}}
        self.assertNotIn("description", tools.as_function(bare, memory))
        self.assertNotIn("description", tools.as_function({"name": "h"}, memory))
        self.assertEqual(memory.custom_tools, {"c", "e", "g", "h"})

    def test_its_calls_turn_back(self) -> None:
        """A call becomes free-form again; other calls stay as they are."""
        memory = Memory(custom_tools={"c"})
        function = {"name": "c", "arguments": '{"input":"x\\ny"}'}
        call = {"id": "1", "type": "function", "function": function}
        self.assertEqual(
            tools.restored(call, memory),
            {"id": "1", "type": "custom", "custom": {"name": "c", "input": "x\ny"}},
        )
        other = {"id": "1", "type": "function", "function": {"name": "f"}}
        self.assertIs(tools.restored(other, memory), other)
        self.assertEqual(tools.custom_input("not json"), "not json")
