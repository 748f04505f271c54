"""Tests of knight_tw.status_ranges."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.status_ranges import FULL_WIDTH_COMMA, StatusRanges


class StatusRangesTests(SynchronousTestCase):
    def test_codes_and_ranges(self) -> None:
        """Single codes and inclusive ranges are members, their neighbours are not."""
        ranges = StatusRanges.parse("401, 500-503,")
        self.assertEqual(
            [code for code in range(100, 600) if code in ranges],
            [401, 500, 501, 502, 503],
        )

    def test_full_width_comma(self) -> None:
        """A comma from a Chinese keyboard separates too."""
        ranges = StatusRanges.parse(f"401{FULL_WIDTH_COMMA}403")
        self.assertEqual(ranges.codes, {401, 403})

    def test_merged_text(self) -> None:
        """The text of a set is sorted and merged."""
        self.assertEqual(str(StatusRanges.parse("503,500-502,401")), "401,500-503")

    def test_empty(self) -> None:
        """A blank text is the empty set."""
        self.assertEqual(str(StatusRanges.parse(" ")), "")

    def test_refused(self) -> None:
        """Words, half ranges, backward ranges and impossible codes are refused."""
        for text in ("abc", "99", "600", "500-", "503-500", "400-600", "1e2"):
            with self.assertRaises(ValueError, msg=text):
                StatusRanges.parse(text)

    @settings(max_examples=50, deadline=None)
    @given(st.frozensets(st.integers(100, 599)))
    def test_round_trip(self, codes: frozenset[int]) -> None:
        """The text of any set parses to that set."""
        self.assertEqual(StatusRanges.parse(str(StatusRanges(codes))).codes, codes)
