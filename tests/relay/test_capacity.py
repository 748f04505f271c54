"""Channels that rest, are full, or do not begin to answer, in both lanes."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import RateLimited, UpstreamRefused, UpstreamTimeout
from knight_tw.records import Channel
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.capacity import ADAPTIVE_MOST, LONGEST_REST, Capacity, limit_of
from knight_tw.routing import RoutingTable
from tests.relay.gateway import (
    DONE,
    KEY,
    PLENTY,
    Gateway,
    Source,
    chat,
    delta,
    question,
    refusal,
    stream,
    usage_event,
)


def silence() -> Deferred[Any]:
    """A provider that takes the request and says nothing."""
    return Deferred()


class Cases:
    """What holds in both lanes."""

    fast = True

    def gateway(self, retries: int = 1) -> Gateway:
        """A fresh gateway."""
        case: Any = self
        gateway = Gateway(case, self.fast)
        gateway.option("RetryTimes", str(retries))
        return gateway

    def served(self, gateway: Gateway) -> list[int]:
        """The channels that served, by the log."""
        return [row["channel_id"] for row in gateway.logs()]

    # cool-down ----------------------------------------------------------------

    def test_cool_down(self) -> None:
        """After a 429 a channel is left alone for the option's time."""
        gateway = self.gateway()
        gateway.option("relay.channel_cooldown_seconds", "30")
        gateway.channel(refusal(429), chat(), priority=9)
        gateway.channel(priority=5)
        gateway.chat()
        gateway.clock.advance(29)
        gateway.chat()
        gateway.clock.advance(2)
        gateway.chat()
        self.assertEqual(self.served(gateway), [2, 2, 1])

    def test_cool_down_of_the_providers_choice(self) -> None:
        """`Retry-After` says how long, for 529 too."""
        gateway = self.gateway()
        gateway.option("relay.channel_cooldown_seconds", "30")
        gateway.channel(refusal(529, retry_after="300"), chat(), priority=9)
        gateway.channel(priority=5)
        gateway.chat()
        gateway.clock.advance(299)
        gateway.chat()
        gateway.clock.advance(2)
        gateway.chat()
        self.assertEqual(self.served(gateway), [2, 2, 1])

    def test_no_cool_down(self) -> None:
        """Without the option, and after other failures, nothing rests."""
        for option, status in (("0", 429), ("30", 500)):
            gateway = self.gateway()
            gateway.option("relay.channel_cooldown_seconds", option)
            gateway.channel(refusal(status), chat(), priority=9)
            gateway.channel(priority=5)
            gateway.chat()
            gateway.chat()
            self.assertEqual(self.served(gateway), [2, 1], status)

    def test_the_only_channel_never_rests(self) -> None:
        """Without another candidate it is asked all the same."""
        gateway = self.gateway(0)
        gateway.option("relay.channel_cooldown_seconds", "30")
        gateway.channel(refusal(429), chat())
        self.assertEqual([gateway.chat().status for _ in range(2)], [429, 200])

    def test_keys_rest_alone(self) -> None:
        """The other keys of a channel go on."""
        gateway = self.gateway(0)
        gateway.option("relay.channel_cooldown_seconds", "30")
        gateway.channel(
            refusal(429),
            chat(),
            key="k0\nk1",
            channel_info=json.dumps(
                {"is_multi_key": True, "multi_key_size": 2, "multi_key_mode": "random"}
            ),
        )
        for _ in range(9):
            gateway.chat()
        keys = [sent.headers["authorization"] for sent in gateway.provider.sent]
        self.assertEqual(len(set(keys[1:])), 1)
        self.assertNotIn(keys[0], keys[1:])

    def test_conversations_leave_resting_channels(self) -> None:
        """A remembered channel that rests is not asked, and not forgotten."""
        gateway = self.gateway()
        gateway.option("relay.channel_cooldown_seconds", "30")
        source = {"type": "request_header", "key": "X-Talk"}
        rule = {"name": "r", "model_regex": ["."], "key_sources": [source]}
        gateway.option("channel_affinity_setting.rules", json.dumps([rule]))
        gateway.option("channel_affinity_setting.switch_on_success", "false")
        gateway.channel(refusal(500), chat(), refusal(429), chat(), priority=9)
        gateway.channel(priority=5)
        gateway.channel(priority=1)
        talk = {"X-Talk": "1"}
        gateway.request(body=question(), headers=talk)
        gateway.request(body=question(), headers=talk)
        gateway.request(body=question(), headers=talk)
        gateway.clock.advance(31)
        gateway.request(body=question(), headers=talk)
        self.assertEqual(self.served(gateway), [2, 3, 1, 2])

    # calls at once ------------------------------------------------------------

    def full(self, gateway: Gateway, *settings: dict[str, Any]) -> list[Deferred[Any]]:
        """Channels with limits, highest priority first, whose provider waits."""
        waiting: list[Deferred[Any]] = [Deferred() for _ in range(9)]
        gateway.provider.script = list(waiting)
        for place, values in enumerate(settings):
            gateway.channel(settings=json.dumps(values), priority=9 - place)
        return waiting

    def answer(self, gateway: Gateway, waiting: Deferred[Any]) -> None:
        """The provider answers."""
        waiting.callback(chat()(gateway.provider))

    def test_full_channels_are_left_out(self) -> None:
        """A call goes to the next channel, and back once there is room."""
        gateway = self.gateway()
        waiting = self.full(gateway, {"max_concurrency": 1}, {})
        first, second = gateway.chat(), gateway.chat()
        for one in waiting[:2]:
            self.answer(gateway, one)
        third = gateway.chat()
        self.answer(gateway, waiting[2])
        self.assertEqual([r.status for r in (first, second, third)], [200] * 3)
        self.assertEqual(self.served(gateway), [1, 2, 1])

    def test_saturated(self) -> None:
        """With every channel full a call is refused at once, and may come again."""
        gateway = self.gateway()
        waiting = self.full(gateway, {"max_concurrency": 2})
        for _ in range(2):
            gateway.chat()
        refused = gateway.chat()
        self.assertEqual(
            (refused.status, refused.error["code"]), (429, "channel_saturated")
        )
        self.assertEqual(refused.head["retry-after"], "1")
        self.assertEqual(len(gateway.provider.sent), 2)
        self.answer(gateway, waiting[0])
        gateway.chat()
        self.assertEqual(len(gateway.provider.sent), 3)

    def test_pinned_callers_wait_their_turn(self) -> None:
        """A pin is no way around the limit."""
        gateway = self.gateway()
        self.full(gateway, {"max_concurrency": 1}, {})
        gateway.chat()
        refused = gateway.request(body=question(), key=f"sk-{KEY}-1")
        self.assertEqual(refused.status, 429)

    def test_unknown_models_are_still_unknown(self) -> None:
        """Only channels that could serve make a call wait."""
        gateway = self.gateway()
        self.full(gateway, {"max_concurrency": 1})
        gateway.chat()
        self.assertEqual(gateway.chat(model="nothing").status, 404)

    def test_places_come_back(self) -> None:
        """Whatever ends a call: refusals before the attempt, failures, departures."""
        gateway = self.gateway(0)
        waiting = self.full(gateway, {"max_concurrency": 1})
        self.assertEqual(gateway.chat(messages=[]).status, 400)
        gateway.chat().leave()
        gateway.chat()
        waiting[1].errback(UpstreamTimeout("late"))
        self.assertEqual(len(gateway.provider.sent), 2)
        held = gateway.chat()
        self.assertEqual(len(gateway.provider.sent), 3)
        self.answer(gateway, waiting[2])
        self.assertEqual(held.status, 200)

    def test_retries_move_the_place(self) -> None:
        """A failed attempt leaves its channel before the next one begins."""
        gateway = self.gateway()
        waiting = self.full(gateway, {"max_concurrency": 1}, {"max_concurrency": 1})
        gateway.chat()
        waiting[0].callback(refusal(500)(gateway.provider))
        gateway.chat()
        self.assertEqual(len(gateway.provider.sent), 3)
        self.assertEqual(gateway.chat().status, 429)
        for one in waiting[1:3]:
            self.answer(gateway, one)
        self.assertEqual(sorted(self.served(gateway)), [1, 2])

    def test_adaptive(self) -> None:
        """Trouble halves what a channel is given."""
        gateway = self.gateway(0)
        values = {"adaptive_concurrency": True, "max_concurrency": 4}
        waiting = self.full(gateway, values)
        gateway.chat()
        waiting[0].callback(refusal(429)(gateway.provider))
        for _ in range(2):
            gateway.chat()
        self.assertEqual(len(gateway.provider.sent), 3)
        self.assertEqual(gateway.chat().error["code"], "channel_saturated")

    # the first token ----------------------------------------------------------

    SLOW = '{"first_token_timeout_seconds": 5}'

    def test_silent_channel(self) -> None:
        """One that says nothing by then is given up, and the next one asked."""
        gateway = self.gateway()
        silent = silence()
        gateway.channel(silent, chat(), settings=self.SLOW, priority=9)
        gateway.channel(priority=5)
        answer = gateway.chat()
        gateway.clock.advance(4.9)
        self.assertEqual(answer.raw, b"")
        gateway.clock.advance(0.2)
        self.assertEqual(answer.status, 200)
        self.assertTrue(silent.called)
        self.assertEqual(self.served(gateway), [2])

    def test_last_silent_channel(self) -> None:
        """Without another the client is told so, and pays nothing."""
        gateway = self.gateway(0)
        gateway.channel(silence(), settings=self.SLOW)
        answer = gateway.chat()
        gateway.clock.advance(5)
        self.assertEqual(
            (answer.status, answer.error["code"]), (504, "first_token_timeout")
        )
        self.assertEqual(gateway.quota(), PLENTY)

    def test_stream_without_content(self) -> None:
        """A head, keep-alives and an empty delta are no content; it moves on."""
        gateway = self.gateway()
        gateway.channel(stream(), stream(), settings=self.SLOW, priority=9)
        gateway.channel(priority=5)
        answer = gateway.chat(stream=True)
        gateway.provider.answers[0].arrived(b": PING\n\n" + delta(""))
        gateway.clock.advance(5)
        self.assertEqual(gateway.provider.sources[0].asked[-1], "abort")
        second = gateway.provider.answers[1]
        second.arrived(delta("hi") + usage_event() + DONE)
        gateway.clock.advance(0)
        self.assertTrue(answer.complete)
        self.assertNotIn(b'"error"', answer.body)
        self.assertEqual(self.served(gateway), [2])

    def test_stream_that_has_begun(self) -> None:
        """Once it speaks it may take its time."""
        gateway = self.gateway()
        gateway.channel(stream(), settings=self.SLOW)
        answer = gateway.chat(stream=True)
        upstream = gateway.provider.answers[0]
        gateway.clock.advance(4)
        upstream.arrived(delta("h"))
        gateway.clock.advance(60)
        upstream.arrived(delta("i") + usage_event() + DONE)
        gateway.clock.advance(0)
        self.assertTrue(answer.complete)
        self.assertEqual(len(gateway.provider.sent), 1)

    def test_whole_answer_that_has_begun(self) -> None:
        """So may one that comes in one piece."""
        from knight_tw.protocols.answer import Answer

        for body, sent in ((b"{", 1), (b"", 2)):
            gateway = self.gateway()
            told = [("content-type", "application/json")]
            begun = Answer(Source(), gateway.clock, 200, told, [])
            slow: Deferred[Answer] = Deferred()
            gateway.channel(slow, chat(), settings=self.SLOW, priority=9)
            answer = gateway.chat()
            slow.callback(begun)
            if body:
                begun.arrived(body)
            gateway.clock.advance(6)
            self.assertEqual(len(gateway.provider.sent), sent)
            self.assertEqual(answer.raw == b"", bool(body))
            answer.leave()

    def test_client_that_leaves_first(self) -> None:
        """Its departure is one, not a timeout."""
        gateway = self.gateway()
        silent = silence()
        gateway.channel(silent, settings=self.SLOW)
        gateway.chat().leave()
        gateway.clock.advance(6)
        self.assertTrue(silent.called)
        self.assertEqual(len(gateway.provider.sent), 1)


class FastLane(Cases, SynchronousTestCase):
    """Calls that our own protocol serves."""


class GeneralLane(Cases, SynchronousTestCase):
    """The same through twisted.web."""

    fast = False


class Counting(SynchronousTestCase):
    """The counts themselves."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.capacity = Capacity(self.clock)

    def channel(self, **settings: Any) -> Channel:
        """A channel with these settings."""
        return Channel(1, 1, "c", 1, ("k",), settings=settings)

    def load(self, channel: Channel) -> int:
        """How many calls fit on the channel now."""
        calls: list[Any] = []
        while not self.capacity.full(channel) and len(calls) < 2000:
            calls.append(type("Call", (), {"seat": None})())
            self.capacity.enter(calls[-1], channel)
        for call in calls:
            self.capacity.leave(call)
        return len(calls)

    def attempt(self, channel: Channel) -> Attempt:
        """An attempt that begins now."""
        self.clock.advance(1)
        return Attempt(channel, 0, "default", self.clock.seconds())

    def test_limits(self) -> None:
        """What settings say, odd values included."""
        for settings, most in (
            ({}, 0),
            ({"max_concurrency": 3}, 3),
            ({"max_concurrency": 0}, 0),
            ({"max_concurrency": -1}, 0),
            ({"max_concurrency": "3"}, 0),
            ({"max_concurrency": None, "adaptive_concurrency": True}, ADAPTIVE_MOST),
            ({"max_concurrency": 3, "adaptive_concurrency": True}, 3),
        ):
            self.assertEqual(limit_of(settings), most, settings)

    def test_limit_moves(self) -> None:
        """Halved by trouble, once for what was under way; up by one per window."""
        channel = self.channel(max_concurrency=8, adaptive_concurrency=True)
        self.assertEqual(self.load(channel), 8)
        together = [self.attempt(channel) for _ in range(3)]
        for attempt in together:
            self.capacity.failed(attempt, RateLimited("x"), 0)
        self.assertEqual(self.load(channel), 4)
        self.capacity.failed(self.attempt(channel), UpstreamTimeout("x"), 0)
        self.capacity.failed(self.attempt(channel), UpstreamRefused("x", status=503), 0)
        self.capacity.failed(self.attempt(channel), UpstreamRefused("x", status=500), 0)
        self.assertEqual(self.load(channel), 1)
        self.capacity.failed(self.attempt(channel), RateLimited("x"), 0)
        self.assertEqual(self.load(channel), 1)
        for limit in (2, 3, 4, 5, 6, 7, 8, 8):
            for _ in range(self.load(channel)):
                self.capacity.answered(self.attempt(channel))
            self.assertEqual(self.load(channel), limit)

    def test_fixed_limits_do_not_move(self) -> None:
        """Trouble changes nothing without the setting."""
        channel = self.channel(max_concurrency=8)
        self.load(channel)
        self.capacity.failed(self.attempt(channel), RateLimited("x"), 0)
        self.capacity.answered(self.attempt(channel))
        self.assertEqual(self.load(channel), 8)

    def test_changed_settings(self) -> None:
        """An administrator's new limit holds at once, calls under way or not."""
        call: Any = type("Call", (), {"seat": None})()
        self.capacity.enter(call, self.channel(max_concurrency=1))
        self.assertTrue(self.capacity.full(self.channel(max_concurrency=1)))
        self.assertFalse(self.capacity.full(self.channel(max_concurrency=2)))
        self.assertFalse(self.capacity.full(self.channel()))
        lower = self.channel(max_concurrency=2, adaptive_concurrency=True)
        self.capacity.failed(self.attempt(lower), RateLimited("x"), 0)
        self.assertTrue(self.capacity.full(lower))

    def test_rests(self) -> None:
        """They end, at the latest after an hour."""
        channel = self.channel()
        table = RoutingTable.build([channel])
        error = RateLimited("x", retry_after=10**9)
        self.capacity.failed(self.attempt(channel), error, 30)
        self.assertEqual(set(self.capacity.resting()), {(1, 0)})
        self.assertTrue(self.capacity.busy(channel, table))
        self.clock.advance(LONGEST_REST + 1)
        self.assertEqual(set(self.capacity.resting()), set())
        self.assertFalse(self.capacity.busy(channel, table))

    def test_leaving_twice(self) -> None:
        """A call gives back one place."""
        channel = self.channel(max_concurrency=2)
        calls: list[Call] = [type("Call", (), {"seat": None})() for _ in range(2)]
        for call in calls:
            self.capacity.enter(call, channel)
        for _ in range(2):
            self.capacity.leave(calls[0])
        self.assertEqual(self.load(channel), 1)
