"""The money of one call: what it may cost, what is held, and the one charge.

A call with comfort is never tokenized to be admitted: a token is at least one byte, so
the body's length bounds the prompt; only when that bound does not fit into the caller's
comfort is the prompt counted (in a thread when it is large).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from knight_tw import pricing
from knight_tw.expression_terms import ExpressionFailed, Request
from knight_tw.ledger import COUNTED, ESTIMATED, Hold, Ledger
from knight_tw.metrics import Meter
from knight_tw.price_book import PriceBook, Surcharge
from knight_tw.records import Dialect, Mode, Price, Usage
from knight_tw.relay import rows
from knight_tw.relay.call import Call
from knight_tw.relay.knobs import Knobs
from knight_tw.wire.produced import Produced

NO_OUTPUT = frozenset({Mode.EMBEDDINGS, Mode.RERANK, Mode.MODERATIONS, Mode.SPEECH})
"""Kinds of work whose answer costs no output tokens."""

BY_INPUT = NO_OUTPUT | {Mode.TRANSCRIPTIONS, Mode.TRANSLATIONS, Mode.ALPHA_SEARCH}
"""Kinds of work that are charged for their input when no usage is reported."""

SEARCHING = "search-preview"
"""Names of models that search by themselves end so; each call is a search."""

NO_REQUEST = Request()

log = Logger()  # one for all: making a logger costs 20 µs


class Count(Protocol):
    """Counts tokens, off the reactor when there are many."""

    async def prompt(self, call: Call) -> int:
        """Of what the client sent."""
        ...

    async def answer(self, model: str, produced: Produced) -> int:
        """Of what came back."""
        ...


@define(eq=False)
class Tab:
    """Holds once per call, is settled or released once.

    Attributes:
        group: The group whose ratio the price has.
        detached: Somebody else will close the tab after the call's end.
    """

    _ledger: Ledger
    _book: PriceBook
    _call: Call
    knobs: Knobs
    _count: Count
    price: Price
    group: str
    _clock: IReactorTime
    _meter: Meter
    closed: bool = False
    detached: bool = False
    claim: Callable[[], object] | None = None
    """Is called when an answer is here, before it is charged."""
    _hold: Hold | None = None
    _estimate: int | None = None

    def opens_at_once(self) -> bool:
        """Sets money aside for the call where nothing has to be asked for that, as
        nearly always; False says nothing about the caller: `open` decides."""
        user, token, unlimited = self._who()
        call_id = self._call.request_id
        if pricing.is_free(self.price) and not self.knobs.hold_free_models:
            self._hold = self._ledger.free_hold(call_id, user, token, unlimited)
        else:
            hold = self._hold_for(self._call.weight)
            self._hold = self._ledger.quick_hold(call_id, user, token, unlimited, hold)
        return self._hold is not None

    async def open(self) -> None:
        """Sets money aside for a call that does not open at once.

        Raises:
            UserQuotaShort, TokenQuotaShort, LedgerFull, DatabaseAway.
        """
        user, token, unlimited = self._who()
        call_id, prompt = self._call.request_id, self._call.weight
        hold = self._hold_for(prompt)
        comfort = self._ledger.comfort(user, token, unlimited, hold)
        if not (await comfort if isinstance(comfort, Deferred) else comfort):
            prompt = await self.estimate()
            hold = self._hold_for(prompt)
        need = pricing.need(
            self.price,
            prompt,
            self._call.output_limit or 0,
            self.knobs.floor,
            self._ratios(),
            self._request(),
        )
        granted = self._ledger.hold(call_id, user, token, unlimited, need, hold)
        self._hold = await granted if isinstance(granted, Deferred) else granted

    def fork(self, call: Call) -> Tab:
        """A tab of a copy of the call, without money until it `take`s it."""
        return evolve(self, call=call, hold=None)

    def take(self, other: Tab) -> None:
        """The other tab's money is this one's now."""
        self._hold, other._hold = other._hold, None

    def reprice(self, group: str, price: Price) -> None:
        """Another group serves the call: it costs what that group costs."""
        self.group, self.price = group, price

    async def estimate(self) -> int:
        """The prompt's tokens, counted once."""
        if self._estimate is None:
            self._estimate = await self._count.prompt(self._call)
        return self._estimate

    async def count(self, produced: Produced) -> int:
        """The tokens of an answer."""
        if self.input_only:
            return 0
        return await self._count.answer(self._call.model, produced)

    def closing(self) -> None:
        """The answer is here; what follows is about the charge."""
        if self.claim is not None:
            self.claim()
        record = self._call.record
        if record is not None:
            record.closing(self._clock.seconds())

    @property
    def input_only(self) -> bool:
        """True for work that is charged for its input when no usage is reported."""
        return self._call.work in BY_INPUT

    def settle(
        self,
        usage: Usage,
        evidence: str,
        content: str = "",
        pictures: int | None = None,
    ) -> None:
        """The one charge; later calls of this or of `release` do nothing.

        Args:
            pictures: How many were delivered, None for other work.
        """
        if self.closed or self._hold is None:
            return
        self.closed = True
        call, attempt = self._call, self._call.attempt
        claude = attempt is not None and attempt.dialect is Dialect.CLAUDE
        surcharges: Sequence[Surcharge] = ()
        if usage.tool_calls or call.model.endswith(SEARCHING):
            surcharges = self._book.surcharges(
                call.model,
                usage.tool_calls,
                responses_route=call.dialect is Dialect.RESPONSES,
            )
        request, ratios = self._request(), self._ratios(pictures)
        if ratios:
            told_ratios = {n: pricing.json_number(r) for n, r in ratios.items()}
            call.notes["image_ratios"] = told_ratios
        try:
            amount = pricing.quota(
                self.price,
                usage,
                other_ratios=ratios,
                surcharges=surcharges,
                claude=claude,
                request=request,
            )
        except (pricing.QuotaOutOfRange, ExpressionFailed) as error:
            log.critical(
                "request {id} is charged its hold: {why}",
                id=call.request_id,
                why=str(error),
            )
            amount, evidence = self._hold.amount, ESTIMATED
        call.counted = evidence == COUNTED
        told = pricing.explain(
            self.price, usage, surcharges=surcharges, claude=claude, request=request
        )
        now = self._clock.seconds()
        row = rows.consumption(call, told, usage, content, now, claude=claude)
        channel = attempt.channel.id if attempt else 0
        keep = self.knobs.log_calls
        self._ledger.settle(self._hold, amount, row, channel, evidence, keep=keep)
        self._meter.used(usage)
        sticky = call.sticky
        if sticky is not None and sticky.charged is not None:
            sticky.charged(sticky.match, call.caller.group, usage, claude)

    def leave(self, send: Callable[[], None]) -> None:
        """Has the last of an answer sent once the charge is where a killed process does
        not take it along."""
        self._ledger.barrier(send)

    def _request(self) -> Request:
        """What an expression may look at; nothing for any other price."""
        if not self.price.expression:
            return NO_REQUEST
        now = datetime.fromtimestamp(self._clock.seconds(), tz=UTC)
        return Request(self._call.top, self._call.head.get, now)

    def release(self) -> None:
        """Nothing is charged."""
        if self.closed:
            return
        self.closed = True
        if self._hold is not None:
            self._ledger.release(self._hold)

    def _ratios(self, pictures: int | None = None) -> Mapping[str, Decimal]:
        """Factors of a price per call; of other prices the tokens know them."""
        ratios = self._call.ratios
        if not ratios or self.price.per_call is None:
            return {}
        return ratios if pictures is None else {**ratios, "n": Decimal(pictures)}

    def _who(self) -> tuple[int, int, bool]:
        caller = self._call.caller
        token = caller.token
        if token is None:
            return caller.user.id, 0, True
        return caller.user.id, token.id, token.unlimited_quota

    def _assumed_output(self) -> int:
        """Output tokens of a call that names no limit."""
        return 0 if self._call.work in NO_OUTPUT else self.knobs.hold_output

    def _hold_for(self, prompt: int) -> int:
        return pricing.hold(
            self.price,
            prompt,
            self._call.output_limit,
            self.knobs.floor,
            n=self._call.choices,
            assumed_output=self._assumed_output(),
            other_ratios=self._ratios(),
            request=self._request(),
        )
