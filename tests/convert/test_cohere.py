"""Cohere's chat, version 2, beside the middle form."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.cohere import v1, v2
from knight_tw.convert.context import Context
from knight_tw.convert.converse import StreamToX as ConverseStream
from knight_tw.errors import (
    BadUpstreamBody,
    EmptyAnswer,
    InvalidRequest,
    KnightError,
    UnsupportedContent,
    UnsupportedParameter,
    UpstreamRefused,
)
from knight_tw.wire.assembly import Assembly
from knight_tw.wire.sse import Event

HI = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}
OWN_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {}},
    },
}
CALL = {
    "id": "weather_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
}
USAGE = {
    "billed_units": {"input_tokens": 5.0, "output_tokens": 3.0},
    "tokens": {"input_tokens": 70, "output_tokens": 30},
    "cached_tokens": 2,
}
CITED = {"start": 1, "end": 3, "text": "el", "content_index": 1, "sources": []}


def context(model: str = "command-a", **more: Any) -> Context:
    """What a conversion gets besides the body."""
    return Context(model, 34, request_id="r", created=5, **more)


def sent(*messages: Any, at: Any = None, **fields: Any) -> dict[str, Any]:
    """The Cohere request for messages and fields."""
    x = {"model": "m", "messages": list(messages or (HI,)), **fields}
    return v2.request_from_x(x, at or context())


def streamed(*values: Any, at: Any = None) -> tuple[list[Any], Any]:
    """The chunks of a stream, and the machine."""
    machine = v2.StreamToX(at or context("shown"))
    events = [Event(msgspec.json.encode(value), b"") for value in values]
    chunks = [chunk for event in events for chunk in machine.feed(event)]
    return chunks + machine.close(), machine


class Requests(SynchronousTestCase):
    """Fields of `request_from_x`."""

    def test_fields(self) -> None:
        """Cohere's names for limits and sampling; penalties within its bounds."""
        found = sent(
            max_completion_tokens=9,
            max_tokens=5,
            temperature=0.5,
            top_p=0.9,
            top_k=3,
            seed=7,
            frequency_penalty=-1,
            presence_penalty=1.5,
            stop="END",
            logprobs=True,
            stream=True,
        )
        expected = {
            "model": "command-a",
            "messages": [HI],
            "max_tokens": 9,
            "temperature": 0.5,
            "p": 0.9,
            "k": 3,
            "seed": 7,
            "frequency_penalty": 0,
            "presence_penalty": 1,
            "stop_sequences": ["END"],
            "logprobs": True,
            "stream": True,
        }
        self.assertEqual(found, expected)

    def test_nothing_said(self) -> None:
        """Values that are none leave no field."""
        found = sent(max_tokens=0, temperature=True, stop=["", 5], logprobs=False)
        self.assertEqual(found, {"model": "command-a", "messages": [HI]})

    def test_fields_of_its_own(self) -> None:
        """Cohere's own fields pass."""
        own = {"documents": ["d"], "citation_options": {"mode": "FAST"}, "priority": 1}
        found = sent(**own, strict_tools=None)
        self.assertEqual({name: found[name] for name in own}, own)
        self.assertNotIn("strict_tools", found)

    def test_losses_and_refusals(self) -> None:
        """Hints are reported, what changes the meaning is refused."""
        at = context()
        sent(at=at, logit_bias={"1": 2}, user="u", store=False, web_search_options={})
        self.assertEqual(at.dropped, ["logit_bias", "user"])
        for field in ({"n": 2}, {"modalities": ["audio"]}):
            with self.assertRaises(UnsupportedParameter) as caught:
                sent(**field)
            self.assertEqual(caught.exception.param, next(iter(field)))
        sent(n=1, modalities=["text"])

    def test_safety(self) -> None:
        """The setting's mode, the client's before it; none with tools or documents."""
        for option, more, mode in (
            ("STRICT", {}, "STRICT"),
            ("NONE", {}, None),
            (None, {}, None),
            ("STRICT", {"safety_mode": "OFF"}, "OFF"),
            ("STRICT", {"tools": [TOOL]}, None),
            ("STRICT", {"documents": ["d"]}, None),
        ):
            at = context(options={"cohere_safety_setting": option})
            self.assertEqual(sent(at=at, **more).get("safety_mode"), mode)

    def test_forms(self) -> None:
        """JSON of a schema or of any; a text needs no word."""
        schema = {"type": "object"}
        for form, expected in (
            ({"type": "json_object"}, {"type": "json_object"}),
            (
                {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
                {"type": "json_object", "json_schema": schema},
            ),
            ({"type": "text"}, None),
            ("x", None),
        ):
            self.assertEqual(
                sent(response_format=form).get("response_format"), expected
            )

    def test_thinking(self) -> None:
        """Models that reason are told how much; others report the loss."""
        own = {"type": "enabled", "token_budget": 9}
        for model, fields, expected, dropped in (
            ("command-a-reasoning", {"reasoning_effort": "none"}, "disabled", []),
            ("command-a-reasoning", {"reasoning_effort": "low"}, "enabled", []),
            ("command-a", {"reasoning_effort": "none"}, None, []),
            ("command-a", {"reasoning_effort": "low"}, None, ["reasoning_effort"]),
            ("command-a", {"thinking": {"type": "enabled"}}, None, []),
            ("command-a", {}, None, []),
            ("command-a", {"thinking": own}, "enabled", []),
        ):
            at = context(model)
            found = sent(at=at, **fields).get("thinking")
            self.assertEqual(found and found["type"], expected)
            if "reasoning_effort" in fields:
                self.assertEqual(at.dropped, dropped)
        found = sent(at=context("x-reasoning"), reasoning={"max_tokens": 2000})
        self.assertEqual(found["thinking"], {"type": "enabled", "token_budget": 2000})
        found = sent(thinking=own)
        self.assertEqual(found["thinking"], own)


class Tools(SynchronousTestCase):
    """Tools and the choice among them."""

    def test_choices(self) -> None:
        """Each choice in Cohere's words; a named tool is the only one."""
        other = {"type": "function", "function": {"name": "other"}}
        allowed = {"mode": "required", "tools": [other]}
        for choice, mode, names in (
            (None, None, ["weather", "other"]),
            ("auto", None, ["weather", "other"]),
            ("required", "REQUIRED", ["weather", "other"]),
            ("none", "NONE", ["weather", "other"]),
            (other, "REQUIRED", ["other"]),
            (
                {"type": "allowed_tools", "allowed_tools": allowed},
                "REQUIRED",
                ["other"],
            ),
            ({"type": "allowed_tools", **allowed, "mode": "auto"}, None, ["other"]),
        ):
            found = sent(tools=[TOOL, other], tool_choice=choice)
            self.assertEqual([t["function"]["name"] for t in found["tools"]], names)
            self.assertEqual(found.get("tool_choice"), mode)
        self.assertNotIn("tool_choice", sent(tool_choice="required"))

    def test_tools(self) -> None:
        """Schemas are complete, strictness is for all; free-form ones are functions."""
        function = {**TOOL["function"], "description": "D", "strict": True}  # type: ignore[dict-item]
        found = sent(tools=[{"type": "function", "function": function}])
        expected = {**OWN_TOOL["function"], "description": "D"}  # type: ignore[dict-item]
        self.assertEqual(found["tools"], [{"type": "function", "function": expected}])
        self.assertIs(found["strict_tools"], True)
        at = context()
        tool = {"type": "custom", "custom": {"name": "run"}}
        found = sent(at=at, tools=[tool], parallel_tool_calls=False)
        self.assertEqual(found["tools"][0]["function"]["name"], "run")
        self.assertEqual(at.dropped, ["parallel_tool_calls"])
        self.assertNotIn("strict_tools", found)

    def test_wrong(self) -> None:
        """The field at fault is named."""
        for fields, param in (
            ({"tools": [{"type": "x"}]}, "tools.0.function"),
            ({"tools": [{"function": {"x": 1}}]}, "tools.0.function.name"),
            ({"tool_choice": "x"}, "tool_choice"),
            ({"tool_choice": 5}, "tool_choice"),
            ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ):
            with self.assertRaises(InvalidRequest) as caught:
                sent(**fields)
            self.assertEqual(caught.exception.param, param)


class Messages(SynchronousTestCase):
    """Messages."""

    def test_tool_loop(self) -> None:
        """Calls, their plan and their results."""
        found = sent(
            {"role": "developer", "content": [{"type": "text", "text": "S"}]},
            HI,
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "plan",
                "tool_calls": [CALL],
            },
            {"role": "tool", "tool_call_id": "weather_1", "content": "21"},
            {"role": "assistant", "content": "A", "reasoning_content": "thought"},
        )["messages"]
        expected = [
            {"role": "system", "content": "S"},
            HI,
            {"role": "assistant", "tool_calls": [CALL], "tool_plan": "plan"},
            {"role": "tool", "tool_call_id": "weather_1", "content": "21"},
            {"role": "assistant", "content": "A"},
        ]
        self.assertEqual(found, expected)

    def test_small_things(self) -> None:
        """Refusals are texts, empty arguments objects; names are reported."""
        at = context()
        bare = {"id": "c", "type": "function", "function": {"name": "f"}}
        found = sent(
            {**HI, "name": "Bob"},
            {"role": "assistant", "content": "", "refusal": "no"},
            {"role": "assistant", "content": "x", "tool_calls": [bare]},
            at=at,
        )["messages"]
        self.assertEqual(found[1], {"role": "assistant", "content": "no"})
        function = {"name": "f", "arguments": "{}"}
        self.assertEqual(found[2]["tool_calls"][0]["function"], function)
        self.assertNotIn("tool_plan", found[2])
        self.assertEqual(at.dropped, ["name"])

    def test_pictures(self) -> None:
        """They go by their URL; nothing is downloaded."""
        parts = [
            {"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "https://i", "detail": "low"}},
            {"type": "image_url", "image_url": "https://j"},
        ]
        found = sent({"role": "user", "content": parts})["messages"][0]["content"]
        self.assertEqual(found[:2], parts[:2])
        self.assertEqual(found[2]["image_url"], {"url": "https://j"})
        self.assertEqual(v2.media_urls({}, context()), [])

    def test_wrong(self) -> None:
        """What Cohere cannot see, and what cannot be read, is named."""
        for message, error, param in (
            ({"role": "wizard"}, InvalidRequest, "role"),
            (
                {"role": "user", "content": [{"type": "file"}]},
                UnsupportedContent,
                "content.0.type",
            ),
            (
                {"role": "user", "content": [{"type": "image_url"}]},
                InvalidRequest,
                "content.0.image_url",
            ),
            (
                {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
                InvalidRequest,
                "content.0.image_url.url",
            ),
            (
                {"role": "system", "content": [{"type": "image_url"}]},
                UnsupportedContent,
                "content.0.type",
            ),
            ({"role": "tool", "content": "x"}, InvalidRequest, "tool_call_id"),
        ):
            with self.subTest(message=message), self.assertRaises(error) as caught:
                sent(message)
            self.assertEqual(caught.exception.param, f"messages.0.{param}")


WHOLE = {
    "id": "i1",
    "finish_reason": "TOOL_CALL",
    "message": {
        "role": "assistant",
        "tool_plan": "plan",
        "content": [
            {"type": "thinking", "thinking": "t1"},
            {"type": "text", "text": "Hello"},
            {"type": "text", "text": " you"},
        ],
        "citations": [CITED],
        "tool_calls": [CALL],
    },
    "usage": USAGE,
}


def piece(kind: str, index: int, **message: Any) -> dict[str, Any]:
    """One event of a stream."""
    return {"type": kind, "index": index, "delta": {"message": message}}


STREAM = (
    {"type": "message-start", "id": "i1", "delta": {"message": {"role": "assistant"}}},
    piece("tool-plan-delta", 0, tool_plan="pl"),
    piece("tool-plan-delta", 0, tool_plan="an"),
    piece("content-start", 0, content={"type": "thinking", "thinking": ""}),
    piece("content-delta", 0, content={"thinking": "t1"}),
    {"type": "content-end", "index": 0},
    piece("content-start", 1, content={"type": "text", "text": "H"}),
    piece("content-delta", 1, content={"text": "ello"}),
    piece("citation-start", 0, citations=CITED),
    {"type": "citation-end", "index": 0},
    piece("content-start", 2, content={"type": "text", "text": ""}),
    piece("content-delta", 2, content={"text": " you"}),
    piece(
        "tool-call-start",
        0,
        tool_calls={**CALL, "function": {"name": "weather", "arguments": ""}},
    ),
    piece("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"city":'}}),
    piece("tool-call-delta", 0, tool_calls={"function": {"arguments": '"Rome"}'}}),
    {"type": "tool-call-end", "index": 0},
    {
        "type": "message-end",
        "delta": {"finish_reason": "TOOL_CALL", "usage": USAGE},
    },
)
"""The same answer in pieces."""


class Answers(SynchronousTestCase):
    """`response_to_x` and `StreamToX`."""

    def test_whole(self) -> None:
        """Texts, reasoning, calls, citations in their place, what is billed."""
        x = v2.response_to_x(WHOLE, context("shown"))
        (choice,) = x["choices"]
        expected = {
            "role": "assistant",
            "content": "Hello you",
            "refusal": None,
            "reasoning_content": "plan\n\nt1",
            "citations": [{**CITED, "start_index": 1, "end_index": 3}],
            "tool_calls": [CALL],
        }
        self.assertEqual(choice["message"], expected)
        reasons = choice["finish_reason"], choice["native_finish_reason"]
        self.assertEqual(reasons, ("tool_calls", "TOOL_CALL"))
        self.assertEqual((x["id"], x["model"], x["created"]), ("i1", "shown", 5))
        usage = {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
        }
        self.assertEqual(x["usage"], usage)

    def test_stream_is_the_same(self) -> None:
        """A stream's chunks make up the whole answer."""
        chunks, machine = streamed(*STREAM)
        self.assertEqual((machine.finished, machine.error), (True, None))
        assembly = Assembly()
        for chunk in chunks:
            assembly.feed(chunk)
        found, whole = assembly.close(), v2.response_to_x(WHOLE, context("shown"))
        message, own = (x["choices"][0]["message"] for x in (found, whole))
        for name in ("content", "reasoning_content", "tool_calls"):
            self.assertEqual(message[name], own[name])
        self.assertEqual((found["id"], found["usage"]), ("i1", whole["usage"]))
        (cited,) = (
            entry
            for chunk in chunks
            for choice in chunk["choices"]
            for entry in choice["delta"].get("citations", ())
        )
        self.assertEqual(cited, {**own["citations"][0], "index": 0})
        self.assertEqual(machine.feed(Event(b"{}", b"")), [])

    def test_citations_of_later_texts(self) -> None:
        """Their place counts from the beginning of the whole content."""
        cited = {**CITED, "content_index": 2}
        answer = {**WHOLE, "message": {**WHOLE["message"], "citations": [cited]}}  # type: ignore[dict-item]
        message = v2.response_to_x(answer, context())["choices"][0]["message"]
        found = message["citations"][0]
        self.assertEqual((found["start_index"], found["end_index"]), (6, 8))
        later = piece("citation-start", 0, citations=cited)
        chunks, _ = streamed(*STREAM[:12], later)
        own = chunks[-2]["choices"][0]["delta"]["citations"][0]
        self.assertEqual((own["start_index"], own["end_index"]), (6, 8))
        for index in (9, -1, None):
            cited = {"content_index": index, "start": 1}
            answer["message"] = {**WHOLE["message"], "citations": [cited]}  # type: ignore[dict-item]
            message = v2.response_to_x(answer, context())["choices"][0]["message"]
            self.assertEqual(message["citations"], [{**cited, "start_index": 1}])

    def test_logprobs(self) -> None:
        """OpenAI's list for Cohere's pieces."""
        items = [
            {"text": "Hé", "token_ids": [1, 2], "logprobs": [-1, -0.5]},
            {"text": "x"},
        ]
        x = v2.response_to_x({**WHOLE, "logprobs": items}, context())
        entry = {
            "token": "Hé",
            "logprob": -1.5,
            "bytes": [72, 195, 169],
            "top_logprobs": [],
        }
        expected = {"content": [entry], "refusal": None}
        self.assertEqual(x["choices"][0]["logprobs"], expected)

    def test_reasons(self) -> None:
        """Cohere's words in OpenAI's; failures are failed answers."""
        for native, reason in (
            ("COMPLETE", "stop"),
            ("STOP_SEQUENCE", "stop"),
            ("max_tokens", "length"),
            ("NEW", "stop"),
            (None, "stop"),
        ):
            answer = {"message": {"content": "a"}, "finish_reason": native}
            choice = v2.response_to_x(answer, context())["choices"][0]
            self.assertEqual(choice["finish_reason"], reason)
            self.assertEqual(choice["message"]["content"], "a")
        for native in ("ERROR", "TIMEOUT"):
            answer = {"message": {"content": []}, "finish_reason": native}
            with self.assertRaises(UpstreamRefused) as caught:
                v2.response_to_x(answer, context())
            self.assertEqual(caught.exception.retryable, True)
            _, machine = streamed({"type": "message-end", "delta": answer})
            self.assertIsInstance(machine.error, UpstreamRefused)

    def test_usage(self) -> None:
        """What is billed, else what is counted, else nothing."""
        for usage, prompt in (
            ({"tokens": {"input_tokens": 7, "output_tokens": 1}}, 7),
            ({"billed_units": {"search_units": 1}}, None),
            ({"billed_units": {}, "tokens": {"input_tokens": 6}}, 6),
            (None, None),
        ):
            answer = {"message": {"content": []}, "usage": usage}
            found = v2.response_to_x(answer, context()).get("usage")
            self.assertEqual(found and found["prompt_tokens"], prompt)

    def test_small_things(self) -> None:
        """Arguments that are objects, ids that are missing."""
        call = {"function": {"name": "f", "arguments": {"a": 1}}}
        answer = {"message": {"tool_calls": [call, {}]}}
        x = v2.response_to_x(answer, context())
        first, second = x["choices"][0]["message"]["tool_calls"]
        self.assertEqual(first["function"]["arguments"], '{"a":1}')
        self.assertTrue(first["id"].startswith("call_"))
        self.assertEqual(second["function"], {"name": "", "arguments": "{}"})
        self.assertTrue(x["id"].startswith("chatcmpl-"))
        self.assertEqual(x["choices"][0]["finish_reason"], "tool_calls")

    def test_errors(self) -> None:
        """An error or nothing is no answer."""
        with self.assertRaises(UpstreamRefused):
            v2.response_to_x({"error": "x"}, context())
        with self.assertRaises(BadUpstreamBody):
            v2.response_to_x({"text": "x"}, context())

    def test_broken_streams(self) -> None:
        """Nothing is an empty answer, nonsense an error; a missing end is completed."""
        self.assertIsInstance(streamed()[1].error, EmptyAnswer)
        self.assertIsInstance(streamed([])[1].error, BadUpstreamBody)
        _, machine = streamed({"error": {"message": "m"}})
        self.assertIsInstance(machine.error, UpstreamRefused)
        _, machine = streamed({"type": "message-end", "delta": {"error": "why"}})
        self.assertEqual(machine.error and machine.error.message, "why")
        chunks, machine = streamed(STREAM[0], {"type": "debug"})
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "stop")
        done = Event(b"[DONE]", b"")
        self.assertEqual(v2.StreamToX(context()).feed(done), [])

    def test_odd_events(self) -> None:
        """Pieces of calls that never began, or without anything in them."""
        chunks, _ = streamed(
            piece("tool-call-delta", 7, tool_calls={"function": {"arguments": "x"}}),
            piece("tool-call-start", 0, tool_calls=5),
            piece("tool-call-delta", 0, tool_calls=5),
            piece("citation-start", 0, citations=[]),
            {"type": "content-delta", "delta": 5},
            {"type": "message-end"},
        )
        deltas = [list(chunk["choices"][0]["delta"]) for chunk in chunks]
        self.assertEqual(deltas, [["role", "content"], ["tool_calls"], []])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "a", "text"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("delta", "message", "content", "tool_calls", "function", "index"),
                    *("arguments", "citations", "usage", "start", "toolUse", "text"),
                    *("reasoningContent", "contentBlockIndex", "finish_reason"),
                    *("content_index", "response", "meta", "billed_units", "name"),
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
KINDS = (
    *("message-start", "content-start", "content-delta", "tool-plan-delta"),
    *("tool-call-start", "tool-call-delta", "citation-start", "message-end"),
    *("messageStart", "contentBlockStart", "contentBlockDelta", "messageStop"),
    *("metadata", "stream-start", "text-generation", "stream-end", "other"),
)


class Robustness(SynchronousTestCase):
    """Streams that no provider should send."""

    @given(st.lists(st.tuples(st.sampled_from(KINDS), VALUES), max_size=6))
    @settings(max_examples=150, deadline=None)
    def test_any_events(self, events: list[tuple[str, Any]]) -> None:
        """No event breaks a machine; each ends, or has an error of its own."""
        for made in (v1.StreamToX, v2.StreamToX, ConverseStream):
            machine: Any = made(context())
            for kind, value in events:
                members = value if isinstance(value, dict) else {"delta": value}
                named = {"type": kind, "event_type": kind, **members}
                machine.feed(Event(msgspec.json.encode(named), b"", kind))
            machine.close()
            self.assertTrue(machine.finished or isinstance(machine.error, KnightError))
