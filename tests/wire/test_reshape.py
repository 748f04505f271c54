"""Changes of a chat answer's layout."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.records import Usage
from knight_tw.wire.reshape import (
    CLOSING,
    OPENING,
    ForceFormat,
    ThinkingToContent,
    exact_answer,
    thinking_in_content,
)

Deltas = list[tuple[dict[str, Any], str | None]]


def moved(deltas: Deltas, index: int = 0) -> list[dict[str, Any]]:
    """The deltas of one choice after thinking went to content, the end included."""
    machine = ThinkingToContent()
    out = []
    for delta, finish in deltas:
        choice = {"index": index, "delta": dict(delta), "finish_reason": finish}
        out += machine.feed({"id": "c", "choices": [choice]})
    out += machine.close()
    return [choice["delta"] for chunk in out for choice in chunk["choices"]]


def text_of(deltas: list[dict[str, Any]]) -> str:
    """All content, joined."""
    return "".join(delta.get("content") or "" for delta in deltas)


def think(text: str, name: str = "reasoning_content") -> tuple[dict[str, Any], None]:
    """A delta of reasoning."""
    return {name: text}, None


class Thinking(SynchronousTestCase):
    """`ThinkingToContent`."""

    def test_before_content(self) -> None:
        """Reasoning stands between tags before the content."""
        found = moved([think("a"), think("b"), ({"content": "c"}, None), ({}, "stop")])
        texts = [delta.get("content") for delta in found]
        self.assertEqual(texts, ["<think>\na", "b", "\n</think>\nc", None])

    def test_other_names(self) -> None:
        """The alias counts; the list of details goes."""
        found = moved([({"reasoning": "a", "reasoning_details": [1]}, None)])
        self.assertEqual(found[0], {"content": "<think>\na"})

    def test_closed_without_content(self) -> None:
        """Calls, a finish reason, or the end of the stream close the tag."""
        call = {"tool_calls": [{"index": 0}]}
        legacy = {"function_call": {"name": "f"}}
        for rest in ([(call, None)], [(legacy, None)], [({}, "length")], []):
            with self.subTest(rest=rest):
                found = moved([think("a"), *rest])
                self.assertEqual(text_of(found), f"{OPENING}a{CLOSING}")

    def test_closed_with_the_finish_reason(self) -> None:
        """The tag is closed before the choice ends, not after it."""
        found = moved([think("a"), ({}, "stop")])
        self.assertEqual(found, [{"content": "<think>\na"}, {"content": CLOSING}])

    def test_closed_after_the_end(self) -> None:
        """What was still open at the end is closed in a chunk like the last one."""
        machine = ThinkingToContent()
        choice = {"index": 2, "delta": {"reasoning": "a"}}
        machine.feed({"id": "c", "model": "m", "choices": [choice]})
        [chunk] = machine.close()
        self.assertEqual((chunk["id"], chunk["model"]), ("c", "m"))
        self.assertEqual(chunk["choices"][0]["index"], 2)
        self.assertEqual(machine.close(), [])

    def test_both_at_once(self) -> None:
        """Reasoning and content in one delta keep their order."""
        found = moved([({"reasoning_content": "a", "content": "b"}, None)])
        self.assertEqual(text_of(found), f"{OPENING}a{CLOSING}b")

    def test_thinking_again(self) -> None:
        """Reasoning after content opens a new tag."""
        found = moved([think("a"), ({"content": "b"}, None), think("c")])
        expected = f"{OPENING}a{CLOSING}b{OPENING}c{CLOSING}"
        self.assertEqual(text_of(found), expected)

    def test_no_reasoning(self) -> None:
        """Without reasoning nothing is added; empty reasoning is taken out."""
        found = moved([({"content": "a", "reasoning_content": ""}, None), ({}, "stop")])
        self.assertEqual(found, [{"content": "a"}, {}])

    def test_odd_chunks(self) -> None:
        """Chunks without choices or deltas go through."""
        machine = ThinkingToContent()
        for chunk in ({"choices": []}, {}, {"choices": [1, {"text": "a"}]}):
            self.assertEqual(machine.feed(chunk), [chunk])
        parts = {"content": [{"type": "text"}], "reasoning": "a"}
        [found] = machine.feed({"choices": [{"delta": parts}]})
        self.assertEqual(found["choices"][0]["delta"]["content"], [{"type": "text"}])

    @settings(max_examples=80, deadline=None)
    @given(
        st.lists(
            st.sampled_from(
                [think("r"), think(""), ({"content": "c"}, None), ({}, None)]
            ),
            max_size=8,
        )
    )
    def test_nothing_is_lost(self, deltas: Deltas) -> None:
        """Every text arrives, and each tag is closed once."""
        text = text_of(moved(deltas))
        self.assertEqual(text.count(OPENING), text.count(CLOSING))
        bare = text.replace(OPENING, "").replace(CLOSING, "")
        said = "".join(
            d.get("reasoning_content") or d.get("content") or "" for d, _ in deltas
        )
        self.assertEqual(bare, said)

    def test_whole_answers(self) -> None:
        """A whole answer's reasoning goes before its content."""
        answer: dict[str, Any] = {
            "choices": [
                {"message": {"reasoning_content": "a", "content": "b"}},
                {"message": {"reasoning": "a", "content": None}},
                {"message": {"content": "b"}},
                {"message": {"reasoning": "a", "content": [1]}},
                {"text": "x"},
            ]
        }
        thinking_in_content(answer)
        found = [c.get("message") for c in answer["choices"]]
        self.assertEqual(
            found,
            [
                {"content": "<think>\na\n</think>\nb"},
                {"content": "<think>\na\n</think>\n"},
                {"content": "b"},
                {"content": [1]},
                None,
            ],
        )


class Formats(SynchronousTestCase):
    """`ForceFormat` and `exact_answer`."""

    def test_chunks(self) -> None:
        """A chunk is rebuilt, its gaps filled, unknown members dropped."""
        choice = {
            "delta": {"content": "a", "reasoning": "r", "x": 1},
            "y": 2,
        }
        chunk = {"choices": [choice, "odd"], "usage": None, "z": 3, "service_tier": "t"}
        machine = ForceFormat("chatcmpl-1", 5, "m")
        self.assertEqual(
            machine.feed(chunk),
            [
                {
                    "id": "chatcmpl-1",
                    "object": "chat.completion.chunk",
                    "created": 5,
                    "model": "m",
                    "service_tier": "t",
                    "choices": [
                        {
                            "index": 0,
                            "delta": {"content": "a", "reasoning_content": "r"},
                            "logprobs": None,
                            "finish_reason": None,
                        }
                    ],
                    "usage": None,
                }
            ],
        )
        self.assertEqual(machine.close(), [])

    def test_known_members_stay(self) -> None:
        """What the provider gives is not overwritten."""
        chunk = {"id": "i", "created": 9, "model": "up", "choices": [{"index": 3}]}
        [found] = ForceFormat("x", 1, "y").feed(chunk)
        self.assertEqual(
            (found["id"], found["created"], found["model"]), ("i", 9, "up")
        )
        self.assertEqual(found["choices"][0]["index"], 3)
        self.assertNotIn("usage", found)

    def test_whole_answers(self) -> None:
        """A whole answer has every member that clients read."""
        answer: dict[str, Any] = {"choices": [{"message": {"x": 1}}], "extra": 1}
        exact_answer(answer, "i", 5, "m")
        self.assertEqual(
            answer,
            {
                "id": "i",
                "object": "chat.completion",
                "created": 5,
                "model": "m",
                "choices": [
                    {
                        "index": 0,
                        "message": {
                            "role": "assistant",
                            "content": None,
                            "refusal": None,
                        },
                        "logprobs": None,
                        "finish_reason": None,
                    }
                ],
                "usage": {
                    "prompt_tokens": 0,
                    "completion_tokens": 0,
                    "total_tokens": 0,
                },
            },
        )

    def test_usage(self) -> None:
        """The provider's usage stays; a counted one fills the gap."""
        answer: dict[str, Any] = {"usage": {"total_tokens": 3}}
        exact_answer(answer, "i", 5, "m")
        self.assertEqual(answer["usage"], {"total_tokens": 3})
        answer = {}
        exact_answer(answer, "i", 5, "m", Usage(prompt=1, completion=2))
        self.assertEqual(answer["usage"]["total_tokens"], 3)
