"""Counters, histograms and Prometheus' text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.metrics import CHANNELS, OTHER, REASONS, Histogram, Meter, Page
from knight_tw.records import Channel, Dialect, Mode, Usage


def channel(number: int, kind: int = 1) -> Channel:
    return Channel(number, kind, "c", 1, ("k",))


class Histograms(SynchronousTestCase):
    """Observations by size."""

    def test_a_bound_belongs_to_its_bucket(self) -> None:
        """As Prometheus reads `le`."""
        one = Histogram((1.0, 2.0))
        for value in (0.5, 1.0, 1.5, 2.0, 9.0):
            one.observe(value)
        self.assertEqual(one.counts, [2, 2, 1])
        self.assertEqual(one.total, 14.0)

    def test_a_clock_that_was_set_back(self) -> None:
        """No sum ever falls."""
        one = Histogram()
        one.observe(-5.0)
        self.assertEqual((one.counts[0], one.total), (1, 0.0))

    @given(st.lists(st.floats(0, 1e4)))
    def test_nothing_is_lost(self, values: list[float]) -> None:
        """Each value is in one bucket, between its bounds."""
        one = Histogram()
        for value in values:
            one.observe(value)
        self.assertEqual(sum(one.counts), len(values))
        for index, bound in enumerate(one.bounds):
            below = sum(value <= bound for value in values)
            self.assertEqual(sum(one.counts[: index + 1]), below)


class Meters(SynchronousTestCase):
    """What the relay counts."""

    def test_a_retried_attempt_is_not_a_failed_one(self) -> None:
        """It moves from one outcome to the other, for the type and for the channel."""
        meter = Meter()
        for _ in range(2):
            meter.failed(channel(7, 14))
        meter.retried(channel(7, 14), "c")
        meter.succeeded(channel(8, 14))
        one, other = meter.channels[7], meter.channels[8]
        self.assertEqual((one.ok, one.retried, one.failed), (0, 1, 1))
        self.assertEqual((other.ok, other.retried, other.failed), (1, 0, 0))
        both = meter.providers[14]
        self.assertEqual((both.ok, both.retried, both.failed), (1, 1, 1))

    def test_channels_are_bounded(self) -> None:
        """Those beyond the limit share one number; known ones keep theirs."""
        meter = Meter()
        for number in range(1, CHANNELS + 4):
            meter.succeeded(channel(number))
        meter.succeeded(channel(1))
        self.assertEqual(len(meter.channels), CHANNELS + 1)
        self.assertEqual((meter.channels[0].ok, meter.channels[1].ok), (3, 2))

    def test_reasons_are_bounded(self) -> None:
        """A provider may send anything as its code, and as long as it likes."""
        meter = Meter()
        for number in range(REASONS + 5):
            meter.retried(channel(1), f"{number:0100d}"[::-1])
        self.assertEqual(len(meter.retries), REASONS + 1)
        self.assertEqual(meter.retries[OTHER], 5)
        self.assertLessEqual(max(map(len, meter.retries)), 64)

    def test_times_of_a_call_without_a_provider(self) -> None:
        """No first byte is counted where there was none."""
        meter = Meter()
        meter.took(Dialect.CHAT, False, 0.2, None, 0.1)
        times = meter.times[Dialect.CHAT, False]
        self.assertEqual(sum(times.whole.counts), 1)
        self.assertEqual(sum(times.first_byte.counts), 0)

    def test_calls_and_tokens(self) -> None:
        """Summed."""
        meter = Meter()
        for _ in range(2):
            meter.answered(Dialect.CLAUDE, Mode.MESSAGES, True, 200)
            meter.used(Usage(prompt=5, completion=4, cached=3, write=2, reasoning=1))
        self.assertEqual(meter.calls, {(Dialect.CLAUDE, Mode.MESSAGES, True, 200): 2})
        self.assertEqual((meter.prompt, meter.completion, meter.cached), (10, 8, 6))
        self.assertEqual((meter.written, meter.reasoning), (4, 2))


class Pages(SynchronousTestCase):
    """The text format."""

    def test_a_page(self) -> None:
        """Help, type, samples; buckets that add up."""
        page, one = Page(), Histogram((0.1, 1.0))
        for value in (0.05, 0.5, 3.0):
            one.observe(value)
        page.counter("a_total", "As.", [({"x": 'q"\\\n', "y": "2"}, 3)])
        page.gauge("b", "Bs.", 1.5)
        page.histogram("c", "Cs.", [({"d": "e"}, one)])
        self.assertEqual(
            page.encoded().decode(),
            "# HELP a_total As.\n# TYPE a_total counter\n"
            'a_total{x="q\\"\\\\\\n",y="2"} 3\n'
            "# HELP b Bs.\n# TYPE b gauge\nb 1.5\n"
            "# HELP c Cs.\n# TYPE c histogram\n"
            'c_bucket{d="e",le="0.1"} 1\nc_bucket{d="e",le="1"} 2\n'
            'c_bucket{d="e",le="+Inf"} 3\nc_sum{d="e"} 3.55\nc_count{d="e"} 3\n',
        )

    def test_a_metric_without_samples(self) -> None:
        """Is announced, so that it can be found."""
        page = Page()
        page.counter("a_total", "As.", [])
        self.assertEqual(
            page.encoded(), b"# HELP a_total As.\n# TYPE a_total counter\n"
        )
