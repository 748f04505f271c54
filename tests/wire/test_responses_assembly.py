"""Whole responses out of streams, and streams out of whole responses."""

from __future__ import annotations

import json
from typing import Any

from openai import omit
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.wire import sse
from knight_tw.wire.responses_assembly import Assembly, restream

NOTE = {
    "type": "url_citation",
    "url": "https://e.org",
    "title": "E",
    "start_index": 0,
    "end_index": 2,
}
OUTPUT: list[dict[str, Any]] = [
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "think"}],
    },
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [
            {
                "type": "output_text",
                "text": "Hi",
                "annotations": [NOTE],
                "logprobs": [],
            },
            {"type": "refusal", "refusal": "no"},
        ],
    },
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c1",
        "name": "f",
        "arguments": "{}",
        "status": "completed",
    },
    {
        "type": "custom_tool_call",
        "id": "ctc_1",
        "call_id": "c2",
        "name": "g",
        "input": "free",
    },
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": None},
]
WHOLE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 5,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "model": "m",
    "output": OUTPUT,
    "parallel_tool_calls": True,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "usage": {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 3,
    },
}
ANY_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """The objects in a stream."""
    return [json.loads(event.data) for event in sse.Decoder().feed(stream)]


def assembled(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The response in some events."""
    assembly = Assembly()
    for event in events:
        assembly.feed(event)
    return assembly.close()


class Streams(SynchronousTestCase):
    """From a response to its stream and back."""

    def test_there_and_back(self) -> None:
        """A stream made of a response is put together to the same response."""
        self.assertEqual(assembled(events_of(restream(WHOLE))), WHOLE)

    def test_client_reads_the_stream(self) -> None:
        """OpenAI's own client puts the stream together to the same response."""
        state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
        plain = [item for item in OUTPUT if item["type"] != "web_search_call"]
        for number, event in enumerate(events_of(restream({**WHOLE, "output": plain}))):
            self.assertEqual(event["sequence_number"], number)
            ANY_EVENT.validate_python(event)
            typed = construct_type(type_=ResponseStreamEvent, value=event)
            state.handle_event(typed)
        final = state._completed_response
        self.assertEqual(final.output_text, "Hi")
        self.assertEqual([item.id for item in final.output][:2], ["rs_1", "msg_1"])
        Response.model_validate({**WHOLE, "output": plain})

    def test_incomplete_stays_incomplete(self) -> None:
        """A response that was cut off ends with the event that says so."""
        events = events_of(restream({**WHOLE, "status": "incomplete"}))
        self.assertEqual(events[-1]["type"], "response.incomplete")

    def test_parts_of_unknown_kinds(self) -> None:
        """A part of a new kind comes in one piece."""
        odd = {"type": "sound", "data": "x"}
        item = {"type": "message", "id": "msg_1", "content": [odd]}
        events = events_of(restream({**WHOLE, "output": [item]}))
        parts = [event["part"] for event in events if "part" in event]
        self.assertEqual(parts, [odd, odd])


class Pieces(SynchronousTestCase):
    """Streams whose end lists no items."""

    def without_output(self, *left_out: str) -> dict[str, Any]:
        """The response put together without some kinds of events."""
        events = [
            event
            for event in events_of(restream(WHOLE))
            if event["type"] not in left_out
        ]
        events[-1] = {**events[-1], "response": {**WHOLE, "output": []}}
        return assembled(events)

    def test_done_items_are_taken(self) -> None:
        """Items that were done on the way make up the output."""
        self.assertEqual(self.without_output(), WHOLE)

    def test_deltas_are_taken(self) -> None:
        """An item that was never done is what its deltas say."""
        found = self.without_output("response.output_item.done")["output"]
        self.assertEqual(found[0]["summary"], OUTPUT[0]["summary"])
        self.assertEqual(found[1]["content"][0]["text"], "Hi")
        self.assertEqual(found[1]["content"][1], OUTPUT[1]["content"][1])
        self.assertEqual(found[2]["arguments"], "{}")
        self.assertEqual(found[3]["input"], "free")

    def test_deltas_without_an_item(self) -> None:
        """Deltas of an item that was never added are kept too."""
        delta = {"type": "response.output_text.delta", "output_index": 0}
        events = [{**delta, "content_index": 0, "delta": "H"}]
        events.append({**delta, "content_index": 0, "delta": "i"})
        found = assembled(events)
        (part,) = found["output"][0]["content"]
        self.assertEqual(part["text"], "Hi")
        self.assertEqual(found["status"], "incomplete")

    def test_odd_events_do_no_harm(self) -> None:
        """Unknown deltas, items that are no objects, places that are none."""
        events: list[dict[str, Any]] = [
            {"type": "response.new.delta", "output_index": 0, "delta": "x"},
            {"type": "response.output_item.added", "item": None},
            {"type": "response.output_item.done", "item": {"type": "a"}},
            {
                "type": "response.output_item.added",
                "output_index": 1,
                "item": {"type": "message", "content": ["odd"]},
            },
            {
                "type": "response.output_text.delta",
                "output_index": 1,
                "content_index": 0,
                "delta": "lost",
            },
        ]
        found = assembled(events)["output"]
        self.assertEqual([item["type"] for item in found], ["message", "a"])
