"""The money of a realtime session: a hold per turn, settled by what the turn used.

The turns of a session are instalments of one call: they add up to one log row, which
after a crash holds what was settled by then. A price per call is taken once, with the
first turn. A turn of which nothing is reported is counted; one that made nothing keeps
its hold for the next. Billing specification, sections 6 and 9.
"""

from __future__ import annotations

from functools import partial

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from knight_tw import counting, pricing
from knight_tw.errors import UserQuotaShort
from knight_tw.ledger import COUNTED, PROVIDER, Hold, Ledger
from knight_tw.metrics import Meter
from knight_tw.records import Price, Usage
from knight_tw.relay import rows
from knight_tw.relay.call import Call
from knight_tw.relay.evidence import UNBILLED
from knight_tw.relay.knobs import Knobs
from knight_tw.relay.tab import Count
from knight_tw.wire.realtime import Turn


@define(eq=False)
class Turns:
    """Holds and charges of one session.

    Attributes:
        group: The group whose ratio the price has.
        settled: Turns that were charged.
    """

    _ledger: Ledger
    _call: Call
    _knobs: Knobs
    _count: Count
    price: Price
    group: str
    _clock: IReactorTime
    _meter: Meter
    settled: int = 0
    _hold: Hold | None = None
    _holds: int = 0
    _charges: int = 0
    _log: Logger = field(factory=Logger)

    async def open(self) -> None:
        """Sets money aside for the first turn.

        Raises:
            UserQuotaShort, TokenQuotaShort, LedgerFull, DatabaseAway.
        """
        await self._take(0, 0)

    def reprice(self, group: str, price: Price) -> None:
        """Another group serves the session: it costs what that group costs."""
        self.group, self.price = group, price

    def release(self) -> None:
        """The session has not come about: nothing is charged."""
        hold, self._hold = self._hold, None
        if hold is not None:
            self._ledger.release(hold)

    async def settle(self, turn: Turn) -> None:
        """Charges a turn and sets money aside for the next. When it returns, the charge
        is where a killed process does not take it along.

        Raises:
            UserQuotaShort: the turn cost more than there was.
            KnightError: as `open`. The turn is charged all the same.
        """
        found = await self._measured(turn)
        if found is None:
            return
        usage, evidence = found
        amount = self._cost(usage)
        charged = self._charge(amount, usage, evidence)
        self.settled += 1
        await self._kept()
        if charged < amount:
            raise UserQuotaShort("your balance does not cover this session any more")
        await self._take(usage.prompt + usage.completion, amount)

    async def close(self, rest: Turn) -> None:
        """Charges what is left; the log row is complete then."""
        found = await self._measured(rest)
        if found is not None:
            usage, evidence = found
            self.settled += 1
            self._charge(self._cost(usage), usage, evidence)
        elif self._charges:
            self._charge(0, Usage(), PROVIDER)
        else:
            self._charge(0, Usage(), COUNTED, UNBILLED)
        await self._kept()

    # amounts -----------------------------------------------------------------

    async def _measured(self, turn: Turn) -> tuple[Usage, str] | None:
        """What a turn used and who says so; None when it came to nothing."""
        if turn.usage is not None:
            return turn.usage, PROVIDER
        if turn.silent:
            return None
        model = self._call.model
        heard = counting.heard_for(turn.heard_seconds)
        spoken = counting.spoken_for(turn.spoken_seconds)
        prompt = heard + await self._count.answer(model, turn.heard)
        completion = spoken + await self._count.answer(model, turn.spoken)
        self._call.counted = True
        usage = Usage(
            prompt=prompt,
            completion=completion,
            audio_in=heard,
            audio_out=spoken,
            total=prompt + completion,
        )
        return usage, COUNTED

    def _cost(self, usage: Usage) -> int:
        """The price of a turn."""
        if self.price.per_call is not None and self._charges:
            return 0
        try:
            return pricing.quota(self.price, usage, realtime=True)
        except ValueError:
            self._log.failure("a turn of {model} has no price", model=self.price.model)
            return 0

    # the ledger --------------------------------------------------------------

    def _charge(
        self, amount: int, usage: Usage, evidence: str, content: str = ""
    ) -> int:
        """Settles the hold, or without one takes what there is."""
        call = self._call
        hold, self._hold = self._hold, None
        self._charges += 1
        self._meter.used(usage)
        told = pricing.explain(self.price, usage, realtime=True)
        row = rows.consumption(call, told, usage, content, self._clock.seconds())
        attempt = call.attempt
        return self._ledger.settle(
            hold or self._ledger.free_hold(self._name(), *self._who()),
            amount,
            row,
            attempt.channel.id if attempt else 0,
            evidence,
            self._charges,
            keep=self._knobs.log_calls,
        )

    async def _kept(self) -> None:
        kept: Deferred[None] = Deferred()
        self._ledger.barrier(partial(kept.callback, None))
        await kept

    async def _take(self, tokens: int, amount: int) -> None:
        """Holds for the next turn.

        Args:
            tokens: Of the last turn: they are the beginning of the next one's prompt.
            amount: What the last turn cost.
        """
        price, knobs = self.price, self._knobs
        paid = price.per_call is not None and self._charges
        free = pricing.is_free(price) and not knobs.hold_free_models
        if paid or free:
            self._hold = self._ledger.free_hold(self._name(), *self._who())
            return
        need = pricing.need(price, 0, 0, knobs.floor)
        hold = pricing.hold(
            price,
            tokens,
            None,
            knobs.floor,
            assumed_output=knobs.hold_output,
            audio_output=True,
        )
        granted = self._ledger.hold(self._name(), *self._who(), need, max(hold, amount))
        self._hold = await granted if isinstance(granted, Deferred) else granted

    def _name(self) -> str:
        """A call id for the ledger, another for each hold."""
        self._holds += 1
        return f"{self._call.request_id}:{self._holds}"

    def _who(self) -> tuple[int, int, bool]:
        caller = self._call.caller
        token = caller.token
        if token is None:
            return caller.user.id, 0, True
        return caller.user.id, token.id, token.unlimited_quota
