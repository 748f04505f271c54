"""What a top-up costs."""

from __future__ import annotations

from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.options import Options
from knight_tw.payments import amounts
from knight_tw.payments.amounts import Amount
from knight_tw.payments.orders import PaymentRefused

TOKENS = {"general_setting.quota_display_type": "TOKENS"}
PRICE = Decimal("7.3")


def cost(rows: dict[str, str], entered: int, group: str = "default") -> str:
    """What an amount costs at 7.3 a dollar."""
    options = Options.from_rows(rows)
    asked = amounts.amount(options, entered, 1)
    return str(amounts.money(options, asked, PRICE, group))


class Amounts(SynchronousTestCase):
    """`amount`."""

    def test_dollars(self) -> None:
        """What is entered is US dollars."""
        options = Options.from_rows({})
        self.assertEqual(
            amounts.amount(options, 10, 1), Amount(10, Decimal(10), 5_000_000)
        )

    def test_tokens(self) -> None:
        """What is entered is quota, and credited to the unit."""
        options = Options.from_rows(TOKENS)
        self.assertEqual(
            amounts.amount(options, 750_001, 1),
            Amount(750_001, Decimal("1.500002"), 750_001),
        )

    def test_minimum(self) -> None:
        """In dollars, or so many units of quota; nothing and less is refused always."""
        for rows, entered, least in (
            ({}, 4, 5),
            ({}, 0, 0),
            ({}, -10, 1),
            (TOKENS, 499_999, 1),
            (TOKENS, 4, 5),
        ):
            options = Options.from_rows(rows)
            self.assertRaises(PaymentRefused, amounts.amount, options, entered, least)
        amounts.amount(Options.from_rows(TOKENS), 500_000, 1)

    def test_largest(self) -> None:
        """More than anybody can mean."""
        self.assertRaises(
            PaymentRefused, amounts.amount, Options.from_rows({}), 2**62, 1
        )


class Money(SynchronousTestCase):
    """`money`."""

    def test_plain(self) -> None:
        """Amount times price."""
        self.assertEqual(cost({}, 10), "73.00")
        self.assertEqual(cost(TOKENS, 750_000), "10.95")

    def test_group(self) -> None:
        """The group's factor; none and 0 are 1."""
        rows = {"TopupGroupRatio": '{"vip":0.9,"zero":0}'}
        self.assertEqual(cost(rows, 10, "vip"), "65.70")
        self.assertEqual(cost(rows, 10, "zero"), "73.00")
        self.assertEqual(cost(rows, 10, "unknown"), "73.00")

    def test_discount(self) -> None:
        """The factor of exactly that amount; 0 is none."""
        table = '{"x":0.1,"sNaN":0.1,"100":0.95,"50.0":0.5,"20":0}'
        rows = {"payment_setting.amount_discount": table}
        self.assertEqual(cost(rows, 100), "693.50")
        self.assertEqual(cost(rows, 50), "182.50")
        self.assertEqual(cost(rows, 20), "146.00")
        self.assertEqual(cost(rows, 101), "737.30")

    def test_rounded_once(self) -> None:
        """Half away from zero, at the end."""
        rows = {"TopupGroupRatio": '{"default":0.05}'}
        self.assertEqual(cost(rows, 1), "0.37")

    def test_nothing(self) -> None:
        """What costs less than a cent is not sold."""
        rows = {"TopupGroupRatio": '{"default":0.0001}'}
        self.assertRaises(PaymentRefused, cost, rows, 1)
