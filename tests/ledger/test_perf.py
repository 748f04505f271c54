"""How models do, as a flush adds it up."""

from __future__ import annotations

from typing import Any

from knight_tw.ledger import posting, statistics
from knight_tw.ledger.charges import Decision
from knight_tw.ledger.entries import NOTE, SETTLE, Draft, to_line
from knight_tw.storage import schema
from tests.engines import ConnectionCase, for_engines
from tests.ledger.till import NOW, row

NAMES = (*statistics.PERF_KEYS, *statistics.PERF_SUMS)


@for_engines
class PerfTests(ConnectionCase):
    """Rows of `perf_metrics`."""

    def tally(self, *drafts: Draft, perf: int = 3600) -> None:
        """Adds up entries, and writes the sums."""
        entries = [to_line(draft)[1] for draft in drafts]
        sums = statistics.tally(entries, Decision({}, {}), export=False, perf=perf)
        statistics.write(self.connection, sums)

    def charge(self, **columns: Any) -> Draft:
        """A settled call of 1.1 s whose first byte came after 0.1 s."""
        told = {"duration_ms": 1100, "other": {"frt": 100}, "is_stream": True}
        return Draft(seq=1, kind=SETTLE, row=row("c", **{**told, **columns}))

    def failure(self, status: int, **columns: Any) -> Draft:
        """A call that failed."""
        return Draft(seq=1, kind=NOTE, row=row("c", status=status, **columns))

    def only(self) -> dict[str, Any]:
        """The one row."""
        (found,) = self.rows(schema.perf_metrics)
        return {name: found[name] for name in NAMES}

    def test_streams(self) -> None:
        """Streams show how fast a model writes; batches add up."""
        self.tally(self.charge(), self.charge())
        self.tally(self.charge())
        self.assertEqual(
            self.only(),
            {
                "model_name": "gpt-4o",
                "group": "default",
                "bucket_ts": NOW - NOW % 3600,
                "request_count": 3,
                "success_count": 3,
                "total_latency_ms": 3300,
                "ttft_sum_ms": 300,
                "ttft_count": 3,
                "output_tokens": 30,
                "generation_ms": 3000,
            },
        )

    def test_whole_answers(self) -> None:
        """An answer that is not streamed shows neither first byte nor speed."""
        self.tally(self.charge(is_stream=False))
        found = self.only()
        self.assertEqual((found["request_count"], found["total_latency_ms"]), (1, 1100))
        self.assertEqual((found["ttft_count"], found["generation_ms"]), (0, 0))

    def test_failures(self) -> None:
        """Failures count against the model, the client's mistakes do not."""
        drafts = [self.failure(it) for it in (429, 408, 500, 503, 400, 401, 404, 499)]
        self.tally(self.charge(), *drafts)
        found = self.only()
        self.assertEqual((found["request_count"], found["success_count"]), (5, 1))
        self.assertEqual(found["total_latency_ms"], 1100)

    def test_no_model(self) -> None:
        """A call without a model says nothing about any."""
        self.tally(self.failure(500, model_name=""))
        self.assertEqual(self.rows(schema.perf_metrics), [])

    def test_instalments(self) -> None:
        """A call that is charged in instalments is one call."""
        first, second = self.charge(), self.charge()
        first.instalment, second.instalment = 1, 2
        self.tally(first, second)
        self.assertEqual(self.only()["request_count"], 1)

    def test_buckets(self) -> None:
        """Buckets are as wide as the option says; 0 keeps the table empty."""
        self.tally(self.charge(), perf=0)
        self.assertEqual(self.rows(schema.perf_metrics), [])
        self.tally(self.charge(), perf=60)
        self.assertEqual(self.only()["bucket_ts"], NOW - NOW % 60)

    def test_batch(self) -> None:
        """A batch of the writer fills it in its own transaction."""
        posting.set_position(self.connection, "j", 0, NOW)
        _, entry = to_line(self.failure(500))
        batch = posting.Batch("j", 0, 1, [entry], NOW, perf=3600)
        posting.post(self.connection, batch)
        self.assertEqual(self.only()["request_count"], 1)
