"""Percentiles from counted classes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.latency import BEYOND, percentile

BOUNDS = (1.0, 2.0, 4.0)


class Percentiles(SynchronousTestCase):
    """Interpolation within a class."""

    def test_values(self) -> None:
        """Calls are taken as spread evenly within their class."""
        for counts, share, seconds in (
            ([0, 0, 0, 0], 0.5, None),
            ([4, 0, 0, 0], 0.5, 0.5),
            ([1, 1, 0, 0], 0.5, 1.0),
            ([1, 1, 0, 0], 0.75, 1.5),
            ([0, 0, 2, 2], 0.75, 6.0),
            ([0, 0, 0, 3], 1.0, 8.0),
        ):
            self.assertEqual(percentile(counts, BOUNDS, share), seconds, counts)

    @given(st.lists(st.integers(0, 99), min_size=4, max_size=4))
    @settings(max_examples=50, deadline=None)
    def test_order(self, counts: list[int]) -> None:
        """A larger share is never faster, and nothing lies beyond the last class."""
        found = [percentile(counts, BOUNDS, share) for share in (0.1, 0.5, 0.95, 1.0)]
        if any(counts):
            known = [value for value in found if value is not None]
            self.assertEqual(known, sorted(known))
            self.assertLessEqual(known[-1], BEYOND * BOUNDS[-1])
