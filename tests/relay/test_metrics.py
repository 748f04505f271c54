"""What calls leave behind in the metrics, through both lanes."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.metrics import Meter
from knight_tw.records import Dialect, Mode
from tests.relay.gateway import (
    DONE,
    Gateway,
    chat,
    delta,
    refusal,
    stream,
    usage_event,
)


class Cases:
    """What holds in both lanes."""

    fast = True

    def setUp(self) -> None:
        """A gateway and its meter."""
        case: Any = self
        self.gateway = Gateway(case, self.fast)
        self.meter: Meter = self.gateway.relaying.meter

    def total(self, dialect: Dialect, streamed: bool, which: str) -> tuple[int, float]:
        """Number and sum of a histogram."""
        one = getattr(self.meter.times[dialect, streamed], which)
        return sum(one.counts), round(one.total, 3)

    def test_a_good_call(self) -> None:
        """Is counted once, with its tokens and its attempt."""
        number = self.gateway.channel(chat())
        self.gateway.chat()
        self.assertEqual(self.meter.calls, {(Dialect.CHAT, Mode.CHAT, False, 200): 1})
        self.assertEqual((self.meter.prompt, self.meter.completion), (10, 5))
        self.assertEqual(self.meter.channels[number].ok, 1)
        self.assertEqual(self.meter.providers[1].ok, 1)

    def test_our_own_share(self) -> None:
        """Neither the provider's time nor the client's is ours."""
        answer: Deferred[Any] = Deferred()
        self.gateway.channel(answer)
        self.gateway.chat()
        self.gateway.clock.advance(3)
        answer.callback(chat()(self.gateway.provider))
        self.assertEqual(self.total(Dialect.CHAT, False, "whole"), (1, 3.0))
        self.assertEqual(self.total(Dialect.CHAT, False, "first_byte"), (1, 3.0))
        self.assertEqual(self.total(Dialect.CHAT, False, "overhead"), (1, 0.0))

    def test_a_retried_attempt(self) -> None:
        """The first one was retried, with its reason; the call is one and good."""
        self.gateway.channel(refusal(500), priority=9)
        self.gateway.channel(chat())
        self.gateway.option("RetryTimes", "1")
        self.gateway.chat()
        self.assertEqual(list(self.meter.calls.values()), [1])
        first, second = self.meter.channels[1], self.meter.channels[2]
        self.assertEqual((first.ok, first.retried, first.failed), (0, 1, 0))
        self.assertEqual((second.ok, second.retried, second.failed), (1, 0, 0))
        self.assertEqual(self.meter.retries, {"c": 1})

    def test_a_failed_call(self) -> None:
        """Under the status of its error."""
        self.gateway.channel(refusal(400))
        self.gateway.chat()
        self.assertEqual(self.meter.calls, {(Dialect.CHAT, Mode.CHAT, False, 400): 1})
        self.assertEqual(self.meter.channels[1].failed, 1)
        self.assertEqual(self.meter.retries, {})

    def test_refused_calls(self) -> None:
        """Also those that nobody worked on; never by what the client wrote."""
        self.gateway.request(body={}, key="sk-wrong")
        self.gateway.request("/v1/nothing", body={})
        self.gateway.request("/v1/models", method="GET")
        self.assertEqual(
            self.meter.calls,
            {
                (Dialect.CHAT, Mode.CHAT, False, 401): 1,
                (Dialect.CHAT, None, False, 404): 1,
                (Dialect.CHAT, None, False, 200): 1,
            },
        )

    def test_a_stream(self) -> None:
        """Is open while it is, and counts as streamed; its pauses are not ours."""
        self.gateway.channel(stream())
        self.gateway.chat(stream=True)
        self.assertEqual(self.meter.streams, 1)
        answer = self.gateway.provider.answers[-1]
        self.gateway.clock.advance(2)
        answer.arrived(delta("hi"))
        self.gateway.clock.advance(5)
        answer.arrived(usage_event() + DONE)
        self.assertEqual(self.meter.streams, 0)
        self.assertEqual(self.meter.calls, {(Dialect.CHAT, Mode.CHAT, True, 200): 1})
        self.assertEqual(self.total(Dialect.CHAT, True, "whole"), (1, 7.0))
        self.assertEqual(self.total(Dialect.CHAT, True, "overhead"), (1, 0.0))

    def test_a_client_that_leaves(self) -> None:
        """499, and an interrupted stream that is open no more."""
        self.gateway.channel(stream())
        self.gateway.option("relay.default_interrupt_policy", "delivered")
        client = self.gateway.chat(stream=True)
        self.gateway.provider.answers[-1].arrived(delta("hi"))
        client.leave()
        self.assertEqual(self.meter.calls, {(Dialect.CHAT, Mode.CHAT, True, 499): 1})
        self.assertEqual(self.meter.interrupted, {("client", "delivered"): 1})
        self.assertEqual(self.meter.streams, 0)

    def test_a_client_that_leaves_when_all_is_done(self) -> None:
        """Nothing was interrupted when only the last bytes were to leave."""
        self.gateway.channel(stream())
        self.gateway.option("relay.default_interrupt_policy", "drain")
        client = self.gateway.chat(stream=True)
        self.gateway.provider.answers[-1].arrived(delta("hi") + usage_event() + DONE)
        client.leave()
        self.gateway.clock.advance(0)
        self.assertEqual(self.meter.calls, {(Dialect.CHAT, Mode.CHAT, True, 200): 1})
        self.assertEqual(self.meter.interrupted, {})
        self.assertEqual(self.gateway.logs()[0]["prompt_tokens"], 10)

    def test_a_drained_stream(self) -> None:
        """Counts once, and is a drain until its end."""
        self.gateway.channel(stream())
        self.gateway.option("relay.default_interrupt_policy", "drain")
        client = self.gateway.chat(stream=True)
        answer = self.gateway.provider.answers[-1]
        answer.arrived(delta("hi"))
        client.leave()
        self.assertEqual(self.gateway.relaying.relay.drains, 1)
        answer.arrived(usage_event() + DONE)
        self.assertEqual(self.gateway.relaying.relay.drains, 0)
        self.assertEqual(self.meter.interrupted, {("client", "drain"): 1})


class FastLane(Cases, SynchronousTestCase):
    """Our own protocol."""


class GeneralLane(Cases, SynchronousTestCase):
    """`twisted.web`."""

    fast = False
