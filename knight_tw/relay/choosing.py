"""Which channels a call tries, and in which order: the loop around an attempt.

What one attempt is does not matter here: it is a function that serves the call or
raises. Relay specification, sections 4, 7 and 11.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from knight_tw import providers, routing
from knight_tw.errors import (
    ChannelSaturated,
    KnightError,
    ModelNotAllowed,
    NoChannel,
)
from knight_tw.price_book import PriceBook
from knight_tw.records import Channel, Price
from knight_tw.relay.affinity import Affinity
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.capacity import Capacity
from knight_tw.relay.explaining import Explainer
from knight_tw.relay.knobs import Knobs
from knight_tw.routing import GroupWalk, Pick, RoutingTable

T = TypeVar("T")

PATIENCE = 2.0
"""Longest `Retry-After` that is waited for when no other channel is left, seconds."""


class View(Protocol):
    """The snapshots a call reads."""

    @property
    def knobs(self) -> Knobs:
        """Options, ready to use."""
        ...

    @property
    def routes(self) -> RoutingTable:
        """Which channel serves which model."""
        ...

    @property
    def prices(self) -> PriceBook:
        """What models cost."""
        ...


class Watch(Protocol):
    """Whoever wants to know how channels do."""

    def failed(self, attempt: Attempt, error: KnightError) -> None:
        """An attempt failed; it may be reason to disable the channel or key."""
        ...

    def answered(self, attempt: Attempt, seconds: float) -> None:
        """An attempt succeeded."""
        ...

    def retried(self, attempt: Attempt, error: KnightError) -> None:
        """An attempt that has `failed` is followed by another one."""
        ...


class Failures(Protocol):
    """Counts failed attempts per channel."""

    def attempt_failed(self, channel_id: int, seconds: float) -> None:
        """One failed after so long."""
        ...


@define(eq=False)
class Choosing:
    """Tries channels for calls until one serves, or the rules say stop."""

    _view: View
    _draw: routing.Draw
    _watch: Watch
    _failures: Failures
    _affinity: Affinity
    _capacity: Capacity
    _clock: IReactorTime
    _log: Logger = field(factory=Logger)
    _explainer: Explainer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._explainer = Explainer(self._draw, self._capacity)

    def first(self, call: Call, walk: GroupWalk) -> Pick | Awaitable[Pick]:
        """The channel of the first attempt: the one that the call's conversation is on,
        else one that is drawn. `over` must follow, whatever becomes of the call.

        Returns:
            The pick itself when no memory of a conversation has to be asked.

        Raises (at once, or when it is awaited):
            NoChannel: 404 when no group of the caller has the model, else 503.
            ChannelSaturated: every channel that could serve is full.
        """
        if self._view.knobs.explain:
            call.record = self._explainer.open(call, self._clock.seconds())
        if self._affinity.matches(call, self._view.knobs.affinity):
            return self._remembered(call, walk)
        return self._seated(call, walk, self._drawn(call, walk))

    async def _remembered(self, call: Call, walk: GroupWalk) -> Pick:
        pick = await self._affinity.pick(
            call, walk, self._view.routes, self._draw, _known, self._capacity
        )
        self._explainer.kept(call, self._view.routes, pick)
        return self._seated(call, walk, pick or self._drawn(call, walk))

    def _seated(self, call: Call, walk: GroupWalk, pick: Pick | None) -> Pick:
        """The call is on the picked channel now."""
        if pick is not None and not self._capacity.full(pick.channel):
            self._capacity.enter(call, pick.channel)
            return pick
        raise self._nowhere(call, walk)

    def over(self, call: Call) -> None:
        """The call is at its end: it is on no channel any more."""
        self._capacity.leave(call)

    def enter(self, call: Call, channel: Channel) -> None:
        """The call is on a channel, until `over`."""
        self._capacity.enter(call, channel)

    def moved(self, copy: Call, call: Call) -> None:
        """The call is where a copy of it was."""
        self._capacity.move(copy, call)

    def beside(self, call: Call, walk: GroupWalk) -> Pick | None:
        """A channel to ask beside the one that is being asked: one that the call has
        not tried, that is not full and does not rest."""
        routes, capacity = self._view.routes, self._capacity
        tried = {attempt.channel.id for attempt in call.attempts}

        def usable(channel: Channel) -> bool:
            if channel.id in tried or not _known(channel):
                return False
            return not capacity.busy(channel, routes)

        resting = capacity.resting()
        if call.record is None:
            return walk.aside(routes, call.model, self._draw, usable, resting)
        return self._explainer.beside(call, walk, routes, usable, resting)

    def answered(self, call: Call) -> None:
        """The latest attempt's channel has begun to answer: the call's conversation
        stays there."""
        self._affinity.answered(call)

    def _drawn(self, call: Call, walk: GroupWalk) -> Pick | None:
        capacity = self._capacity

        def usable(channel: Channel) -> bool:
            return _known(channel) and not capacity.full(channel)

        routes, resting = self._view.routes, capacity.resting()
        wanted = _known if capacity.idle else usable
        if call.record is None:
            return walk.next(routes, call.model, self._draw, wanted, resting)
        return self._explainer.drawn(call, walk, routes, wanted, resting)

    def _nowhere(self, call: Call, walk: GroupWalk) -> KnightError:
        """Why no channel can have the call."""
        routes = self._view.routes
        could = (c for g in walk.groups for c in routes.candidates(g, call.model))
        if call.caller.pinned_channel is not None or any(map(_known, could)):
            return ChannelSaturated(
                f"the channels for the model {call.model} are busy", retry_after=1
            )
        if routes.knows(walk.groups, call.model):
            return NoChannel(
                f"no channel is available for the model {call.model} now",
                status=503,
                retry_after=5,
            )
        return NoChannel(
            f"no channel serves the model {call.model}", status=404, param="model"
        )

    async def serve(
        self,
        call: Call,
        walk: GroupWalk,
        pick: Pick,
        once: Callable[[Attempt], Awaitable[T]],
        too_late: Callable[[], bool] = lambda: False,
    ) -> T:
        """What the first attempt that succeeds gives.

        Args:
            pick: Of `first`.
            once: Makes an attempt.
            too_late: True once something of an answer has reached the client, or the
                client has left.

        Raises:
            KnightError: the last failure.
        """
        while True:
            now = self._clock.seconds()
            attempt = Attempt(pick.channel, pick.key_index, pick.group, now)
            call.attempts.append(attempt)
            try:
                served = await once(attempt)
            except KnightError as error:
                pick = await self._next(call, walk, error, late=too_late())
            else:
                served_by = call.attempts[-1]  # a hedge may have outrun it
                seconds = self._clock.seconds() - served_by.began
                self._watch.answered(served_by, seconds)
                self._capacity.answered(served_by)
                self._affinity.answered(call)
                return served

    async def _next(
        self, call: Call, walk: GroupWalk, error: KnightError, *, late: bool
    ) -> Pick:
        """The channel to try after a failure; raises the failure when there is none."""
        attempt, knobs = call.attempts[-1], self._view.knobs
        self.fell(call, attempt, error)
        self._capacity.leave(call)
        if not walk.retries(error, begun=late, gone=False, ranges=knobs.retry_on):
            raise error
        pick = self._drawn(call, walk)
        if pick is None:
            raise error
        self._capacity.enter(call, pick.channel)
        self._watch.retried(attempt, error)
        wait = error.retry_after
        if wait is not None and wait <= PATIENCE and walk.repeats:
            await deferLater(self._clock, wait)
            call.waited += wait
        return pick

    def fell(self, call: Call, attempt: Attempt, error: KnightError) -> None:
        """An attempt of the call has failed, whatever comes of the call."""
        call.last_error = attempt.error = error
        attempt.ended = self._clock.seconds()
        self._watch.failed(attempt, error)
        self._capacity.failed(attempt, error, self._view.knobs.cooldown)
        seconds = attempt.ended - attempt.began
        self._failures.attempt_failed(attempt.channel.id, seconds)
        self._log.info(
            "attempt {number} on channel {channel_id} failed: {status} {code} {why}",
            number=len(call.attempts),
            channel_id=attempt.channel.id,
            status=error.status,
            code=error.code,
            why=error.detail or error.message,
        )


def walk_for(call: Call, knobs: Knobs) -> GroupWalk:
    """The groups and attempts a call may have."""
    caller = call.caller
    if caller.pinned_channel is not None:
        return GroupWalk.pinned(caller.pinned_channel, caller.group)
    groups = caller.auto_groups or (caller.group,)
    across = caller.token is not None and caller.token.cross_group_retry
    return GroupWalk(groups, knobs.retry_times, across, knobs.tier_mode)


def check_model(call: Call) -> None:
    """The token's model list, on the name that the client sent.

    Raises:
        ModelNotAllowed.
    """
    token = call.caller.token
    if token is None or not token.model_limits_enabled:
        return
    limits = token.model_limits
    if call.model not in limits and routing.normalise(call.model) not in limits:
        raise ModelNotAllowed(f"this API key may not use the model {call.model}")


def price_of(prices: PriceBook, call: Call, group: str, knobs: Knobs) -> Price:
    """What the call's model costs its caller in a group.

    Raises:
        NoPrice.
    """
    user = call.caller.user
    return prices.price(
        call.billed_model or call.model,
        user_group=user.group,
        using_group=group,
        accept_unset=knobs.self_use
        or bool(user.setting.get("accept_unset_model_ratio_model")),
    )


def _known(channel: Channel) -> bool:
    """Whether a channel's provider is known at all."""
    return providers.find(channel.type) is not None
