"""Responses requests and whole answers."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import (
    BadUpstreamBody,
    EmptyAnswer,
    InvalidRequest,
    UpstreamRefused,
)
from knight_tw.records import Usage
from knight_tw.wire import responses, top

USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 16,
}
READ = Usage(prompt=9, completion=7, cached=4, write=1, reasoning=3, total=16)


def whole(*output: dict[str, Any], **more: Any) -> bytes:
    """A whole answer as a provider writes it."""
    usual = {"id": "resp_1", "object": "response", "status": "completed", "model": "up"}
    return json.dumps({**usual, "output": output, "usage": USAGE, **more}).encode()


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    """A message item."""
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "content": list(parts),
    }


def said(text: str) -> dict[str, Any]:
    """A text part."""
    return {"type": "output_text", "text": text, "annotations": []}


class Requests(SynchronousTestCase):
    """What is read of a request."""

    def refused(self, body: Any, validate: Any = responses.validate) -> str | None:
        """The member that a body is refused for."""
        error = self.assertRaises(
            InvalidRequest, validate, top.read_top(json.dumps(body).encode())
        )
        return error.param

    def test_one_of_three_inputs_is_needed(self) -> None:
        """A body needs an input, a prompt or a previous response."""
        for name in ("input", "prompt", "previous_response_id"):
            responses.validate({name: "x"})
        self.assertEqual(self.refused({"model": "m", "input": []}), "input")

    def test_compaction_needs_an_input(self) -> None:
        """A prompt template cannot be compacted."""
        responses.validate_compact({"previous_response_id": "resp_1"})
        refused = self.refused({"prompt": {"id": "p"}}, responses.validate_compact)
        self.assertEqual(refused, "input")

    def test_limit_is_bounded(self) -> None:
        """`max_output_tokens` beyond the bound is refused by name."""
        body = {"input": "x", "max_output_tokens": responses.MOST_TOKENS + 1}
        self.assertEqual(self.refused(body), "max_output_tokens")
        self.assertEqual(responses.output_limit({"max_output_tokens": 5}), 5)

    def test_search_tool_has_two_prices(self) -> None:
        """The preview of web search is priced under its own name."""
        cases = (
            ({}, "web_search"),
            ({"tools": [{"type": "web_search"}]}, "web_search"),
            (
                {"tools": [{"type": "web_search_preview_2025_03_11"}]},
                "web_search_preview",
            ),
            (
                {"tools": [{"type": "function", "name": "web_search_preview"}]},
                "web_search",
            ),
        )
        for body, name in cases:
            read = top.read_top(json.dumps(body).encode())
            self.assertEqual(responses.search_tool(read), name)
            self.assertEqual(responses.search_tool(body), name)

    def test_compaction_has_its_own_names(self) -> None:
        """The suffix is added once and taken off again."""
        self.assertEqual(responses.compact_name("gpt-5"), "gpt-5-openai-compact")
        name = responses.compact_name("gpt-5-openai-compact")
        self.assertEqual(name, "gpt-5-openai-compact")
        self.assertEqual(responses.plain_name(name), "gpt-5")


class Answers(SynchronousTestCase):
    """What is read of a whole answer."""

    def test_bytes_stay(self) -> None:
        """An answer goes on byte for byte, its usage is read."""
        body = whole(message(said("Hi")), kit=1.50)
        read = responses.read_answer(body)
        self.assertEqual(
            (read.body, read.usage, read.status), (body, READ, "completed")
        )
        self.assertEqual(read.produced.text, "Hi")

    def test_model_is_shown(self) -> None:
        """The shown model replaces the provider's, all else keeps its bytes."""
        read = responses.read_answer(whole(message(said("Hi"))), model="mine")
        self.assertEqual(json.loads(read.body)["model"], "mine")

    def test_everything_is_produced(self) -> None:
        """Reasoning, text, refusals, names, arguments and inputs are counted."""
        items = (
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}]},
            {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "b"}]},
            message(said("c"), {"type": "refusal", "refusal": "d"}),
            {"type": "function_call", "name": "e", "arguments": "f"},
            {"type": "custom_tool_call", "name": "g", "input": "h"},
        )
        read = responses.read_answer(whole(*items))
        self.assertEqual(read.produced.text, "abcdefgh")

    def test_tools_are_counted(self) -> None:
        """Uses of the provider's own tools stand in the usage by their price names."""
        kinds = (
            *("web_search_call", "web_search_call", "file_search_call"),
            *("image_generation_call", "code_interpreter_call", "mcp_call"),
        )
        body = whole(*({"type": kind} for kind in kinds))
        read = responses.read_answer(body, search="web_search_preview")
        assert read.usage is not None
        self.assertEqual(
            read.usage.tool_calls,
            {
                "web_search_preview": 2,
                "file_search": 1,
                "image_generation": 1,
                "code_interpreter": 1,
            },
        )

    def test_tools_without_usage(self) -> None:
        """Without a reported usage nothing is reported."""
        body = whole({"type": "web_search_call"}, usage=None)
        self.assertIsNone(responses.read_answer(body).usage)

    def test_compaction(self) -> None:
        """A compaction has neither model nor status."""
        items = [{"type": "compaction", "encrypted_content": "x"}]
        answer = {"id": "c", "object": "response.compaction", "output": items}
        body = json.dumps({**answer, "usage": USAGE}).encode()
        read = responses.read_answer(body, model="mine")
        self.assertEqual((read.body, read.usage, read.status), (body, READ, ""))

    def test_failures_have_a_status(self) -> None:
        """The code of a failed response decides about the status."""
        cases = (
            ({"code": "rate_limit_exceeded", "message": "slow"}, 429, "slow"),
            ({"code": "server_error", "message": "oops"}, 502, "oops"),
            ({"code": "invalid_prompt", "message": "no"}, 400, "no"),
            (None, 502, "the upstream's response failed"),
        )
        for error, status, text in cases:
            body = whole(status="failed", error=error)
            raised = self.assertRaises(UpstreamRefused, responses.read_answer, body)
            self.assertEqual((raised.status, raised.message), (status, text))

    def test_cancelled(self) -> None:
        """A cancelled response is a failure of the upstream."""
        body = whole(status="cancelled")
        raised = self.assertRaises(UpstreamRefused, responses.read_answer, body)
        self.assertEqual(raised.status, 502)

    def test_error_objects_are_raised(self) -> None:
        """A 200 that holds an error is one, odd types or not."""
        for body in (
            b'{"error":{"message":"m","type":"t"}}',
            b'{"output":"none","error":{"message":"m","type":"t"}}',
        ):
            raised = self.assertRaises(UpstreamRefused, responses.read_answer, body)
            self.assertEqual(raised.message, "m")

    def test_nothing_is_no_answer(self) -> None:
        """Empty bodies and empty objects are empty answers."""
        for body in (b"", b" ", b"{}"):
            self.assertRaises(EmptyAnswer, responses.read_answer, body)

    def test_unreadable(self) -> None:
        """What is no JSON, or has no list of items, cannot be read."""
        for body in (b"<html>", b'{"output":"none"}', b"[1]"):
            self.assertRaises(BadUpstreamBody, responses.read_answer, body)

    def test_nothing_produced_is_an_answer(self) -> None:
        """A response without items but with a status is an answer."""
        self.assertEqual(responses.read_answer(whole()).produced.text, "")

    def test_usage_is_written_whole(self) -> None:
        """A written usage has every member that the schema wants."""
        self.assertEqual(responses.usage_object(READ), USAGE)
        counted = responses.usage_object(Usage(prompt=2, completion=3))
        self.assertEqual(counted["total_tokens"], 5)

    def test_error_events(self) -> None:
        """An event names its error in a code or in a type."""
        flat = {"type": "error", "code": "rate_limit_exceeded", "message": "slow"}
        raised = responses.refused(flat)
        self.assertEqual((raised.status, raised.type), (429, "upstream_error"))
        nested = {"type": "server_error", "code": None, "message": "m", "param": "p"}
        raised = responses.refused(nested)
        self.assertEqual((raised.status, raised.type), (502, "server_error"))
        self.assertEqual((raised.code, raised.param), ("", "p"))
