"""Conversations that go through the middle form and come back."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import responses
from knight_tw.convert.context import Context
from knight_tw.convert.responses import request_from_x, request_to_x, response_from_x
from tests.convert.responses.sdk import accumulated
from tests.convert.streaming import written

Json = dict[str, Any]

ENCRYPTED = {"include": ["reasoning.encrypted_content"], "store": False}

WORDS = st.text(min_size=1, max_size=12).filter(lambda text: "\n\n" not in text)


@st.composite
def histories(draw: st.DrawFn) -> list[Json]:
    """Turns of a user and an assistant that thinks, speaks and calls."""
    items: list[Json] = []
    for turn in range(draw(st.integers(1, 3))):
        items.append({"type": "message", "role": "user", "content": draw(WORDS)})
        if draw(st.booleans()):
            summary = [{"type": "summary_text", "text": draw(WORDS)}]
            thought = {"type": "reasoning", "id": f"rs_{turn}", "summary": summary}
            items.append({**thought, "encrypted_content": f"E{turn}"})
        part = {"type": "output_text", "text": draw(WORDS)}
        items.append({"type": "message", "role": "assistant", "content": [part]})
        ids = [f"c{turn}_{number}" for number in range(draw(st.integers(0, 2)))]
        for one in ids:
            call = {"type": "function_call", "call_id": one, "name": draw(NAMES)}
            items.append({**call, "arguments": '{"a":1}'})
        for one in draw(st.permutations(ids)):
            output = {"type": "function_call_output", "call_id": one}
            items.append({**output, "output": draw(WORDS)})
    return items


NAMES = st.sampled_from(["look", "get_weather", "a-b"])


class Histories(SynchronousTestCase):
    """Requests."""

    @given(histories())
    @settings(max_examples=60, deadline=None)
    def test_there_and_back(self, items: list[Json]) -> None:
        """Texts, reasoning, calls and results keep their order and ids."""
        context = Context("gpt-5.2")
        x = request_to_x({"instructions": "S", "input": items}, context)
        body = request_from_x(x, context)
        self.assertEqual(body["instructions"], "S")
        self.assertEqual(body["input"], items)
        self.assertEqual(context.dropped, [])


class Signatures(SynchronousTestCase):
    """Signed reasoning of other providers on its way through a Responses client."""

    def returned(self, message: Json, *, stream: bool) -> Json:
        """The assistant's message that comes back for the one that went out."""
        context = Context("m", request_id="r")
        context.memory.request = ENCRYPTED
        if stream:
            calls = [
                {"index": n, **c} for n, c in enumerate(message.get("tool_calls", []))
            ]
            delta = {**message, **({"tool_calls": calls} if calls else {})}
            head = {"id": "x", "created": 1, "model": "m"}
            choice = {"index": 0, "delta": delta, "finish_reason": "stop"}
            events = written(responses, [{**head, "choices": [choice]}], context)
            accumulated(events)
            answer = events[-1]["response"]
        else:
            choice = {"message": message, "finish_reason": "stop"}
            answer = response_from_x({"id": "x", "choices": [choice]}, context)
        x = request_to_x({"input": answer["output"]}, Context("m"))
        found: Json = x["messages"][0]
        return found

    def test_claude(self) -> None:
        """Claude's text and signature come back as they were."""
        detail = {
            "type": "reasoning.text",
            "text": "think",
            "signature": "ko1.a.S",
            "format": "anthropic-claude-v1",
            "index": 0,
        }
        call = {
            "id": "c",
            "type": "function",
            "function": {"name": "f", "arguments": "{}"},
        }
        message = {"reasoning_content": "think", "reasoning_details": [detail]}
        for stream in (False, True):
            found = self.returned({**message, "tool_calls": [call]}, stream=stream)
            self.assertEqual(found["reasoning_details"], [detail])
            self.assertEqual(found["tool_calls"], [call])

    def test_gemini(self) -> None:
        """Gemini's signature is on its call again."""
        function = {"name": "f", "arguments": "{}"}
        call = {"id": "c", "type": "function", "function": function}
        call["extra_content"] = {"google": {"thought_signature": "ko1.g.S"}}
        for more in ({}, {"reasoning_content": "p"}, {"content": "x"}):
            for stream in (False, True):
                found = self.returned({**more, "tool_calls": [call]}, stream=stream)
                self.assertEqual(found["tool_calls"], [call])
