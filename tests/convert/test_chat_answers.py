"""Whole chat answers, both ways."""

from __future__ import annotations

from typing import Any

from openai.types.chat import ChatCompletion
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import chat
from knight_tw.convert.context import Context, Memory
from knight_tw.errors import EmptyAnswer, UpstreamRefused

Body = dict[str, Any]


def to_x(message: Body, context: Context | None = None, **choice: Any) -> Body:
    """The middle form of a provider's answer, valid for OpenAI's client."""
    answer = {"choices": [{"message": message} | choice]}
    x = chat.response_to_x(answer, context or Context("m", created=7))
    ChatCompletion.model_validate(x, strict=True)
    return x


def from_x(message: Body, context: Context, **choice: Any) -> Body:
    """A chat client's choice for one of the middle form."""
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message} | choice
    x = {"id": "1", "choices": [choice]}
    found: Body = chat.response_from_x(x, context)["choices"][0]
    return found


def call(name: str, arguments: str = "{}") -> Body:
    """A tool call."""
    function = {"name": name, "arguments": arguments}
    return {"id": "1", "type": "function", "function": function}


class ToX(SynchronousTestCase):
    """From providers."""

    def test_head(self) -> None:
        """What a provider leaves out is filled in."""
        x = to_x({"content": "a"})
        self.assertTrue(x["id"].startswith("chatcmpl-"))
        got = x["object"], x["created"], x["model"]
        self.assertEqual(got, ("chat.completion", 7, "m"))
        answer = {"id": "i", "created": 3, "model": "up", "service_tier": "flex"}
        x = chat.response_to_x(answer | {"choices": [{}]}, Context(""))
        got = x["id"], x["created"], x["model"], x["service_tier"]
        self.assertEqual(got, ("i", 3, "up", "flex"))

    def test_content_as_parts(self) -> None:
        """Text and reasoning of a list are taken apart."""
        thinking = [{"type": "text", "text": "r"}]
        parts = [
            {"type": "thinking", "thinking": thinking},
            {"type": "thinking", "thinking": "s"},
            {"type": "text", "text": "a"},
            {"type": "odd"},
        ]
        message = to_x({"content": parts})["choices"][0]["message"]
        self.assertEqual(message["content"], "a")
        self.assertEqual(message["reasoning_content"], "rs")

    def test_calls(self) -> None:
        """Legacy calls, objects as arguments, missing ids and changed names."""
        context = Context("m", memory=Memory(sent_names={"a_b": "a.b"}))
        function = {"name": "a_b", "arguments": {"k": 1}}
        choice = to_x({"tool_calls": [{"function": function}]}, context)["choices"][0]
        (found,) = choice["message"]["tool_calls"]
        self.assertEqual(found["function"], {"name": "a.b", "arguments": '{"k":1}'})
        self.assertTrue(found["id"].startswith("call_"))
        self.assertEqual(choice["finish_reason"], "tool_calls")
        legacy = {"function_call": {"name": "f", "arguments": "{}"}}
        choice = to_x(legacy, finish_reason="function_call")["choices"][0]
        self.assertEqual(choice["message"]["tool_calls"][0]["function"]["name"], "f")
        self.assertNotIn("native_finish_reason", choice)
        custom = {"id": "1", "custom": {"name": "c", "input": "x"}}
        choice = to_x({"tool_calls": [custom]})["choices"][0]
        self.assertEqual(choice["message"]["tool_calls"][0]["type"], "custom")

    def test_reasons(self) -> None:
        """A provider's own word is kept beside OpenAI's."""
        table: list[tuple[Body, Body]] = [
            ({"finish_reason": "eos"}, {"native_finish_reason": "eos"}),
            (
                {"finish_reason": "length", "native_finish_reason": "MAX"},
                {"native_finish_reason": "MAX"},
            ),
            ({}, {}),
        ]
        for given, wanted in table:
            choice = to_x({"content": "a"}, **given)["choices"][0]
            found = {n: v for n, v in choice.items() if n.startswith("native")}
            self.assertEqual(found, wanted)
        choice = to_x({"content": "a"}, stop_sequence="X", index=2)["choices"][0]
        self.assertEqual((choice["stop_sequence"], choice["index"]), ("X", 2))

    def test_usage(self) -> None:
        """It may stand on the last choice."""
        x = to_x({"content": "a"}, usage={"prompt_tokens": 3})
        self.assertEqual(x["usage"]["prompt_tokens"], 3)

    def test_faults(self) -> None:
        """Errors in a 200 are raised, and so is an answer without a choice."""
        context = Context("m")
        error = {"error": {"message": "x"}}
        self.assertRaises(UpstreamRefused, chat.response_to_x, error, context)
        self.assertRaises(EmptyAnswer, chat.response_to_x, {}, context)


class FromX(SynchronousTestCase):
    """To clients."""

    def test_most_stays(self) -> None:
        """The middle form is chat already."""
        message = {"role": "assistant", "content": "a", "reasoning_content": "r"}
        self.assertEqual(from_x(message, Context("m"))["message"], message)

    def test_native_blocks(self) -> None:
        """Only clients that ask for them get them."""
        message = {"content": "a", "native_blocks": {}}
        for native in (True, False):
            found = from_x(message, Context("m", native=native))["message"]
            self.assertEqual("native_blocks" in found, native)

    def test_free_form_calls(self) -> None:
        """Calls of functions that stand for free-form tools turn back."""
        context = Context("m", memory=Memory(custom_tools={"c"}))
        calls = [call("c", '{"input":"x"}'), call("f")]
        found = from_x({"tool_calls": calls}, context)["message"]["tool_calls"]
        self.assertEqual([c["type"] for c in found], ["custom", "function"])

    def test_legacy_clients(self) -> None:
        """They get the first call as a `function_call`."""
        context = Context("m", memory=Memory(legacy_functions=True))
        calls = [call("f"), call("g")]
        choice = from_x({"tool_calls": calls}, context)
        wanted = {"name": "f", "arguments": "{}"}
        self.assertEqual(choice["message"], {"function_call": wanted})
        self.assertEqual(choice["finish_reason"], "function_call")
        choice = from_x({"tool_calls": calls}, context, finish_reason="length")
        self.assertEqual(choice["finish_reason"], "length")
