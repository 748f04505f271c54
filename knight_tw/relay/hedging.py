"""Hedging: when a channel is slow to begin, ask a second one; the first to speak wins.

    primary ---------- no byte after `hedge_after_ms` ----------+
                         +-- hedge -- speaks first --> the client's answer
                                                      (the primary is cut)

Here is which calls may be hedged and how often; `race` is how. Providers specification,
section 2.2 (`hedge_after_ms`); option `relay.hedge_budget_percent`.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from knight_tw.metrics import Meter
from knight_tw.protocols.body import Outlet
from knight_tw.providers.provider import Body
from knight_tw.records import Mode
from knight_tw.relay.attempt import Wire
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.choosing import Choosing
from knight_tw.relay.race import Race
from knight_tw.relay.tab import Tab
from knight_tw.routing import GroupWalk

SAFE = frozenset(
    {
        *(Mode.CHAT, Mode.COMPLETIONS, Mode.MESSAGES, Mode.RESPONSES, Mode.GEMINI),
        *(Mode.EMBEDDINGS, Mode.RERANK, Mode.MODERATIONS),
    }
)
"""Kinds of work that may be asked for twice: they only cost the provider's time."""

BOUND = ("background", "conversation", "previous_response_id", "container")
"""Members of a request that tie it to what one provider keeps, or begin work there."""

ACTING = (b'"mcp"', b'"mcp_toolset"')
"""Types of tools that act somewhere else while the answer is made."""

ONE, MOST = 100, 1000
"""What a hedge takes of the budget, in hundredths; what is saved up at most."""


@define(eq=False)
class Budget:
    """How many hedges there may be, in percent of the calls that could have one. Ten
    can be saved up, and the first is there from the start."""

    _saved: int = ONE

    def earn(self, percent: int) -> None:
        """One more call that could be hedged."""
        self._saved = min(self._saved + percent, MOST)

    @property
    def enough(self) -> bool:
        """True when a hedge may start."""
        return self._saved >= ONE

    def spend(self) -> None:
        """A hedge starts."""
        self._saved -= ONE


def delay(call: Call, attempt: Attempt, percent: int) -> float:
    """Seconds after which the attempt may have a hedge; 0 = never.

    Args:
        percent: The option `relay.hedge_budget_percent`.
    """
    asked = attempt.channel.settings.get("hedge_after_ms")
    if not asked or percent <= 0 or not isinstance(asked, int | float):
        return 0.0
    if call.hedged or call.is_test or call.mode not in SAFE or not call.generates:
        return 0.0
    return asked / 1000 if asked > 0 and _repeatable(call.top) else 0.0


def _repeatable(body: Body) -> bool:
    """Whether nobody but us notices that a request is made twice."""
    if any(name in body for name in BOUND) or "mcp_servers" in body:
        return False
    tools = body.get("tools")
    if tools is None:
        return True
    text = bytes(tools)
    return not any(kind in text for kind in ACTING)


@define(eq=False)
class Hedging:
    """Makes attempts that may have a second one beside them."""

    _wire: Wire
    _choosing: Choosing
    _clock: IReactorTime
    _meter: Meter
    _budget: Budget = field(factory=Budget)

    async def exchange(
        self,
        call: Call,
        walk: GroupWalk,
        attempt: Attempt,
        tab: Tab,
        outlet: Outlet,
        after: float,
    ) -> int:
        """As `Wire.exchange`, with a hedge after so many seconds of silence. At the end
        the call's latest attempt is the one that served, or failed last.

        Raises:
            KnightError: of the last failure.
        """
        self._budget.earn(tab.knobs.hedge_percent)
        race = Race(
            call,
            walk,
            tab,
            outlet,
            self._wire,
            self._choosing,
            self._clock,
            self._meter,
            self._budget,
        )
        try:
            return await race.run(attempt, after)
        finally:
            race.over()
