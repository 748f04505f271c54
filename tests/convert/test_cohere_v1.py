"""Cohere's chat, version 1, beside the middle form."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.cohere import v1
from knight_tw.convert.context import Context
from knight_tw.errors import (
    BadUpstreamBody,
    EmptyAnswer,
    InvalidRequest,
    UnsupportedContent,
    UnsupportedParameter,
    UpstreamRefused,
)
from knight_tw.wire.sse import Event

HI = {"role": "user", "content": "hi"}
META = {"billed_units": {"input_tokens": 5, "output_tokens": 3}}


def context(**more: Any) -> Context:
    """What a conversion gets besides the body."""
    return Context("command", 34, request_id="r", created=5, **more)


def sent(*messages: Any, at: Any = None, **fields: Any) -> dict[str, Any]:
    """The Cohere request for messages and fields."""
    x = {"model": "m", "messages": list(messages or (HI,)), **fields}
    return v1.request_from_x(x, at or context())


def streamed(*values: Any) -> tuple[list[Any], Any]:
    """The chunks of a stream, and the machine."""
    machine = v1.StreamToX(context())
    events = [Event(msgspec.json.encode(value), b"") for value in values]
    chunks = [chunk for event in events for chunk in machine.feed(event)]
    return chunks + machine.close(), machine


class Requests(SynchronousTestCase):
    """`request_from_x`."""

    def test_history(self) -> None:
        """The last user message stands alone; no earlier turn is lost."""
        found = sent(
            {"role": "system", "content": "S"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": [{"type": "text", "text": "three"}]},
        )
        expected = {
            "model": "command",
            "message": "three",
            "chat_history": [
                {"role": "SYSTEM", "message": "S"},
                {"role": "USER", "message": "one"},
                {"role": "CHATBOT", "message": "two"},
            ],
            "max_tokens": 4000,
        }
        self.assertEqual(found, expected)

    def test_no_last_question(self) -> None:
        """A request that ends in an answer still has a message."""
        found = sent(HI, {"role": "assistant", "content": "a"})
        self.assertEqual((found["message"], len(found["chat_history"])), ("...", 2))
        self.assertEqual(v1.request_from_x({}, context())["chat_history"], [])

    def test_fields(self) -> None:
        """Limits, sampling, search and the form of the answer."""
        schema = {"type": "object"}
        at = context(options={"cohere_safety_setting": "STRICT"})
        found = sent(
            at=at,
            max_tokens=9,
            top_p=0.5,
            stream=True,
            web_search_options={},
            response_format={"type": "json_schema", "json_schema": {"schema": schema}},
            reasoning_effort="low",
        )
        self.assertEqual((found["max_tokens"], found["p"]), (9, 0.5))
        self.assertIs(found["stream"], True)
        self.assertEqual(found["connectors"], [{"id": "web-search"}])
        form = {"type": "json_object", "schema": schema}
        self.assertEqual(found["response_format"], form)
        self.assertEqual(found["safety_mode"], "STRICT")
        self.assertEqual(at.dropped, ["reasoning_effort"])
        own = sent(connectors=[{"id": "x"}], response_format={"type": "json_object"})
        self.assertEqual(own["connectors"], [{"id": "x"}])
        self.assertEqual(own["response_format"], {"type": "json_object"})
        self.assertNotIn("response_format", sent(response_format={"type": "text"}))

    def test_refused(self) -> None:
        """Tools and pictures are not cut out silently."""
        for messages, fields, error, param in (
            ((), {"tools": [{}]}, UnsupportedParameter, "tools"),
            ((), {"n": 2}, UnsupportedParameter, "n"),
            (
                ({"role": "tool", "content": "x"},),
                {},
                UnsupportedContent,
                "messages.0",
            ),
            (
                ({"role": "assistant", "tool_calls": [{}]},),
                {},
                UnsupportedContent,
                "messages.0",
            ),
            (
                ({"role": "user", "content": [{"type": "image_url"}]},),
                {},
                UnsupportedContent,
                "messages.0.content",
            ),
            (({"role": "wizard"},), {}, InvalidRequest, "messages.0.role"),
        ):
            with self.subTest(param=param), self.assertRaises(error) as caught:
                sent(*messages, **fields)
            self.assertEqual(caught.exception.param, param)
        self.assertEqual(v1.media_urls({}, context()), [])


class Answers(SynchronousTestCase):
    """`response_to_x` and `StreamToX`."""

    def test_whole(self) -> None:
        """The text, the reason and what is billed."""
        answer = {
            "response_id": "r1",
            "generation_id": "g1",
            "text": "hello",
            "finish_reason": "MAX_TOKENS",
            "meta": META,
        }
        x = v1.response_to_x(answer, context())
        choice = x["choices"][0]
        self.assertEqual(choice["message"]["content"], "hello")
        self.assertEqual(choice["finish_reason"], "length")
        self.assertEqual((x["id"], x["usage"]["total_tokens"]), ("r1", 8))
        bare = v1.response_to_x({"text": "", "generation_id": "g1"}, context())
        self.assertEqual((bare["id"], "usage" in bare), ("g1", False))
        self.assertNotIn("native_finish_reason", bare["choices"][0])

    def test_no_answer(self) -> None:
        """Errors, failures and other forms."""
        for answer, error in (
            ({"error": "x"}, UpstreamRefused),
            ({"message": {}}, BadUpstreamBody),
            ({"text": "", "finish_reason": "ERROR"}, UpstreamRefused),
        ):
            self.assertRaises(error, v1.response_to_x, answer, context())

    def test_stream(self) -> None:
        """One JSON a line: the texts, the end and what is billed."""
        chunks, machine = streamed(
            {"event_type": "stream-start", "generation_id": "g1"},
            {"event_type": "text-generation", "text": "hel"},
            {"event_type": "text-generation", "text": "lo"},
            {"event_type": "citation-generation", "citations": []},
            {
                "event_type": "stream-end",
                "finish_reason": "COMPLETE",
                "response": {"text": "hello", "meta": META},
            },
        )
        self.assertTrue(machine.finished)
        deltas = [c["choices"][0]["delta"] for c in chunks if c["choices"]]
        role = {"role": "assistant", "content": ""}
        self.assertEqual(deltas, [role, {"content": "hel"}, {"content": "lo"}, {}])
        self.assertEqual(chunks[-1]["usage"]["total_tokens"], 8)
        self.assertEqual({chunk["id"] for chunk in chunks}, {"g1"})
        self.assertEqual(machine.feed(Event(b"{}", b"")), [])

    def test_broken_streams(self) -> None:
        """Nothing is an empty answer, nonsense an error; a missing end is completed."""
        self.assertIsInstance(streamed()[1].error, EmptyAnswer)
        self.assertIsInstance(streamed([])[1].error, BadUpstreamBody)
        for value in ({"message": "why"}, {"error": {"message": "why"}}):
            _, machine = streamed(value)
            self.assertEqual(machine.error and machine.error.message, "why")
        _, machine = streamed({"event_type": "stream-end", "finish_reason": "ERROR"})
        self.assertIsInstance(machine.error, UpstreamRefused)
        chunks, _ = streamed({"event_type": "text-generation", "text": "a"}, {})
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "stop")
