"""Who is told of channels that went and came back, and of runs that ended."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from knight_tw.jobs import Job
from tests.channels.test_health import BAD_KEY, Case
from tests.web.gateway import now


class WatchTests(Case):
    """`ChannelHealth.watch`, `ChannelTester.told`."""

    def setUp(self) -> None:
        """Somebody who listens."""
        super().setUp()
        self.heard: list[tuple[int, str, bool, str]] = []
        self.health.watch = lambda *told: self.heard.append(told)

    def test_disabled_and_back(self) -> None:
        """Both changes of a channel are told once, the reason without the key."""
        number = self.gateway.add_channel(name="main", key="sk-secret-0123456789")
        record = self.record(number)
        for _ in range(2):
            now(self.health.failed(record, 0, BAD_KEY))
        now(self.health.recovered(self.record(number), 0))
        (gone, back) = self.heard
        self.assertEqual(gone[:3], (number, "main", False))
        self.assertIn("401", gone[3])
        self.assertNotIn("sk-0000", gone[3])
        self.assertEqual(back[:3], (number, "main", True))

    def test_one_key_of_many(self) -> None:
        """A key that goes alone is not told; with the last one the channel goes."""
        number = self.many()
        now(self.health.failed(self.record(number), 0, BAD_KEY))
        self.assertEqual(self.heard, [])
        now(self.health.failed(self.record(number), 1, BAD_KEY))
        self.assertEqual(self.heard[0][:3], (number, "many", False))

    def test_runs(self) -> None:
        """The end of a run is told when it was asked for."""
        ended: list[dict[str, int]] = []
        self.tester.told = lambda counts: ended.append(dict(counts))
        for tell, expected in ((False, 0), (True, 1)):
            run = self.tester.run(Job("t"), False, tell=tell)
            self.successResultOf(Deferred.fromCoroutine(run))
            self.assertEqual(len(ended), expected)
        self.assertEqual(ended[0]["tested"], 0)
