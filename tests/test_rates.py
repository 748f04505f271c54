"""Tests of knight_tw.rates: whole numbers against the decimal arithmetic of pricing."""

from __future__ import annotations

from decimal import Decimal

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import pricing
from knight_tw.rates import Rates
from knight_tw.records import Price, Usage

RATIOS = st.decimals(0, 1000, places=6, allow_nan=False, allow_infinity=False)
TOKENS = st.integers(0, 10**7)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    return Price(
        "m", draw(RATIOS), draw(RATIOS), draw(RATIOS), cache_ratio=draw(RATIOS)
    )


def by_decimal(price: Price) -> Price:
    """The same price, which `pricing` cannot reckon in whole numbers."""
    general = evolve(price)
    general.reckoned["rates"] = None
    return general


def tokens(model_ratio: str) -> Price:
    return Price("m", Decimal(model_ratio), Decimal(3), Decimal(1))


class Equal(SynchronousTestCase):
    """The fast way and the general way."""

    @given(prices(), TOKENS, TOKENS, TOKENS)
    @settings(max_examples=60, deadline=None)
    def test_charge(self, price: Price, prompt: int, cached: int, out: int) -> None:
        """Every amount is the one that decimals give, ties and minimum included."""
        usage = Usage(prompt=prompt, cached=cached, completion=out)
        self.assertEqual(
            _quota(price, usage),
            _quota(by_decimal(price), usage),
        )

    @given(st.integers(0, 40), st.integers(0, 40), st.sampled_from(("0.5", "0.25")))
    @settings(max_examples=60, deadline=None)
    def test_ties(self, prompt: int, out: int, ratio: str) -> None:
        """Half a unit is rounded up in both."""
        price, usage = tokens(ratio), Usage(prompt=prompt, completion=out)
        self.assertEqual(
            pricing.quota(price, usage), pricing.quota(by_decimal(price), usage)
        )

    @given(prices(), TOKENS, st.none() | TOKENS, TOKENS, st.integers(1, 128))
    @settings(max_examples=60, deadline=None)
    def test_hold(
        self, price: Price, prompt: int, limit: int | None, floor: int, n: int
    ) -> None:
        """Need and hold are the same, their roundings included."""
        general = by_decimal(price)
        self.assertEqual(
            pricing.need(price, prompt, limit or 0, floor),
            pricing.need(general, prompt, limit or 0, floor),
        )
        self.assertEqual(
            pricing.hold(price, prompt, limit, floor, n=n),
            pricing.hold(general, prompt, limit, floor, n=n),
        )


def _quota(price: Price, usage: Usage) -> int | str:
    try:
        return pricing.quota(price, usage)
    except pricing.QuotaOutOfRange as error:
        return str(error)


class Unfit(SynchronousTestCase):
    """Prices that are left to decimals."""

    def test_other_prices(self) -> None:
        """Prices per call and expressions have no rates."""
        self.assertIsNone(Rates.of(evolve(tokens("1"), per_call=Decimal(1))))
        self.assertIsNone(Rates.of(evolve(tokens("1"), expression="p * 2")))

    def test_outlandish_ratios(self) -> None:
        """Negative, infinite and endless ratios have none, and cost no memory."""
        for ratio in ("-1", "NaN", "Infinity", "1e-999999", "1e999999", "1" * 41):
            self.assertIsNone(Rates.of(tokens(ratio)), ratio)

    def test_each_price_has_its_own(self) -> None:
        """What was reckoned for a price does not follow into a changed one."""
        price, usage = tokens("1"), Usage(prompt=10)
        self.assertEqual(pricing.quota(price, usage), 10)
        dearer = evolve(price, group_ratio=Decimal(2))
        self.assertEqual(pricing.quota(dearer, usage), 20)
        self.assertEqual(pricing.explain(price, usage)["group_ratio"], 1)
        self.assertEqual(pricing.explain(dearer, usage)["group_ratio"], 2)

    def test_explained_afresh(self) -> None:
        """Two rows do not share what is told."""
        price = tokens("1")
        pricing.explain(price, Usage(prompt=1, cached=7))["more"] = True
        told = pricing.explain(price, Usage(prompt=1))
        self.assertEqual((told["cache_tokens"], "more" in told), (0, False))
