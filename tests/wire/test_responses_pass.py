"""Responses streams on their way to Responses clients."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import BadUpstreamBody, UpstreamRefused
from knight_tw.records import Usage
from knight_tw.wire import sse
from knight_tw.wire.responses_pass import KEPT_ITEMS, ResponsesPass
from tests.wire.test_responses import READ, USAGE, message, said

BEGUN = {"id": "resp_1", "model": "up", "status": "in_progress", "output": []}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "look"}
HI = message(said("Hi"))


def event(kind: str, number: int = 0, **members: Any) -> bytes:
    """One event as a provider writes it."""
    value = {"type": kind, "sequence_number": number, **members}
    return sse.encode(json.dumps(value).encode(), kind)


def ended(*output: Any, kind: str = "completed", **more: Any) -> bytes:
    """The terminal event."""
    response = {**BEGUN, "status": kind, "output": output, "usage": USAGE, **more}
    return event(f"response.{kind}", 9, response=response)


CREATED = event("response.created", 0, response=BEGUN)
ADDED = event("response.output_item.added", 1, output_index=0, item=message())
DELTA = event("response.output_text.delta", 2, output_index=0, delta="Hi")
DONE = event("response.output_item.done", 3, output_index=0, item=HI)
ORDINARY = CREATED + ADDED + DELTA + DONE + ended(HI)


def run(
    machine: ResponsesPass, stream: bytes, size: int = 0, counted: Usage | None = None
) -> bytes:
    """What a client gets for a stream that arrives in pieces of `size`."""
    decoder, out = sse.Decoder(), b""
    step = size or len(stream) or 1
    for at in range(0, len(stream), step):
        for one in decoder.feed(stream[at : at + step]):
            out += b"".join(machine.feed(one))
    for one in decoder.close():
        out += b"".join(machine.feed(one))
    return out + b"".join(machine.close(counted))


def objects(stream: bytes) -> list[dict[str, Any]]:
    """The objects in a stream."""
    return [json.loads(one.data) for one in sse.Decoder().feed(stream)]


class Passing(SynchronousTestCase):
    """Streams that go on."""

    @given(st.integers(1, len(ORDINARY)))
    @settings(max_examples=30, deadline=None)
    def test_bytes_stay(self, size: int) -> None:
        """A stream goes on byte for byte, however it was cut."""
        machine = ResponsesPass()
        self.assertEqual(run(machine, ORDINARY, size), ORDINARY)
        self.assertEqual((machine.usage, machine.events), (READ, 5))
        self.assertEqual(machine.produced.text, "Hi")
        self.assertTrue(machine.finished)

    def test_end_is_held_back(self) -> None:
        """The terminal event leaves with the end of the stream, once."""
        machine = ResponsesPass()
        (end,) = sse.Decoder().feed(ended(HI))
        self.assertEqual(machine.feed(end), [])
        self.assertTrue(machine.began and machine.finished)
        self.assertEqual(machine.close(), [end.raw])
        self.assertEqual(machine.close(), [])

    def test_nothing_after_the_end_counts(self) -> None:
        """What a provider writes after its end goes nowhere."""
        machine = ResponsesPass()
        self.assertEqual(run(machine, ORDINARY + DELTA), ORDINARY)

    def test_model_is_shown(self) -> None:
        """The shown model stands in every response of the stream."""
        machine = ResponsesPass("mine")
        events = objects(run(machine, ORDINARY))
        self.assertEqual(events[0]["response"]["model"], "mine")
        self.assertEqual(events[-1]["response"]["model"], "mine")
        self.assertEqual(events[1:-1], objects(ADDED + DELTA + DONE))

    def test_same_model_keeps_bytes(self) -> None:
        """A name that is right already changes nothing."""
        self.assertEqual(run(ResponsesPass("up"), ORDINARY), ORDINARY)

    def test_event_names_are_added(self) -> None:
        """Events without a name get that of their type."""
        bare = b"".join(sse.encode(one.data) for one in sse.Decoder().feed(ORDINARY))
        self.assertEqual(run(ResponsesPass(), bare), ORDINARY)

    def test_done_marker_is_swallowed(self) -> None:
        """`[DONE]`, and events without data, do not reach the client."""
        self.assertEqual(run(ResponsesPass(), ORDINARY + sse.DONE), ORDINARY)
        blank = b"data:  \n\n"
        self.assertEqual(run(ResponsesPass(), blank + ORDINARY), ORDINARY)

    def test_unknown_events_pass(self) -> None:
        """New kinds of events, and odd ones, are for the client to judge."""
        for odd in (event("response.new", x=1), event("response.x", delta={"a": 1})):
            self.assertIn(odd, run(ResponsesPass(), CREATED + odd + ended()))
        odd = sse.encode(b'{"type":7}', "response.odd")
        self.assertIn(odd, run(ResponsesPass(), CREATED + odd + ended()))
        nameless = sse.encode(b'{"x":1}')
        self.assertIn(nameless, run(ResponsesPass(), nameless + ended()))

    def test_odd_items_and_responses_pass(self) -> None:
        """Items and responses that are no objects do no harm."""
        odd = event("response.output_item.done", item=[]) + event("response.created")
        odd += event("response.in_progress", response={"model": "up", "output": 7})
        self.assertTrue(run(ResponsesPass("m"), odd + ended()).startswith(odd[:40]))


class Beginning(SynchronousTestCase):
    """When an answer has begun, so that no other channel may be tried."""

    def test_frames_are_no_beginning(self) -> None:
        """Created, empty items and empty parts are nothing yet."""
        machine = ResponsesPass()
        empty = {"type": "reasoning", "id": "rs_1", "summary": []}
        stream = CREATED + ADDED + event("response.output_item.added", item=empty)
        stream += event("response.content_part.added", part=said(""))
        for one in sse.Decoder().feed(stream):
            machine.feed(one)
        self.assertFalse(machine.began)
        self.assertEqual(machine.close(), [])

    def test_content_and_calls_are(self) -> None:
        """A delta, a call and a done item are the answer."""
        call = event("response.output_item.added", item=CALL)
        for stream in (DELTA, call, DONE, event("response.web_search_call.searching")):
            machine = ResponsesPass()
            for one in sse.Decoder().feed(stream):
                machine.feed(one)
            self.assertTrue(machine.began)


class Counting(SynchronousTestCase):
    """What must be known for the charge."""

    def test_names_and_arguments_are_produced(self) -> None:
        """Calls are counted by their names and arguments, sound is not."""
        stream = event("response.output_item.added", item=CALL)
        stream += event("response.function_call_arguments.delta", delta="{}")
        stream += event("response.audio.delta", delta="UklGRg==")
        machine = ResponsesPass()
        run(machine, stream)
        self.assertEqual(machine.produced.text, "look{}")

    def test_items_without_deltas_are_produced(self) -> None:
        """A provider that sends no deltas is counted by its last event."""
        machine = ResponsesPass()
        run(machine, CREATED + ended(HI))
        self.assertEqual(machine.produced.text, "Hi")

    def test_tools_are_counted_once(self) -> None:
        """A tool that is done and listed at the end counts once."""
        item = {"type": "web_search_call", "id": "ws_1"}
        done = event("response.output_item.done", item=item)
        machine = ResponsesPass(search="web_search_preview")
        run(machine, CREATED + done + ended(item))
        assert machine.usage is not None
        self.assertEqual(machine.usage.tool_calls, {"web_search_preview": 1})

    def test_tools_of_an_empty_end_count(self) -> None:
        """When the end lists nothing, the items on the way count."""
        done = event("response.output_item.done", item={"type": "file_search_call"})
        machine = ResponsesPass()
        run(machine, CREATED + done + done + ended())
        assert machine.usage is not None
        self.assertEqual(machine.usage.tool_calls, {"file_search": 2})

    def test_counted_usage_is_shown(self) -> None:
        """Without a usage of the provider's the one we counted is shown."""
        stream = CREATED + DELTA + ended(HI, usage=None)
        counted = Usage(prompt=3, completion=4, total=7)
        last = objects(run(ResponsesPass(), stream, counted=counted))[-1]
        self.assertEqual(last["response"]["usage"]["input_tokens"], 3)
        self.assertEqual(last["response"]["output"], [HI])

    def test_zeros_stay(self) -> None:
        """A usage of zeros is the provider's word, whatever is charged."""
        zeros = {"input_tokens": 0, "output_tokens": 0}
        stream = CREATED + DELTA + ended(HI, usage=zeros)
        counted = Usage(prompt=3, completion=4, total=7)
        self.assertEqual(run(ResponsesPass(), stream, counted=counted), stream)

    def test_reported_usage_wins(self) -> None:
        """What the provider reports is not touched."""
        counted = Usage(prompt=3, completion=4, total=7)
        self.assertEqual(run(ResponsesPass(), ORDINARY, counted=counted), ORDINARY)


class Breaking(SynchronousTestCase):
    """Streams that end badly."""

    def fails(self, stream: bytes) -> tuple[UpstreamRefused, ResponsesPass]:
        """The error that a stream raises, and the machine."""
        machine = ResponsesPass()
        return self.assertRaises(UpstreamRefused, run, machine, stream), machine

    def test_failed_response_is_raised(self) -> None:
        """`response.failed` is an error; what it reports as used is known."""
        error = {"code": "rate_limit_exceeded", "message": "slow"}
        raised, machine = self.fails(CREATED + ended(kind="failed", error=error))
        self.assertEqual((raised.status, raised.message), (429, "slow"))
        self.assertEqual(machine.usage, READ)

    def test_error_events_are_raised(self) -> None:
        """`error` events are read in both of their forms."""
        flat = event("error", code="server_error", message="oops")
        nested = event("error", error={"type": "server_error", "message": "oops"})
        bare = sse.encode(b'{"error":{"type":"x","message":"oops"}}')
        odd = sse.encode(b'{"type":7,"error":{"type":"x","message":"oops"}}')
        for stream in (flat, nested, bare, odd):
            raised, _ = self.fails(stream)
            self.assertEqual((raised.status, raised.message), (502, "oops"))

    def test_failed_status_is_raised(self) -> None:
        """A response that failed in any event is an error."""
        response = {**BEGUN, "status": "failed", "error": {"message": "m"}}
        raised, _ = self.fails(event("response.in_progress", response=response))
        self.assertEqual(raised.message, "m")

    def test_odd_failures_are_raised(self) -> None:
        """A failure whose response is no object is one all the same."""
        raised, _ = self.fails(event("response.failed", response=["odd"]))
        self.assertEqual(raised.status, 502)

    def test_garbage_cannot_be_read(self) -> None:
        """Events that are no JSON fail the stream."""
        for data in (b"{", b"<html>"):
            self.assertRaises(
                BadUpstreamBody, run, ResponsesPass(), sse.encode(data, "x")
            )

    def test_broken_off(self) -> None:
        """A stream without its end is closed as incomplete, with what is known."""
        machine = ResponsesPass("mine")
        counted = Usage(prompt=1, completion=2, total=3)
        last = objects(run(machine, CREATED + ADDED + DELTA + DONE, counted=counted))[
            -1
        ]
        self.assertEqual(last["type"], "response.incomplete")
        self.assertEqual(last["sequence_number"], 4)
        response = last["response"]
        self.assertEqual(
            (response["status"], response["model"]), ("incomplete", "mine")
        )
        self.assertEqual(response["output"], [HI])
        self.assertEqual(response["usage"]["total_tokens"], 3)
        self.assertEqual(machine.sequence_number, 5)

    def test_marker_instead_of_an_end(self) -> None:
        """`[DONE]` without a terminal event is a stream that broke off."""
        machine = ResponsesPass()
        last = objects(run(machine, CREATED + DELTA + sse.DONE))[-1]
        self.assertEqual(last["type"], "response.incomplete")

    def test_broken_off_without_counts(self) -> None:
        """Nothing counted is a usage that is null."""
        last = objects(run(ResponsesPass(), CREATED + DELTA))[-1]
        self.assertIsNone(last["response"]["usage"])

    def test_broken_off_without_a_beginning(self) -> None:
        """Without `response.created` there is no response to close."""
        self.assertEqual(run(ResponsesPass(), DELTA), DELTA)

    def test_events_without_numbers(self) -> None:
        """Where a provider numbers nothing its events are counted."""
        bare = sse.encode(json.dumps({"type": "x", "delta": "Hi"}).encode(), "x")
        last = objects(run(ResponsesPass(), CREATED + bare + bare))[-1]
        self.assertEqual(last["sequence_number"], 3)

    def test_kept_items_are_bounded(self) -> None:
        """Items beyond the limit are not kept for the end of a broken stream."""
        large = message(said("x" * KEPT_ITEMS))
        done = event("response.output_item.done", 1, item=large)
        machine = ResponsesPass()
        last = objects(run(machine, CREATED + done + DONE))[-1]
        self.assertEqual(last["response"]["output"], [HI])

    def test_response_for_error_events(self) -> None:
        """What an error event needs is there: the response and the next number."""
        machine = ResponsesPass()
        self.assertIsNone(machine.response)
        for one in sse.Decoder().feed(CREATED + DELTA):
            machine.feed(one)
        assert machine.response is not None
        self.assertEqual(machine.response["id"], "resp_1")
        self.assertEqual(machine.sequence_number, 3)
