"""Admission: may this caller spend that much? In memory far from zero, in SQL near it.

Near the limit a hold is one transaction of conditional UPDATEs (`holds.take`); row
counts decide. What this process has promised in memory and not yet applied must stay in
the rows, so the conditions ask for it on top. When that, or money that settled calls
are about to give back, may be the reason of a refusal, everything under way is applied
first and the hold tried once more: a refusal is never an accident of timing within this
process.
"""

from __future__ import annotations

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from knight_tw.errors import (
    DatabaseAway,
    KnightError,
    LedgerFull,
    TokenQuotaShort,
    UserQuotaShort,
)
from knight_tw.ledger import holds
from knight_tw.ledger.balances import Account, Balances, unsettled
from knight_tw.ledger.entries import HOLD, RELEASE, WALLET, Draft, Entry
from knight_tw.ledger.figures import Figures
from knight_tw.ledger.hold import Hold, Place
from knight_tw.ledger.holds import Reading, Wish
from knight_tw.ledger.journal import Journal
from knight_tw.ledger.writer import Writer
from knight_tw.storage.database import Database

TRIES = 3
"""How often all that is left is tried, should it change between look and grasp."""

RETRY_AFTER = 5.0
"""Seconds that callers shall wait when the journal is full."""


@define(eq=False)
class Admission:
    """Grants holds."""

    _db: Database
    _clock: IReactorTime
    _balances: Balances
    _journal: Journal
    _writer: Writer
    _figures: Figures

    def hold(
        self,
        call_id: str,
        user: Account,
        token: Account | None,
        token_id: int,
        need: int,
        amount: int,
        *,
        in_sql: bool,
    ) -> Hold | Deferred[Hold]:
        """See `Ledger.hold`; `token` is None when no token limits the call."""
        if self._journal.full:
            self._figures.holds["refused"] += 1
            raise LedgerFull(
                "charges cannot be recorded at the moment, try again later",
                retry_after=RETRY_AFTER,
            )
        amount = max(need, amount)
        now = self._clock.seconds()
        if not in_sql and self._balances.comfortable(user, token, amount, now):
            return self.open(call_id, user, token, token_id, amount, Place.MEMORY)
        wish = Wish(
            call_id=call_id,
            user_id=user.id,
            token_id=0 if token is None else token_id,
            amount=amount,
            journal=self._journal.id,
            now=int(now),
        )
        asked = _Asked(wish, user, token, token_id, need)
        return Deferred.fromCoroutine(self._ask(asked, in_sql))

    def quick_hold(
        self,
        call_id: str,
        user: Account,
        token: Account | None,
        token_id: int,
        amount: int,
    ) -> Hold | None:
        """See `Ledger.quick_hold`."""
        now = self._clock.seconds()
        if self._journal.full or not self._balances.comfortable(
            user, token, amount, now
        ):
            return None
        return self.open(call_id, user, token, token_id, amount, Place.MEMORY)

    def open(
        self,
        call_id: str,
        user: Account,
        token: Account | None,
        token_id: int,
        amount: int,
        place: Place,
    ) -> Hold:
        """An open hold of money that is set aside already."""
        hold = Hold(call_id, user.id, token_id, amount, place, user, token)
        hold.open()
        figures = self._figures
        if place is not Place.NOWHERE:
            figures.holds[place.value] += 1
        figures.holds_open += 1
        figures.holds_quota += amount
        return hold

    async def _ask(self, asked: _Asked, in_sql: bool) -> Hold:
        """The way through the database: read what is not known, or take the hold."""
        accounts = asked.accounts
        for account in accounts:
            account.open += 1
        try:
            wanted = asked.wish.amount
            if not in_sql and await self._comfortable_after_all(
                asked.user, asked.token, wanted
            ):
                amount, place = wanted, Place.MEMORY
            else:
                amount = await self._take_or_refuse(asked)
                place = Place.SQL if amount else Place.NOWHERE
            return self.open(
                asked.wish.call_id,
                asked.user,
                asked.token,
                asked.token_id,
                amount,
                place,
            )
        except KnightError:
            self._figures.holds["refused"] += 1
            raise
        finally:
            for account in accounts:
                account.open -= 1

    def comfort(
        self, user: Account, token: Account | None, amount: int
    ) -> bool | Deferred[bool]:
        """See `Ledger.comfort`."""
        now = self._clock.seconds()
        if self._balances.comfortable(user, token, amount, now):
            return True
        if not self._stale(user, token, now):
            return False
        return Deferred.fromCoroutine(self._comfort(user, token, amount))

    async def _comfort(self, user: Account, token: Account | None, amount: int) -> bool:
        try:
            return await self._comfortable_after_all(user, token, amount)
        except KnightError:
            return False

    def _stale(self, user: Account, token: Account | None, now: float) -> bool:
        stale = self._balances.stale
        return stale(user, now) or (token is not None and stale(token, now))

    async def _comfortable_after_all(
        self, user: Account, token: Account | None, amount: int
    ) -> bool:
        """Comfort on fresh readings; on old ones while the database is away."""
        if not self._stale(user, token, self._clock.seconds()):
            return False
        try:
            if self._writer.away:
                raise DatabaseAway("the database does not take what is charged")
            await self._read(user, token)
        except DatabaseAway:
            if self._balances.comfortable(user, token, amount, 0.0):
                return True
            raise
        return self._balances.comfortable(user, token, amount, self._clock.seconds())

    async def _read(self, user: Account, token: Account | None) -> None:
        began, now = self._balances.moment(), self._clock.seconds()
        token_id = 0 if token is None else token.id
        reading = await self._db.read(holds.read, user.id, token_id)
        self._learn(user, token, reading, began, now)

    def _learn(
        self,
        user: Account,
        token: Account | None,
        reading: Reading,
        began: int,
        now: float,
    ) -> None:
        self._balances.learn(user, reading.user, began, now)
        if token is not None:
            self._balances.learn(token, reading.token, began, now)

    async def _take_or_refuse(self, asked: _Asked) -> int:
        """What was taken.

        Raises:
            TokenQuotaShort, UserQuotaShort, DatabaseAway.
        """
        taken = await self._take(asked)
        if isinstance(taken, KnightError) and unsettled(asked.accounts):
            await self._writer.flush()
            taken = await self._take(asked)
        if isinstance(taken, KnightError):
            raise taken
        return taken

    async def _take(self, asked: _Asked) -> int | KnightError:
        """Takes the whole hold, else all that is left if that covers the need."""
        seen: tuple[int, int] | None = None
        amount = asked.wish.amount
        for _ in range(1 + TRIES):
            wish = evolve(
                asked.wish,
                amount=amount,
                seen=seen,
                keep_user=asked.user.kept,
                keep_token=0 if asked.token is None else asked.token.kept,
            )
            reading = await self._transact(asked, wish)
            if reading.taken:
                return amount
            spare_user = reading.user - wish.keep_user
            spare_token = reading.token - wish.keep_token
            if asked.token is not None and spare_token < asked.need:
                return _token_short()
            if spare_user <= 0 or spare_user < asked.need:
                return _user_short()
            amount = min(asked.wish.amount, spare_user)
            if asked.token is not None:
                amount = min(amount, max(0, spare_token))
            seen = (reading.user, reading.token)
        return _user_short()

    async def _transact(self, asked: _Asked, wish: Wish) -> Reading:
        """One try, with everything in memory kept in step with it."""
        began, now = self._balances.moment(), self._clock.seconds()
        for account in asked.accounts:
            account.taking += wish.amount
        try:
            reading = await self._db.run(holds.take, wish)
        except (CancelledError, DatabaseAway):
            # It may have been taken all the same; nobody will settle it.
            self._give_up(asked, wish)
            raise
        finally:
            for account in asked.accounts:
                account.taking -= wish.amount
        self._learn(asked.user, asked.token, reading, began, now)
        if reading.taken and wish.amount:
            self._write(HOLD, wish)
        return reading

    def _give_up(self, asked: _Asked, wish: Wish) -> None:
        entry = self._write(RELEASE, wish)
        for account in asked.accounts:
            self._balances.touch(account)
        self._writer.add(entry)

    def _write(self, kind: str, wish: Wish) -> Entry:
        return self._journal.append(
            Draft(
                seq=0,
                kind=kind,
                call=wish.call_id,
                user=wish.user_id,
                token=wish.token_id,
                source=WALLET,
                held=wish.amount,
                sql=True,
                at=wish.now,
            )
        )


@define(eq=False)
class _Asked:
    """A hold that somebody waits for."""

    wish: Wish
    user: Account
    token: Account | None
    token_id: int
    need: int
    accounts: list[Account] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.accounts = [self.user]
        if self.token is not None:
            self.accounts.append(self.token)


def _token_short() -> TokenQuotaShort:
    return TokenQuotaShort("the token's remaining quota does not cover this request")


def _user_short() -> UserQuotaShort:
    return UserQuotaShort("your balance does not cover this request")
