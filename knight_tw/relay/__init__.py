"""The relay: one call from its body to its charge.

    read -> choose a channel -> price, hold -> [ prepare -> send -> good? ] -> settle
                     ^                                        | no
                     +------ retry, before the first byte ----+

A call is settled once or released once, whatever happens; both are the `Tab`'s matter.
Failures travel as `KnightError` to the surface, which renders them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from knight_tw.errors import KnightError, SensitiveWords
from knight_tw.ledger import Ledger
from knight_tw.metrics import Meter
from knight_tw.protocols.body import Outlet
from knight_tw.protocols.reply import Headers, Reply
from knight_tw.records import Dialect, Mode, Price
from knight_tw.relay import reading, rows
from knight_tw.relay.attempt import Wire
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.choosing import (
    Choosing,
    View,
    check_model,
    price_of,
    walk_for,
)
from knight_tw.relay.hedging import Hedging
from knight_tw.relay.hedging import delay as hedge_delay
from knight_tw.relay.inflating import Inflater
from knight_tw.relay.knobs import Knobs
from knight_tw.relay.media import UPLOADING
from knight_tw.relay.tab import Count, Tab
from knight_tw.routing import GroupWalk, Pick
from knight_tw.wire import masking, top
from knight_tw.wire.forms import is_form
from knight_tw.words import texts

DROPPED = "X-Knight-Dropped-Params"
"""Names the request's fields that had no equivalent (conversion specification, 1)."""

PROMPTS = ("system", "messages", "input", "prompt", "instructions", "contents")
"""Top-level members that hold prompt text, in any dialect."""


@define(eq=False)
class Relay:
    """Answers calls. Everything it needs is given; it keeps no state of a call.

    Attributes:
        drains: Calls that run on although their client has left.
    """

    _view: View
    _ledger: Ledger
    _wire: Wire
    _choosing: Choosing
    _count: Count
    _clock: IReactorTime
    _inflate: Inflater
    _record_errors: bool
    _drain_most: int
    _drain_seconds: float
    _policy: Callable[[Call], str]
    _meter: Meter
    drains: int = 0
    _hedging: Hedging = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._hedging = Hedging(self._wire, self._choosing, self._clock, self._meter)

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
            if call.mode in UPLOADING or call.head.get("content-encoding"):
                await self._decode(call)
            reading.read_model(call)
            check_model(call)
            walk = walk_for(call, knobs)
            drawn = self._choosing.first(call, walk)
            pick = drawn if isinstance(drawn, Pick) else await drawn
            reading.validate(call, knobs)
            _check_words(call, knobs)
            if call.mode is Mode.COUNT_TOKENS:
                return await self._count_tokens(call, pick, outlet, knobs)
            tab = self._tab(call, pick.group, knobs)
            if not tab.opens_at_once():
                await tab.open()
            return await self._choosing.serve(
                call,
                walk,
                pick,
                partial(self._once, call, walk, tab, outlet),
                lambda: outlet.answered or outlet.reply.gone,
            )
        except KnightError as error:
            self._record(call, error)
            raise
        finally:
            outlet.stop()
            self._choosing.over(call)
            if tab is not None and not tab.detached:
                tab.release()

    def left(self, call: Call, running: Deferred[int]) -> None:
        """The client has gone: end the call, or let it run unheard for its usage."""
        if running.called:
            return  # only its last bytes were to leave
        if self._policy(call) != "drain" or self.drains >= self._drain_most:
            running.cancel()
            return
        call.notes["interrupted"] = {"by": "client", "policy": "drain", "events": 0}
        self._meter.broke_off("client", "drain")
        self.drains += 1
        timer = self._clock.callLater(self._drain_seconds, running.cancel)

        def over(result: object) -> object:
            self.drains -= 1
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

    async def _decode(self, call: Call) -> None:
        """Undoes the body's content coding, and reads a form."""
        coding = call.head.get("content-encoding")
        if coding:
            call.body = await self._inflate(call.body, coding)
        kind = call.head.get("content-type") if call.mode in UPLOADING else ""
        if kind and is_form(kind):
            call.form = await self._inflate.form(call.body, kind)

    async def _once(
        self, call: Call, walk: GroupWalk, tab: Tab, outlet: Outlet, attempt: Attempt
    ) -> int:
        """One attempt at the price of its group, with a hedge where it may have one."""
        if attempt.group != tab.group:
            tab.reprice(attempt.group, self._price(call, attempt.group, tab.knobs))
        after = hedge_delay(call, attempt, tab.knobs.hedge_percent)
        try:
            if after:
                return await self._hedging.exchange(
                    call, walk, attempt, tab, outlet, after
                )
            return await self._wire.exchange(call, attempt, tab, outlet)
        except (KnightError, CancelledError):
            if outlet.answered:
                self._choosing.answered(call)
            raise

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
            self._meter,
        )

    def _price(self, call: Call, group: str, knobs: Knobs) -> Price:
        return price_of(self._view.prices, call, group, knobs)

    def _record(self, call: Call, error: KnightError) -> None:
        """A failed call in the statistics, and an error row when they are wanted."""
        text = masking.mask(error.message)
        row = rows.failure(call, error, text, self._clock.seconds())
        self._ledger.note(row, keep=self._record_errors and error.record)


def _check_words(call: Call, knobs: Knobs) -> None:
    """Forbidden words: refused, or replaced and noted."""
    words = knobs.words
    if words is None or (call.form is None and not words.may_hit(call.body)):
        return  # of a form the texts alone are looked at: its files are large
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
    form = call.form
    call.body = top.encode(call.top) if form is None else form.encode(call.top)
