"""Tests of the guard against overload."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.load import LOOK_SECONDS, LoadGuard
from knight_tw.options import Options

ON = {"performance_setting.monitor_enabled": "true"}


class LoadTests(SynchronousTestCase):
    """What it says, and when."""

    def setUp(self) -> None:
        """An idle machine."""
        self.clock = Clock()
        self.options = Options.from_rows(ON)
        self.shares = {"cpu": 10.0, "memory": 10.0, "disk": 10.0}
        self.told: list[str] = []
        self.guard = LoadGuard(
            self.clock, lambda: self.options, self.measured, self.told.append, "."
        )
        self.guard.start()
        self.addCleanup(self.guard.stop)

    def measured(self, work: Any) -> Deferred[Any]:
        """Stands for a measurement in a thread."""
        return succeed(dict(self.shares))

    def look(self) -> str:
        """What it says the next time."""
        self.clock.advance(LOOK_SECONDS)
        return self.told[-1]

    def test_each(self) -> None:
        """Above a threshold it says of what there is too little; at it, nothing."""
        for name, most in (("cpu", 90), ("memory", 90), ("disk", 95)):
            self.shares[name] = float(most)
            self.assertEqual(self.look(), "")
            self.shares[name] = most + 0.1
            self.assertEqual(self.look(), name)
            self.shares[name] = 0.0
            self.assertEqual(self.look(), "")

    def test_off(self) -> None:
        """It does nothing unless it is asked to, and stops when it is not any more."""
        self.shares["cpu"] = 100.0
        self.assertEqual(self.look(), "cpu")
        self.options = Options.from_rows({})
        self.assertEqual(self.look(), "")

    def test_no_threshold(self) -> None:
        """A threshold of 0 allows everything."""
        key = "performance_setting.monitor_cpu_threshold"
        self.options = Options.from_rows({**ON, key: "0"})
        self.shares["cpu"] = 100.0
        self.assertEqual(self.look(), "")

    def test_fault(self) -> None:
        """A measurement that fails refuses nobody."""
        self.guard._in_thread = lambda work: fail(OSError("proc"))
        self.assertEqual(self.look(), "")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_really(self) -> None:
        """This very machine can be measured."""
        self.guard._in_thread = lambda work: succeed(work())
        self.options = Options.from_rows(
            {**ON, "performance_setting.monitor_memory_threshold": "1"}
        )
        self.assertIn(self.look(), ("cpu", "memory"))
