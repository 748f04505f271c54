"""Stripe: the checkout that we ask for, and the signed events that tell of it.

The price is an object in Stripe's account; an order is so many of it, and is stored
with what that makes, so that the event's total can be compared. A session is asked for
in the price's own currency, without conversion, tax or shipping of our making; what an
account adds by itself makes another total, and the order stays open.
API: https://docs.stripe.com/api/checkout/sessions,
https://docs.stripe.com/webhooks#verify-manually.
Source: billing specification, section 11.2.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
from attrs import field, frozen

from knight_tw.options import Options
from knight_tw.payments.orders import (
    EXPIRED,
    FAILED,
    STRIPE,
    Buyer,
    NotConfigured,
    Payment,
    PaymentRefused,
    plausible,
)

ADDRESS = "https://api.stripe.com"
API_VERSION = "2024-11-20.acacia"
"""The version whose parameters and answers are written here; events may be of any."""

MOST_AMOUNT = 10_000
TOLERANCE_SECONDS = 300
"""How far the time of an event's signature may be from ours."""

KEY_PREFIXES = ("sk_", "rk_")
_MOST_MINOR = 2**53

_PAID_EVENTS = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
)
_CLOSING_EVENTS: Mapping[str, str] = {
    "checkout.session.async_payment_failed": FAILED,
    "checkout.session.expired": EXPIRED,
}
_TIME = re.compile(r"[0-9]{1,12}\Z", re.ASCII)


class BadSignature(Exception):
    """The event was not signed by whoever knows the secret, or too long ago."""


class BadEvent(Exception):
    """A signed event that cannot be read."""


@frozen
class Account:
    """What the options say about Stripe."""

    key: str = field(repr=False)
    price_id: str
    promotions: bool

    @classmethod
    def of(cls, options: Options) -> Account:
        """The account, ready for orders.

        Raises:
            NotConfigured: a key, the price or the secret of the events is missing, or
                the key is of another kind.
        """
        key = options.text("StripeApiSecret").strip()
        price_id = options.text("StripePriceId").strip()
        if not (key and price_id and webhook_secret(options)):
            raise NotConfigured("Stripe is not configured")
        if not key.startswith(KEY_PREFIXES):
            raise NotConfigured("the Stripe key is not valid: sk_ or rk_ is expected")
        return cls(key, price_id, options.flag("StripePromotionCodesEnabled"))


def webhook_secret(options: Options) -> str:
    """What events are signed with; empty when none is set."""
    return options.text("StripeWebhookSecret").strip()


@frozen
class Price:
    """What one of the price object costs, in the currency's smallest unit."""

    unit: int
    currency: str

    def total(self, quantity: int) -> int:
        """What so many cost.

        Raises:
            PaymentRefused: more than any order should.
        """
        total = self.unit * quantity
        if total > _MOST_MINOR:
            raise PaymentRefused("the amount is too large", param="amount")
        return total


def price(answer: Mapping[str, Any]) -> Price:
    """The price that `GET /v1/prices/{id}` answered.

    Raises:
        NotConfigured: it is not one price for each piece, paid once.
    """
    unit, currency = answer.get("unit_amount"), answer.get("currency")
    plain = (
        answer.get("active") is True
        and answer.get("type") == "one_time"
        and answer.get("billing_scheme", "per_unit") == "per_unit"
        and answer.get("transform_quantity") is None
    )
    if not plain or type(unit) is not int or unit <= 0 or not isinstance(currency, str):
        raise NotConfigured("StripePriceId is no active one-time price per unit")
    return Price(unit, currency.lower())


def trade_number(user_id: int, milliseconds: int, letters: str) -> str:
    """The order number that the checkout carries as `client_reference_id`."""
    name = f"new-api-ref-{user_id}-{milliseconds}-{letters}"
    return "ref_" + hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


def quantity(dollars: Decimal) -> int:
    """How many of the price object an amount is.

    Raises:
        PaymentRefused: not a whole number, or more than Stripe orders may have.
    """
    if dollars != dollars.to_integral_value():
        raise PaymentRefused("the amount must be whole US dollars", param="amount")
    if dollars > MOST_AMOUNT:
        raise PaymentRefused(
            f"the amount must be at most {MOST_AMOUNT}", param="amount"
        )
    return int(dollars)


def session_form(
    account: Account,
    *,
    trade_no: str,
    count: int,
    currency: str,
    buyer: Buyer,
    pages: tuple[str, str],
) -> list[tuple[str, str]]:
    """The form of `POST /v1/checkout/sessions`.

    Args:
        pages: Where the browser goes after a payment, and without one.
    """
    fields = [
        ("mode", "payment"),
        ("client_reference_id", trade_no),
        ("line_items[0][price]", account.price_id),
        ("line_items[0][quantity]", str(count)),
        ("currency", currency),
        ("adaptive_pricing[enabled]", "false"),
        ("allow_promotion_codes", "true" if account.promotions else "false"),
        ("success_url", pages[0]),
        ("cancel_url", pages[1]),
    ]
    if buyer.customer:
        return [*fields, ("customer", buyer.customer)]
    fields.append(("customer_creation", "always"))
    return [*fields, ("customer_email", buyer.email)] if buyer.email else fields


def verify(header: str, body: bytes, secret: str, now: float) -> None:
    """Returns when the header `Stripe-Signature` is right for the body and the time.

    Raises:
        BadSignature.
    """
    times: list[str] = []
    given: list[str] = []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        {"t": times, "v1": given}.get(name, []).append(value)
    if len(times) != 1 or not _TIME.match(times[0]) or not given:
        raise BadSignature("the header is malformed")
    signed = times[0].encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
    matches = [hmac.compare_digest(expected, one.encode()) for one in given]
    if not any(matches):
        raise BadSignature("no signature is right")
    if abs(now - int(times[0])) > TOLERANCE_SECONDS:
        raise BadSignature("the signature is too old or of the future")


@frozen
class Closing:
    """An order that will not be paid; `status` is what it becomes."""

    trade_no: str
    status: str
    reference: str


class _Totals(msgspec.Struct):
    amount_discount: int | None = None


class _Session(msgspec.Struct):
    id: str = ""
    mode: str | None = None
    client_reference_id: str | None = None
    status: str | None = None
    payment_status: str | None = None
    amount_total: int | None = None
    currency: str | None = None
    customer: str | dict[str, Any] | None = None
    total_details: _Totals | None = None


class _Envelope(msgspec.Struct):
    type: str
    data: dict[str, msgspec.Raw] = {}


def read_event(body: bytes) -> Payment | Closing | None:
    """What a verified event tells of an order; None for all that concerns none.

    Raises:
        BadEvent: an event of ours that cannot be read.
    """
    try:
        event = msgspec.json.decode(body, type=_Envelope)
        if event.type not in (*_PAID_EVENTS, *_CLOSING_EVENTS):
            return None
        session = msgspec.json.decode(event.data["object"], type=_Session)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        raise BadEvent("the event cannot be read") from None
    trade_no = session.client_reference_id or ""
    if not plausible(trade_no) or session.mode not in (None, "payment"):
        return None
    if event.type in _CLOSING_EVENTS:
        return Closing(trade_no, _CLOSING_EVENTS[event.type], session.id)
    return _payment(session, trade_no)


def _payment(session: _Session, trade_no: str) -> Payment | None:
    """None while the money has not come, as for bank transfers."""
    if session.status != "complete" or session.payment_status != "paid":
        return None
    if session.amount_total is None or not session.currency:
        raise BadEvent("the session has no total")
    details, customer = session.total_details, session.customer
    return Payment(
        provider=STRIPE,
        trade_no=trade_no,
        price=session.amount_total,
        currency=session.currency.lower(),
        reference=session.id,
        discount=(details.amount_discount or 0) if details else 0,
        customer=customer if isinstance(customer, str) else "",
    )
