"""The remembered request of a usual call is the one that `plan` makes."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import providers
from knight_tw.errors import KnightError
from knight_tw.options import Options
from knight_tw.records import Caller, Channel, Dialect, Head, Mode, User
from knight_tw.relay import reading
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.knobs import Knobs
from knight_tw.relay.plan import Prepared, plan
from knight_tw.relay.straight import KNOWN, Straight
from knight_tw.settings import Settings

NOW = 1_795_000_000.0
USER = User(1, "u", 1, 1, "default", 10)
PATH = "/v1/chat/completions"
ANSWERS = tuple(
    json.dumps(answer).encode()
    for answer in (
        {
            "id": "a",
            "model": "m",
            "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        },
        {"choices": [{"message": {"content": "hi", "reasoning_content": "hm"}}]},
        {"error": {"message": "no", "type": "t"}},
    )
)


def knobs_of(rows: dict[str, str]) -> Knobs:
    """The knobs of some options."""
    return Knobs.read(Options.from_rows(rows), Settings.from_env({}))


POLICY = json.dumps({"enabled": True, "all_channels": True, "model_patterns": [".*"]})
KNOBS = (
    knobs_of({}),
    knobs_of({"global.pass_through_request_enabled": "true"}),
    knobs_of({"global.chat_completions_to_responses_policy": POLICY}),
)

MODELS = ("gpt-4o", "gpt-5", "o3-mini-high", "deepseek-chat")
IF_LIMITED = {
    "operations": [
        {
            "path": "temperature",
            "mode": "set",
            "value": 0.1,
            "conditions": [{"path": "max_tokens", "mode": "full", "value": 7}],
        }
    ]
}
ODDITIES: list[tuple[str, Any]] = [
    *(("type", one.type_id) for one in providers.ALL),
    ("type", 999),
    ("keys", ("k1", "k2")),
    ("keys", ()),
    ("base_url", "http://up.test/v1/"),
    ("other", "2024-02-01"),
    ("organization", "org-1"),
    ("model_mapping", {"gpt-4o": "gpt-4o"}),
    ("model_mapping", {"gpt-4o": "x"}),
    ("header_override", {"X-A": "{client_header:x-b}"}),
    ("param_override", IF_LIMITED),
    ("param_override", {"temperature": 0.1}),
    ("setting", {"proxy": "http://proxy.test:1"}),
    ("setting", {"system_prompt": "be nice"}),
    ("setting", {"force_format": True}),
    ("setting", {"thinking_to_content": True}),
    ("setting", {"pass_through_body_enabled": True}),
    ("settings", {"guarded_address": True, "forward_ratelimit_headers": True}),
    ("settings", {"allow_service_tier": True}),
    ("settings", {"disable_store": True}),
    ("settings", {"supported_endpoints": ["openai"]}),
    ("settings", {"supported_endpoints": ["openai-response"]}),
]
PLAIN = Channel(1, 1, "c", 1, ("k",))
CHANNELS = st.lists(st.sampled_from(ODDITIES), max_size=2).map(
    lambda odd: evolve(PLAIN, **dict(odd))
)
SYSTEM = {"role": "system", "content": "be brief"}
FIRST = [SYSTEM, {"role": "user", "content": "he"}]
"""The messages of the call that a lane is made from: most settings leave it alone."""
MEMBERS: list[tuple[str, Any]] = [
    ("messages", FIRST[1:]),
    ("stream", True),
    ("temperature", 0.5),
    ("max_tokens", 7),
    ("service_tier", "flex"),
    ("store", True),
    ("stream_options", {"include_usage": True}),
    ("model", None),
]
"""What calls have that the first one has not; without a model the path names it."""
Later = tuple[dict[str, Any], list[tuple[str, str]], str]
"""What another call has: further members, headers, and a query."""

HEADS: list[tuple[list[tuple[str, str]], str]] = [
    ([("accept", "text/event-stream")], ""),
    ([("x-b", "1"), ("accept", "*/*")], ""),
    ([], "api-version=1"),
]
ONE_OTHER: list[Later] = [
    *(({name: value}, [], "") for name, value in MEMBERS),
    *(({}, headers, query) for headers, query in HEADS),
]
LATER = st.tuples(
    st.lists(st.sampled_from(MEMBERS), max_size=2).map(dict),
    st.sampled_from([[], *(headers for headers, _ in HEADS)]),
    st.sampled_from(["", "", "api-version=1"]),
)


def call_of(body: dict[str, Any], headers: list[tuple[str, str]], query: str) -> Call:
    """A call as the relay has read it."""
    head = Head("POST", PATH, query, headers, "", "")
    caller = Caller(USER, None, "default")
    call = Call("id", head, Mode.CHAT, Dialect.CHAT, PATH, caller, NOW)
    call.body = json.dumps(body, ensure_ascii=False).encode()
    # The older paths name the model themselves.
    call.model = "" if "model" in body else "gpt-4o"
    reading.read_model(call)
    return call


def told(prepared: Prepared) -> dict[str, Any]:
    """Everything about a request, and what becomes of some answers."""
    found = {
        name: getattr(prepared, name)
        for name in Prepared.__slots__
        if name not in ("translation", "__weakref__")
    }
    whole: list[Any] = [type(prepared.translation)]
    for answer in ANSWERS:
        try:
            one = prepared.translation.whole(answer)
            whole.append((one.body, one.usage, one.produced.text, one.verbatim))
        except KnightError as error:
            whole.append((type(error), error.status, error.message))
    return {**found, "whole": whole}


class StraightTests(SynchronousTestCase):
    """`Straight.prepared` against `plan(...).prepared`."""

    def test_one_oddity(self) -> None:
        """Of a channel with one oddity, and a later call that differs in one thing."""
        channels = [PLAIN, *(evolve(PLAIN, **dict([odd])) for odd in ODDITIES)]
        for channel in channels:
            for model in MODELS:
                self.check(channel, model, FIRST, ONE_OTHER, KNOBS[0])
                self.check(channel, model, FIRST[1:], ONE_OTHER, KNOBS[0])
        for knobs in KNOBS:
            self.check(PLAIN, MODELS[0], FIRST, ONE_OTHER, knobs)

    @settings(max_examples=200, deadline=None)
    @given(
        CHANNELS,
        st.sampled_from(MODELS),
        st.sampled_from([FIRST, FIRST[1:]]),
        st.lists(LATER, min_size=8, max_size=8),
        st.sampled_from(KNOBS),
    )
    def test_more_of_them(
        self,
        channel: Channel,
        model: str,
        first: list[dict[str, str]],
        later: list[Later],
        knobs: Knobs,
    ) -> None:
        """The same with several."""
        self.check(channel, model, first, later, knobs)

    def check(
        self,
        channel: Channel,
        model: str,
        first: list[dict[str, str]],
        later: list[Later],
        knobs: Knobs,
    ) -> None:
        """The first call on a lane, and those that find it remembered."""
        straight = Straight()
        for more, headers, query in [({}, [], ""), *later]:
            body = {"model": model, "messages": first, **more}
            if body["model"] is None:
                del body["model"]
            one = call_of(body, headers, query)
            usual = Attempt(channel, 0, "default", NOW)
            try:
                found = straight.prepared(one, usual, knobs)
            except KnightError as error:
                with self.assertRaises(type(error)):
                    self.planned(body, headers, query, usual, knobs)
                continue
            if found is None:
                continue
            expected, call, attempt = self.planned(body, headers, query, usual, knobs)
            self.assertEqual(told(found), told(expected))
            self.assertEqual(call.dropped, one.dropped)
            self.assertEqual((usual.model, usual.dialect), attempt)

    def planned(
        self,
        body: dict[str, Any],
        headers: list[tuple[str, str]],
        query: str,
        usual: Attempt,
        knobs: Knobs,
    ) -> tuple[Prepared, Call, tuple[str, Dialect]]:
        """What the slow way makes of the same call."""
        call = call_of(body, headers, query)
        attempt = evolve(usual, model="", dialect=Dialect.CHAT)
        expected = plan(call, attempt, knobs, NOW).prepared({}, NOW)
        return expected, call, (attempt.model, attempt.dialect)

    def test_the_usual_call(self) -> None:
        """Is remembered: the headers are made once, the body is the client's."""
        channel = Channel(1, 1, "c", 1, ("k",))
        straight, made = Straight(), []
        for content in ("a", "b"):
            body = {
                "model": "gpt-4o",
                "messages": [{"role": "user", "content": content}],
            }
            call = call_of(body, [], "")
            found = straight.prepared(call, Attempt(channel, 0, "g", NOW), KNOBS[0])
            assert found is not None
            self.assertIs(found.body, call.body)
            made.append(found)
        self.assertIs(made[0].headers, made[1].headers)

    def test_a_changed_channel(self) -> None:
        """Of a channel that was read anew nothing is remembered."""
        straight = Straight()
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a"}]}
        for key in ("k1", "k2"):
            attempt = Attempt(Channel(1, 1, "c", 1, (key,)), 0, "g", NOW)
            found = straight.prepared(call_of(body, [], ""), attempt, KNOBS[0])
            assert found is not None
            self.assertIn(("Authorization", f"Bearer {key}"), found.headers)

    def test_no_end_of_models(self) -> None:
        """What clients name does not fill the memory."""
        straight = Straight()
        channel = Channel(1, 1, "c", 1, ("k",))
        for number in range(KNOWN + 10):
            body = {"model": f"m{number}", "messages": [{"role": "user"}]}
            attempt = Attempt(channel, 0, "g", NOW)
            straight.prepared(call_of(body, [], ""), attempt, KNOBS[0])
        self.assertLessEqual(len(straight._known), KNOWN)
