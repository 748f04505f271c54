"""When channels are tested without anybody asking: `monitor_setting` of the options."""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorTime

from knight_tw.channels.health import View
from knight_tw.channels.testing import ChannelTester
from knight_tw.jobs import JobRunning, Jobs

JOB = "channel_test"
"""The kind of the job, by hand or scheduled."""


@define(eq=False)
class TestSchedule:
    """Starts a test run when one is due. `tick` is called about once a minute, by the
    process that holds the lease."""

    __test__ = False  # for test runners: not a test case

    _view: View
    _tester: ChannelTester
    _jobs: Jobs
    _clock: IReactorTime
    _last: float | None = None

    async def tick(self) -> bool:
        """Start a run if the options want one now; True when one was started.

        The first run comes one period after the first tick, so that a restart does not
        test everything.
        """
        options = self._view.options
        now = self._clock.seconds()
        if not options.flag("monitor_setting.auto_test_channel_enabled"):
            self._last = None
            return False
        if self._last is None:
            self._last = now
        period = 60 * float(
            options.decimal("monitor_setting.auto_test_channel_minutes")
        )
        if now - self._last < max(period, 60):
            return False
        self._last = now
        mode = options.text("monitor_setting.channel_test_mode")
        return await self._start(mode)

    async def _start(self, mode: str) -> bool:
        recovery_only = mode == "passive_recovery"
        try:
            await self._jobs.start(
                JOB,
                lambda job: self._tester.run(job, recovery_only),
                {"mode": mode, "notify": True},
            )
        except JobRunning:
            return False
        return True
