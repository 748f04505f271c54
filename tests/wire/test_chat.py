"""Chat requests and whole answers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import (
    BadUpstreamBody,
    EmptyAnswer,
    InvalidRequest,
    UpstreamRefused,
)
from knight_tw.records import Usage
from knight_tw.wire import chat, completions, embeddings, moderations, top
from knight_tw.wire.answers import Reading
from knight_tw.wire.chat import read_answer

HELLO = [{"role": "user", "content": "hi"}]


def body_of(**members: Any) -> dict[str, Raw]:
    """A request body as `read_top` gives it."""
    return top.read_top(json.dumps(members).encode())


class Validation(SynchronousTestCase):
    """What is refused, by name."""

    def refused(self, validate: Any, **members: Any) -> str | None:
        """The member that a refusal names."""
        error = self.assertRaises(InvalidRequest, validate, body_of(**members))
        self.assertEqual((error.status, error.code), (400, "invalid_request"))
        return error.param

    def test_chat_accepted(self) -> None:
        """Ordinary requests, and fill-in-the-middle without messages, pass."""
        for members in (
            {"messages": HELLO},
            {"prefix": "a"},
            {"messages": [], "suffix": "b"},
            {"messages": HELLO, "max_tokens": chat.MOST_TOKENS, "n": 128},
            {"messages": HELLO, "web_search_options": {"search_context_size": "low"}},
            {"messages": HELLO, "web_search_options": {}, "stream_options": None},
        ):
            with self.subTest(members=members):
                self.assertIsNone(chat.validate(body_of(**members)))

    def test_chat_refused(self) -> None:
        """Each rule names its member."""
        for members, param in (
            ({}, "messages"),
            ({"messages": []}, "messages"),
            ({"messages": "hi"}, "messages"),
            ({"messages": HELLO, "max_tokens": chat.MOST_TOKENS + 1}, "max_tokens"),
            ({"messages": HELLO, "max_completion_tokens": -1}, "max_completion_tokens"),
            ({"messages": HELLO, "n": 0}, "n"),
            ({"messages": HELLO, "n": 129}, "n"),
            ({"messages": HELLO, "web_search_options": 1}, "web_search_options"),
            (
                {"messages": HELLO, "web_search_options": {"search_context_size": "x"}},
                "web_search_options.search_context_size",
            ),
            ({"messages": HELLO, "stream_options": []}, "stream_options"),
            (
                {"messages": HELLO, "stream_options": {"include_usage": 1}},
                "stream_options.include_usage",
            ),
        ):
            with self.subTest(members=members):
                self.assertEqual(self.refused(chat.validate, **members), param)

    def test_completions(self) -> None:
        """A prompt is needed, limits are checked."""
        self.assertIsNone(completions.validate(body_of(prompt="a")))
        self.assertEqual(self.refused(completions.validate, prompt=""), "prompt")
        found = self.refused(completions.validate, prompt="a", n=0)
        self.assertEqual(found, "n")

    def test_input(self) -> None:
        """Embeddings and moderations need an input."""
        for module in (embeddings, moderations):
            self.assertIsNone(module.validate(body_of(input=["a"])))
            self.assertEqual(self.refused(module.validate, model="m"), "input")


class Requests(SynchronousTestCase):
    """What is read of a request."""

    def test_limits(self) -> None:
        """The newer name of the output limit wins; one choice is the default."""
        self.assertIsNone(chat.output_limit(body_of()))
        self.assertEqual(chat.output_limit(body_of(max_tokens=5)), 5)
        both = body_of(max_tokens=5, max_completion_tokens=7)
        self.assertEqual(chat.output_limit(both), 7)
        self.assertEqual(chat.choice_count(body_of()), 1)
        self.assertEqual(chat.choice_count(body_of(n=3)), 3)

    def test_include_usage(self) -> None:
        """Yes, no, or nothing said."""
        for options, expected in (
            (None, None),
            ({}, None),
            ({"include_usage": None}, None),
            ({"include_usage": True}, True),
            ({"include_usage": False}, False),
        ):
            found = chat.include_usage(body_of(stream_options=options))
            self.assertEqual(found, expected)

    def test_search_context(self) -> None:
        """The size of a search is medium unless the client says otherwise."""
        self.assertIsNone(chat.search_context_size(body_of()))
        size = chat.search_context_size(body_of(web_search_options={}))
        self.assertEqual(size, "medium")
        options = {"search_context_size": "high"}
        size = chat.search_context_size(body_of(web_search_options=options))
        self.assertEqual(size, "high")


def answer_of(**members: Any) -> bytes:
    """A provider's answer with one choice, but for what `members` says."""
    message = {"role": "assistant", "content": "hello", "reasoning_content": "hm "}
    usual = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "up",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
    return json.dumps({**usual, **members}).encode()


class Answers(SynchronousTestCase):
    """`read_answer`."""

    def test_ordinary(self) -> None:
        """The bytes stay; usage, text and finish reason are read."""
        body = answer_of()
        answer = read_answer(body)
        self.assertEqual(answer.body, body)
        self.assertEqual(answer.usage, Usage(prompt=3, completion=2, total=5))
        self.assertEqual(answer.produced.text, "hm hello")
        self.assertEqual(answer.finish_reasons, ("stop",))

    def test_model_and_id(self) -> None:
        """The client's model name is written, an id only where there is none."""
        answer = read_answer(answer_of(), model="mine", identity="new")
        shown = msgspec.json.decode(answer.body)
        self.assertEqual((shown["model"], shown["id"]), ("mine", "chatcmpl-1"))
        answer = read_answer(answer_of(id=""), identity="new")
        self.assertEqual(msgspec.json.decode(answer.body)["id"], "new")
        body = answer_of()
        self.assertEqual(read_answer(body, model="up").body, body)

    def test_tools_and_refusals(self) -> None:
        """Calls, legacy calls and refusals count as produced."""
        message = {
            "content": None,
            "refusal": "no",
            "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
            "function_call": {"name": "g", "arguments": "1"},
        }
        answer = read_answer(answer_of(choices=[{"message": message}]))
        self.assertEqual(answer.produced.text, "nof{}g1")
        self.assertEqual(answer.finish_reasons, ("",))

    def test_completions(self) -> None:
        """Legacy completions answer with text."""
        answer = read_answer(answer_of(choices=[{"text": "hi"}, {"text": None}]))
        self.assertEqual(answer.produced.text, "hi")

    def test_cached_tokens_of_llama(self) -> None:
        """llama.cpp counts cached tokens in `timings`."""
        answer = read_answer(answer_of(timings={"cache_n": 2}))
        assert answer.usage is not None
        self.assertEqual(answer.usage.cached, 2)
        usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5}}
        answer = read_answer(answer_of(timings={"cache_n": 2}, usage=usage))
        assert answer.usage is not None
        self.assertEqual(answer.usage.cached, 5)
        self.assertIsNone(
            read_answer(answer_of(timings={"cache_n": 2}, usage=None)).usage
        )

    def test_errors(self) -> None:
        """An error in a 200 body is a failure, also beside choices."""
        for body in (
            b'{"error":{"message":"m","code":429}}',
            b'[{"error":{"message":"m","code":429}}]',
            answer_of(error={"message": "m", "code": 429}),
        ):
            error = self.assertRaises(UpstreamRefused, read_answer, body)
            self.assertEqual((error.status, error.message), (429, "m"))
        reading = Reading(raised_error=lambda answer: (401, "own"))
        body = answer_of(choices=None)
        error = self.assertRaises(UpstreamRefused, read_answer, body, reading=reading)
        self.assertEqual(error.status, 401)

    def test_empty(self) -> None:
        """Nothing at all may be tried elsewhere."""
        for body in (b"", b" ", b"{}", answer_of(choices=[], usage=None)):
            self.assertRaises(EmptyAnswer, read_answer, body)
        self.assertEqual(read_answer(answer_of(choices=[])).finish_reasons, ())

    def test_unreadable(self) -> None:
        """What is no answer is a bad body."""
        for body in (b"<html>", b"[]", answer_of(choices="x"), answer_of(choices=[1])):
            self.assertRaises(BadUpstreamBody, read_answer, body)

    def test_own_forms(self) -> None:
        """Wrappings are opened and finish reasons renamed."""
        wrapped = b'{"data":' + answer_of() + b"}"
        reading = Reading(
            unwrap=lambda answer: answer["data"], finish_reasons={"stop": "length"}
        )
        answer = read_answer(wrapped, reading=reading)
        self.assertEqual(answer.finish_reasons, ("length",))
        self.assertIn(b'"length"', answer.body)
        reading = Reading(finish_reasons={"other": "stop"})
        body = answer_of()
        self.assertEqual(read_answer(body, reading=reading).body, body)
        reading = Reading(finish_reasons={"stop": "error"})
        self.assertRaises(UpstreamRefused, read_answer, body, reading=reading)

    def test_layout(self) -> None:
        """Changes of layout are applied to the whole answer, the name included."""
        seen: list[str] = []

        def change(answer: dict[str, Any]) -> None:
            seen.append(answer["model"])
            answer["x"] = 1

        answer = read_answer(answer_of(), model="mine", reshape=[change])
        self.assertEqual(msgspec.json.decode(answer.body)["x"], 1)
        self.assertEqual(seen, ["mine"])
