"""A hold: money set aside for one call, from admission to its one settlement."""

from __future__ import annotations

import enum

from attrs import define

from knight_tw.ledger.balances import Account


class Place(enum.Enum):
    """Where the money is set aside."""

    NOWHERE = "nowhere"
    """Nothing is held: a free call, or one whose admission was checked elsewhere."""
    MEMORY = "memory"
    SQL = "sql"


@define(eq=False)
class Hold:
    """What `Ledger.hold` grants; `settle` or `release` it once.

    Attributes:
        token_id: 0 for the playground.
        amount: What is set aside, at least the need.
        charged: What `settle` answered, None while the hold is open.
    """

    call_id: str
    user_id: int
    token_id: int
    amount: int
    place: Place
    user: Account
    token: Account | None
    """The limited token's account; None when no token limits the call."""
    done: bool = False
    charged: int = 0
