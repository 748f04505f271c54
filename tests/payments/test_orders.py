"""Whether a payment is what its order asks for, and what an order credits."""

from __future__ import annotations

from decimal import Decimal

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.payments import orders
from knight_tw.payments.orders import Order, Payment, Terms

UNIT = Decimal(500_000)
TERMS = Terms(5_000_000, 8000, "usd", "", "cs_1", True)
ORDER = Order(
    id=1,
    user_id=2,
    trade_no="ref_1",
    amount=10,
    money=Decimal(10),
    method="stripe",
    provider="stripe",
    status="pending",
    terms=TERMS,
)
PAYMENT = Payment(
    provider="stripe", trade_no="ref_1", price=8000, currency="usd", reference="cs_1"
)
OLD = evolve(ORDER, terms=None, provider="epay", method="alipay", money=Decimal("73.0"))


class Differences(SynchronousTestCase):
    """`difference`."""

    def test_the_same(self) -> None:
        """Nothing to say."""
        self.assertEqual(orders.difference(ORDER, PAYMENT), "")

    def test_other(self) -> None:
        """Each member that differs is named."""
        for change, word in (
            ({"price": 7999}, "paid"),
            ({"price": 8001}, "paid"),
            ({"price": -8000}, "paid"),
            ({"currency": "jpy"}, "currency"),
            ({"currency": ""}, "currency"),
            ({"merchant": "m"}, "merchant"),
            ({"reference": "cs_2"}, "checkout"),
        ):
            why = orders.difference(ORDER, evolve(PAYMENT, **change))
            self.assertIn(word, why)

    def test_promotion(self) -> None:
        """A discount counts as paid, if the order allows it; a negative one never."""
        cut = evolve(PAYMENT, price=7500, discount=500)
        self.assertEqual(orders.difference(ORDER, cut), "")
        strict = evolve(ORDER, terms=evolve(TERMS, promotions=False))
        self.assertIn("paid 7500, expected 8000", orders.difference(strict, cut))
        more = evolve(PAYMENT, price=8500, discount=-500)
        self.assertIn("paid", orders.difference(ORDER, more))

    def test_orders_of_others(self) -> None:
        """EPay's have a price that can be compared; the rest waits for a person."""
        paid = Payment(provider="epay", trade_no="ref_1", price=7300, merchant="7")
        self.assertEqual(orders.difference(OLD, paid), "")
        self.assertIn("paid", orders.difference(OLD, evolve(paid, price=7299)))
        for provider in ("stripe", "creem"):
            old = evolve(OLD, provider=provider)
            self.assertIn("no terms", orders.difference(old, paid))


class Credits(SynchronousTestCase):
    """`credit` and `provider_of`."""

    def test_terms(self) -> None:
        """Ours say exactly."""
        self.assertEqual(orders.credit(ORDER, Decimal(1)), 5_000_000)

    def test_rules(self) -> None:
        """Those of the providers, for orders that others made."""
        for provider, quota in (
            ("epay", 5_000_000),
            ("stripe", 36_500_000),
            ("creem", 10),
            ("waffo", 5_000_000),
        ):
            self.assertEqual(orders.credit(evolve(OLD, provider=provider), UNIT), quota)

    def test_provider(self) -> None:
        """What old rows do not say follows from the method."""
        for given, method, provider in (
            ("stripe", "alipay", "stripe"),
            ("", "stripe", "stripe"),
            (None, "creem", "creem"),
            ("", "alipay", "epay"),
            (None, None, "epay"),
            ("", "", "epay"),
        ):
            self.assertEqual(orders.provider_of(given, method), provider)

    def test_cents(self) -> None:
        """What a double makes of two decimals is read back exactly."""
        for money, cents in (("73.0", 7300), ("21.9", 2190), ("0.29", 29)):
            self.assertEqual(orders.cents(Decimal(money)), cents)
