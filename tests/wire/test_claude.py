"""Claude messages between equal dialects."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import (
    BadUpstreamBody,
    ClaudeRefused,
    EmptyAnswer,
    InvalidRequest,
    UpstreamRefused,
)
from knight_tw.records import Usage
from knight_tw.wire import claude, sse, top
from knight_tw.wire.claude import ClaudePass, read_answer
from knight_tw.wire.claude_assembly import restream

Body = dict[str, Any]

MESSAGE: Body = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "up",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "S"},
        {"type": "text", "text": "hi"},
        {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 4},
}
USAGE = Usage(prompt=9, completion=4, total=13)


def event(value: Body) -> sse.Event:
    """An event as its decoder gives it."""
    raw = sse.encode(top.encode(value), value.get("type", ""))
    return sse.Decoder().feed(raw)[0]


class Whole(SynchronousTestCase):
    """`read_answer`."""

    def test_bytes_stay(self) -> None:
        """An answer whose model needs no other name goes as it came."""
        body = top.encode(MESSAGE) + b" \n"
        for model in (None, "up"):
            self.assertIs(read_answer(body, model=model).body, body)

    def test_what_is_read(self) -> None:
        """Usage, reason and everything that counts; the model's name is replaced."""
        answer = read_answer(top.encode(MESSAGE), model="shown")
        self.assertEqual(msgspec.json.decode(answer.body), MESSAGE | {"model": "shown"})
        self.assertEqual((answer.usage, answer.stop_reason), (USAGE, "tool_use"))
        self.assertEqual(answer.produced.text, 'hmhif{"a":1}')
        odd = read_answer(b'{"content":[],"stop_reason":3}')
        self.assertEqual((odd.usage, odd.stop_reason), (None, ""))

    def test_faults(self) -> None:
        """Errors in a 200, nothing, and what is no answer."""
        error = {"type": "error", "error": {"type": "api_error", "message": "x"}}
        table: list[tuple[bytes, type[Exception]]] = [
            (b" ", EmptyAnswer),
            (b"{", BadUpstreamBody),
            (b"[]", BadUpstreamBody),
            (b'{"content":"a"}', BadUpstreamBody),
            (top.encode(error), ClaudeRefused),
            (b'{"content":[],"error":{"message":"x"}}', UpstreamRefused),
        ]
        for body, wanted in table:
            self.assertRaises(wanted, read_answer, body)


def passed(stream: bytes, machine: ClaudePass, cuts: int = 1 << 20) -> bytes:
    """What the client gets for a stream that comes in pieces."""
    decoder = sse.Decoder()
    found: list[bytes] = []
    for at in range(0, len(stream), cuts):
        for one in decoder.feed(stream[at : at + cuts]):
            found += machine.feed(one)
    return b"".join([*found, *machine.close()])


class Streams(SynchronousTestCase):
    """`ClaudePass`."""

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 400))
    def test_bytes_stay(self, cuts: int) -> None:
        """However it comes, a stream goes on byte for byte, and is understood."""
        stream, machine = restream(MESSAGE), ClaudePass("up")
        self.assertEqual(passed(stream, machine, cuts), stream)
        self.assertEqual((machine.usage, machine.stop_reason), (USAGE, "tool_use"))
        self.assertEqual(machine.produced.text, 'hmhif{"a":1}')
        self.assertTrue(machine.began and machine.finished)
        self.assertEqual(machine.events, stream.count(b"event: "))

    def test_the_name_is_replaced(self) -> None:
        """In the start, and nothing else with it."""
        found = passed(restream(MESSAGE), ClaudePass("shown"))
        wanted = restream(MESSAGE | {"model": "shown"})
        self.assertEqual(found, wanted)
        first = event({"type": "message_start", "message": 3})
        self.assertEqual(ClaudePass("shown").feed(first), [first.raw])

    def test_when_it_begins(self) -> None:
        """Text, calls and the end are an answer; the start and a ping are none."""
        machine = ClaudePass()
        machine.feed(event({"type": "message_start", "message": {}}))
        machine.feed(event({"type": "ping"}))
        text = {"type": "text", "text": ""}
        start = {"type": "content_block_start", "index": 0}
        machine.feed(event(start | {"content_block": text}))
        delta = {"type": "content_block_delta", "index": 0}
        machine.feed(event(delta | {"delta": {"type": "text_delta", "text": ""}}))
        self.assertFalse(machine.began)
        machine.feed(event(delta | {"delta": {"type": "text_delta", "text": "a"}}))
        self.assertTrue(machine.began)
        machine = ClaudePass()
        use = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
        machine.feed(event(start | {"content_block": use}))
        self.assertTrue(machine.began)

    def test_counts_that_bedrock_leaves_out(self) -> None:
        """They are repeated at the end when the channel needs it, once known."""
        first = {"usage": {"input_tokens": 9, "cache_read_input_tokens": 2}}
        end: Body = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
        last = event(end | {"usage": {"output_tokens": 4}})
        for complete in (True, False):
            machine = ClaudePass(complete_usage=complete)
            machine.feed(event({"type": "message_start", "message": first}))
            (raw,) = machine.feed(last)
            self.assertEqual(raw == last.raw, not complete)
            self.assertEqual(
                machine.usage, Usage(prompt=11, completion=4, total=15, cached=2)
            )
        usage = msgspec.json.decode(sse.Decoder().feed(raw)[0].data)["usage"]
        self.assertEqual(usage, {"output_tokens": 4})

    def test_a_stream_that_breaks_off(self) -> None:
        """Open blocks are closed, the end is written with what was counted."""
        stream = restream(MESSAGE)
        cut = stream[: stream.index(b"event: content_block_stop")]
        machine = ClaudePass()
        for one in sse.Decoder().feed(cut):
            machine.feed(one)
        tail = b"".join(machine.close(Usage(prompt=7, completion=2)))
        kinds = [e.event for e in sse.Decoder().feed(tail)]
        wanted = ["content_block_stop", "message_delta", "message_stop"]
        self.assertEqual(kinds, wanted)
        self.assertIn(b'"output_tokens":0', tail)
        self.assertEqual(machine.close(), [])

    def test_counted_usage(self) -> None:
        """It is shown where the provider reported none."""
        machine = ClaudePass()
        machine.feed(event({"type": "message_start", "message": {}}))
        first, _ = machine.close(Usage(prompt=7, completion=2))
        self.assertIn(b'{"input_tokens":7,"output_tokens":2}', first)

    def test_only_the_last_event_is_missing(self) -> None:
        """A reason that came is not written again; no start, no end."""
        machine = ClaudePass()
        machine.feed(event({"type": "message_start", "message": {}}))
        end = {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}
        machine.feed(event(end))
        (last,) = machine.close()
        self.assertTrue(last.startswith(b"event: message_stop"))
        self.assertEqual(ClaudePass().close(), [])

    def test_failures(self) -> None:
        """Errors and what cannot be read are raised."""
        error = {"type": "overloaded_error", "message": "busy"}
        machine = ClaudePass()
        failed = event({"type": "error", "error": error})
        self.assertRaises(ClaudeRefused, machine.feed, failed)
        for data in (b"{", b"[1]"):
            broken = sse.Event(data, data)
            self.assertRaises(BadUpstreamBody, machine.feed, broken)
        self.assertEqual(machine.feed(sse.Event(b" ", b" ")), [])

    def test_odd_events(self) -> None:
        """Events of an unexpected layout are for the client to judge."""
        machine = ClaudePass()
        odd: list[Body] = [
            {"type": "content_block_delta", "delta": {"text": 3}},
            {"type": "unheard_of", "delta": 3},
            {"type": "message_delta", "delta": 3},
            {"type": 3},
            {"type": "content_block_start", "index": "x", "content_block": 3},
            {"type": "content_block_stop", "index": [1]},
        ]
        for value in odd:
            one = (
                event(value | {"usage": None})
                if value["type"] != 3
                else sse.Event(top.encode(value), b"raw")
            )
            self.assertEqual(machine.feed(one), [one.raw])

    def test_the_end_is_the_end(self) -> None:
        """Nothing counts after `message_stop`."""
        machine = ClaudePass()
        machine.feed(event({"type": "message_stop"}))
        self.assertEqual(machine.feed(event({"type": "ping"})), [])


class Prompts(SynchronousTestCase):
    """`read_prompt`."""

    def test_everything_that_is_text(self) -> None:
        """System, messages, results, documents as text, and tools; no pictures."""
        body: Body = {
            "system": [{"type": "text", "text": "S"}],
            "messages": [
                {"role": "user", "content": "a"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "t"},
                        {"type": "tool_use", "name": "f", "input": {"k": 1}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "content": [{"text": "r"}]},
                        {"type": "document", "source": {"type": "text", "data": "d"}},
                        {"type": "image", "source": {"type": "base64", "data": "X"}},
                    ],
                },
            ],
            "tools": [{"name": "f"}],
        }
        for given_ in (body, dict(top.read_top(top.encode(body)))):
            text = claude.read_prompt(given_).text
            self.assertEqual(text, 'Satf{"k":1}rd{"name":"f"}')
        self.assertEqual(claude.read_prompt({"system": "S"}).characters, 1)

    def test_faults(self) -> None:
        """A member that cannot be read is named."""
        body: Body = {"messages": msgspec.Raw(b"[")}
        error = self.assertRaises(InvalidRequest, claude.read_prompt, body)
        self.assertEqual(error.param, "messages")
