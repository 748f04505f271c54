"""Tests of knight_tw.routing and routing_rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import routing
from knight_tw.errors import (
    BadUpstreamBody,
    ChannelFault,
    EmptyAnswer,
    InvalidRequest,
    KnightError,
    UnsupportedContent,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
)
from knight_tw.options import Options
from knight_tw.records import Channel
from knight_tw.routing import (
    EXHAUST,
    NO_KEY,
    Draw,
    GroupWalk,
    RoutingTable,
    StatusRanges,
    Turns,
)

DEFAULTS = Options.from_rows({})
RETRY: StatusRanges = DEFAULTS.value("AutomaticRetryStatusCodes")


def channel(id: int, **more: Any) -> Channel:
    fields: dict[str, Any] = {
        "type": 1,
        "name": f"c{id}",
        "status": 1,
        "keys": ("key",),
        "models": ("m",),
    }
    return Channel(id=id, **{**fields, **more})


def table(*channels: Channel) -> RoutingTable:
    return RoutingTable.build(channels)


def chance(seed: int = 7) -> Draw:
    return Draw(Random(seed))  # noqa: S311 - chance of a test


def pick(
    routes: RoutingTable,
    attempt: int = 0,
    tried: set[tuple[int, int]] | None = None,
    usable: Callable[[Channel], bool] | None = None,
    tier_mode: str = routing.DESCEND,
    seed: int = 7,
) -> int | None:
    """The id of the channel that is chosen."""
    chosen = routing.choose(
        routes,
        "default",
        "m",
        attempt,
        tried or set(),
        chance(seed).random,
        usable,
        tier_mode,
        turn=Turns(),
    )
    return None if chosen is None else chosen[0].id


class TableTests(SynchronousTestCase):
    def test_index(self) -> None:
        """Enabled channels are found by each of their groups and models."""
        routes = table(
            channel(1, groups=("a", "b"), models=("m", "n")),
            channel(2, groups=("b",), models=("m",), priority=5),
            channel(3, groups=("a",), status=2),
        )
        self.assertEqual([c.id for c in routes.candidates("b", "m")], [2, 1])
        self.assertEqual([c.id for c in routes.candidates("a", "m")], [1])
        self.assertEqual(routes.candidates("a", "x"), ())
        self.assertEqual(routes.candidates("x", "m"), ())
        self.assertEqual(routes.models("a"), ("m", "n"))
        self.assertEqual(routes.models("x"), ())
        self.assertEqual(routes.groups(), ("a", "b"))
        self.assertTrue(routes.serves(1, "a", "n"))
        self.assertFalse(routes.serves(2, "a", "m"))

    def test_known_though_disabled(self) -> None:
        """A model that only disabled channels have is known, and has no candidate."""
        routes = table(channel(3, status=3, groups=("a",)))
        self.assertTrue(routes.knows(("x", "a"), "m"))
        self.assertFalse(routes.knows(("x",), "m"))
        self.assertEqual(routes.candidates("a", "m"), ())
        found = routes.channel(3)
        self.assertEqual(found and found.status, 3)
        self.assertIsNone(routes.channel(4))

    def test_normalised_name(self) -> None:
        """A family's entry serves when the exact name has none."""
        routes = table(channel(1, models=("gpt-4-gizmo-*",)))
        self.assertEqual(len(routes.candidates("default", "gpt-4-gizmo-x")), 1)
        self.assertTrue(routes.knows(("default",), "gpt-4-gizmo-x"))

    def test_doubled_names_count_once(self) -> None:
        """A model or group named twice in a channel does not double its chance."""
        routes = table(channel(1, models=("m", "m"), groups=("default", "default")))
        self.assertEqual(len(routes.candidates("default", "m")), 1)


class WeightTests(SynchronousTestCase):
    def draws(self, *channels: Channel, attempt: int = 0) -> Counter[int]:
        routes, random = table(*channels), chance(1).random
        drawn: Counter[int] = Counter()
        for _ in range(20_000):
            chosen = routing.draw(routes, "default", "m", attempt, set(), random)
            drawn[chosen.id if chosen else 0] += 1
        return drawn

    def test_proportional(self) -> None:
        """Weights 3 to 1 give three quarters, within two percent."""
        drawn = self.draws(channel(1, weight=3), channel(2, weight=1))
        self.assertApproximates(drawn[1] / 20_000, 0.75, 0.02)

    def test_zero_next_to_others(self) -> None:
        """A weight of zero is never drawn next to another weight, in any place."""
        drawn = self.draws(
            channel(1, weight=0),
            channel(2, weight=1),
            channel(3, weight=0),
            channel(4, weight=1),
            channel(5, weight=0),
        )
        self.assertEqual(set(drawn), {2, 4})

    def test_zero_at_the_edge(self) -> None:
        """Not even the lowest chance draws a first channel of weight zero."""

        class Lowest(Random):
            def random(self) -> float:
                return 0.0

        tier = routing.Tier.of([channel(1, weight=0), channel(2, weight=1)])
        self.assertEqual(tier.draw(Lowest()).id, 2)

    def test_all_zero(self) -> None:
        """Weights that are all zero give every channel the same chance."""
        drawn = self.draws(channel(1), channel(2))
        self.assertApproximates(drawn[1] / 20_000, 0.5, 0.02)

    def test_priority(self) -> None:
        """Only the highest priority is drawn at first, whatever the weights."""
        drawn = self.draws(channel(1, priority=5), channel(2, weight=99))
        self.assertEqual(set(drawn), {1})

    def test_unusable_leave_the_proportion(self) -> None:
        """Without the unusable channels the others keep their proportion."""
        routes = table(*(channel(n, weight=n) for n in (1, 3, 6)))
        random = chance(1).random
        drawn: Counter[int] = Counter()
        for _ in range(20_000):
            chosen = routing.draw(
                routes, "default", "m", 0, set(), random, lambda c: c.id != 6
            )
            drawn[chosen.id if chosen else 0] += 1
        self.assertApproximates(drawn[3] / 20_000, 0.75, 0.02)
        self.assertEqual(drawn[6], 0)


class ChoiceTests(SynchronousTestCase):
    TIERS = table(
        channel(1, priority=10),
        channel(2, priority=10),
        channel(3, priority=5),
        channel(4, priority=1),
    )

    def test_tiers(self) -> None:
        """The number of the attempt is the tier; the last tier stays."""
        self.assertIn(pick(self.TIERS, 0), (1, 2))
        self.assertEqual(pick(self.TIERS, 1), 3)
        self.assertEqual(pick(self.TIERS, 2), 4)
        self.assertEqual(pick(self.TIERS, 9), 4)

    def test_exhaust(self) -> None:
        """In the other mode a tier is used up before the next one."""
        for seed in range(5):
            self.assertEqual(
                pick(self.TIERS, 1, {(1, 0)}, tier_mode=EXHAUST, seed=seed), 2
            )
        self.assertEqual(pick(self.TIERS, 2, {(1, 0), (2, 0)}, tier_mode=EXHAUST), 3)

    def test_untried_first(self) -> None:
        """Tried channels are left out while others remain, below and then above."""
        for seed in range(5):
            self.assertEqual(pick(self.TIERS, 0, {(1, 0)}, seed=seed), 2)
        self.assertEqual(pick(self.TIERS, 1, {(3, 0)}), 4)
        self.assertEqual(pick(self.TIERS, 2, {(1, 0), (3, 0), (4, 0)}), 2)

    def test_zero_weight_comes_at_last(self) -> None:
        """A channel of weight zero is chosen when all others of its tier were tried."""
        routes = table(channel(1, weight=5), channel(2, weight=0))
        self.assertEqual(pick(routes, 1, {(1, 0)}), 2)

    def test_repeats(self) -> None:
        """When all were tried the last tier repeats."""
        everything = {(n, 0) for n in range(1, 5)}
        self.assertEqual(pick(self.TIERS, 3, everything), 4)

    def test_unusable_tiers_do_not_count(self) -> None:
        """A tier without a usable channel is none."""
        self.assertEqual(pick(self.TIERS, 1, usable=lambda c: c.id != 3), 4)
        self.assertIsNone(pick(self.TIERS, usable=lambda c: False))

    def test_none(self) -> None:
        """No candidate, no choice."""
        self.assertIsNone(pick(table()))

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=8),
        st.sets(st.integers(0, 7)),
        st.integers(0, 5),
        st.sampled_from([routing.DESCEND, EXHAUST]),
    )
    def test_always_an_untried_one(
        self, shape: list[tuple[int, int]], tried: set[int], attempt: int, mode: str
    ) -> None:
        """While an untried candidate exists, one of those is chosen."""
        routes = table(
            *(channel(n, priority=p, weight=w) for n, (p, w) in enumerate(shape))
        )
        chosen = pick(routes, attempt, {(n, 0) for n in tried}, tier_mode=mode)
        untried = set(range(len(shape))) - tried
        self.assertEqual(chosen is None, not shape)
        if untried:
            self.assertIn(chosen, untried)


class KeyTests(SynchronousTestCase):
    def keys(self, count: int, **more: Any) -> list[int]:
        """The key indexes of some picks in a row."""
        many = channel(1, multi_key=True, **{"keys": ("a", "b", "c"), **more})
        routes, draws = table(many), chance()
        return [
            routing.pick_key(routes, many, set(), draws.random, draws.turn)
            for _ in range(count)
        ]

    def test_polling_skips_disabled(self) -> None:
        """Three keys in turn with the middle one disabled give 0, 2, 0, 2."""
        mode = {"multi_key_mode": "polling", "key_status": {1: 3}}
        self.assertEqual(self.keys(4, **mode), [0, 2, 0, 2])

    def test_polling_starts_at_the_saved_place(self) -> None:
        """The first turn begins at the saved index, or the next enabled one."""
        mode = {"multi_key_mode": "polling", "multi_key_polling_index": 1}
        self.assertEqual(self.keys(3, **mode), [1, 2, 0])
        self.assertEqual(self.keys(2, **mode, key_status={1: 2}), [2, 0])

    def test_random(self) -> None:
        """Random mode uses every enabled key, evenly."""
        drawn = Counter(self.keys(3000, key_status={0: 2}))
        self.assertEqual(set(drawn), {1, 2})
        self.assertApproximates(drawn[1] / 3000, 0.5, 0.05)

    def test_no_key(self) -> None:
        """Without an enabled key the index says so, and the channel can be spent."""
        self.assertEqual(self.keys(1, key_status={0: 2, 1: 3, 2: 3}), [NO_KEY])
        broken = channel(1, multi_key=True, key_status={0: 3})
        routes = table(broken)
        self.assertFalse(routes.spent(broken, set()))
        self.assertTrue(routes.spent(broken, {(1, NO_KEY)}))

    def test_untried_key(self) -> None:
        """A retry on the same channel takes another key, in turn or by chance."""
        for mode in ("polling", "random"):
            many = channel(1, multi_key=True, keys=("a", "b"), multi_key_mode=mode)
            routes, draws = table(many), chance()
            for _ in range(5):
                index = routing.pick_key(
                    routes, many, {(1, 0)}, draws.random, draws.turn
                )
                self.assertEqual(index, 1)

    def test_chosen_with_its_channel(self) -> None:
        """A choice names channel and key; a channel with untried keys is untried."""
        many = channel(1, multi_key=True, keys=("a", "b"), priority=1)
        routes = table(many, channel(2))
        chosen = routing.choose(
            routes, "default", "m", 0, {(1, 0)}, chance().random, turn=Turns()
        )
        self.assertEqual(chosen and (chosen[0].id, chosen[1]), (1, 1))


class WalkTests(SynchronousTestCase):
    def walked(
        self, walk: GroupWalk, routes: RoutingTable, most: int = 20
    ) -> list[int]:
        """The channels of a call whose attempts all fail with 500."""
        ids: list[int] = []
        draws = chance()
        while len(ids) < most:
            chosen = walk.next(routes, "m", draws)
            if chosen is None:
                break
            ids.append(chosen.channel.id)
            if not walk.retries(
                UpstreamRefused("x", status=500), begun=False, gone=False, ranges=RETRY
            ):
                break
        return ids

    def test_tiers_of_retries(self) -> None:
        """With priorities 10 and 5 and one retry the second attempt uses the 5."""
        routes = table(channel(1, priority=10), channel(2, priority=5))
        self.assertEqual(self.walked(GroupWalk(("default",), 1), routes), [1, 2])

    def test_repeats_on_a_single_channel(self) -> None:
        """A single channel is tried again, and the walk says that it repeats."""
        walk = GroupWalk(("default",), 2)
        self.assertEqual(self.walked(walk, table(channel(1))), [1, 1, 1])
        self.assertTrue(walk.repeats)
        self.assertEqual(walk.used, 3)

    def test_group_without_a_candidate_is_left(self) -> None:
        """A group that cannot serve is passed over and not billed."""
        routes = table(channel(2, groups=("b",)))
        walk = GroupWalk(("a", "b"), 0)
        chosen = walk.next(routes, "m", chance())
        self.assertEqual(chosen and (chosen.group, chosen.channel.id), ("b", 2))
        self.assertEqual(chosen and chosen.pair, (2, 0))

    def test_stays_in_its_group(self) -> None:
        """Without the token's flag failures do not lead to another group."""
        routes = table(channel(1, groups=("a",)), channel(2, groups=("b",)))
        self.assertEqual(self.walked(GroupWalk(("a", "b"), 2), routes), [1, 1, 1])

    def test_across_groups(self) -> None:
        """With it each group has its attempts, and its own tiers from the top."""
        routes = table(
            channel(1, groups=("a",), priority=2),
            channel(2, groups=("a",), priority=1),
            channel(3, groups=("b",), priority=2),
            channel(4, groups=("b",), priority=1),
        )
        walk = GroupWalk(("a", "b"), 1, True)
        self.assertEqual(self.walked(walk, routes), [1, 2, 3, 4])
        self.assertEqual(walk.attempts_left, 0)

    def test_across_groups_without_retries(self) -> None:
        """Without retries each group has one attempt."""
        routes = table(channel(1, groups=("a",)), channel(2, groups=("b",)))
        self.assertEqual(self.walked(GroupWalk(("a", "b"), 0, True), routes), [1, 2])

    def test_across_ends_with_the_last_group(self) -> None:
        """Attempts that a group without candidates could not use are lost."""
        routes = table(channel(1, groups=("a",)))
        self.assertEqual(self.walked(GroupWalk(("a", "b"), 1, True), routes), [1, 1])

    def test_no_group(self) -> None:
        """Nothing to walk, nothing to pick."""
        self.assertIsNone(GroupWalk(()).next(table(channel(1)), "m", chance()))

    def test_exhausting_walk(self) -> None:
        """The tier mode is kept over the walk."""
        routes = table(
            channel(1, priority=2), channel(2, priority=2), channel(3, priority=1)
        )
        walked = self.walked(GroupWalk(("default",), 2, False, EXHAUST), routes)
        self.assertEqual(sorted(walked[:2]), [1, 2])
        self.assertEqual(walked[2], 3)

    def test_pinned(self) -> None:
        """A pinned channel is tried once, even if it has no such model."""
        routes = table(channel(9, models=()))
        walk = GroupWalk.pinned(9, "g")
        self.assertEqual(self.walked(walk, routes), [9])
        self.assertIsNone(GroupWalk.pinned(8, "g").next(routes, "m", chance()))

    def test_cooling(self) -> None:
        """Cooling channels are avoided while another candidate exists."""
        routes = table(channel(1), channel(2))
        for seed in range(5):
            chosen = GroupWalk(("default",)).next(
                routes, "m", chance(seed), cooling={(1, 0)}
            )
            self.assertEqual(chosen and chosen.channel.id, 2)
        alone = GroupWalk(("default",)).next(
            table(channel(1)), "m", chance(), cooling={(1, 0)}
        )
        self.assertEqual(alone and alone.channel.id, 1)
        self.assertIs(GroupWalk(("default",)).repeats, False)


class AffinityTests(SynchronousTestCase):
    ROUTES = table(
        channel(1, groups=("a",)),
        channel(2, groups=("b",)),
        channel(3, groups=("b",), status=2),
    )

    def test_first_group_that_has_it(self) -> None:
        """A remembered channel is used in the first group that offers it."""
        walk = GroupWalk(("a", "b"), 1)
        chosen = walk.prefer(self.ROUTES, "m", 2, chance())
        self.assertEqual(chosen and (chosen.channel.id, chosen.group), (2, "b"))
        self.assertEqual(walk.attempts_left, 1)

    def test_unable(self) -> None:
        """Unknown, disabled, unusable and foreign channels are not preferred."""
        walk = GroupWalk(("a", "b"), 1)
        for remembered in (99, 3):
            self.assertIsNone(walk.prefer(self.ROUTES, "m", remembered, chance()))
        self.assertIsNone(walk.prefer(self.ROUTES, "other", 2, chance()))
        self.assertIsNone(walk.prefer(self.ROUTES, "m", 2, chance(), lambda c: False))
        self.assertEqual(walk.used, 0)

    def test_skip_retry(self) -> None:
        """The rule's wish for no retry holds for the remembered channel only."""
        error = UpstreamRefused("x", status=500)
        walk = GroupWalk(("b",), 2)
        walk.prefer(self.ROUTES, "m", 2, chance(), skip_retry=True)
        self.assertFalse(walk.retries(error, begun=False, gone=False, ranges=RETRY))
        walk.next(self.ROUTES, "m", chance())
        self.assertTrue(walk.retries(error, begun=False, gone=False, ranges=RETRY))


def refused(status: int) -> UpstreamRefused:
    return UpstreamRefused("no", status=status, upstream=True)


class RetryTests(SynchronousTestCase):
    def retries(self, error: KnightError, **more: Any) -> bool:
        given = {"attempts_left": 1, "ranges": RETRY, **more}
        return routing.retryable(error, **given)

    def test_status_rules(self) -> None:
        """Statuses retry as the option says; 504 and 524 never, odd ones always."""
        for status, again in (
            (500, True),
            (429, True),
            (401, True),
            (302, True),
            (400, False),
            (408, False),
            (504, False),
            (524, False),
            (200, False),
            (204, False),
            (0, True),
            (700, True),
        ):
            self.assertEqual(self.retries(refused(status)), again, status)
        listed = StatusRanges.parse("400-599")
        self.assertFalse(self.retries(refused(504), ranges=listed))
        self.assertTrue(self.retries(refused(400), ranges=listed))

    def test_circumstances(self) -> None:
        """Nothing is retried once it cannot help."""
        for name in ("begun", "gone", "pinned", "affinity_skip"):
            self.assertFalse(self.retries(refused(500), **{name: True}), name)
            self.assertFalse(self.retries(ChannelFault("x"), **{name: True}), name)
        self.assertFalse(self.retries(refused(500), attempts_left=0))

    def test_kinds(self) -> None:
        """What the error itself says comes before its status."""
        silent = UpstreamTimeout("x", code="first_token_timeout")
        for error, again in (
            (ChannelFault("x"), True),
            (silent, True),
            (UpstreamTimeout("x"), False),
            (UpstreamFailed("x"), True),
            (EmptyAnswer("x"), True),
            (BadUpstreamBody("x"), False),
            (InvalidRequest("x"), False),
            (UnsupportedContent("x", retryable=True), True),
            (refused(500), True),
        ):
            self.assertEqual(self.retries(error), again, error.code)
        nothing = StatusRanges.parse("")
        self.assertTrue(self.retries(UpstreamFailed("x"), ranges=nothing))
        unparsed = UpstreamRefused("x", status=500, code="bad_response_body")
        self.assertFalse(self.retries(unparsed))

    def test_tasks(self) -> None:
        """Submissions never retry 400 and 408."""
        listed = StatusRanges.parse("400-599")
        self.assertFalse(self.retries(refused(400), ranges=listed, task=True))
        self.assertFalse(self.retries(refused(408), ranges=listed, task=True))
        self.assertTrue(self.retries(refused(500), task=True))


class DisableTests(SynchronousTestCase):
    ON = Options.from_rows({"AutomaticDisableChannelEnabled": "true"})

    def test_kinds_of_failures(self) -> None:
        """Faults of the channel, listed statuses and listed words disable."""
        for error, disables in (
            (ChannelFault("x"), True),
            (refused(401), True),
            (refused(500), False),
            (UpstreamRefused("YOUR CREDIT BALANCE IS TOO LOW.", status=400), True),
            (UpstreamRefused("x", status=400, detail="permission denied"), True),
            (InvalidRequest("permission denied", status=401), False),
        ):
            taken = routing.takes_out(error, channel(1), self.ON)
            self.assertEqual(taken, disables, error.message)

    def test_permission(self) -> None:
        """Without the option, or the channel's consent, nothing is disabled."""
        self.assertFalse(routing.takes_out(refused(401), channel(1), DEFAULTS))
        kept = channel(1, auto_ban=False)
        self.assertFalse(routing.takes_out(refused(401), kept, self.ON))

    def test_mapped_status_hides(self) -> None:
        """A 401 that the channel maps to 503 does not disable it."""
        status = routing.map_status(401, {"401": 503})
        self.assertFalse(routing.takes_out(refused(status), channel(1), self.ON))

    def test_enabling(self) -> None:
        """A passed test brings back what was disabled automatically, if wanted."""
        wanted = Options.from_rows({"AutomaticEnableChannelEnabled": "true"})
        for state, keys, back in ((3, {}, True), (2, {}, False), (1, {0: 3}, True)):
            found = channel(1, status=state, key_status=keys)
            self.assertEqual(routing.should_enable(found, 0, wanted), back)
        self.assertFalse(routing.should_enable(channel(1, status=3), 0, DEFAULTS))


class MappingTests(SynchronousTestCase):
    def test_chain(self) -> None:
        """A mapping is followed to its end; a name mapped to itself is an end."""
        mapping = {"a": "b", "b": "c", "d": "d", "e": ""}
        for name, end in (("a", "c"), ("d", "d"), ("x", "x"), ("e", "e")):
            self.assertEqual(routing.map_model(mapping, name), end)

    def test_circle(self) -> None:
        """A circle is the channel's fault and retried elsewhere."""
        with self.assertRaises(ChannelFault) as caught:
            routing.map_model({"x": "a", "a": "b", "b": "a"}, "x")
        self.assertEqual(caught.exception.code, "channel:model_mapped_error")

    def test_compact(self) -> None:
        """The suffix is no part of the mapping; the billed name has it again."""
        for asked in ("a", "a-openai-compact"):
            self.assertEqual(
                routing.map_compact({"a": "b"}, asked), ("b", "b-openai-compact")
            )

    def test_status(self) -> None:
        """Failures take the mapped status, a good answer and nonsense stay."""
        mapping = {"429": 503, "200": 500, "500": 99}
        for before, after in ((429, 503), (200, 200), (500, 500), (404, 404)):
            self.assertEqual(routing.map_status(before, mapping), after)
