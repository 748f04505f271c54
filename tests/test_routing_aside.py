"""A further channel for an attempt that is under way."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.records import Channel
from knight_tw.routing import Draw, GroupWalk, Pick, RoutingTable


def channel(number: int, priority: int = 0, *keys: str) -> Channel:
    """An enabled channel of the group `g` for the model `m`."""
    return Channel(
        id=number,
        type=1,
        name="",
        status=1,
        keys=keys or ("k",),
        models=("m",),
        groups=("g",),
        priority=priority,
        multi_key=len(keys) > 1,
    )


class AsideTests(SynchronousTestCase):
    """`GroupWalk.aside`."""

    def setUp(self) -> None:
        """Chance that always comes out alike."""
        self.chance = Draw(Random(1))  # noqa: S311 - no secret

    def aside(self, walk: GroupWalk, table: RoutingTable, first: int) -> Pick | None:
        """Another channel than the first one's."""
        return walk.aside(table, "m", self.chance, lambda c: c.id != first)

    def test_same_tier_first(self) -> None:
        """One of the same priority, else one below; the attempts stay as many."""
        table = RoutingTable.build([channel(1, 9), channel(2, 9), channel(3, 5)])
        walk = GroupWalk(("g",), 1)
        first = walk.next(table, "m", self.chance)
        assert first is not None
        second = self.aside(walk, table, first.channel.id)
        assert second is not None
        self.assertEqual({first.channel.id, second.channel.id}, {1, 2})
        self.assertEqual((walk.used, walk.attempts_left), (1, 1))
        retried = walk.next(table, "m", self.chance)
        assert retried is not None
        self.assertEqual(retried.channel.id, 3)

    def test_below(self) -> None:
        """Below, when the tier has no other."""
        table = RoutingTable.build([channel(1, 9), channel(2, 5, "a", "b")])
        walk = GroupWalk(("g",))
        walk.next(table, "m", self.chance)
        found = self.aside(walk, table, 1)
        assert found is not None
        self.assertEqual(found.channel.id, 2)
        self.assertIn(found.key_index, (0, 1))
        self.assertIn(found.pair, walk.tried)

    def test_cooling_keys(self) -> None:
        """A key that rests is left out while there is another."""
        table = RoutingTable.build([channel(1, 9), channel(2, 5, "a", "b")])
        for resting in (0, 1):
            walk = GroupWalk(("g",))
            walk.next(table, "m", self.chance)
            found = walk.aside(
                table, "m", self.chance, lambda c: c.id == 2, {(2, resting)}
            )
            assert found is not None
            self.assertEqual(found.key_index, 1 - resting)

    def test_nothing_else(self) -> None:
        """None when no other channel is usable."""
        table = RoutingTable.build([channel(1)])
        walk = GroupWalk(("g",))
        walk.next(table, "m", self.chance)
        self.assertIsNone(self.aside(walk, table, 1))

    def test_bound(self) -> None:
        """None for a caller who named the channel, and a conversation that stays."""
        table = RoutingTable.build([channel(1), channel(2)])
        pinned = GroupWalk.pinned(1, "g")
        pinned.next(table, "m", self.chance)
        self.assertIsNone(self.aside(pinned, table, 1))
        staying = GroupWalk(("g",))
        staying.prefer(table, "m", 1, self.chance, skip_retry=True)
        self.assertIsNone(self.aside(staying, table, 1))
