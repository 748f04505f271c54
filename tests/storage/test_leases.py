"""Only one holder at a time."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults

from knight_tw.storage import leases
from tests.engines import ConnectionCase, DatabaseCase, for_engines


@for_engines
class LeaseTests(ConnectionCase):
    """`take`, `release`, `holder`."""

    def _take(self, holder: str, now: int) -> bool:
        return leases.take(self.connection, "work", holder, now, 100)

    def test_first(self) -> None:
        """A lease that nobody ever had can be taken, by one."""
        self.assertTrue(self._take("a", 1_000))
        self.assertFalse(self._take("b", 1_000))
        self.assertEqual(leases.holder(self.connection, "work", 1_000), "a")

    def test_renewed(self) -> None:
        """The holder goes on holding it."""
        self._take("a", 1_000)
        self.assertTrue(self._take("a", 1_090))
        self.assertFalse(self._take("b", 1_150))

    def test_expired(self) -> None:
        """After its end another may have it, and the former holder may not."""
        self._take("a", 1_000)
        self.assertIsNone(leases.holder(self.connection, "work", 1_101))
        self.assertTrue(self._take("b", 1_101))
        self.assertFalse(self._take("a", 1_102))

    def test_released(self) -> None:
        """Given up, it is free at once; only the holder can do that."""
        self._take("a", 1_000)
        leases.release(self.connection, "work", "b")
        self.assertFalse(self._take("b", 1_001))
        leases.release(self.connection, "work", "a")
        self.assertTrue(self._take("b", 1_001))

    def test_names(self) -> None:
        """Leases of other names are others; names differ by case."""
        self._take("a", 1_000)
        self.assertTrue(leases.take(self.connection, "Work", "b", 1_000))


@for_engines
class RaceTests(DatabaseCase):
    """Many at once."""

    async def test_one_winner(self) -> None:
        """Of ten that want a new lease at the same moment one gets it."""
        calls = [self.db.run(leases.take, "work", str(n), 1_000) for n in range(10)]
        taken = await gatherResults([Deferred.fromCoroutine(call) for call in calls])
        self.assertEqual(sorted(taken), [False] * 9 + [True])
