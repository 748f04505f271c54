"""Whole answers out of streams, and streams out of whole answers."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.wire import sse
from knight_tw.wire.assembly import Assembly, restream


def assembled(*chunks: Any) -> dict[str, Any]:
    """The answer that some chunks make."""
    assembly = Assembly()
    for chunk in chunks:
        assembly.feed(chunk)
    return assembly.close()


def piece(delta: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}],
    }


def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    """A delta with a piece of one tool call."""
    function = {"arguments": arguments, **more.pop("function", {})}
    return {"tool_calls": [{"index": index, "function": function, **more}]}


class Assembling(SynchronousTestCase):
    """`Assembly`."""

    def test_texts(self) -> None:
        """Content and reasoning are joined, the usage of the last chunk is kept."""
        answer = assembled(
            piece({"role": "assistant", "content": ""}),
            piece({"reasoning_content": "h"}),
            piece({"reasoning_content": "m"}),
            piece({"content": "Hel"}),
            piece({"content": "lo", "refusal": None}),
            piece({}, "length"),
            {"choices": [], "usage": {"total_tokens": 3}, "system_fingerprint": None},
        )
        message = {
            "role": "assistant",
            "content": "Hello",
            "reasoning_content": "hm",
            "refusal": None,
        }
        choice = {"index": 0, "finish_reason": "length", "message": message}
        self.assertEqual(
            answer,
            {
                "id": "c",
                "object": "chat.completion",
                "choices": [choice],
                "usage": {"total_tokens": 3},
            },
        )

    def test_tool_calls(self) -> None:
        """Pieces of calls are joined by their index, names and ids kept."""
        answer = assembled(
            piece(call(0, "", id="a", type="function", function={"name": "f"})),
            piece(call(0, '{"x"', id="", function={"name": None})),
            piece(call(1, "{}", id="b", function={"name": "g"})),
            piece(call(0, ":1}"), "tool_calls"),
        )
        calls = answer["choices"][0]["message"]["tool_calls"]
        self.assertEqual(
            calls,
            [
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"x":1}'},
                },
                {"id": "b", "function": {"name": "g", "arguments": "{}"}},
            ],
        )

    def test_other_lists(self) -> None:
        """Entries without an index, and plain values, are added one after the other."""
        answer = assembled(
            piece({"annotations": [{"u": 1}]}, logprobs={"content": [1]}),
            piece({"annotations": [{"u": 2}, "x"]}, logprobs={"content": [2]}),
        )
        choice = answer["choices"][0]
        self.assertEqual(choice["message"]["annotations"], [{"u": 1}, {"u": 2}, "x"])
        self.assertEqual(choice["logprobs"], {"content": [1, 2]})

    def test_kinds_that_change(self) -> None:
        """A member that changes its kind takes the later value."""
        answer = assembled(
            piece({"a": "text", "b": [1], "c": {"x": 1}}),
            piece({"a": {"y": 1}, "b": {"z": 1}, "c": [2]}),
        )
        message = answer["choices"][0]["message"]
        expected = {"a": {"y": 1}, "b": {"z": 1}, "c": [2]}
        self.assertEqual({n: message[n] for n in "abc"}, expected)

    def test_choices(self) -> None:
        """Choices keep apart and are in order; an odd index is the first."""
        answer = assembled(
            {"choices": [{"index": 1, "delta": {"content": "b"}}]},
            {"choices": [{"index": None, "delta": {"content": "a"}}, "odd"]},
            {"choices": None},
        )
        found = [c["message"]["content"] for c in answer["choices"]]
        self.assertEqual(found, ["a", "b"])
        reasons = [c["finish_reason"] for c in answer["choices"]]
        self.assertEqual(reasons, ["stop", "stop"])

    def test_completions(self) -> None:
        """Legacy completions are joined as text."""
        answer = assembled(
            {"object": "text_completion", "choices": [{"index": 0, "text": "a"}]},
            {"choices": [{"index": 0, "text": "b", "finish_reason": "stop"}]},
        )
        choice = {"index": 0, "text": "ab", "finish_reason": "stop"}
        self.assertEqual(answer["choices"], [choice])
        self.assertEqual(answer["object"], "text_completion")


class Restreaming(SynchronousTestCase):
    """`restream`."""

    def test_completions(self) -> None:
        """Legacy completions stay text."""
        choice = {"index": 0, "text": "ab", "finish_reason": "length"}
        answer = {"object": "text_completion", "choices": [choice]}
        events = sse.Decoder().feed(b"\n" + restream(answer, False))
        chunks = [msgspec.json.decode(e.data) for e in events[:-1]]
        self.assertEqual(chunks[0]["choices"][0]["text"], "ab")
        last = {"index": 0, "finish_reason": "length", "text": ""}
        self.assertEqual(chunks[1]["choices"], [last])

    @settings(max_examples=50, deadline=None)
    @given(
        st.none() | st.text(),
        st.lists(st.text(max_size=5), max_size=3),
        st.booleans(),
    )
    def test_there_and_back(
        self, content: str | None, arguments: list[str], asked: bool
    ) -> None:
        """A whole answer, streamed and put together again, is the same answer."""
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if arguments:
            message["tool_calls"] = [
                {"id": f"c{n}", "type": "function", "function": {"arguments": a}}
                for n, a in enumerate(arguments)
            ]
        answer = {
            "id": "c",
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"total_tokens": 1},
        }
        stream = restream(answer, asked)
        self.assertTrue(stream.endswith(sse.DONE))
        events = sse.Decoder().feed(b"\n" + stream)[:-1]
        again = assembled(*(msgspec.json.decode(e.data) for e in events))
        if not asked:
            del answer["usage"]
        self.assertEqual(again, answer)
