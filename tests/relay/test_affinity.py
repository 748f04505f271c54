"""Conversations that stay on one channel, in both lanes."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.cache import MemoryCache
from knight_tw.relay.affinity import Affinity
from knight_tw.routing_affinity import rules_of
from knight_tw.storage import schema
from tests.relay.gateway import (
    KEY,
    Gateway,
    Response,
    chat,
    question,
    refusal,
    stream,
    whole,
)

RULES = "channel_affinity_setting.rules"
BY_HEADER = {
    "name": "by header",
    "model_regex": [".*"],
    "key_sources": [{"type": "request_header", "key": "X-Talk"}],
}


class Cases:
    """What holds in both lanes."""

    fast = True

    def gateway(self, **members: Any) -> Gateway:
        """Two channels, and a rule by the header `X-Talk`."""
        case: Any = self
        gateway = Gateway(case, self.fast)
        gateway.option(RULES, json.dumps([BY_HEADER | members]))
        gateway.option("RetryTimes", "1")
        gateway.channel(priority=9)
        gateway.channel(priority=5)
        gateway.provider.script = [chat()]
        return gateway

    def talk(self, gateway: Gateway, name: str = "1", **members: Any) -> Response:
        """A call of a conversation."""
        return gateway.request(body=question(**members), headers={"X-Talk": name})

    def served(self, gateway: Gateway) -> list[int]:
        """The channels that served, by the log."""
        return [row["channel_id"] for row in gateway.logs()]

    def told(self, gateway: Gateway) -> dict[str, Any]:
        """What the latest row says of the affinity."""
        found: dict[str, Any] = gateway.logs()[-1]["other"]["admin_info"]
        return dict(found["channel_affinity"])

    def move(self, gateway: Gateway) -> None:
        """The next call's first attempt fails, the retry succeeds on channel 2."""
        gateway.provider.script = [refusal(500), chat()]

    def test_stays_where_it_was_served(self) -> None:
        """A conversation goes on on the channel that served, others are drawn."""
        gateway = self.gateway()
        self.move(gateway)
        for name in ("1", "1", "2"):
            self.assertEqual(self.talk(gateway, name).status, 200)
        self.assertEqual(self.served(gateway), [2, 2, 1])

    def test_row_says_why(self) -> None:
        """The log row names the rule and the channel, and not the value."""
        gateway = self.gateway()
        self.talk(gateway, "private")
        first = self.told(gateway)
        self.talk(gateway, "private")
        second = self.told(gateway)
        self.assertEqual((first["channel_id"], first["used"]), (0, False))
        self.assertEqual((second["channel_id"], second["used"]), (1, True))
        self.assertEqual(second["rule_name"], "by header")
        self.assertEqual(len(second["key_fp"]), 8)
        self.assertNotIn("private", json.dumps(gateway.logs()))

    def test_usage_is_summed(self) -> None:
        """What the conversation's calls were charged by, under what the row says."""
        gateway = self.gateway()
        self.talk(gateway)
        self.talk(gateway)
        gateway.chat()
        told = self.told_first(gateway)
        names = told["rule_name"], told["using_group"], told["key_fp"]
        sums = gateway.done(gateway.relaying.affinity.usage.sums(*names))
        self.assertEqual((sums["total"], sums["total_tokens"]), (2, 30))

    def told_first(self, gateway: Gateway) -> dict[str, Any]:
        """What the first row says of the affinity."""
        found: dict[str, Any] = gateway.logs()[0]["other"]["admin_info"]
        return dict(found["channel_affinity"])

    def test_other_processes_forget_too(self) -> None:
        """What one process was told to forget, all forget."""
        gateway = self.gateway()
        for ref in ("", "by header"):
            self.talk(gateway)
            gateway.done(gateway.snapshots.changed("affinity", ref))
            rules = rules_of(gateway.snapshots.options)
            entries = gateway.relaying.affinity.entries
            left = gateway.done(entries.counts(rules)).total
            self.assertEqual(left, 1 if ref else 0)  # its keys do not name the rule

    def test_calls_without_a_rule_say_nothing(self) -> None:
        """Their rows have no affinity, their routing none either."""
        gateway = self.gateway()
        gateway.chat()
        (row,) = gateway.logs()
        self.assertNotIn("channel_affinity", row["other"]["admin_info"])

    def test_entry_ends(self) -> None:
        """After the rule's time the conversation is drawn anew."""
        gateway = self.gateway(ttl_seconds=60)
        self.move(gateway)
        self.talk(gateway)
        gateway.clock.advance(59)
        self.talk(gateway)
        gateway.clock.advance(61)
        self.talk(gateway)
        self.assertEqual(self.served(gateway), [2, 2, 1])

    def test_failed_calls_are_not_remembered(self) -> None:
        """Only a channel that answered is."""
        gateway = self.gateway()
        gateway.provider.script = [refusal(400)]
        self.talk(gateway)
        gateway.provider.script = [chat()]
        self.talk(gateway)
        self.assertEqual(self.told(gateway)["channel_id"], 0)

    def test_skip_retry_only_on_the_remembered_channel(self) -> None:
        """The rule's wish to fail rather than move holds once it was really used."""
        gateway = self.gateway(skip_retry_on_failure=True)
        self.move(gateway)
        self.assertEqual(self.talk(gateway).status, 200)
        gateway.provider.script = [refusal(500), chat()]
        self.assertEqual(self.talk(gateway).status, 500)
        self.assertEqual(len(gateway.provider.sent), 3)

    def test_switch_on_success(self) -> None:
        """A retry that succeeds elsewhere moves the conversation, if so wished."""
        for option, last in (("true", 1), ("false", 2)):
            gateway = self.gateway()
            gateway.option("channel_affinity_setting.switch_on_success", option)
            gateway.option("relay.retry_tier_mode", "exhaust")
            self.move(gateway)
            self.talk(gateway)
            gateway.provider.script = [refusal(500), chat()]
            self.talk(gateway)
            self.talk(gateway)
            self.assertEqual(self.served(gateway), [2, 1, last], option)

    def test_channel_out_of_service(self) -> None:
        """Its entry is forgotten, or kept until it is back, as the option says."""
        for option, last in (("false", 1), ("true", 2)):
            gateway = self.gateway()
            gateway.option("channel_affinity_setting.keep_on_channel_disabled", option)
            self.move(gateway)
            self.talk(gateway)
            self.disable(gateway, 2, 2)
            self.talk(gateway)
            self.disable(gateway, 2, 1)
            self.talk(gateway)
            self.assertEqual(self.served(gateway), [2, 1, last], option)

    def test_forgotten_at_once(self) -> None:
        """An entry of a channel out of service goes, even if nobody serves then."""
        gateway = self.gateway()
        self.move(gateway)
        self.talk(gateway)
        self.disable(gateway, 2, 2)
        gateway.provider.script = [refusal(400), chat()]
        self.talk(gateway)
        self.disable(gateway, 2, 1)
        self.talk(gateway)
        self.assertEqual(self.served(gateway), [2, 1])

    def disable(self, gateway: Gateway, channel: int, status: int) -> None:
        """Sets a channel's status."""
        table = schema.channels

        def write(connection: Any) -> None:
            changed = table.update().where(table.c.id == channel)
            connection.execute(changed.values(status=status))

        gateway.done(gateway.db.run(write))
        gateway.done(gateway.snapshots.reload())

    def test_another_model(self) -> None:
        """A remembered channel that lacks the model is not asked for it."""
        gateway = self.gateway()
        gateway.channel(models="gpt-4o-mini")
        self.talk(gateway)
        self.talk(gateway, model="gpt-4o-mini")
        self.assertEqual(self.served(gateway), [1, 3])

    def test_pinned_callers(self) -> None:
        """A pin wins, and is no memory."""
        gateway = self.gateway()
        headers = {"X-Talk": "1"}
        gateway.request(body=question(), headers=headers, key=f"sk-{KEY}-2")
        self.talk(gateway)
        self.assertEqual(self.served(gateway), [2, 1])

    def test_template(self) -> None:
        """It goes under the channel's own override, for calls that match."""
        passing = {"mode": "pass_headers", "value": ["X-Talk"], "keep_origin": True}
        template = {"operations": [passing], "top_p": 0.5, "seed": 1}
        gateway = self.gateway(param_override_template=template)
        gateway.channel(priority=20, param_override='{"seed": 2}')
        self.talk(gateway)
        gateway.chat()
        first, second = gateway.provider.sent
        self.assertEqual((first.json["top_p"], first.json["seed"]), (0.5, 2))
        self.assertEqual(first.headers["x-talk"], "1")
        self.assertEqual(second.json["seed"], 2)
        self.assertNotIn("top_p", second.json)

    def test_interrupted_stream(self) -> None:
        """A client that leaves in the middle of an answer comes back to its channel."""
        gateway = self.gateway()
        gateway.provider.script = [refusal(500), stream(), chat()]
        answer = self.talk(gateway, stream=True)
        event = b'data: {"choices":[{"delta":{"content":"a"},"index":0}]}\n\n'
        gateway.provider.answers[-1].arrived(event)
        gateway.clock.advance(0)
        answer.leave()
        self.talk(gateway)
        self.assertEqual(self.served(gateway), [2, 2])

    def test_claude_code(self) -> None:
        """The shipped rule sends the client's own headers along."""
        case: Any = self
        gateway = Gateway(case, self.fast)
        answer = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "hi"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        gateway.option("SelfUseModeEnabled", "true")
        gateway.channel(whole(answer), type=14, models="claude-sonnet-4-5")
        body = question(
            model="claude-sonnet-4-5", max_tokens=9, metadata={"user_id": "u"}
        )
        headers = {"User-Agent": "claude-cli/2", "X-App": "cli", "X-Other": "1"}
        found = gateway.request("/v1/messages", body, headers=headers)
        self.assertEqual(found.status, 200)
        sent = gateway.provider.sent[0].headers
        self.assertEqual((sent["user-agent"], sent["x-app"]), ("claude-cli/2", "cli"))
        self.assertNotIn("x-other", sent)


class FastLane(Cases, SynchronousTestCase):
    """Calls that our own protocol serves."""


class GeneralLane(Cases, SynchronousTestCase):
    """The same through twisted.web."""

    fast = False


class Entries(SynchronousTestCase):
    """Where entries are."""

    def test_memory_is_bounded(self) -> None:
        """Without Redis the option bounds how many there are."""
        gateway = Gateway(self)
        gateway.option(RULES, json.dumps([BY_HEADER]))
        gateway.option("channel_affinity_setting.max_entries", "2")
        gateway.channel(chat())
        for name in ("1", "2", "3", "3", "1"):
            gateway.request(body=question(), headers={"X-Talk": name})
        used = [
            row["other"]["admin_info"]["channel_affinity"]["used"]
            for row in gateway.logs()
        ]
        self.assertEqual(used, [False, False, False, True, False])

    def test_shared_cache(self) -> None:
        """With Redis it is asked, and the call waits for its answer."""

        class Shared(MemoryCache):
            """Answers later."""

            shared = True

        gateway = Gateway(self)
        cache = Shared(gateway.clock)
        asked: list[Deferred[str | None]] = []

        def get(key: str) -> Deferred[str | None]:
            asked.append(Deferred())
            return asked[-1]

        self.patch(Shared, "get", lambda _, key: get(key))
        affinity = Affinity.over(cache, gateway.clock)
        gateway.relaying.surface._relay._choosing._affinity = affinity
        gateway.option(RULES, json.dumps([BY_HEADER]))
        gateway.channel(chat(), priority=9)
        gateway.channel(priority=5)
        answer = gateway.request(body=question(), headers={"X-Talk": "1"})
        self.assertEqual(answer.raw, b"")
        asked[0].callback("2")
        self.assertEqual(answer.status, 200)
        self.assertEqual(gateway.logs()[0]["channel_id"], 2)
