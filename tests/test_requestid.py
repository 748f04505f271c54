"""Tests of knight_tw.requestid."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.requestid import RequestIds


class Ids(SynchronousTestCase):
    """What an id looks like."""

    def test_form(self) -> None:
        """Time to the second, its fraction, eight letters and digits."""
        made = RequestIds().new(1_764_000_000.25)
        self.assertRegex(made, re.compile(r"20251124160000250000000[A-Za-z0-9]{8}\Z"))

    def test_unique_and_sortable(self) -> None:
        """Ids of one moment differ, those of later moments sort behind."""
        ids = RequestIds()
        made = {ids.new(1_764_000_000.5) for _ in range(1000)}
        self.assertEqual(len(made), 1000)
        self.assertLess(max(made), ids.new(1_764_000_001.0))
