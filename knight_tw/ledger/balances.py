"""What users and tokens can still spend, as far as this process knows.

Theory
------
For each user and each limited token an `Account` keeps

* `known`: a reading of the row's balance in the database. Holds taken in SQL, by
  whomever, have left it already.
* `fresh`, `flying`: charges that this process journalled and that `known` does not
  contain yet. `flying` ones are being applied by the writer right now, `fresh` ones
  came later.
* `held`: holds granted in memory, which no database knows of.
* `taking`: holds that are being taken in SQL right now; `known` may or may not contain
  them.
* `lent`, `coming`, `coming_soon`: amounts of SQL holds of this process that are open,
  and what settled ones give back as soon as the writer gets there. They never count as
  spendable; they only tell "nothing there" from "not there yet".

So `left = known - fresh - flying - held - taking` is what can be promised, never too
much as far as this process goes.

**Generations.** The writer takes all entries up to a boundary. At that moment `fresh`
moves to `flying` (`turn_over`). When the writer's transactions are through, their last
one has read the balances: `flying` becomes 0 and `known` that reading, in one turn of
the reactor (`landed`). When they failed, `flying` stays: whatever part of it may have
been applied, `known` is from before, so nothing is forgotten; it is taken off once a
later attempt gets through, and that attempt reads again.

**Overlapping readings.** A reading belongs to an operation that began at some moment
(`moment()`) and ended when it is learnt. It replaces `known` when no other reading was
learnt in between. Otherwise nobody here knows which is the newer one, and the lower of
the two counts. Why that is right and not merely careful: between two overlapping
readings the row moved by charges (already subtracted in the lower one; if `flying`
too, twice until the flush lands) or by SQL holds (subtracted in the lower one). Only a
top-up in between makes it too low, until the next reading. A reading that began before
`forget` is ignored.

**Comfort.** A hold is granted in memory when, with `mine = fresh + flying + held +
taking + hold`,

    known - mine > max(TrustQuota, (processes - 1) * mine)

The first bound keeps the distance in which a balance may be stale or lowered by others.
The second is what all processes can spend between two flushes: every process follows
the same rule, so each has at most `known / processes` in promises that the database
does not show, and all together at most `known`. Readings are renewed with each flush
that touches the account; one older than 5 s (60 s with a single process, for nobody
else spends there, and changes by people are announced) is read again before it is
trusted. While the database is away the old reading has to do.

Whatever this module gets wrong, no balance falls below zero: the writer decides each
charge on locked rows. A wrong promise shows up as `uncollected_quota`.

**Bound.** Accounts are a least-recently-used memory. Those with open holds or with
charges under way stay.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from attrs import define, field

FRESH_SECONDS, FRESH_SECONDS_ALONE = 5.0, 60.0
"""How long a reading is trusted: with several processes, and with one."""

_LOOK_FURTHER = 8
"""How many entries that must stay are passed over in search of one that may go."""


@define(eq=False)
class Account:
    """One balance; see the module for what the amounts mean."""

    id: int
    known: int | None = None
    as_of: float = 0.0
    learnt_at: int = 0
    fresh: int = 0
    flying: int = 0
    held: int = 0
    taking: int = 0
    lent: int = 0
    coming: int = 0
    coming_soon: int = 0
    open: int = 0
    touched: bool = False
    on_its_way: bool = False

    @property
    def unapplied(self) -> int:
        """Charges that are journalled and not in `known`."""
        return self.fresh + self.flying

    @property
    def known_left(self) -> int:
        """What the row will have once everything so far is applied; 0 if unknown."""
        if self.known is None:
            return 0
        return self.known - self.fresh - self.flying

    @property
    def kept(self) -> int:
        """What an SQL hold must leave in the row for promises made in memory."""
        return self.fresh + self.flying + self.held

    @property
    def pinned(self) -> bool:
        """True while forgetting the account would lose promises."""
        return self.open > 0 or self.touched or self.on_its_way

    @property
    def unsettled(self) -> bool:
        """True when entries under way will still move the row."""
        return bool(self.touched or self.on_its_way)

    @property
    def owned(self) -> int | None:
        """The balance as its owner would count it: open SQL holds included."""
        if self.known is None:
            return None
        back = self.lent + self.coming + self.coming_soon
        return self.known + back - self.fresh - self.flying


@define(eq=False)
class Accounts:
    """A bounded memory of accounts of one kind."""

    _capacity: int
    _accounts: OrderedDict[int, Account] = field(factory=OrderedDict)

    def get(self, key: int) -> Account:
        """The account, made when there is none; it counts as used."""
        account = self._accounts.get(key)
        if account is not None:
            self._accounts.move_to_end(key)
            return account
        account = self._accounts[key] = Account(key)
        if len(self._accounts) > self._capacity:
            self._shrink()
        return account

    def peek(self, key: int) -> Account | None:
        """The account if there is one."""
        return self._accounts.get(key)

    def __len__(self) -> int:
        return len(self._accounts)

    def _shrink(self) -> None:
        for _ in range(_LOOK_FURTHER):
            key, account = next(iter(self._accounts.items()))
            if not account.pinned:
                del self._accounts[key]
                if len(self._accounts) <= self._capacity:
                    return
            else:
                self._accounts.move_to_end(key)


@define(eq=False)
class Balances:
    """The accounts of users and of limited tokens, and the rule of comfort.

    Args:
        trust: The option `TrustQuota`.
        processes: How many processes spend from the same database.
        capacity: Accounts of each kind that are kept.
    """

    _trust: Callable[[], int]
    _processes: Callable[[], int]
    _capacity: int = 100_000
    users: Accounts = field(init=False)
    tokens: Accounts = field(init=False)
    _moment: int = 0
    _touched: list[Account] = field(factory=list)
    _flying: list[Account] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.users = Accounts(self._capacity)
        self.tokens = Accounts(self._capacity)

    def comfortable(
        self, user: Account, token: Account | None, amount: int, now: float
    ) -> bool:
        """True when `amount` may be promised in memory for both.

        Args:
            token: None when no token limits the call.
            now: 0 to accept readings of any age: the database is away.
        """
        processes = self._processes()
        oldest = now - (FRESH_SECONDS if processes > 1 else FRESH_SECONDS_ALONE)
        trust = self._trust()
        for account in (user, token):
            if account is None:
                continue
            known = account.known
            if known is None or account.as_of < oldest:
                return False
            mine = (
                account.fresh + account.flying + account.held + account.taking + amount
            )
            left = known - mine
            if left <= trust or left <= (processes - 1) * mine:
                return False
        return True

    def stale(self, account: Account, now: float) -> bool:
        """True when the balance must be read before it may be trusted."""
        limit = FRESH_SECONDS if self._processes() > 1 else FRESH_SECONDS_ALONE
        return account.known is None or now - account.as_of > limit

    def moment(self) -> int:
        """The moment to hand to `learn` with what is read from now on."""
        return self._moment

    def learn(self, account: Account, balance: int, began: int, as_of: float) -> None:
        """Take a reading of an operation that began at the moment `began`."""
        if began >= account.learnt_at:
            account.known = balance
        elif account.known is not None:
            account.known = min(account.known, balance)
        else:
            return
        self._moment += 1
        account.learnt_at = self._moment
        account.as_of = as_of

    def forget(self, account: Account) -> None:
        """Someone else changed the row: only readings that begin from now on count."""
        self._moment += 1
        account.learnt_at = self._moment
        account.known = None

    def touch(self, account: Account) -> None:
        """An entry of the journal concerns this account."""
        if not account.touched:
            account.touched = True
            self._touched.append(account)

    def turn_over(self) -> tuple[list[int], list[int]]:
        """The writer takes every entry so far.

        Returns:
            Ids of the users and the tokens whose balances it shall read at the end.
        """
        for account in self._touched:
            account.flying += account.fresh
            account.coming_soon += account.coming
            account.fresh = account.coming = 0
            account.touched = False
            if not account.on_its_way:
                account.on_its_way = True
                self._flying.append(account)
        self._touched = []
        users = [it.id for it in self._flying if self.users.peek(it.id) is it]
        tokens = [it.id for it in self._flying if self.tokens.peek(it.id) is it]
        return users, tokens

    def landed(
        self,
        users: Mapping[int, int],
        tokens: Mapping[int, int],
        began: int,
        as_of: float,
    ) -> None:
        """Everything of the last `turn_over` is applied; these are the balances."""
        for account in self._flying:
            account.flying = account.coming_soon = 0
            account.on_its_way = False
        self._flying = []
        self._learn_all(self.users, users, began, as_of)
        self._learn_all(self.tokens, tokens, began, as_of)

    def _learn_all(
        self, kind: Accounts, balances: Mapping[int, int], began: int, as_of: float
    ) -> None:
        for key, balance in balances.items():
            account = kind.peek(key)
            if account is not None:
                self.learn(account, balance, began, as_of)


def unsettled(accounts: Iterable[Account | None]) -> bool:
    """True when entries under way concern one of the accounts."""
    return any(it is not None and it.unsettled for it in accounts)
