"""The relay: one call from its body to its charge.

    read -> choose a channel -> price, hold -> [ prepare -> send -> good? ] -> settle
                     ^                                        | no
                     +------ retry, before the first byte ----+

A call is settled once or released once, whatever happens; both are the `Tab`'s matter.
Failures travel as `KnightError` to the surface, which renders them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from knight_tw import providers, routing
from knight_tw.errors import (
    KnightError,
    ModelNotAllowed,
    NoChannel,
    SensitiveWords,
)
from knight_tw.ledger import Ledger
from knight_tw.price_book import PriceBook
from knight_tw.protocols.body import Outlet
from knight_tw.protocols.reply import Headers, Reply
from knight_tw.records import Channel, Dialect, Mode, Price
from knight_tw.relay import reading, rows
from knight_tw.relay.attempt import Wire
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.inflating import Inflater
from knight_tw.relay.knobs import Knobs
from knight_tw.relay.tab import Count, Tab
from knight_tw.routing import GroupWalk, Pick, RoutingTable
from knight_tw.wire import masking, top
from knight_tw.words import texts

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


DROPPED = "X-Knight-Dropped-Params"
"""Names the request's fields that had no equivalent (conversion specification, 1)."""

PROMPTS = ("system", "messages", "input", "prompt", "instructions", "contents")
"""Top-level members that hold prompt text, in any dialect."""


class Watch(Protocol):
    """Whoever wants to know how channels do."""

    def failed(self, attempt: Attempt, error: KnightError) -> None:
        """An attempt failed; it may be reason to disable the channel or key."""
        ...

    def answered(self, attempt: Attempt, seconds: float) -> None:
        """An attempt succeeded."""
        ...


@define(eq=False)
class Relay:
    """Answers calls. Everything it needs is given; it keeps no state of a call."""

    _view: View
    _ledger: Ledger
    _wire: Wire
    _draw: routing.Draw
    _count: Count
    _watch: Watch
    _clock: IReactorTime
    _inflate: Inflater
    _record_errors: bool
    _drain_most: int
    _drain_seconds: float
    _policy: Callable[[Call], str]
    _drains: int = 0
    _log: Logger = field(factory=Logger)

    async def answer(
        self, call: Call, reply: Reply, headers: Callable[[], Headers]
    ) -> int:
        """Answer one call; returns the status that the client got.

        Raises:
            KnightError: nothing of an answer went out, or (`reply.begun`) it broke off.
        """
        knobs = self._view.knobs

        def told() -> Headers:
            if not (call.dropped and knobs.dropped_header):
                return headers()
            return [*headers(), (DROPPED, ",".join(call.dropped))]

        outlet = Outlet(reply, told, self._clock, knobs.ping_seconds)
        tab: Tab | None = None
        try:
            await self._read(call)
            walk = _walk(call, knobs)
            pick = self._first(call, walk)
            reading.validate(call, knobs)
            _check_words(call, knobs)
            if call.mode is Mode.COUNT_TOKENS:
                return await self._count_tokens(call, pick, outlet, knobs)
            tab = self._tab(call, pick.group, knobs)
            await tab.open()
            return await self._attempts(call, tab, walk, pick, outlet)
        except KnightError as error:
            self._record(call, error)
            raise
        finally:
            outlet.stop()
            if tab is not None and not tab.detached:
                tab.release()

    def left(self, call: Call, running: Deferred[int]) -> None:
        """The client has gone: end the call, or let it run unheard for its usage."""
        if self._policy(call) != "drain" or self._drains >= self._drain_most:
            running.cancel()
            return
        call.notes["interrupted"] = {"by": "client", "policy": "drain", "events": 0}
        self._drains += 1
        timer = self._clock.callLater(self._drain_seconds, running.cancel)

        def over(result: object) -> object:
            self._drains -= 1
            if timer.active():
                timer.cancel()
            return result

        running.addBoth(over)

    async def _count_tokens(
        self, call: Call, pick: Pick, outlet: Outlet, knobs: Knobs
    ) -> int:
        """Tokens of a prompt: the provider's own count where it has one, else ours.

        Never billed and never tried on another channel.
        """
        attempt = Attempt(
            pick.channel, pick.key_index, pick.group, self._clock.seconds()
        )
        call.attempts.append(attempt)
        body = await self._wire.counted(call, attempt, knobs)
        if body is None:
            name = "totalTokens" if call.dialect is Dialect.GEMINI else "input_tokens"
            body = top.encode({name: await self._count.prompt(call)})
        json = ("Content-Type", "application/json")
        outlet.reply.whole(200, [*outlet.headers(), json], body)
        return 200

    async def _read(self, call: Call) -> None:
        """The body, its content coding undone, and the model it asks for."""
        coding = call.head.get("content-encoding")
        if coding:
            call.body = await self._inflate(call.body, coding)
        reading.read_model(call)
        _check_model(call)

    # choosing ----------------------------------------------------------------

    def _first(self, call: Call, walk: GroupWalk) -> Pick:
        pick = walk.next(self._view.routes, call.model, self._draw, _usable(call))
        if pick is not None:
            return pick
        if self._view.routes.knows(walk.groups, call.model):
            raise NoChannel(
                f"no channel is available for the model {call.model} now",
                status=503,
                retry_after=5,
            )
        raise NoChannel(
            f"no channel serves the model {call.model}",
            status=404,
            param="model",
        )

    def _usable(self, call: Call) -> Callable[[Channel], bool]:
        mode = call.mode

        def usable(channel: Channel) -> bool:
            provider = providers.find(channel.type)
            return provider is not None and mode in provider.modes

        return usable

    # attempts ----------------------------------------------------------------

    async def _attempts(
        self, call: Call, tab: Tab, walk: GroupWalk, pick: Pick, outlet: Outlet
    ) -> int:
        """Try channels until one answers or the rules say stop."""
        while True:
            began = self._clock.seconds()
            attempt = Attempt(pick.channel, pick.key_index, pick.group, began)
            call.attempts.append(attempt)
            if pick.group != tab.group:
                tab.reprice(pick.group, self._price(call, pick.group, tab.knobs))
            try:
                status = await self._wire.exchange(call, attempt, tab, outlet)
            except KnightError as error:
                pick = await self._next(call, walk, error, outlet, tab.knobs)
            else:
                self._watch.answered(attempt, self._clock.seconds() - began)
                return status

    async def _next(
        self,
        call: Call,
        walk: GroupWalk,
        error: KnightError,
        outlet: Outlet,
        knobs: Knobs,
    ) -> Pick:
        """The channel to try after a failure; raises the failure when there is none."""
        attempt = call.attempts[-1]
        call.last_error = error
        self._watch.failed(attempt, error)
        seconds = self._clock.seconds() - attempt.began
        self._ledger.attempt_failed(attempt.channel.id, seconds)
        self._log.info(
            "attempt {number} on channel {channel_id} failed: {status} {code} {why}",
            number=len(call.attempts),
            channel_id=attempt.channel.id,
            status=error.status,
            code=error.code,
            why=error.detail or error.message,
        )
        if not walk.retries(
            error,
            begun=outlet.answered,
            gone=outlet.reply.gone,
            ranges=knobs.retry_on,
        ):
            raise error
        pick = walk.next(self._view.routes, call.model, self._draw, _usable(call))
        if pick is None:
            raise error
        wait = error.retry_after
        if wait is not None and wait <= PATIENCE and walk.repeats:
            await deferLater(self._clock, wait)
        return pick

    def _tab(self, call: Call, group: str, knobs: Knobs) -> Tab:
        price = self._price(call, group, knobs)
        return Tab(
            self._ledger,
            self._view.prices,
            call,
            knobs,
            self._count,
            price,
            group,
            self._clock,
        )

    def _price(self, call: Call, group: str, knobs: Knobs) -> Price:
        user = call.caller.user
        return self._view.prices.price(
            call.billed_model or call.model,
            user_group=user.group,
            using_group=group,
            accept_unset=knobs.self_use
            or bool(user.setting.get("accept_unset_model_ratio_model")),
        )

    def _record(self, call: Call, error: KnightError) -> None:
        """A failed call in the statistics, and an error row when they are wanted."""
        text = masking.mask(error.message)
        row = rows.failure(call, error, text, self._clock.seconds())
        self._ledger.note(row, keep=self._record_errors and error.record)


def _walk(call: Call, knobs: Knobs) -> GroupWalk:
    """The groups and attempts a call may have."""
    caller = call.caller
    if caller.pinned_channel is not None:
        return GroupWalk.pinned(caller.pinned_channel, caller.group)
    groups = caller.auto_groups or (caller.group,)
    across = caller.token is not None and caller.token.cross_group_retry
    return GroupWalk(groups, knobs.retry_times, across, knobs.tier_mode)


def _usable(call: Call) -> Callable[[Channel], bool]:
    """Whether a channel's provider is known at all."""

    def usable(channel: Channel) -> bool:
        return providers.find(channel.type) is not None

    return usable


def _check_model(call: Call) -> None:
    """The token's model list, on the name that the client sent."""
    token = call.caller.token
    if token is None or not token.model_limits_enabled:
        return
    limits = token.model_limits
    if call.model not in limits and routing.normalise(call.model) not in limits:
        raise ModelNotAllowed(f"this API key may not use the model {call.model}")


def _check_words(call: Call, knobs: Knobs) -> None:
    """Forbidden words: refused, or replaced and noted."""
    words = knobs.words
    if words is None or not words.may_hit(call.body):
        return
    prompt = {name: top.plain(call.top, name) for name in PROMPTS if name in call.top}
    hits = [hit for text in texts(prompt) for hit in words.hits(text)]
    if not hits:
        return
    if knobs.stop_on_word:
        raise SensitiveWords(
            "the prompt holds words that are not allowed here",
            detail=f"words: {', '.join(dict.fromkeys(hits))}",
        )
    for name, value in prompt.items():
        call.top[name] = words.masked(value)
    call.body = top.encode(call.top)
