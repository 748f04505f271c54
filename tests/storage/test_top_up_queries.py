"""Orders in the database: paid once, whoever asks how often, on every engine."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from knight_tw.payments.orders import EXPIRED, FAILED, NewOrder, Payment, Terms
from knight_tw.storage import schema, top_up_queries, user_writes
from knight_tw.storage.top_up_queries import End
from tests.engines import ConnectionCase, DatabaseCase, for_engines

NOW = 1_795_604_332
UNIT = Decimal(500_000)
TRADE_NO = "USR1NOAbcdef1795604332"
PAYMENT = Payment(provider="epay", trade_no=TRADE_NO, price=7300, merchant="7")


def order(user_id: int, **changes: Any) -> NewOrder:
    """An order at EPay for ten dollars."""
    terms = Terms(5_000_000, 7300, merchant="7")
    new = NewOrder(
        user_id=user_id,
        trade_no=TRADE_NO,
        amount=10,
        money=Decimal("73.00"),
        method="alipay",
        provider="epay",
        terms=terms,
    )
    return evolve(new, **changes)


@for_engines
class OrderTests(ConnectionCase):
    """`place`, `pay`, `complete`, `close`, `page`."""

    def setUp(self) -> None:
        """An account with a little, and an order."""
        super().setUp()
        self.user_id = self.insert(schema.users, username="ann", password="", quota=5)
        top_up_queries.place(self.connection, order(self.user_id), NOW)

    def user(self) -> dict[str, Any]:
        """The account's row."""
        (row,) = self.rows(schema.users)
        return row

    def status(self) -> tuple[str, int]:
        """The order's status and when it was completed."""
        row = self.rows(schema.top_ups)[0]
        return row["status"], row["complete_time"]

    def pay(self, **changes: Any) -> top_up_queries.Outcome:
        """What becomes of a payment."""
        paid = evolve(PAYMENT, **changes)
        return top_up_queries.pay(self.connection, paid, UNIT, NOW + 9)

    def unchanged(self) -> None:
        """Nothing was credited, and the order waits."""
        self.assertEqual((self.user()["quota"], self.status()), (5, ("pending", 0)))

    def old(self, **columns: Any) -> None:
        """Make the order one of another program."""
        self.connection.execute(sa.delete(schema.knight_orders))
        self.connection.execute(sa.update(schema.top_ups).values(**columns))

    def test_paid(self) -> None:
        """The account gets the quota, the order its end."""
        outcome = self.pay()
        self.assertEqual(
            (outcome.end, outcome.quota, outcome.username),
            (End.CREDITED, 5_000_000, "ann"),
        )
        self.assertEqual(self.user()["quota"], 5_000_005)
        self.assertEqual(self.status(), ("success", NOW + 9))

    def test_paid_again(self) -> None:
        """A second notice, also one about other money, changes nothing."""
        self.pay()
        for changes in ({}, {"price": 1}):
            self.assertIs(self.pay(**changes).end, End.BEFORE)
        self.assertEqual(self.user()["quota"], 5_000_005)

    def test_other_payments(self) -> None:
        """Another amount, currency, merchant or gateway, an unknown order."""
        for end, changes in (
            (End.REFUSED, {"price": 7299}),
            (End.REFUSED, {"price": 7301}),
            (End.REFUSED, {"currency": "usd"}),
            (End.REFUSED, {"merchant": "8"}),
            (End.REFUSED, {"provider": "stripe"}),
            (End.UNKNOWN, {"trade_no": "USR1NOAbcdef1795604333"}),
            (End.UNKNOWN, {"trade_no": TRADE_NO.upper()}),
            (End.UNKNOWN, {"trade_no": TRADE_NO + " "}),
        ):
            outcome = self.pay(**changes)
            self.assertIs(outcome.end, end, changes)
            self.assertNotEqual(outcome.why, "")
            self.unchanged()

    def test_closed(self) -> None:
        """An order that failed or expired is not credited."""
        for status in (FAILED, EXPIRED):
            self.connection.execute(sa.update(schema.top_ups).values(status=status))
            self.assertIs(self.pay().end, End.CLOSED)
            done = top_up_queries.complete(self.connection, TRADE_NO, UNIT, NOW)
            self.assertIs(done.end, End.CLOSED)
            self.assertEqual((self.user()["quota"], self.status()), (5, (status, 0)))

    def test_account_gone(self) -> None:
        """Without an account there is nobody to credit; the order waits."""
        self.connection.execute(sa.delete(schema.users))
        self.assertEqual(self.pay().why, "the account is gone")
        self.assertEqual(self.status(), ("pending", 0))

    def test_account_removed(self) -> None:
        """Whoever gets the number of a removed account does not get what it ordered."""
        user_writes.hard_delete(self.connection, self.user_id)
        self.insert(schema.users, id=self.user_id, username="eve", password="", quota=5)
        self.assertIs(self.pay().end, End.CLOSED)
        self.assertEqual((self.user()["quota"], self.status()), (5, (EXPIRED, 0)))

    def test_null_balance(self) -> None:
        """An old row without a balance has none, and then what was bought."""
        self.connection.execute(sa.update(schema.users).values(quota=None))
        self.pay()
        self.assertEqual(self.user()["quota"], 5_000_000)

    def test_complete(self) -> None:
        """An administrator says that it was paid; once."""
        first = top_up_queries.complete(self.connection, TRADE_NO, UNIT, NOW)
        again = top_up_queries.complete(self.connection, TRADE_NO, UNIT, NOW)
        self.assertEqual((first.end, again.end), (End.CREDITED, End.BEFORE))
        self.assertIs(self.pay().end, End.BEFORE)
        self.assertEqual(self.user()["quota"], 5_000_005)
        unknown = top_up_queries.complete(self.connection, "x", UNIT, NOW)
        self.assertIs(unknown.end, End.UNKNOWN)

    def test_owner(self) -> None:
        """Whose order it is."""
        self.assertEqual(top_up_queries.owner(self.connection, TRADE_NO), self.user_id)
        self.assertIsNone(top_up_queries.owner(self.connection, TRADE_NO.lower()))

    def test_orders_of_others(self) -> None:
        """EPay's are compared with their money; the gateway follows from the method."""
        self.old(payment_provider=None, complete_time=None)
        self.assertIs(self.pay(price=7299).end, End.REFUSED)
        self.assertEqual(self.pay().quota, 5_000_000)

    def test_rules_by_hand(self) -> None:
        """An order of another program is credited by its gateway's rule."""
        for columns, quota in (
            ({"payment_method": "stripe", "money": Decimal("12.5")}, 6_250_000),
            ({"payment_method": "creem", "amount": 777}, 777),
        ):
            self.old(payment_provider="", status="pending", **columns)
            done = top_up_queries.complete(self.connection, TRADE_NO, UNIT, NOW)
            self.assertEqual(done.quota, quota)

    def test_nonsense_by_hand(self) -> None:
        """Nothing, less than nothing, too much, or what the balance paid."""
        for columns in (
            {"amount": 0},
            {"amount": -10},
            {"amount": 2**60},
            {"payment_method": "balance"},
        ):
            self.old(payment_provider="", **{"amount": 10, **columns})
            done = top_up_queries.complete(self.connection, TRADE_NO, UNIT, NOW)
            self.assertIs(done.end, End.REFUSED)
            self.unchanged()

    def test_close(self) -> None:
        """Only an open order of the gateway and of the checkout is closed."""
        terms = Terms(5, 800, "usd", "", "cs_1")
        new = order(self.user_id, trade_no="ref_1", provider="stripe", terms=terms)
        top_up_queries.place(self.connection, new, NOW)
        for provider, trade_no, reference, closed in (
            ("epay", "ref_1", "cs_1", False),
            ("stripe", TRADE_NO, "", False),
            ("stripe", "ref_2", "cs_1", False),
            ("stripe", "ref_1", "cs_2", False),
            ("stripe", "ref_1", "cs_1", True),
            ("stripe", "ref_1", "cs_1", False),
        ):
            done = top_up_queries.close(
                self.connection, provider, trade_no, EXPIRED, reference
            )
            self.assertEqual(done, closed)
        states = [row["status"] for row in self.rows(schema.top_ups)]
        self.assertEqual(states, ["pending", EXPIRED])

    def test_paid_stays_paid(self) -> None:
        """A late message of a failure takes nothing back."""
        self.pay()
        done = top_up_queries.close(self.connection, "epay", TRADE_NO, FAILED, "")
        self.assertFalse(done)
        self.assertEqual(self.status()[0], "success")

    def test_customer(self) -> None:
        """Stripe's number of the customer is kept."""
        terms = Terms(5, 800, "usd", "", "cs_1")
        new = order(self.user_id, trade_no="ref_1", provider="stripe", terms=terms)
        top_up_queries.place(self.connection, new, NOW)
        outcome = self.pay(
            provider="stripe",
            trade_no="ref_1",
            price=800,
            currency="usd",
            merchant="",
            reference="cs_1",
            customer="cus_1",
        )
        self.assertIs(outcome.end, End.CREDITED)
        self.assertEqual(self.user()["stripe_customer"], "cus_1")

    def buy_product(self, email: str) -> str:
        """Pay an order at Creem; the account's address afterwards."""
        number = str(len(self.rows(schema.top_ups)))
        terms = Terms(5, 800, "usd", "prod_1", "ch_1")
        new = order(self.user_id, trade_no=number, provider="creem", terms=terms)
        top_up_queries.place(self.connection, new, NOW)
        outcome = self.pay(
            provider="creem",
            trade_no=number,
            price=800,
            currency="usd",
            merchant="prod_1",
            reference="ch_1",
            email=email,
        )
        self.assertIs(outcome.end, End.CREDITED)
        return str(self.rows(schema.users)[0]["email"])

    def test_email(self) -> None:
        """An empty address is filled by Creem's, another one is kept."""
        self.assertEqual(self.buy_product("no address"), "")
        self.assertEqual(self.buy_product("ann@example.com"), "ann@example.com")
        self.assertEqual(self.buy_product("eve@example.com"), "ann@example.com")

    def test_email_of_another(self) -> None:
        """Nobody takes an address that logs somebody else in."""
        self.insert(schema.users, username="bob", password="", email="Bob@example.com")
        self.assertEqual(self.buy_product("bob@example.com"), "")

    def test_page(self) -> None:
        """Newest first, one's own or everybody's, by a part of the number."""
        other = self.insert(schema.users, username="bob", password="")
        for number in ("a_1", "a%2", "A3"):
            new = order(other, trade_no=number, money=Decimal("21.9"))
            top_up_queries.place(self.connection, new, NOW)

        def page(user_id: int | None, keyword: str = "") -> list[str]:
            rows, total = top_up_queries.page(self.connection, user_id, keyword, 0, 10)
            self.assertEqual(len(rows), total)
            return [row["trade_no"] for row in rows]

        self.assertEqual(page(None), ["A3", "a%2", "a_1", TRADE_NO])
        self.assertEqual(page(other), ["A3", "a%2", "a_1"])
        self.assertEqual(page(other, "%"), ["a%2"])
        self.assertEqual(page(None, "abcdef"), [TRADE_NO])
        rows, total = top_up_queries.page(self.connection, None, "", 1, 2)
        self.assertEqual(
            ([row["trade_no"] for row in rows], total), (["a%2", "a_1"], 4)
        )
        self.assertEqual(
            rows[0],
            {
                "id": rows[0]["id"],
                "user_id": other,
                "amount": 10,
                "money": Decimal("21.9"),
                "trade_no": "a%2",
                "payment_method": "alipay",
                "payment_provider": "epay",
                "create_time": NOW,
                "complete_time": 0,
                "status": "pending",
            },
        )

    def test_nulls(self) -> None:
        """Rows of the oldest programs are shown with zero values."""
        self.connection.execute(
            sa.update(schema.top_ups).values(
                payment_method=None,
                payment_provider=None,
                complete_time=None,
                money=None,
                amount=None,
            )
        )
        (row,) = top_up_queries.page(self.connection, None, "", 0, 10)[0]
        self.assertEqual(
            (row["payment_method"], row["payment_provider"], row["complete_time"]),
            ("", "epay", 0),
        )
        self.assertEqual((row["money"], row["amount"]), (0, 0))

    def test_money_is_exact(self) -> None:
        """Two decimals come back as they were, cents as integers, on every engine."""
        for number, money in enumerate(("0.01", "0.29", "1234567.89", "99999999.99")):
            price = int(Decimal(money) * 100)
            new = order(
                self.user_id,
                trade_no=f"m{number}",
                money=Decimal(money),
                terms=Terms(10**15, price),
            )
            top_up_queries.place(self.connection, new, NOW)
            row = self.rows(schema.top_ups)[-1]
            self.assertEqual(row["money"], Decimal(money))
            kept = {row["trade_no"]: row for row in self.rows(schema.knight_orders)}
            self.assertEqual(kept[f"m{number}"]["price"], price)
            self.assertEqual(kept[f"m{number}"]["quota"], 10**15)


@for_engines
class ConcurrencyTests(DatabaseCase):
    """Many notices of one payment at once."""

    async def account(self, **columns: Any) -> int:
        """A new account's id."""

        def insert(connection: sa.Connection) -> int:
            values = {"username": "ann", "password": "", **columns}
            made = connection.execute(sa.insert(schema.users).values(**values))
            key = made.inserted_primary_key
            assert key is not None
            return int(key[0])

        return await self.db.run(insert)

    async def value(self, column: sa.Column[Any]) -> Any:
        """A value of the only row of a table."""

        def read(connection: sa.Connection) -> Any:
            return connection.execute(sa.select(column)).scalar_one()

        return await self.db.read(read)

    async def test_many_notices(self) -> None:
        """Twelve at once, through two pools as through two processes: one credits."""
        user_id = await self.account(quota=5)
        await self.db.run(top_up_queries.place, order(user_id), NOW)
        pools = (self.db, self.open())
        outcomes = await gatherResults(
            Deferred.fromCoroutine(pool.run(top_up_queries.pay, PAYMENT, UNIT, NOW))
            for pool in pools * 6
        )
        ends = [outcome.end for outcome in outcomes]
        self.assertEqual(ends.count(End.CREDITED), 1)
        self.assertEqual(ends.count(End.BEFORE), 11)
        self.assertEqual(await self.value(schema.users.c.quota), 5_000_005)

    async def test_notice_and_hand(self) -> None:
        """A notice while an administrator completes the order: one of both credits."""
        user_id = await self.account(quota=0)
        await self.db.run(top_up_queries.place, order(user_id), NOW)
        other = self.open()
        await gatherResults(
            [
                Deferred.fromCoroutine(work)
                for work in (
                    self.db.run(top_up_queries.pay, PAYMENT, UNIT, NOW),
                    other.run(top_up_queries.complete, TRADE_NO, UNIT, NOW),
                    self.db.run(top_up_queries.complete, TRADE_NO, UNIT, NOW),
                    other.run(top_up_queries.pay, PAYMENT, UNIT, NOW),
                )
            ]
        )
        self.assertEqual(await self.value(schema.users.c.quota), 5_000_000)

    async def test_failure_and_payment(self) -> None:
        """A failure and a payment at once: the order ends once, in one of both ways."""
        user_id = await self.account(quota=0)
        await self.db.run(top_up_queries.place, order(user_id), NOW)
        other = self.open()
        outcome, closed = await gatherResults(
            [
                Deferred.fromCoroutine(
                    self.db.run(top_up_queries.pay, PAYMENT, UNIT, NOW)
                ),
                Deferred.fromCoroutine(
                    other.run(top_up_queries.close, "epay", TRADE_NO, FAILED, "")
                ),
            ]
        )
        paid = outcome.end is End.CREDITED
        self.assertNotEqual(paid, closed)
        self.assertEqual(
            await self.value(schema.users.c.quota), 5_000_000 if paid else 0
        )

    async def test_transfers(self) -> None:
        """Referral balance for one transfer serves one of eight at once."""
        user_id = await self.account(quota=1, aff_quota=700_000)
        pools = (self.db, self.open())
        moved = await gatherResults(
            Deferred.fromCoroutine(
                pool.run(user_writes.transfer_aff_quota, user_id, 500_000)
            )
            for pool in pools * 4
        )
        self.assertEqual(sum(moved), 1)
        self.assertEqual(await self.value(schema.users.c.quota), 500_001)
        self.assertEqual(await self.value(schema.users.c.aff_quota), 200_000)

    async def test_transfer_into_nothing(self) -> None:
        """An old row without a balance has what is moved."""
        user_id = await self.account(quota=None, aff_quota=500_000)
        await self.db.run(user_writes.transfer_aff_quota, user_id, 500_000)
        self.assertEqual(await self.value(schema.users.c.quota), 500_000)

    async def test_codes(self) -> None:
        """Everybody who asks for a new referral code at once is told the same."""
        user_id = await self.account(aff_code="")
        pools = (self.db, self.open())
        codes = await gatherResults(
            Deferred.fromCoroutine(
                pool.run(user_writes.aff_code, user_id, random.Random(seed))  # noqa: S311
            )
            for seed, pool in enumerate(pools * 4)
        )
        self.assertEqual(len(set(codes)), 1)
        self.assertEqual(await self.value(schema.users.c.aff_code), codes[0])
