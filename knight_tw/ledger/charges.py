"""Who pays what: the pure decision about a batch of entries on locked balances.

The writer reads the rows of every user and token of a batch under lock, decides here
and writes the result, all in one transaction. So an entry's amount is decided once, and
log row, user, token, channel and statistics carry the same number.

Order within a batch, so that what was promised goes before what was not:

1. Holds that have a row in `knight_holds` come back, as do refunds.
2. Each settlement takes what its own row gave back, up to its `sure` part.
3. Each takes the rest of its `sure` part: promised in memory, so it is there, unless
   somebody else lowered the balance meanwhile. Then as much as there is.
4. Each takes what lies above, as far as there is any.

Nothing falls below zero: not the user, not a token that is limited at this moment. A
row that is below zero already (the reference allows that) is not lowered. Unlimited
tokens follow without limit, they are no balance. A token without a row limits nothing;
a user without a row has nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from attrs import define, field, frozen

from knight_tw.ledger.entries import REFUND, RELEASE, SETTLE, Entry

T = TypeVar("T")


@frozen
class TokenRow:
    """What the decision needs of a row of `tokens`."""

    remain: int
    unlimited: bool


@frozen
class HoldRow:
    """A row of `knight_holds`; `token_id` is 0 when no token was lowered for it."""

    user_id: int
    token_id: int
    amount: int


@define
class UserMove:
    """What is added to a row of `users`."""

    quota: int = 0
    used: int = 0
    count: int = 0


@define
class TokenMove:
    """What is added to a row of `tokens`, and when it was last used."""

    remain: int = 0
    used: int = 0
    at: int = 0


@define(eq=False)
class Decision:
    """The result for one batch.

    Attributes:
        short: Sequence number to the amount charged, where less than asked was there.
        users, tokens, channels: Id to what changes; only rows that exist.
        user_left, token_left: Id to balance afterwards, tokens also unlimited ones.
        charged: Evidence to the sum of what was charged.
        uncollected: The sum of what was not there.
    """

    user_left: dict[int, int]
    token_left: dict[int, int]
    short: dict[int, int] = field(factory=dict)
    users: dict[int, UserMove] = field(factory=dict)
    tokens: dict[int, TokenMove] = field(factory=dict)
    channels: dict[int, int] = field(factory=dict)
    charged: dict[str, int] = field(factory=dict)
    uncollected: int = 0

    def left_to_payers(self) -> dict[int, int]:
        """User id to balance afterwards, of those whom anything was charged."""
        left = self.user_left
        return {
            key: left[key]
            for key, move in self.users.items()
            if move.used > 0 and key in left
        }


@define(eq=False)
class _Till:
    """The balances while the batch is worked through."""

    users: dict[int, int]
    tokens: dict[int, int]
    limited: frozenset[int]

    def there(self, entry: Entry) -> int:
        """What user and limited token have for an entry."""
        there = self.users.get(entry.user, 0)
        if entry.token in self.limited:
            there = min(there, self.tokens[entry.token])
        return max(0, there)

    def move(self, user: int, token: int, amount: int) -> None:
        if user in self.users:
            self.users[user] += amount
        if token in self.tokens:
            self.tokens[token] += amount


def decide(
    entries: Iterable[Entry],
    users: Mapping[int, int],
    tokens: Mapping[int, TokenRow],
    holds: Mapping[str, HoldRow],
) -> Decision:
    """What the entries of one batch do to the balances.

    Args:
        users: Id to quota of every row that the entries and the holds name.
        tokens: The same for tokens.
        holds: Call id to the row in `knight_holds`, of those that exist.
    """
    limited = frozenset(key for key, it in tokens.items() if not it.unlimited)
    till = _Till(dict(users), {key: it.remain for key, it in tokens.items()}, limited)
    entries = list(entries)
    settled = [it for it in entries if it.kind == SETTLE]
    back = _give_back(entries, holds, till)
    paid = _collect(settled, back, till)
    decision = Decision(till.users, till.tokens)
    for entry in settled:
        _account(decision, entry, paid[entry.seq], tokens)
    for entry in entries:
        if entry.kind == REFUND:
            _account_refund(decision, entry)
    _add_differences(decision, users, tokens)
    return decision


def _give_back(
    entries: list[Entry], holds: Mapping[str, HoldRow], till: _Till
) -> dict[str, int]:
    """Puts holds and refunds back; call id to what its hold row gave."""
    back: dict[str, int] = {}
    for entry in entries:
        if entry.kind in (SETTLE, RELEASE) and entry.sql and entry.call not in back:
            row = holds.get(entry.call)
            if row is not None:
                back[entry.call] = row.amount
                till.move(row.user_id, row.token_id, row.amount)
        elif entry.kind == REFUND:
            till.move(entry.user, entry.token, entry.amount)
    return back


def _collect(
    settled: list[Entry], back: Mapping[str, int], till: _Till
) -> dict[int, int]:
    """Sequence number to amount taken, in the order that the module describes."""
    paid = dict.fromkeys((it.seq for it in settled), 0)

    def take(entry: Entry, wanted: int) -> None:
        amount = min(wanted, till.there(entry))
        if amount > 0:
            till.move(entry.user, entry.token, -amount)
            paid[entry.seq] += amount

    if back:
        for entry in settled:
            take(entry, min(entry.sure, back.get(entry.call, 0)))
    for entry in settled:
        take(entry, entry.sure - paid[entry.seq])
    for entry in settled:
        if entry.amount > entry.sure:
            take(entry, entry.amount - paid[entry.seq])
    return paid


def _account(
    decision: Decision, entry: Entry, paid: int, tokens: Mapping[int, TokenRow]
) -> None:
    if paid != entry.amount:
        decision.short[entry.seq] = paid
        decision.uncollected += entry.amount - paid
    user = _of(decision.users, entry.user, UserMove)
    user.used += paid
    if entry.instalment <= 1:
        user.count += 1
    if entry.token in tokens:
        token = _of(decision.tokens, entry.token, TokenMove)
        token.used += paid
        token.at = max(token.at, entry.at)
    if entry.channel:
        channels = decision.channels
        channels[entry.channel] = channels.get(entry.channel, 0) + paid
    charged = decision.charged
    charged[entry.evidence] = charged.get(entry.evidence, 0) + paid


def _account_refund(decision: Decision, entry: Entry) -> None:
    _of(decision.users, entry.user, UserMove).used -= entry.amount
    if entry.token in decision.token_left:
        _of(decision.tokens, entry.token, TokenMove).used -= entry.amount
    if entry.channel:
        channels = decision.channels
        channels[entry.channel] = channels.get(entry.channel, 0) - entry.amount


def _add_differences(
    decision: Decision, users: Mapping[int, int], tokens: Mapping[int, TokenRow]
) -> None:
    """Completes the moves with how far each balance went."""
    for key, left in decision.user_left.items():
        if left != users[key]:
            _of(decision.users, key, UserMove).quota = left - users[key]
    for key, left in decision.token_left.items():
        if left != tokens[key].remain:
            _of(decision.tokens, key, TokenMove).remain = left - tokens[key].remain


def _of(moves: dict[int, T], key: int, kind: type[T]) -> T:
    move = moves.get(key)
    if move is None:
        move = moves[key] = kind()
    return move
