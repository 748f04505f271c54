"""Races of two channels, in any order of what can happen."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import UpstreamFailed
from tests.relay.gateway import (
    DONE,
    PLENTY,
    Gateway,
    Response,
    chat,
    delta,
    refusal,
    stream,
    usage_event,
)

SETTINGS = {"hedge_after_ms": 500, "max_concurrency": 3}
STEPS = ("head", "say", "usage", "end", "break", "refuse", "fatal", "whole")


class Upstream:
    """What one request of the gateway gets, step by step."""

    def __init__(self, gateway: Gateway, place: int) -> None:
        self.asked: Deferred[Any] = Deferred()
        self._gateway = gateway
        self._place, self._name = place, "abc"[place]
        self._answer: Any = None
        self._over = False

    def step(self, what: str) -> None:
        """One step, if it is possible now."""
        reached = len(self._gateway.provider.sent) > self._place
        if not reached or self._over or self.asked.called != (self._answer is not None):
            return
        if self._answer is None:
            self._begin(what)
        elif what == "say":
            self._answer.arrived(delta(self._name))
        elif what == "usage":
            self._answer.arrived(usage_event())
        elif what == "end":
            self._over = True
            self._answer.arrived(DONE)
            self._answer.finished(None)
        elif what == "break":
            self._over = True
            self._answer.finished(UpstreamFailed("cut"))

    def _begin(self, what: str) -> None:
        provider = self._gateway.provider
        made = {
            "head": stream(),
            "refuse": refusal(503),
            "fatal": refusal(400),
            "whole": chat(self._name),
        }.get(what)
        if made is not None:
            answer = made(provider)
            self._over = what != "head"
            self._answer = answer
            self.asked.callback(answer)
        elif what == "break":
            self._over = True
            self.asked.errback(UpstreamFailed("upstream request failed"))


def orders() -> st.SearchStrategy[list[tuple[str, int]]]:
    """Steps of upstreams, of the clock and of the client."""
    upstream = st.tuples(st.sampled_from(STEPS), st.integers(0, 2))
    clock = st.tuples(st.just("wait"), st.just(0))
    client = st.tuples(st.just("leave"), st.just(0))
    return st.lists(st.one_of(upstream, upstream, upstream, clock, client), max_size=14)


class Orders(SynchronousTestCase):
    """One answer, one charge, nothing left behind."""

    @settings(max_examples=60, deadline=None)
    @given(
        orders(),
        st.booleans(),
        st.sampled_from(["delivered", "free", "drain"]),
        st.booleans(),
    )
    def test_any_order(
        self, steps: list[tuple[str, int]], streamed: bool, policy: str, fast: bool
    ) -> None:
        """Whatever happens, in whatever order."""
        gateway = Gateway(self, fast)
        gateway.option("relay.hedge_budget_percent", "100")
        gateway.option("RetryTimes", "1")
        told = json.dumps(SETTINGS | {"interrupt_policy": policy})
        for number in range(3):
            gateway.channel(priority=9 - number, settings=told)
        upstreams = [Upstream(gateway, place) for place in range(3)]
        gateway.provider.script = [*(one.asked for one in upstreams), refusal(500)]
        answer = gateway.chat(
            stream=streamed,
            stream_options={"include_usage": True} if streamed else None,
        )
        for what, number in [("wait", 0), *steps]:
            if what == "wait":
                gateway.clock.advance(0.5)
            elif what == "leave":
                answer.leave()
            else:
                upstreams[number].step(what)
        answer.leave()
        gateway.clock.advance(10_000)  # what drains is cut off by then
        self.check(gateway, answer)

    def check(self, gateway: Gateway, answer: Response) -> None:
        """What must hold at the end."""
        rows = gateway.logs()
        self.assertLessEqual(len(rows), 1)
        self.assertEqual(
            gateway.quota(), PLENTY - sum(row["quota"] for row in rows), "the balance"
        )
        choosing = gateway.relaying.relay._choosing
        loads = choosing._capacity._loads.values()
        self.assertEqual([load.calls for load in loads if load.calls], [])
        meter = gateway.relaying.meter
        self.assertEqual(meter.streams, 0)
        self.assertLessEqual(sum(meter.hedges.values()), 1)
        self.assertEqual(gateway.relaying.relay.drains, 0)
        heads = answer.raw.count(b"HTTP/1.1 ")
        self.assertLessEqual(heads, 1)
        said = [name for name in "abc" if f'"content": "{name}"'.encode() in answer.raw]
        self.assertLessEqual(len(said), 1)
        self.assertLessEqual(answer.raw.count(DONE), 1)
        if said:
            served = ord(said[0]) - ord("a")
            channels = {row["channel_id"] for row in rows}
            sent = gateway.provider.sent[served].url
            self.assertTrue(all(f"up{c}.test" in sent for c in channels), channels)
        if said and DONE in answer.raw and b'"error"' not in answer.raw:
            self.assertEqual(len(rows), 1)
        left = [str(call.func) for call in gateway.clock.getDelayedCalls()]
        ours = [one for one in left if "Context" in one or "Outlet" in one]
        self.assertEqual(ours, [], "timers")
