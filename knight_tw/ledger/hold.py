"""A hold: money set aside for one call, from admission to its one settlement."""

from __future__ import annotations

import enum

from attrs import define, field

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
    accounts: tuple[Account, ...] = field(init=False)
    """The user's account, and the limited token's."""

    def __attrs_post_init__(self) -> None:
        user, token = self.user, self.token
        self.accounts = (user,) if token is None else (user, token)

    def open(self) -> None:
        """Puts the hold on its accounts."""
        for account in self.accounts:
            account.open += 1
            self._set_aside(account, self.amount)

    def close(self) -> None:
        """Takes the hold off its accounts: it was settled or released."""
        self.done = True
        for account in self.accounts:
            account.open -= 1
            self._set_aside(account, -self.amount)

    def _set_aside(self, account: Account, amount: int) -> None:
        if self.place is Place.MEMORY:
            account.held += amount
        elif self.place is Place.SQL:
            account.lent += amount

    def charge(self, amount: int) -> None:
        """What a settlement does to the accounts until it is applied; a release is a
        settlement of 0. Money from a row only counts once it is back there."""
        if self.place is not Place.SQL:
            for account in self.accounts:
                account.fresh += amount
        elif amount >= self.amount:
            for account in self.accounts:
                account.fresh += amount - self.amount
        else:
            for account in self.accounts:
                account.coming += self.amount - amount

    def spare(self) -> int:
        """What the rows will have beyond the hold, as far as it is known."""
        inside = self.amount if self.place is Place.MEMORY else 0
        return max(0, min(it.known_left - inside for it in self.accounts))
