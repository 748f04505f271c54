"""The short ways for usual bodies give what the general ways give."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import KnightError
from knight_tw.wire import chat, top
from knight_tw.wire.answers import AS_OPENAI, Reading
from knight_tw.wire.chat import read_answer

GENERAL = Reading(complete=lambda usage: None)
"""Completes nothing, so it changes nothing but the way."""

ODD = st.sampled_from((None, True, -1, 2**48 + 1, 3.0, 2.5, "7", [], {}))
COUNTS = st.integers(0, 1000) | ODD
DETAILS = ODD | st.dictionaries(
    st.sampled_from(
        (
            *("cached_tokens", "image_tokens", "audio_tokens", "reasoning_tokens"),
            *("cache_write_tokens", "cache_creation", "text_tokens"),
        )
    ),
    COUNTS | st.just({"ephemeral_5m_input_tokens": 3}),
)
USAGES = ODD | st.fixed_dictionaries(
    {"prompt_tokens": COUNTS, "completion_tokens": COUNTS},
    optional={
        "total_tokens": COUNTS,
        "input_tokens": COUNTS,
        "output_tokens": COUNTS,
        "prompt_tokens_details": DETAILS,
        "completion_tokens_details": DETAILS,
        "input_tokens_details": DETAILS,
        "output_tokens_details": DETAILS,
        "server_tool_use": ODD | st.just({"web_search_requests": 2}),
    },
)
MESSAGES = ODD | st.fixed_dictionaries(
    {"content": ODD | st.text()},
    optional={"reasoning": st.text(), "tool_calls": ODD, "refusal": ODD},
)
CHOICES = st.fixed_dictionaries(
    {"message": MESSAGES}, optional={"finish_reason": ODD | st.just("stop")}
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(("chatcmpl-1", "", None, 7)),
        "model": st.sampled_from(("m", "other", None)),
        "choices": ODD | st.lists(CHOICES),
        "usage": USAGES,
        "error": st.sampled_from((None, "", "bad", {"message": "no"})),
        "timings": st.sampled_from((None, {"cache_n": 5})),
    },
)
USUAL: dict[str, Any] = {
    "id": "chatcmpl-1",
    "model": "m",
    "choices": [{"message": {"content": "hé"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
    },
}


def outcome(body: bytes, reading: Reading) -> tuple[Any, ...]:
    try:
        answer = read_answer(body, model="m", identity="own", reading=reading)
    except KnightError as error:
        return type(error), error.status, error.code, error.message, error.detail
    produced = answer.produced
    read = (answer.body, answer.usage, answer.finish_reasons)
    return *read, produced.characters, produced.text


class Answers(SynchronousTestCase):
    """Whole chat answers."""

    @given(ANSWERS, st.booleans())
    @example(USUAL, True)
    @settings(max_examples=150, deadline=None)
    def test_any_members(self, answer: dict[str, Any], ascii_only: bool) -> None:
        """Bytes, usage, text and errors are the same whatever a provider sends."""
        body = json.dumps(answer, ensure_ascii=ascii_only).encode()
        self.assertEqual(outcome(body, AS_OPENAI), outcome(body, GENERAL))

    @given(USAGES)
    @settings(max_examples=150, deadline=None)
    def test_any_usage(self, usage: Any) -> None:
        """So is every usage beside an answer that is usual."""
        body = json.dumps({**USUAL, "usage": usage}).encode()
        self.assertEqual(outcome(body, AS_OPENAI), outcome(body, GENERAL))

    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_damaged(self, data: st.DataObject) -> None:
        """An answer that was cut or garbled is refused by both, or by neither."""
        body = bytearray(json.dumps(USUAL, ensure_ascii=False).encode())
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from((b"", b"\xff", b"\\", b'"', b"\\ud800", b"\\u0041", b"{"))
        )
        self.assertEqual(outcome(bytes(body), AS_OPENAI), outcome(bytes(body), GENERAL))

    def test_unread_until_asked(self) -> None:
        """The text of an answer that reports its usage is read when somebody asks."""
        answer = read_answer(json.dumps(USUAL).encode())
        self.assertIsNotNone(answer.produced._later)
        self.assertEqual(answer.produced.text, "hé")
        self.assertEqual(answer.produced.characters, 2)


class Requests(SynchronousTestCase):
    """Chat requests, by the members that are looked at."""

    @given(
        st.sampled_from(
            ("[{}]", "[ {}]", "[{", "[]", "[ ]", "{}", "null", '""', '"hi"', "[1]", "7")
        ),
        st.sampled_from(("", '"suffix":"s",', '"n":1,', '"n":0,', '"max_tokens":"x",')),
    )
    @settings(max_examples=80, deadline=None)
    def test_messages(self, messages: str, more: str) -> None:
        """A list of objects passes at once, every other value as it always did."""
        body = f'{{{more}"messages":{messages}}}'.encode()
        self.assertEqual(refusal(body, chat.validate), refusal(body, by_all_rules))


def by_all_rules(body: Any) -> None:
    """What `chat.validate` asks, with nothing passed over."""
    chat._require_messages(body)
    chat.output_limit(body)
    chat.choice_count(body)
    chat.search_context_size(body)
    chat.include_usage(body)


def refusal(body: bytes, validate: Any) -> tuple[Any, ...]:
    try:
        validate(top.read_top(body))
    except KnightError as error:
        return error.message, error.param
    return ()
