"""Legacy completions on a channel that only chats."""

from __future__ import annotations

from typing import Any

from openai.types import Completion
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import completions
from knight_tw.convert.context import Context
from knight_tw.errors import InvalidRequest, UnsupportedParameter


class Requests(SynchronousTestCase):
    """Prompts to messages."""

    def test_prompt(self) -> None:
        """The prompt is the user's; what chat has too stays, the rest is reported."""
        for prompt in ("p", ["p"]):
            context = Context("m")
            body = {"model": "x", "prompt": prompt, "max_tokens": 5, "user": None}
            found = completions.request_to_chat(
                {**body, "suffix": "s", "echo": False}, context
            )
            messages = [{"role": "user", "content": "p"}]
            wanted = {"model": "m", "max_tokens": 5, "messages": messages}
            self.assertEqual((found, context.dropped), (wanted, ["suffix"]))

    def test_refused(self) -> None:
        """Several prompts, token ids and nothing are refused."""
        cases: tuple[tuple[Any, type[Exception]], ...] = (
            (["a", "b"], UnsupportedParameter),
            ([[1, 2]], UnsupportedParameter),
            ([], UnsupportedParameter),
            (None, InvalidRequest),
        )
        for prompt, kind in cases:
            body = {"prompt": prompt}
            self.assertRaises(kind, completions.request_to_chat, body, Context("m"))


class Answers(SynchronousTestCase):
    """Messages to texts."""

    def test_whole(self) -> None:
        """Each choice has its text."""
        message = {"role": "assistant", "content": "Hi"}
        choices = [
            {"index": 0, "message": message, "finish_reason": "length"},
            {"index": 1, "message": {"content": None}, "finish_reason": "tool_calls"},
            {"index": 2, "message": None, "finish_reason": "stop"},
        ]
        chat = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 5,
            "model": "m",
        }
        found = completions.answer_from_chat({**chat, "choices": choices})
        self.assertEqual((found["id"], found["object"]), ("cmpl-1", "text_completion"))
        texts = [
            (choice["text"], choice["finish_reason"]) for choice in found["choices"]
        ]
        self.assertEqual(texts, [("Hi", "length"), ("", "stop"), ("", "stop")])
        Completion.model_validate(found)

    def test_chunks(self) -> None:
        """A chunk of a stream is written in the same way."""
        choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}
        found = completions.answer_from_chat({"id": "x", "choices": [choice]})
        self.assertEqual(found["choices"][0]["text"], "Hi")
        self.assertIsNone(found["choices"][0]["finish_reason"])
