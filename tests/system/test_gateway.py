"""The whole gateway in its own process, used through the real `openai` client."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import openai
from twisted.trial.unittest import SynchronousTestCase

from tests import engines
from tests.system.process import Process
from tests.system.provider import Provider

CHARGE = 38
"""10 tokens in and 5 out of gpt-4o: (10 + 5 * 4) * 1.25 = 37.5, rounded."""

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
HELLO: Any = [{"role": "user", "content": "hello"}]


class Case(SynchronousTestCase):
    """A gateway, two providers behind it, a client in front."""

    kind = "sqlite"
    timeout = 120

    def setUp(self) -> None:
        self.first, self.second = Provider("first"), Provider("second")
        self.addCleanup(self.second.stop)
        folder = Path(self.mktemp()).absolute()
        self.process = Process(folder, self._storage())
        self.addCleanup(self.process.stop)
        self.process.start()
        self.key = self.process.set_up()
        self.process.channel(self.first.url, priority=10)
        self.process.channel(self.second.url, priority=5)
        self.client = openai.OpenAI(
            api_key=self.key, base_url=f"{self.process.url}/v1", max_retries=0
        )
        self.addCleanup(self.client.close)

    def _storage(self) -> dict[str, str]:
        """The variables that name this class's database, and Redis beside a server."""
        if self.kind == "sqlite":
            return {}
        return {
            "SQL_DSN": engines.fresh_database(self.kind),
            "REDIS_CONN_STRING": os.environ.get("KNIGHT_TEST_REDIS", ""),
        }

    def ask(self, **options: Any) -> Any:
        """One chat completion."""
        return self.client.chat.completions.create(
            model="gpt-4o", **{"messages": HELLO, **options}
        )

    def settled(self, count: int) -> list[dict[str, Any]]:
        """The log once it has `count` rows."""
        end = time.monotonic() + 10
        while True:
            rows = self.process.logs()
            if len(rows) >= count or time.monotonic() > end:
                return rows
            time.sleep(0.05)


@engines.for_engines
class Client(Case):
    """What a user with the `openai` client sees."""

    def test_whole_stream_tools_and_failover(self) -> None:
        """Answers, streams, tool calls, charges; a dead channel is passed over."""
        started = self.process.quota()
        self.assertEqual(self.ask().choices[0].message.content, "Hello from first")
        text = "".join(
            chunk.choices[0].delta.content or ""
            for chunk in self.ask(stream=True)
            if chunk.choices
        )
        self.assertEqual(text, "Hello from first")
        called = self.ask(tools=[WEATHER]).choices[0].message
        self.assertEqual(called.tool_calls[0].function.name, "weather")
        result = {"role": "tool", "tool_call_id": "call_1", "content": "21 C"}
        told: Any = [*HELLO, called.model_dump(exclude_none=True), result]
        final = self.ask(messages=told, tools=[WEATHER])
        self.assertEqual(final.choices[0].message.content, "Hello from first")
        self.first.stop()
        self.assertEqual(self.ask().choices[0].message.content, "Hello from second")
        rows = self.settled(5)
        self.assertEqual([row["quota"] for row in rows], [CHARGE] * 5)
        self.assertEqual(self.process.quota(), started - 5 * CHARGE)

    def test_errors_have_the_clients_classes(self) -> None:
        """The client raises what it knows for each kind of refusal."""
        self.addCleanup(self.first.stop)
        bad = openai.OpenAI(
            api_key="sk-wrong", base_url=f"{self.process.url}/v1", max_retries=0
        )
        self.addCleanup(bad.close)
        with self.assertRaises(openai.AuthenticationError):
            bad.models.list()
        with self.assertRaises(openai.NotFoundError):
            self.client.chat.completions.create(model="nothing", messages=HELLO)
        with self.assertRaises(openai.BadRequestError):
            self.ask(messages=[])
        self.first.failing = self.second.failing = 429
        with self.assertRaises(openai.RateLimitError):
            self.ask()
        self.assertEqual([m.id for m in self.client.models.list()], ["gpt-4o"])


@engines.for_engines
class Crash(Case):
    """`kill -9` at any moment."""

    def test_sums_after_kills(self) -> None:
        """Under load, each answered call is in the log once, and the sums agree."""
        self.addCleanup(self.first.stop)
        started = self.process.quota()
        answered: list[str] = []
        for _ in range(3):
            self._load_until_killed(answered)
            self.process.start()
        rows = self.settled(len(answered))
        ids = [row["request_id"] for row in rows]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(set(answered) - set(ids), set())
        self.assertTrue(answered)
        self.assertEqual({row["quota"] for row in rows}, {CHARGE})
        self.assertEqual(self.process.quota(), started - CHARGE * len(rows))

    def _load_until_killed(self, answered: list[str]) -> None:
        stop = threading.Event()
        body = {"model": "gpt-4o", "messages": HELLO}

        def work() -> None:
            while not stop.is_set():
                try:
                    status, _, headers = self.process.ask(
                        "POST",
                        "/v1/chat/completions",
                        body,
                        Authorization=f"Bearer {self.key}",
                    )
                except (OSError, ValueError):
                    return
                except Exception:  # noqa: BLE001 - an answer that was cut off
                    return
                if status == 200:
                    answered.append(headers["X-Request-Id"])

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.7)
        self.process.kill()
        stop.set()
        for thread in threads:
            thread.join()


class Metrics(Case):
    """`/metrics` of a process."""

    def test_a_call_can_be_seen(self) -> None:
        """Its traces are on the page, which a caller on this machine may read."""
        self.addCleanup(self.first.stop)
        self.ask()
        self.settled(1)
        text = self.process.ask("GET", "/metrics")[1].decode()
        kind = 'dialect="chat",mode="chat",stream="false",code="200"'
        for line in (
            f"knight_calls_total{{{kind}}} 1",
            'knight_attempts_total{provider="OpenAI",outcome="ok"} 1',
            'knight_quota_charged_total{evidence="provider"} 38',
            'knight_upstream_connections{state="idle"} 1',
            "knight_leader 1",
        ):
            self.assertIn(f"\n{line}\n", text)


class Stop(Case):
    """SIGTERM."""

    def test_streams_finish(self) -> None:
        """A stream in flight goes on to its end; new connections are refused."""
        self.addCleanup(self.first.stop)
        self.first.pause = 0.3
        chunks = iter(self.ask(stream=True))
        pieces = [next(chunks)]
        self.process.terminate()
        time.sleep(0.2)
        with self.assertRaises(OSError):
            self.process.ask("GET", "/api/status")
        pieces += list(chunks)
        text = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
        self.assertEqual(text, "Hello from first")
        # twistd ends by the signal it got, once everything is closed.
        self.assertIn(self.process.ended(), (0, -signal.SIGTERM))
        self.first.pause = 0.0
        self.process.start()
        self.assertEqual([row["quota"] for row in self.settled(1)], [CHARGE])
        left = os.listdir(self.process.folder / "data" / "journal")
        self.assertEqual([name for name in left if name.endswith(".log")][1:], [])
