"""A token price in whole numbers, for the calls that need nothing else.

Ratios are decimals, so a price per token is a fraction, and one denominator serves all
of a price's. Amounts are then sums of products of integers: exact, and ten times faster
than `Decimal`. `pricing` has the general rules and decides when these suffice.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import lcm

from attrs import frozen

from knight_tw.records import Price

MOST_DIGITS = 40
"""Ratios with more digits, before or behind the point, are left to `Decimal`."""


@frozen(eq=False)
class Rates:
    """Quota units per token, each as a numerator over `unit`."""

    unit: int
    prompt: int
    cached: int
    completion: int

    @classmethod
    def of(cls, price: Price) -> Rates | None:
        """The rates of a price; None when it has none that are whole numbers of use:
        prices per call, expressions, negative and outlandish ratios."""
        if price.expression or price.per_call is not None:
            return None
        ratios = (
            price.model_ratio,
            price.group_ratio,
            price.cache_ratio,
            price.completion_ratio,
        )
        if not all(map(_is_usual, ratios)):
            return None
        model, group, cached, completion = map(Fraction, ratios)
        prompt = model * group
        rates = (prompt, prompt * cached, prompt * completion)
        unit = lcm(*(rate.denominator for rate in rates))
        return cls(unit, *(int(rate * unit) for rate in rates))

    def charge(self, prompt: int, cached: int, completion: int) -> int:
        """The price of an answer, half units up; `prompt` includes `cached`."""
        amount = (
            max(prompt - cached, 0) * self.prompt
            + cached * self.cached
            + completion * self.completion
        )
        return max((2 * amount + self.unit) // (2 * self.unit), 0)

    def need(self, prompt: int, output: int) -> int:
        """The price of all tokens as if they were prompt, truncated."""
        return (prompt + output) * self.prompt // self.unit

    def hold(self, prompt: int, output: int) -> int:
        """The price of the largest answer, rounded up."""
        amount = prompt * self.prompt + output * self.completion
        return -(-amount // self.unit)


def _is_usual(ratio: Decimal) -> bool:
    sign, digits, exponent = ratio.as_tuple()
    if not isinstance(exponent, int):  # not a number, or an infinite one
        return False
    return not sign and len(digits) <= MOST_DIGITS and abs(exponent) <= MOST_DIGITS
