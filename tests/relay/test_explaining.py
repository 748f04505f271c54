"""The decision records of calls, in both lanes."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import __version__
from knight_tw.accounts.callers import Callers
from tests.relay.gateway import (
    DONE,
    KEY,
    Gateway,
    Sent,
    chat,
    delta,
    question,
    refusal,
    stream,
    usage_event,
)

PARTS = {"queue", "auth", "hold", "connect", "first_byte", "stream", "settle"}


class Cases:
    """What holds in both lanes."""

    fast = True

    def gateway(self) -> Gateway:
        """A fresh gateway."""
        case: Any = self
        return Gateway(case, self.fast)

    def told(self, gateway: Gateway, kind: int = 2) -> dict[str, Any]:
        """The record in the latest row."""
        admin = gateway.logs(kind)[-1]["other"]["admin_info"]
        record: dict[str, Any] = admin["explain"]
        return record

    def test_members(self) -> None:
        """A record has the members of its specification."""
        gateway = self.gateway()
        gateway.channel(chat())
        gateway.chat()
        told = self.told(gateway)
        self.assertEqual(
            set(told), {"candidates", "draws", "attempts", "times", "losses"}
        )
        self.assertEqual(told["candidates"], [{"channel": 1, "tier": 0, "weight": 0}])
        self.assertEqual(told["draws"], [{"tier": 0, "seed": None, "chosen": 1}])
        self.assertEqual(set(told["times"]), PARTS)
        (attempt,) = told["attempts"]
        self.assertEqual(attempt["status"], 200)
        self.assertEqual(attempt["upstream_model"], "gpt-4o")
        self.assertEqual(told["losses"], [])

    def test_off(self) -> None:
        """With the option off there is none."""
        gateway = self.gateway()
        gateway.option("relay.explain_record", "false")
        gateway.channel(chat())
        gateway.chat()
        (row,) = gateway.logs()
        self.assertNotIn("explain", row["other"]["admin_info"])

    def test_draw_by_weight(self) -> None:
        """The number that decided stands beside the weights, and leads to the same."""
        gateway = self.gateway()
        gateway.channel(chat(), weight=3)
        gateway.channel(weight=1)
        for _ in range(8):
            gateway.chat()
            told = self.told(gateway)
            self.assertEqual([c["weight"] for c in told["candidates"]], [3, 1])
            (draw,) = told["draws"]
            self.assertEqual(draw["chosen"], 1 if draw["seed"] < 0.75 else 2)

    def test_retry(self) -> None:
        """Each draw and attempt, with its tier, status and code."""
        gateway = self.gateway()
        gateway.option("RetryTimes", "1")
        gateway.channel(refusal(503), chat(), priority=9)
        gateway.channel(priority=5)
        gateway.chat()
        told = self.told(gateway)
        self.assertEqual([d["tier"] for d in told["draws"]], [0, 1])
        tried = [(a["channel"], a["status"], a["code"]) for a in told["attempts"]]
        self.assertEqual(tried, [(1, 503, "c"), (2, 200, "")])

    def test_failed_call(self) -> None:
        """The row of a failed call has its record, too."""
        gateway = Gateway(self, self.fast, {"ERROR_LOG_ENABLED": "true"})  # type: ignore[arg-type]
        gateway.channel(refusal(500))
        gateway.chat()
        told = self.told(gateway, 5)
        self.assertEqual(told["attempts"][0]["status"], 500)
        self.assertIsNone(told["times"]["settle"])

    def test_left_out(self) -> None:
        """Candidates that were full or rested are told apart."""
        gateway = self.gateway()
        gateway.option("relay.channel_cooldown_seconds", "60")
        gateway.option("RetryTimes", "1")
        gateway.channel(
            refusal(429), chat(), priority=9, settings='{"max_concurrency": 1}'
        )
        gateway.channel(priority=5, settings='{"max_concurrency": 1}')
        gateway.chat()
        gateway.chat()
        first, second = self.told(gateway)["candidates"]
        self.assertEqual((first["excluded"], "excluded" in second), ("resting", False))
        gateway.provider.script = [Deferred(), chat()]
        gateway.chat()
        busy = gateway.chat()
        self.assertEqual(busy.status, 200)
        found = self.told(gateway)["candidates"]
        self.assertEqual(found[1]["excluded"], "full")

    def test_conversation(self) -> None:
        """A channel that the conversation chose was not drawn."""
        gateway = self.gateway()
        source = {"type": "request_header", "key": "X-Talk"}
        rule = {"name": "r", "model_regex": [".*"], "key_sources": [source]}
        gateway.option("channel_affinity_setting.rules", json.dumps([rule]))
        gateway.channel(chat())
        for _ in range(2):
            gateway.request(body=question(), headers={"X-Talk": "1"})
        (draw,) = self.told(gateway)["draws"]
        self.assertEqual((draw["chosen"], draw["by"]), (1, "affinity"))

    def test_pinned(self) -> None:
        """Neither was a channel that the caller named."""
        gateway = self.gateway()
        gateway.channel(chat())
        self.assertEqual(
            gateway.request(body=question(), key=f"sk-{KEY}-1").status, 200
        )
        (draw,) = self.told(gateway)["draws"]
        self.assertEqual((draw["chosen"], draw["by"]), (1, "pinned"))

    def test_times(self) -> None:
        """Waiting for the provider and its stream are told apart, in microseconds."""
        gateway = self.gateway()
        answer: Deferred[Any] = Deferred()
        gateway.channel(answer)
        gateway.chat(stream=True)
        gateway.clock.advance(0.5)
        provided = stream()(gateway.provider)
        answer.callback(provided)
        gateway.clock.advance(0.25)
        provided.arrived(delta("x") + usage_event() + DONE)
        times = self.told(gateway)["times"]
        self.assertEqual(times["first_byte"], 500_000)
        self.assertEqual(times["stream"], 250_000)
        self.assertEqual((times["queue"], times["hold"], times["settle"]), (0, 0, 0))
        self.assertIsNone(times["connect"])

    def test_losses(self) -> None:
        """What the request lost on the way is named."""
        gateway = self.gateway()
        gateway.channel(chat(), models="claude-x")
        gateway.option("SelfUseModeEnabled", "true")
        body = {
            "model": "claude-x",
            "max_tokens": 9,
            "top_k": 5,
            "messages": [{"role": "user", "content": "x"}],
        }
        self.assertEqual(gateway.request("/v1/messages", body).status, 200)
        self.assertIn("top_k", self.told(gateway)["losses"])

    def test_many_candidates(self) -> None:
        """The foremost sixteen are named."""
        gateway = self.gateway()
        gateway.channel(chat())
        for number in range(20):
            gateway.channel(priority=number)
        gateway.chat()
        found = self.told(gateway)["candidates"]
        self.assertEqual(len(found), 16)
        self.assertEqual([found[0]["channel"], found[0]["tier"]], [21, 0])

    def test_changed_channels(self) -> None:
        """After a change of the channels the record is of the new ones."""
        gateway = self.gateway()
        gateway.channel(chat())
        gateway.chat()
        gateway.channel()
        gateway.chat()
        self.assertEqual(len(self.told(gateway)["candidates"]), 2)

    def test_polling_keys(self) -> None:
        """A key taken in turn or by chance is not mistaken for the channel's draw."""
        gateway = self.gateway()
        state = {"is_multi_key": True, "multi_key_size": 2, "multi_key_mode": "random"}
        gateway.channel(chat(), key="a\nb", channel_info=json.dumps(state))
        gateway.chat()
        told = self.told(gateway)
        self.assertIsNone(told["draws"][0]["seed"])
        sent: Sent = gateway.provider.sent[0]
        used = "ab"[told["attempts"][0]["key_index"]]
        self.assertEqual(sent.headers["authorization"], f"Bearer {used}")

    # the version ----------------------------------------------------------------

    def test_version_header(self) -> None:
        """Answers name our version only when the option is on, refusals too."""
        gateway = self.gateway()
        gateway.channel(chat())
        self.assertNotIn("x-knight-version", gateway.chat().head)
        gateway.option("relay.version_header", "true")
        refused = gateway.request(body=question(), key="sk-wrong")
        for answer in (gateway.chat(), refused):
            self.assertEqual(answer.head["x-knight-version"], __version__)


class FastTests(Cases, SynchronousTestCase):
    """In the fast lane."""


class GeneralTests(Cases, SynchronousTestCase):
    """In the general lane."""

    fast = False


class SlowCallers:
    """Callers that must be waited for."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self.waited: Deferred[Any] = Deferred()

    def admit(self, *credential: Any) -> Deferred[Any]:
        """Who it is, once that is known."""
        return self.waited.addCallback(lambda _: self._callers.admit(*credential))


class AuthTests(SynchronousTestCase):
    """What the record says of the credential."""

    def test_waited_for(self) -> None:
        """The time that the database took is told apart from the queue."""
        gateway = Gateway(self)
        gateway.channel(chat())
        slow = SlowCallers(gateway.callers)
        surface: Any = gateway.relaying.surface
        surface._callers = slow
        gateway.chat()
        gateway.clock.advance(0.02)
        slow.waited.callback(None)
        told = gateway.logs()[0]["other"]["admin_info"]["explain"]
        self.assertEqual(told["times"]["auth"], 20_000)
        self.assertEqual(told["times"]["queue"], 0)
