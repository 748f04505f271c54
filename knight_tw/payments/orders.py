"""An order, a payment for it, and whether the one is what the other asked for.

An order is a row of `top_ups`, which the originals read too, and its terms, which are
ours: what exactly is credited, and what a payment must be like to be believed. Terms
are fixed when the order is made, so that a price changed meanwhile changes nothing.
Amounts of money are integers of the currency's smallest unit (cents).
Source: billing specification, section 11.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

from attrs import field, frozen

from knight_tw.errors import KnightError

EPAY, STRIPE, CREEM = "epay", "stripe", "creem"
"""The gateways that orders can be made for."""

BALANCE = "balance"
"""The provider of orders that were paid from the balance."""

PENDING, SUCCESS, FAILED, EXPIRED = "pending", "success", "failed", "expired"
"""What `status` of an order can be."""

MOST_QUOTA = 10**15
"""The largest top-up that is believed to be meant."""

_OTHERS = (STRIPE, CREEM, "waffo", "waffo_pancake", BALANCE)


class PaymentRefused(KnightError):
    """An order that cannot be made as it is asked for."""

    status, code = 422, "invalid_field"


class NotConfigured(KnightError):
    """The administrator has not set the gateway up."""

    status, code = 409, "not_configured"


@frozen
class Buyer:
    """What a gateway is told of who buys; `customer` is its own number of him."""

    user_id: int
    username: str
    email: str = field(default="", repr=False)
    customer: str = ""


@frozen
class Terms:
    """What an order is for.

    Attributes:
        quota: What is credited.
        price: What must be paid, in the smallest unit of the currency.
        currency: Lower case; empty where the gateway knows only one.
        merchant: Whom it must be paid to: EPay's merchant, Creem's product.
        reference: The gateway's own number of the checkout, if it gave one.
        promotions: A discount that the gateway reports counts as paid.
    """

    quota: int
    price: int
    currency: str = ""
    merchant: str = ""
    reference: str = ""
    promotions: bool = False


@frozen(kw_only=True)
class NewOrder:
    """An order to be made.

    Attributes:
        amount: What the originals credit by: US dollars, for Creem quota.
        money: What the page of orders shows as the price.
        method: `alipay`, `wxpay`, …; the provider's name where it has no methods.
    """

    user_id: int
    trade_no: str
    amount: int
    money: Decimal
    method: str
    provider: str
    terms: Terms


@frozen(kw_only=True)
class Order:
    """An order as it is stored; `terms` is None for one that the originals made."""

    id: int
    user_id: int
    trade_no: str
    amount: int
    money: Decimal
    method: str
    provider: str
    status: str
    terms: Terms | None = None


@frozen(kw_only=True)
class Payment:
    """What a gateway's genuine message says was paid.

    Attributes:
        discount: What was taken off by a promotion; `price` is without it.
        customer: The gateway's number of the customer.
        email: The customer's address.
    """

    provider: str
    trade_no: str
    price: int
    currency: str = ""
    merchant: str = ""
    reference: str = ""
    discount: int = 0
    customer: str = ""
    email: str = field(default="", repr=False)


_TRADE_NO = re.compile(r"[0-9A-Za-z_-]{1,191}\Z")


def plausible(trade_no: str) -> bool:
    """True for a text that can be the number of an order, ours or another program's."""
    return _TRADE_NO.match(trade_no) is not None


def provider_of(provider: str | None, method: str | None) -> str:
    """The gateway of a stored order; old rows have none and it follows from the method,
    which the oldest lack too."""
    if provider:
        return provider
    return method if method in _OTHERS and method else EPAY


def credit(order: Order, unit: Decimal) -> int:
    """The quota that an order is for: its terms', else by its provider's rule.

    Args:
        unit: `QuotaPerUnit`.
    """
    if order.terms is not None:
        return order.terms.quota
    if order.provider == CREEM:
        return order.amount
    if order.provider == STRIPE:
        return whole(order.money * unit)
    return whole(order.amount * unit)


def difference(order: Order, payment: Payment) -> str:
    """Why the payment is not what the order asks for; empty when it is.

    An order of the originals has no terms. Of EPay's the price is known all the same;
    of the others too little is, and an administrator has to decide.
    """
    terms = order.terms
    if terms is None:
        if order.provider != EPAY:
            return "the order was made by another program and has no terms"
        terms = Terms(0, cents(order.money), merchant=payment.merchant)
    off = payment.discount if terms.promotions else 0
    if payment.discount < 0 or payment.price + off != terms.price:
        return f"paid {payment.price}, expected {terms.price - off}"
    if payment.currency != terms.currency:
        return f"currency {payment.currency or '?'}, expected {terms.currency or '-'}"
    if payment.merchant != terms.merchant:
        return f"merchant {payment.merchant or '?'}, expected {terms.merchant or '-'}"
    if terms.reference and payment.reference != terms.reference:
        return "another checkout than the order's"
    return ""


def whole(value: Decimal) -> int:
    """Rounded once, half away from zero."""
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))


def cents(money: Decimal) -> int:
    """Money of two decimals in its smallest unit."""
    return whole(money * 100)
