"""Signed reasoning that a client does not give back, in both lanes."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.cache import MemoryCache
from knight_tw.relay.reasoning import CALLS, TURNS, ReasoningMemory, Seal
from knight_tw.wire.claude_assembly import restream
from tests.relay.gateway import Gateway, question, stream, whole

MODEL = "claude-sonnet-4-5"
THOUGHT = {"type": "thinking", "thinking": "I must look.", "signature": "SIGNED"}
ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": MODEL,
    "content": [
        THOUGHT,
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 10, "output_tokens": 5},
}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}
CALL = {
    "id": "toolu_1",
    "type": "function",
    "function": {"name": "look", "arguments": "{}"},
}
LATER = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "toolu_1", "content": "seen"},
]


class Cases:
    """What holds in both lanes."""

    fast = True

    def gateway(self, mode: str = "on") -> Gateway:
        """A Claude channel behind chat clients."""
        case: Any = self
        gateway = Gateway(case, self.fast)
        gateway.option("SelfUseModeEnabled", "true")
        gateway.option("relay.reasoning_memory", mode)
        gateway.channel(whole(ANSWER), type=14, models=MODEL)
        return gateway

    def ask(self, gateway: Gateway, **members: Any) -> Any:
        """A chat call with a tool, thinking asked for."""
        asked: dict[str, Any] = {
            "model": MODEL,
            "tools": [TOOL],
            "reasoning_effort": "medium",
            "max_tokens": 20_000,
        }
        return gateway.request(body=question(**asked | members))

    def sent_turn(self, gateway: Gateway) -> list[dict[str, Any]]:
        """The assistant's turn as the provider got it back."""
        self.ask(gateway, messages=LATER)
        content: list[dict[str, Any]] = gateway.provider.sent[-1].json["messages"][1][
            "content"
        ]
        return content

    def test_put_back(self) -> None:
        """The next request has the thought that only the provider's answer had."""
        gateway = self.gateway()
        self.assertEqual(self.ask(gateway).status, 200)
        self.assertEqual(self.sent_turn(gateway), ANSWER["content"])
        self.assertIn("thinking", gateway.provider.sent[-1].json)

    def test_streamed_answers(self) -> None:
        """They are kept too, once they are complete."""
        gateway = self.gateway()
        gateway.provider.script = [stream(), whole(ANSWER)]
        answer = self.ask(gateway, stream=True)
        upstream = gateway.provider.answers[-1]
        upstream.arrived(restream(ANSWER))
        upstream.finished(None)
        gateway.clock.advance(0)
        self.assertTrue(answer.complete)
        self.assertEqual(self.sent_turn(gateway), ANSWER["content"])

    def test_only_when_wanted(self) -> None:
        """Off, or automatic without Redis, nothing is kept."""
        for mode in ("off", "auto"):
            gateway = self.gateway(mode)
            self.ask(gateway)
            self.assertEqual(self.sent_turn(gateway), ANSWER["content"][1:], mode)

    def test_time_is_limited(self) -> None:
        """After the option's time it is forgotten."""
        gateway = self.gateway()
        gateway.option("relay.reasoning_memory_ttl_seconds", "60")
        self.ask(gateway)
        gateway.clock.advance(61)
        self.assertEqual(self.sent_turn(gateway), ANSWER["content"][1:])

    def test_calls_without_tools(self) -> None:
        """Their answers need no memory."""
        gateway = self.gateway()
        self.ask(gateway, tools=[])
        self.assertEqual(self.sent_turn(gateway), ANSWER["content"][1:])

    def test_failed_calls(self) -> None:
        """Nothing is kept of an answer that was none."""
        gateway = self.gateway()
        gateway.provider.script = [whole({"type": "error", "error": {}}, 500)]
        self.assertEqual(self.ask(gateway).status, 500)
        gateway.provider.script = [whole(ANSWER)]
        self.assertEqual(self.sent_turn(gateway), ANSWER["content"][1:])

    def test_same_dialect(self) -> None:
        """A Claude client of a Claude channel has its own memory."""
        gateway = self.gateway()
        body = {"model": MODEL, "max_tokens": 9, "messages": LATER[:1], "tools": []}
        self.assertEqual(gateway.request("/v1/messages", body).status, 200)
        self.assertEqual(self.sent_turn(gateway), ANSWER["content"][1:])


class FastLane(Cases, SynchronousTestCase):
    """Calls that our own protocol serves."""


class GeneralLane(Cases, SynchronousTestCase):
    """The same through twisted.web."""

    fast = False


class Memory(SynchronousTestCase):
    """The memory itself."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cache = MemoryCache(self.clock)
        self.memory = ReasoningMemory(self.cache, Seal.of("secret"))

    def find(self, user: int, *calls: str) -> Any:
        """What is found without waiting."""
        found = Deferred.fromCoroutine(self.memory.find(user, calls))
        return self.successResultOf(found)

    def test_sealed(self) -> None:
        """The cache sees neither the reasoning nor twice the same text."""
        record = {"type": 14, "details": [{"text": "private"}]}
        self.memory.keep(1, {"a": record, "b": record}, 60)
        texts = [self.cache.get("reason:1:a"), self.cache.get("reason:1:b")]
        self.assertNotEqual(*texts)
        self.assertNotIn("private", json.dumps(texts))
        self.assertEqual(self.find(1, "a", "b", "c"), {"a": record, "b": record})

    def test_bound_to_user_and_call(self) -> None:
        """A record that was moved, changed, or sealed elsewhere is none."""
        self.memory.keep(1, {"a": {"type": 14}}, 60)
        sealed = self.cache.get("reason:1:a")
        assert sealed is not None
        foreign = Seal.of("other").closed(b"{}", "reason:1:c")
        list_ = Seal.of("secret").closed(b"[]", "reason:1:d")
        broken = Seal.of("secret").closed(b"{", "reason:1:e")
        for key, text in (
            ("reason:2:a", sealed),
            ("reason:1:b", sealed),
            ("reason:1:c", foreign),
            ("reason:1:d", list_),
            ("reason:1:e", broken),
            ("reason:1:f", "\u00e9 no base64"),
            ("reason:1:g", "AAAA"),
            ("reason:1:h", sealed[:-4] + "AAA="),
        ):
            self.cache.set(key, text, 60)
        self.assertEqual(self.find(2, "a"), {})
        self.assertEqual(self.find(1, *"bcdefgh"), {})

    def test_bounded(self) -> None:
        """Many calls, many turns and strange ids cost no more."""
        record = {"type": 14}
        self.memory.keep(1, {f"c{n}": record for n in range(CALLS + 1)}, 60)
        self.assertEqual(self.find(1, f"c{CALLS}"), {})
        many = [f"x{n}" for n in range(TURNS)]
        self.assertEqual(self.find(1, "c0", *many), {})
        self.assertEqual(self.find(1, *many[1:], "c0"), {"c0": record})
        self.memory.keep(1, {"": record, "\u00e9": record, "x" * 999: record}, 60)
        self.assertEqual(self.find(1, "", "\u00e9", "\ud800", "x" * 999), {})

    def test_slow_cache(self) -> None:
        """All look-ups are under way at once; what does not come is not there."""
        asked: list[Deferred[str | None]] = []

        def get(key: str) -> Deferred[str | None]:
            asked.append(Deferred())
            return asked[-1]

        self.memory.keep(1, {"b": {"type": 14}}, 60)
        sealed = self.cache.get("reason:1:b")
        self.patch(self.memory, "_cache", type("Slow", (), {"get": staticmethod(get)}))
        found = Deferred.fromCoroutine(self.memory.find(1, ["a", "b"]))
        self.assertEqual(len(asked), 2)
        asked[0].callback(None)
        self.assertNoResult(found)
        asked[1].callback(sealed)
        self.assertEqual(self.successResultOf(found), {"b": {"type": 14}})
