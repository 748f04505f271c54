"""What a top-up costs: exact decimals, rounded once.

    money = amount · price · TopupGroupRatio[group] · discount(amount)

The amount is in US dollars of quota; where amounts are shown in tokens it is entered in
quota and divided by `QuotaPerUnit` first, and the minimum is multiplied by it.
Source: billing specification, section 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from attrs import frozen

from knight_tw.options import Options
from knight_tw.payments.orders import MOST_QUOTA, PaymentRefused, whole

_CENT = Decimal("0.01")
_ONE = Decimal(1)


@frozen
class Amount:
    """An amount that was asked for.

    Attributes:
        entered: As it was typed: US dollars, or quota where tokens are shown.
        dollars: The same in US dollars.
        quota: What it credits.
    """

    entered: int
    dollars: Decimal
    quota: int


def amount(options: Options, entered: int, least: int) -> Amount:
    """The amount that somebody entered.

    Args:
        least: The gateway's minimum in US dollars.

    Raises:
        PaymentRefused: less than the minimum, or more than is believed to be meant.
    """
    unit = options.decimal("QuotaPerUnit")
    lowest = max(1, whole(least * unit) if _in_tokens(options) else least)
    if entered < lowest:
        raise PaymentRefused(f"the amount must be at least {lowest}", param="amount")
    dollars = entered / unit if _in_tokens(options) else Decimal(entered)
    quota = entered if _in_tokens(options) else whole(entered * unit)
    if quota > MOST_QUOTA:
        raise PaymentRefused("the amount is too large", param="amount")
    return Amount(entered, dollars, quota)


def money(options: Options, asked: Amount, price: Decimal, group: str) -> Decimal:
    """What the amount costs a user of `group`, in two decimals.

    Args:
        price: Money for a US dollar of quota.

    Raises:
        PaymentRefused: it would cost nothing.
    """
    factor = price * _group_ratio(options, group) * _discount(options, asked.entered)
    cost = (asked.dollars * factor).quantize(_CENT, ROUND_HALF_UP)
    if cost < _CENT:
        raise PaymentRefused("the amount is too small to be paid", param="amount")
    return cost


def discounts(options: Options) -> Mapping[str, Any]:
    """Amount to factor, as the pages show it."""
    return options.json("payment_setting.amount_discount") or {}


def _in_tokens(options: Options) -> bool:
    return options.text("general_setting.quota_display_type").strip() == "TOKENS"


def _group_ratio(options: Options, group: str) -> Decimal:
    """The group's factor; a group without one, or with 0, pays the plain price."""
    ratios = options.json("TopupGroupRatio") or {}
    return Decimal(ratios.get(group, 0)) or _ONE


def _discount(options: Options, entered: int) -> Decimal:
    """The factor of exactly this amount; 0 or none is no discount."""
    for written, factor in discounts(options).items():
        if _is(written, entered):
            return Decimal(factor) or _ONE
    return _ONE


def _is(written: str, entered: int) -> bool:
    """True when the text is that amount; old rows may hold anything."""
    try:
        return Decimal(written) == entered
    except InvalidOperation:
        return False
