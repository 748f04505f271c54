"""Claude messages from streams and streams from messages."""

from __future__ import annotations

from typing import Any

import msgspec
from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.wire import sse
from knight_tw.wire.claude_assembly import Assembly, restream

Body = dict[str, Any]

WORDS = st.text(max_size=6)
CITED = {"type": "page_location", "cited_text": "x"}
BLOCKS = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, WORDS),
    st.builds(lambda t: {"type": "text", "text": t, "citations": [CITED]}, WORDS),
    st.builds(
        lambda t, s: {"type": "thinking", "thinking": t, "signature": s}, WORDS, WORDS
    ),
    st.builds(
        lambda kind, value: {"type": kind, "id": "1", "name": "f", "input": value},
        st.sampled_from(["tool_use", "server_tool_use"]),
        st.dictionaries(WORDS, WORDS, max_size=2),
    ),
    st.just({"type": "web_search_tool_result", "tool_use_id": "1", "content": []}),
    st.just({"type": "redacted_thinking", "data": "E"}),
)


def assembled(events: list[Body]) -> Body:
    """The message of some events."""
    parts = Assembly()
    for event in events:
        parts.feed(event)
    return parts.close()


def events_of(stream: bytes) -> list[Body]:
    """The objects in a stream."""
    found = []
    for event in sse.Decoder().feed(stream):
        value = msgspec.json.decode(event.data)
        assert value["type"] == event.event
        found.append(value)
    return found


class Assembling(SynchronousTestCase):
    """`Assembly` and `restream`."""

    @settings(max_examples=60, deadline=None)
    @given(st.lists(BLOCKS, max_size=4), st.sampled_from(["end_turn", "tool_use"]))
    def test_round_trip(self, blocks: list[Body], reason: str) -> None:
        """A message that was streamed is put together as it was."""
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": blocks,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 4},
        }
        self.assertEqual(assembled(events_of(restream(message))), message)

    def test_a_message_that_goes_on(self) -> None:
        """Blocks in the start are whole; unknown members of the end are kept."""
        use = {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}
        start = {"id": "msg_1", "model": "m", "content": [use], "usage": None}
        end = {"delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}}
        message = assembled(
            [
                {"type": "message_start", "message": start},
                {"type": "ping"},
                {"type": "message_delta", "context_management": {"a": 1}} | end,
                {"type": "message_stop"},
            ]
        )
        self.assertEqual(message["content"], [use])
        self.assertEqual(message["context_management"], {"a": 1})
        self.assertEqual(message["usage"], {"output_tokens": 2})
        Message.model_validate(
            message | {"usage": {"input_tokens": 1, "output_tokens": 2}}
        )

    def test_odd_events(self) -> None:
        """What cannot be placed changes nothing; a broken input is empty."""
        piece = {"type": "input_json_delta", "partial_json": "{broken"}
        delta = {"type": "content_block_delta", "index": 0}
        message = assembled(
            [
                {"type": "message_start"},
                delta | {"delta": piece},
                {"type": "content_block_start", "index": 0},
                {"type": "content_block_start", "index": "x", "content_block": {}},
                delta | {"delta": piece},
                delta | {"delta": piece | {"partial_json": None}},
                delta | {"delta": 3},
                delta | {"delta": {"type": "text_delta"}},
                delta | {"delta": {"type": "odd"}},
                {"type": "message_delta", "delta": 3},
            ]
        )
        self.assertEqual(message["content"], [{}, {"input": {}}])
        self.assertEqual(message["stop_reason"], "end_turn")

    def test_nothing(self) -> None:
        """A message without usage and content is streamed all the same."""
        kinds = [event["type"] for event in events_of(restream({}))]
        self.assertEqual(kinds, ["message_start", "message_delta", "message_stop"])
