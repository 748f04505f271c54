"""The metrics page of a working gateway."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.cache import MemoryCache
from knight_tw.readings import LAG_SECONDS, Lag, Readings
from tests.relay.gateway import Gateway, chat, refusal

ROOT = Path(__file__).resolve().parent.parent
GOOD = 'stream="false",code="200"'
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="[^"\n]*",?)+)\})? (\S+)')


class Idle:
    """Stands for an upstream with connections."""

    def load(self) -> tuple[int, int, int]:
        """Idle, busy, waiting."""
        return 1, 2, 3


class Shared(MemoryCache):
    """Stands for Redis."""

    shared = True


class PageTests(SynchronousTestCase):
    """`Readings.page`."""

    def setUp(self) -> None:
        self.gateway = Gateway(self)
        self.readings = self.reading(MemoryCache(self.gateway.clock))

    def reading(self, cache: MemoryCache) -> Readings:
        """The readings of the gateway, started."""
        gateway, idle = self.gateway, Idle()
        readings = Readings(
            gateway.relaying,
            gateway.ledger,
            (gateway.db,),
            cache,
            gateway.snapshots,
            idle,  # type: ignore[arg-type]  # load alone is used
            gateway.lanes,
            lambda: True,
            Lag(gateway.clock),
        )
        readings.start()
        self.addCleanup(readings.stop)
        return readings

    def samples(self) -> dict[str, float]:
        """The page, one entry a sample."""
        found = {}
        for line in self.readings.page().decode().splitlines():
            if not line.startswith("#"):
                match = SAMPLE.fullmatch(line)
                assert match is not None, line
                found[line.rpartition(" ")[0]] = float(match[3])
        return found

    def test_a_call(self) -> None:
        """Leaves its traces in every part."""
        self.gateway.channel(refusal(500), priority=5)
        self.gateway.channel(chat())
        self.gateway.option("RetryTimes", "1")
        self.gateway.chat()
        self.gateway.logs()
        found = self.samples()
        for name, value in {
            f'knight_calls_total{{dialect="chat",mode="chat",{GOOD}}}': 1,
            'knight_call_seconds_count{dialect="chat",stream="false"}': 1,
            'knight_attempts_total{provider="OpenAI",outcome="retried"}': 1,
            'knight_attempts_total{provider="OpenAI",outcome="ok"}': 1,
            'knight_channel_attempts_total{channel="1",outcome="retried"}': 1,
            'knight_channel_state{channel="2"}': 1,
            'knight_retries_total{reason="c"}': 1,
            'knight_tokens_total{kind="prompt"}': 10,
            'knight_quota_charged_total{evidence="provider"}': 38,
            'knight_holds_total{place="memory"}': 1,
            "knight_holds_open": 0,
            'knight_journal_records_total{kind="settle"}': 1,
            "knight_journal_bytes": 0,
            "knight_flush_seconds_count": 1,
            'knight_upstream_connections{state="waiting"}': 3,
            "knight_leader": 1,
        }.items():
            self.assertEqual(found.get(name), value, name)
        self.assertGreater(found["knight_db_seconds_count"], 0)

    def test_no_call_yet(self) -> None:
        """The page is whole from the beginning; without Redis it says nothing of it."""
        found = self.samples()
        self.assertEqual(found["knight_streams_open"], 0)
        self.assertGreater(found["process_resident_memory_bytes"], 1e7)
        self.assertGreater(found["process_start_time_seconds"], 1.6e9)
        self.assertNotIn("knight_redis_up", found)

    def test_redis(self) -> None:
        """Up, or away and stood in for."""
        self.readings = self.reading(Shared(self.gateway.clock))
        self.assertEqual(self.samples()["knight_redis_up"], 1)

    def test_no_secret_and_no_name(self) -> None:
        """Neither models, users and tokens nor keys and addresses."""
        self.gateway.channel(chat())
        self.gateway.chat()
        page = self.readings.page().decode()
        for text in ("gpt-4o", "sk-", "up1.test", 'user="'):
            self.assertNotIn(text, page)

    def test_each_metric_is_documented(self) -> None:
        """By its name, and no page names one that is not there."""
        manual = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
        page = self.reading(Shared(self.gateway.clock)).page().decode()
        shown = set(re.findall(r"# TYPE (\w+) ", page))
        named = set(re.findall(r"\b(?:knight|process)_[a-z_]+", manual))
        self.assertEqual(shown - named, set())
        for name in named - shown:
            known = re.sub(r"_(bucket|sum|count)$", "", name)
            self.assertIn(known, shown, name)


class LagTests(SynchronousTestCase):
    """How late the reactor is."""

    def test_a_late_timer(self) -> None:
        """Is observed by as much as it was late."""
        clock = Clock()
        lag = Lag(clock)
        lag.start()
        clock.advance(LAG_SECONDS)
        clock.advance(LAG_SECONDS + 0.25)
        self.assertEqual(sum(lag.late.counts), 2)
        self.assertAlmostEqual(lag.late.total, 0.25)
        lag.stop()
        self.assertEqual(clock.getDelayedCalls(), [])
