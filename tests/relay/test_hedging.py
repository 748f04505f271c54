"""A second channel asked beside a silent one, in both lanes: every way it can end."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import UpstreamFailed
from knight_tw.relay.hedging import Budget
from knight_tw.storage import schema
from tests.relay.gateway import (
    DONE,
    KEY,
    PLENTY,
    Gateway,
    Response,
    chat,
    delta,
    question,
    refusal,
    stream,
    usage_event,
    whole,
)

AFTER = {"hedge_after_ms": 500}
PRICE = 38
"""Quota for 10 tokens in and 5 out of gpt-4o."""


class Cases:
    """What holds in both lanes."""

    fast = True

    def gateway(self, *script: Any, channels: int = 2, **settings: Any) -> Gateway:
        """Channels of falling priority, all of which may be hedged."""
        case: Any = self
        gateway = Gateway(case, self.fast, {"ERROR_LOG_ENABLED": "true"})
        gateway.option("relay.hedge_budget_percent", "100")
        for number in range(channels):
            gateway.channel(priority=9 - number, settings=json.dumps(AFTER | settings))
        gateway.provider.script = list(script)
        return gateway

    def silent(self) -> Deferred[Any]:
        """A provider that does not answer yet; cancelling it is not noisy."""
        answer: Deferred[Any] = Deferred()
        return answer

    def asked(self, gateway: Gateway) -> list[str]:
        """The hosts that were asked, in order."""
        return [sent.url.split("/")[2] for sent in gateway.provider.sent]

    def row(self, gateway: Gateway) -> dict[str, Any]:
        """The only row; the balance lacks what it says."""
        case: Any = self
        (row,) = gateway.logs()
        case.assertEqual(gateway.quota(), PLENTY - row["quota"])
        return dict(row)

    def tried(self, row: dict[str, Any]) -> list[str]:
        """The channels of a row."""
        found: list[str] = row["other"]["admin_info"]["use_channel"]
        return found

    def hedges(self, gateway: Gateway) -> dict[str, int]:
        """What the metrics say."""
        return gateway.relaying.meter.hedges

    def text(self, answer: Response) -> str:
        """What a whole answer says."""
        return str(answer.json["choices"][0]["message"]["content"])

    # whole answers --------------------------------------------------------------

    def test_hedge_wins(self) -> None:
        """The second one answers: it is charged, the silent one is cut."""
        first = self.silent()
        gateway = self.gateway(first, chat("second"))
        answer = gateway.chat()
        gateway.clock.advance(0.499)
        self.assertEqual(self.asked(gateway), ["up1.test"])
        gateway.clock.advance(0.001)
        self.assertEqual(self.asked(gateway), ["up1.test", "up2.test"])
        self.assertEqual(self.text(answer), "second")
        self.assertTrue(first.called)
        row = self.row(gateway)
        self.assertEqual((row["channel_id"], row["quota"]), (2, PRICE))
        self.assertEqual(self.tried(row), ["1", "2"])
        self.assertEqual(self.hedges(gateway), {"won": 1})

    def test_primary_wins(self) -> None:
        """The first one answers after all: the hedge is cut and costs nothing."""
        first, second = self.silent(), self.silent()
        gateway = self.gateway(first, second)
        answer = gateway.chat()
        gateway.clock.advance(1)
        first.callback(chat("first")(gateway.provider))
        self.assertEqual(self.text(answer), "first")
        self.assertTrue(second.called)
        row = self.row(gateway)
        self.assertEqual((row["channel_id"], self.tried(row)), (1, ["2", "1"]))
        self.assertEqual(self.hedges(gateway), {"lost": 1})

    def test_in_time(self) -> None:
        """An answer in time has no hedge, and no timer stays behind."""
        first = self.silent()
        gateway = self.gateway(first, chat("second"))
        answer = gateway.chat()
        gateway.clock.advance(0.4)
        first.callback(chat("first")(gateway.provider))
        gateway.clock.advance(1)
        self.assertEqual(self.text(answer), "first")
        self.assertEqual(self.asked(gateway), ["up1.test"])
        self.assertEqual(self.tried(self.row(gateway)), ["1"])
        self.assertEqual(self.hedges(gateway), {})

    def test_at_once(self) -> None:
        """Neither has one that was there at once."""
        gateway = self.gateway(chat("first"))
        self.assertEqual(self.text(gateway.chat()), "first")
        gateway.clock.advance(1)
        self.assertEqual(self.asked(gateway), ["up1.test"])

    def test_body_on_its_way(self) -> None:
        """A whole answer whose head is here has spoken."""
        first = self.silent()
        gateway = self.gateway(first, chat("second"))
        gateway.chat()
        slow = stream()(gateway.provider)
        slow.headers = [("content-type", "application/json")]
        first.callback(slow)
        gateway.clock.advance(1)
        self.assertEqual(self.asked(gateway), ["up1.test"])
        slow.abort()

    # failures -------------------------------------------------------------------

    def test_hedge_fails(self) -> None:
        """A hedge that fails leaves the race to the first one."""
        first = self.silent()
        gateway = self.gateway(first, refusal(500))
        answer = gateway.chat()
        gateway.clock.advance(0.5)
        self.assertFalse(answer.raw)
        first.callback(chat("first")(gateway.provider))
        self.assertEqual(self.text(answer), "first")
        self.assertEqual(self.row(gateway)["channel_id"], 1)
        failed = gateway.relaying.meter.channels[2]
        self.assertEqual((failed.failed, failed.ok), (1, 0))

    def test_primary_fails(self) -> None:
        """A first one that fails late leaves it to the hedge, without a retry."""
        first, second = self.silent(), self.silent()
        gateway = self.gateway(first, second)
        answer = gateway.chat()
        gateway.clock.advance(0.5)
        first.errback(UpstreamFailed("upstream request failed"))
        self.assertFalse(answer.raw)
        second.callback(chat("second")(gateway.provider))
        self.assertEqual(self.text(answer), "second")
        row = self.row(gateway)
        self.assertEqual(self.tried(row), ["1", "2"])
        self.assertEqual(gateway.relaying.meter.channels[1].failed, 1)

    def test_both_fail(self) -> None:
        """The last failure is the client's, once, and nothing is charged."""
        first, second = self.silent(), self.silent()
        gateway = self.gateway(first, second)
        answer = gateway.chat()
        gateway.clock.advance(0.5)
        first.callback(refusal(503, "busy")(gateway.provider))
        second.callback(refusal(500, "broken")(gateway.provider))
        self.assertEqual(answer.status, 500)
        self.assertIn("broken", answer.error["message"])
        self.assertEqual(gateway.logs(), [])
        (row,) = gateway.logs(5)
        self.assertEqual(self.tried(row), ["1", "2"])
        self.assertEqual(gateway.quota(), PLENTY)
        self.assertEqual(self.hedges(gateway), {"lost": 1})

    def test_retry_after_both(self) -> None:
        """With retries left a third channel is tried, without a hedge of its own."""
        first, second, third = self.silent(), self.silent(), self.silent()
        gateway = self.gateway(first, second, third, channels=4)
        gateway.option("RetryTimes", "1")
        answer = gateway.chat()
        gateway.clock.advance(0.5)
        second.callback(refusal(500)(gateway.provider))
        first.callback(refusal(500)(gateway.provider))
        gateway.clock.advance(5)
        self.assertEqual(self.asked(gateway), ["up1.test", "up2.test", "up3.test"])
        third.callback(chat("third")(gateway.provider))
        self.assertEqual(self.text(answer), "third")
        self.assertEqual(self.tried(self.row(gateway)), ["2", "1", "3"])

    def test_failure_in_time(self) -> None:
        """A first one that fails in time is retried as ever, and may be hedged then."""
        first, second = self.silent(), self.silent()
        gateway = self.gateway(first, second, chat("third"), channels=3)
        gateway.option("RetryTimes", "1")
        answer = gateway.chat()
        gateway.clock.advance(0.3)
        first.callback(refusal(500)(gateway.provider))
        gateway.clock.advance(0.3)
        self.assertEqual(self.asked(gateway), ["up1.test", "up2.test"])
        gateway.clock.advance(0.2)
        self.assertEqual(self.text(answer), "third")
        self.assertEqual(self.tried(self.row(gateway)), ["1", "2", "3"])

    def test_final_failure(self) -> None:
        """What no other channel may cure ends the race at once."""
        first, second = self.silent(), self.silent()
        gateway = self.gateway(first, second)
        answer = gateway.chat()
        gateway.clock.advance(0.5)
        first.callback(refusal(400, "too long")(gateway.provider))
        self.assertEqual(answer.status, 400)
        self.assertTrue(second.called)
        self.assertEqual(gateway.quota(), PLENTY)

    # streams ----------------------------------------------------------------------

    def ask_stream(self, gateway: Gateway) -> Response:
        """A stream with its usage."""
        return gateway.chat(stream=True, stream_options={"include_usage": True})

    def test_first_content_wins(self) -> None:
        """Of two open streams the first with content is the client's; heads say
        nothing, and what the other one held is lost."""
        gateway = self.gateway(stream(), stream())
        answer = self.ask_stream(gateway)
        first = gateway.provider.answers[0]
        role = {"index": 0, "delta": {"role": "assistant"}}
        first.arrived(delta(choices=[role]))
        gateway.clock.advance(0.5)
        second = gateway.provider.answers[1]
        second.arrived(delta("from two"))
        self.assertEqual(gateway.provider.sources[0].asked, ["abort"])
        second.arrived(usage_event() + DONE)
        self.assertIn(b"from two", answer.body)
        self.assertNotIn(b"role", answer.body)
        self.assertTrue(answer.complete)
        row = self.row(gateway)
        self.assertEqual((row["channel_id"], row["quota"]), (2, PRICE))
        self.assertEqual(row["other"]["stream_status"]["end_reason"], "done")
        self.assertEqual(gateway.relaying.meter.interrupted, {})
        self.assertEqual(gateway.relaying.meter.streams, 0)

    def test_primary_stream_wins(self) -> None:
        """The other way round; an id of the hedge's never shows."""
        gateway = self.gateway(stream(), stream())
        answer = self.ask_stream(gateway)
        gateway.clock.advance(0.5)
        first, second = gateway.provider.answers
        second.arrived(b": comment\n\n")
        first.arrived(delta("one"))
        self.assertEqual(gateway.provider.sources[1].asked, ["abort"])
        first.arrived(usage_event() + DONE)
        self.assertTrue(answer.complete)
        self.assertEqual(self.row(gateway)["channel_id"], 1)

    def test_stream_breaks_off(self) -> None:
        """A winner that breaks off is charged for what came, and nothing is retried."""
        gateway = self.gateway(stream(), stream())
        answer = self.ask_stream(gateway)
        gateway.clock.advance(0.5)
        second = gateway.provider.answers[1]
        second.arrived(delta("hello there"))
        second.finished(UpstreamFailed("cut"))
        self.assertIn(b'"error"', answer.body)
        row = self.row(gateway)
        self.assertEqual(row["other"]["interrupted"]["by"], "provider")
        self.assertEqual(row["other"]["evidence"], "counted")
        self.assertEqual(self.asked(gateway), ["up1.test", "up2.test"])

    def test_nothing_to_say(self) -> None:
        """A stream that ends in order without content wins by its end."""
        gateway = self.gateway(stream(), stream())
        answer = self.ask_stream(gateway)
        gateway.clock.advance(0.5)
        gateway.provider.answers[1].arrived(DONE)
        self.assertTrue(answer.complete)
        row = self.row(gateway)
        self.assertEqual(row["channel_id"], 2)
        self.assertEqual(row["other"]["stream_status"]["end_reason"], "done")

    def test_slow_reader(self) -> None:
        """The client's slowness pauses the winner."""
        gateway = self.gateway(stream(), stream())
        answer = self.ask_stream(gateway)
        gateway.clock.advance(0.5)
        gateway.provider.answers[1].arrived(delta("x"))
        producer = answer.transport.producer
        producer.pauseProducing()
        self.assertEqual(gateway.provider.sources[1].asked[-1], "pause")
        producer.resumeProducing()
        self.assertEqual(gateway.provider.sources[1].asked[-1], "resume")
        gateway.provider.answers[1].arrived(usage_event() + DONE)

    def test_converted_streams(self) -> None:
        """A Claude client on chat channels: one whole sequence of events."""
        gateway = self.gateway(stream(), stream())
        body = {
            "model": "gpt-4o",
            "max_tokens": 50,
            "stream": True,
            "messages": [{"role": "user", "content": "x"}],
        }
        answer = gateway.request("/v1/messages", body)
        gateway.clock.advance(0.5)
        gateway.provider.answers[1].arrived(delta("yes") + usage_event() + DONE)
        self.assertEqual(answer.body.count(b"event: message_start"), 1)
        self.assertEqual(answer.body.count(b"event: message_stop"), 1)
        self.assertEqual(self.row(gateway)["channel_id"], 2)

    # clients that leave -----------------------------------------------------------

    def test_client_leaves_before_the_hedge(self) -> None:
        """Nothing is asked any more, nothing is charged."""
        first = self.silent()
        gateway = self.gateway(first, chat())
        answer = gateway.chat()
        answer.leave()
        gateway.clock.advance(1)
        self.assertTrue(first.called)
        self.assertEqual(self.asked(gateway), ["up1.test"])
        self.assertEqual(gateway.quota(), PLENTY)

    def test_client_leaves_during_the_race(self) -> None:
        """Both are cut, nothing is charged."""
        first, second = self.silent(), self.silent()
        gateway = self.gateway(first, second)
        answer = gateway.chat()
        gateway.clock.advance(0.5)
        answer.leave()
        self.assertTrue(first.called and second.called)
        self.assertEqual(gateway.logs(), [])
        self.assertEqual(gateway.quota(), PLENTY)

    def test_client_leaves_a_winner(self) -> None:
        """What came is charged, once, and the winner is closed."""
        gateway = self.gateway(stream(), stream())
        answer = self.ask_stream(gateway)
        gateway.clock.advance(0.5)
        gateway.provider.answers[1].arrived(delta("hello there"))
        answer.leave()
        self.assertEqual(gateway.provider.sources[1].asked[-1], "abort")
        row = self.row(gateway)
        self.assertEqual((row["channel_id"], row["completion_tokens"]), (2, 2))
        self.assertEqual(row["other"]["interrupted"]["by"], "client")
        meter = gateway.relaying.meter
        self.assertEqual(meter.interrupted, {("client", "delivered"): 1})

    def test_free_policy(self) -> None:
        """Under the policy `free` an interrupted winner costs nothing."""
        gateway = self.gateway(stream(), stream(), interrupt_policy="free")
        answer = self.ask_stream(gateway)
        gateway.clock.advance(0.5)
        gateway.provider.answers[1].arrived(delta("hello there"))
        answer.leave()
        self.assertEqual(gateway.logs(), [])
        self.assertEqual(gateway.quota(), PLENTY)

    def test_draining_call(self) -> None:
        """A call whose client has left runs on, but is not hedged any more."""
        first = self.silent()
        gateway = self.gateway(first, chat("second"), interrupt_policy="drain")
        answer = gateway.chat()
        answer.leave()
        gateway.clock.advance(1)
        self.assertEqual(self.asked(gateway), ["up1.test"])
        first.callback(chat("first")(gateway.provider))
        row = self.row(gateway)
        self.assertEqual(row["other"]["interrupted"]["policy"], "drain")

    # where there is no hedge --------------------------------------------------------

    def quiet(self, gateway: Gateway, answer: Response) -> None:
        """Nobody else is asked."""
        case: Any = self
        gateway.clock.advance(5)
        case.assertEqual(len(gateway.provider.sent), 1)
        answer.leave()

    def test_no_other_channel(self) -> None:
        """The same channel is not asked twice, neither is one whose key rests or that
        is full."""
        gateway = self.gateway(self.silent(), channels=1)
        self.quiet(gateway, gateway.chat())

    def test_full_channel(self) -> None:
        """A channel that is full is not asked."""
        gateway = self.gateway(self.silent(), chat(), max_concurrency=1)
        held = gateway.chat()
        gateway.provider.script = [self.silent(), self.silent()]
        other = gateway.chat()
        self.assertEqual(self.asked(gateway), ["up1.test", "up2.test"])
        gateway.clock.advance(5)
        self.assertEqual(len(gateway.provider.sent), 2)
        held.leave()
        other.leave()

    def test_resting_channel(self) -> None:
        """One whose key rests is not, either."""
        gateway = self.gateway(refusal(429), chat())
        gateway.option("relay.channel_cooldown_seconds", "60")
        gateway.chat()
        gateway.provider.script = [self.silent(), self.silent()]
        answer = gateway.chat()
        self.assertEqual(self.asked(gateway)[-1], "up2.test")
        gateway.clock.advance(5)
        self.assertEqual(len(gateway.provider.sent), 2)
        answer.leave()

    def test_channel_without_the_setting(self) -> None:
        """The setting is the silent channel's own."""
        gateway = self.gateway(self.silent(), chat(), hedge_after_ms=0)
        self.quiet(gateway, gateway.chat())

    def test_option_off(self) -> None:
        """No percent, no hedge."""
        gateway = self.gateway(self.silent(), chat())
        gateway.done(gateway.db.run(_percent, "0"))
        gateway.done(gateway.snapshots.reload())
        self.quiet(gateway, gateway.chat())

    def test_pinned(self) -> None:
        """A caller who named the channel gets it alone."""
        gateway = self.gateway(self.silent(), chat())
        self.quiet(gateway, gateway.request(body=question(), key=f"sk-{KEY}-1"))

    def test_conversation_that_must_not_move(self) -> None:
        """Neither is one whose rule would rather fail than move."""
        gateway = self.gateway(chat())
        source = {"type": "request_header", "key": "X-Talk"}
        rule = {
            "name": "r",
            "model_regex": [".*"],
            "key_sources": [source],
            "skip_retry_on_failure": True,
        }
        gateway.option("channel_affinity_setting.rules", json.dumps([rule]))
        gateway.request(body=question(), headers={"X-Talk": "1"})
        gateway.provider.script = [self.silent(), chat()]
        gateway.provider.sent.clear()
        talk = gateway.request(body=question(), headers={"X-Talk": "1"})
        self.quiet(gateway, talk)

    def test_work_that_is_not_done_twice(self) -> None:
        """Requests that act somewhere, or are tied to one provider."""
        mcp = [{"type": "mcp", "server_url": "https://x.test"}]
        for members in (
            {"tools": mcp},
            {"background": True},
            {"previous_response_id": "r"},
            {"conversation": "c"},
        ):
            gateway = self.gateway(self.silent(), chat())
            body = {"model": "gpt-4o", "input": "x", **members}
            self.quiet(gateway, gateway.request("/v1/responses", body))

    def test_pictures(self) -> None:
        """Pictures are not painted twice."""
        gateway = self.gateway(self.silent(), chat())
        body = {"model": "gpt-4o", "prompt": "x"}
        gateway.option("SelfUseModeEnabled", "true")
        self.quiet(gateway, gateway.request("/v1/images/generations", body))

    def test_budget(self) -> None:
        """The first is free; then there is one in so many calls."""
        gateway = self.gateway(chat())
        gateway.done(gateway.db.run(_percent, "25"))
        gateway.done(gateway.snapshots.reload())
        hedged = []
        for _ in range(12):
            gateway.provider.script = [self.silent(), chat()]
            gateway.provider.sent.clear()
            answer = gateway.chat()
            gateway.clock.advance(0.5)
            hedged.append(len(gateway.provider.sent) == 2)
            answer.leave()
        self.assertEqual(hedged.count(True), 4)
        self.assertTrue(hedged[0])

    # capacity ---------------------------------------------------------------------

    def test_places(self) -> None:
        """A hedge takes a place of its own, and every place is given back."""
        for winner in (0, 1):
            answers = [self.silent(), self.silent()]
            gateway = self.gateway(*answers, max_concurrency=1)
            gateway.chat()
            gateway.clock.advance(0.5)
            capacity = gateway.relaying.relay._choosing._capacity
            loads = [load.calls for load in capacity._loads.values()]
            self.assertEqual(loads, [1, 1])
            answers[winner].callback(chat()(gateway.provider))
            loads = [load.calls for load in capacity._loads.values()]
            self.assertEqual(loads, [0, 0])

    def test_places_of_streams(self) -> None:
        """The one that was outrun has its place free while the stream goes on."""
        for winner in (0, 1):
            gateway = self.gateway(stream(), stream(), max_concurrency=1)
            answer = self.ask_stream(gateway)
            gateway.clock.advance(0.5)
            gateway.provider.answers[winner].arrived(delta("x"))
            capacity = gateway.relaying.relay._choosing._capacity
            loads = [load.calls for load in capacity._loads.values()]
            self.assertEqual(loads, [1, 0] if winner == 0 else [0, 1])
            answer.leave()
            self.assertEqual(sum(x.calls for x in capacity._loads.values()), 0)

    def test_places_of_failures(self) -> None:
        """They are given back when a racer fails, too, or the client leaves."""
        for act in ("first", "second", "leave"):
            answers = [self.silent(), self.silent()]
            gateway = self.gateway(*answers, max_concurrency=1)
            answer = gateway.chat()
            gateway.clock.advance(0.5)
            capacity = gateway.relaying.relay._choosing._capacity
            if act == "leave":
                answer.leave()
                expected = [0, 0]
            else:
                place = 0 if act == "first" else 1
                answers[place].callback(refusal(500)(gateway.provider))
                expected = [0, 1] if place == 0 else [1, 0]
            loads = [load.calls for load in capacity._loads.values()]
            self.assertEqual(loads, expected, act)
            answer.leave()
            self.assertEqual(sum(x.calls for x in capacity._loads.values()), 0)

    def test_cool_down_of_a_racer(self) -> None:
        """A racer that is told to slow down rests, although the call succeeds."""
        first = self.silent()
        gateway = self.gateway(first, chat("second"))
        gateway.option("relay.channel_cooldown_seconds", "60")
        gateway.provider.script = [first, Deferred()]
        answer = gateway.chat()
        gateway.clock.advance(0.5)
        first.callback(refusal(429)(gateway.provider))
        gateway.provider.script = [chat()]
        gateway.chat()
        self.assertEqual(self.asked(gateway)[-1], "up2.test")
        answer.leave()

    # what the row says ----------------------------------------------------------------

    def test_explained(self) -> None:
        """The record names the draw, and the attempt that was cut."""
        gateway = self.gateway(self.silent(), chat())
        gateway.chat()
        gateway.clock.advance(0.5)
        told = self.row(gateway)["other"]["admin_info"]["explain"]
        self.assertEqual(
            [(d["chosen"], d.get("by", "")) for d in told["draws"]],
            [(1, ""), (2, "hedge")],
        )
        tried = [(a["channel"], a["status"], a["code"]) for a in told["attempts"]]
        self.assertEqual(tried, [(1, 0, "outrun"), (2, 200, "")])

    def test_what_was_lost(self) -> None:
        """The header and the row name what the winner's request lost."""
        gateway = self.gateway(self.silent(), chat())
        body = {
            "model": "gpt-4o",
            "max_tokens": 9,
            "top_k": 5,
            "messages": [{"role": "user", "content": "x"}],
        }
        answer = gateway.request("/v1/messages", body)
        gateway.clock.advance(0.5)
        self.assertIn("top_k", answer.head["x-knight-dropped-params"])
        self.assertEqual(self.row(gateway)["other"]["dropped_params"], ["top_k"])

    def test_times(self) -> None:
        """Waiting for the provider is not ours, also over two of them."""
        first = self.silent()
        second = self.silent()
        gateway = self.gateway(first, second)
        gateway.chat()
        gateway.clock.advance(0.5)
        gateway.clock.advance(0.25)
        second.callback(chat()(gateway.provider))
        row = self.row(gateway)
        self.assertEqual(row["other"]["frt"], 750)
        (times,) = gateway.relaying.meter.times.values()
        self.assertEqual(round(times.overhead.total, 3), 0.0)

    def test_answer_without_usage(self) -> None:
        """What a winner does not report is counted, once."""
        said = {"choices": [{"message": {"content": "hello there"}, "index": 0}]}
        gateway = self.gateway(self.silent(), whole(said))
        gateway.chat()
        gateway.clock.advance(0.5)
        row = self.row(gateway)
        self.assertEqual(row["other"]["evidence"], "counted")
        self.assertEqual(row["completion_tokens"], 2)


def _percent(connection: Any, text: str) -> None:
    table = schema.options
    key = table.c.key == "relay.hedge_budget_percent"
    connection.execute(table.update().where(key).values(value=text))


class FastTests(Cases, SynchronousTestCase):
    """In the fast lane."""


class GeneralTests(Cases, SynchronousTestCase):
    """In the general lane."""

    fast = False


class BudgetTests(SynchronousTestCase):
    """What may be saved up."""

    def test_at_most_ten(self) -> None:
        """A long time without hedges does not lead to a flood of them."""
        budget = Budget()
        for _ in range(10_000):
            budget.earn(50)
        spent = 0
        while budget.enough:
            budget.spend()
            spent += 1
        self.assertEqual(spent, 10)
