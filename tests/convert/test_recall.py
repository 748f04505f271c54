"""Reasoning that clients do not give back."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import chat, claude, recall
from knight_tw.convert.context import Context
from knight_tw.wire.claude_assembly import restream
from tests.convert.streaming import chunks_of, objects_of

Body = dict[str, Any]

CLAUDE = Context("claude-sonnet-4-5", 14)
ANSWER: Body = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "two words", "signature": "S"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
        {"type": "tool_use", "id": "b", "name": "f", "input": {}},
    ],
    "stop_reason": "tool_use",
}


def call(call_id: str, **more: Any) -> Body:
    """A tool call."""
    function = {"name": "f", "arguments": "{}"}
    return {"id": call_id, "type": "function", "function": function} | more


class Keeping(SynchronousTestCase):
    """What is kept."""

    def test_whole_and_streamed_answers(self) -> None:
        """Both give the same record under each call's id."""
        x = claude.response_to_x(ANSWER, CLAUDE)
        whole = recall.records(x["choices"][0]["message"], CLAUDE)
        recorder = recall.Recorder(CLAUDE)
        for chunk in chunks_of(claude, objects_of([restream(ANSWER)]), CLAUDE):
            recorder.feed(chunk)
        self.assertEqual(recorder.close(), whole)
        self.assertEqual(set(whole), {"a", "b"})
        self.assertEqual(whole["a"]["details"][0]["signature"], "ko1.a.S")

    def test_nothing_to_keep(self) -> None:
        """Answers without calls, without signatures, or too large."""
        signed = {"text": "t", "signature": "S"}
        large = {"data": "x" * recall.LIMIT}
        table: list[Body] = [
            {"reasoning_details": [signed]},
            {"reasoning_details": [{"text": "t"}], "tool_calls": [call("a")]},
            {"reasoning_details": [large], "tool_calls": [call("a")]},
            {"tool_calls": [call("a")]},
        ]
        for message in table:
            self.assertEqual(recall.records(message, CLAUDE), {})
        recorder = recall.Recorder(CLAUDE)
        piece = {"reasoning_details": [{"data": "x" * 1000, "index": 0}]}
        for _ in range(recall.LIMIT // 1000 + 1):
            recorder.feed({"choices": [{"delta": piece}]})
        recorder.feed({"choices": [{"delta": {"tool_calls": [call("a")]}}]})
        self.assertEqual(recorder.close(), {})
        recorder = recall.Recorder(CLAUDE)
        for chunk in (
            {"choices": [{"index": 1, "delta": {"tool_calls": []}}]},
            {"choices": [{"delta": {"content": "a"}}, {"delta": 3}]},
            {},
        ):
            recorder.feed(chunk)
        self.assertEqual(recorder.close(), {})


class Restoring(SynchronousTestCase):
    """Where it goes."""

    def test_a_forgetful_client(self) -> None:
        """The next request goes out as if the client had kept everything."""
        x = claude.response_to_x(ANSWER, CLAUDE)
        kept = recall.records(x["choices"][0]["message"], CLAUDE)
        turn = {"role": "assistant", "content": None}
        turn["tool_calls"] = [call("a"), call("b")]
        messages = [{"role": "user", "content": "hi"}, turn]
        self.assertEqual(recall.lacking(messages), ["a"])
        context = Context("claude-sonnet-4-5", 14)
        body = chat.request_to_x({"messages": messages, "max_tokens": 9000}, context)
        body["reasoning_effort"] = "medium"
        body["messages"] = recall.put_back(body["messages"], kept, context)
        sent = claude.request_from_x(body, context)
        self.assertEqual(sent["messages"][1]["content"], ANSWER["content"])
        self.assertIn("thinking", sent)

    def test_signatures_of_calls(self) -> None:
        """Gemini's go back on the calls that they belong to."""
        context = Context("gemini-3-pro", 24)
        extra = {"google": {"thought_signature": "ko1.g.S"}}
        answer = {"tool_calls": [call("a", extra_content=extra), call("b")]}
        kept = recall.records(answer, context)
        turn = {"role": "assistant", "tool_calls": [call("a"), call("b")]}
        (found,) = recall.put_back([turn], kept, context)
        self.assertEqual(found, turn | answer)

    def test_what_is_left_alone(self) -> None:
        """Turns that lack nothing, and records of another kind of channel."""
        kept = {"a": {"type": 24, "details": [{"data": "x"}], "signatures": None}}
        signed = [{"signature": "S"}]
        turn = {"role": "assistant", "tool_calls": [call("a")]}
        messages: list[Body] = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "a"},
            turn | {"reasoning_details": signed},
            {"role": "assistant", "tool_calls": [call("a", extra_content={"g": 1})]},
            turn,
            {"role": "assistant", "tool_calls": [call("z")]},
        ]
        self.assertEqual(recall.lacking(messages), ["a", "z"])
        self.assertEqual(recall.put_back(messages, kept, CLAUDE), messages)
        (found,) = recall.put_back([turn], kept, Context("m", 24))
        self.assertEqual(found["reasoning_details"], [{"data": "x"}])
