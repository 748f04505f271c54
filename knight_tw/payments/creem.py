"""Creem: products with a fixed price and quota, and the signed events about them.

`order.amount` of an event is the product's price in the smallest unit, without what tax
adds; a discount is named beside it. `request_id` is our order number.
API: https://docs.creem.io/api-reference/endpoint/create-checkout,
https://docs.creem.io/code/webhooks.
Source: billing specification, section 11.3.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from attrs import field, frozen

from knight_tw.options import Options
from knight_tw.payments.orders import (
    CREEM,
    MOST_QUOTA,
    Buyer,
    NotConfigured,
    Payment,
    PaymentRefused,
    cents,
    plausible,
)

ADDRESS = "https://api.creem.io"
TEST_ADDRESS = "https://test-api.creem.io"
SIGNATURE_HEADER = "creem-signature"
CURRENCIES = ("usd", "eur")

_COMPLETED = "checkout.completed"
_MOST_PRICE = Decimal(10**9)


class BadSignature(Exception):
    """The event was not signed by whoever knows the secret."""


class BadEvent(Exception):
    """A signed event that cannot be read."""


@frozen
class Account:
    """What the options say about Creem."""

    key: str = field(repr=False)
    test: bool

    @classmethod
    def of(cls, options: Options) -> Account:
        """The account, ready for orders.

        Raises:
            NotConfigured: the key, the secret of the events or the products are
                missing.
        """
        key = options.text("CreemApiKey").strip()
        if not (key and webhook_secret(options) and options.json("CreemProducts")):
            raise NotConfigured("Creem is not configured")
        return cls(key, options.flag("CreemTestMode"))


def webhook_secret(options: Options) -> str:
    """What events are signed with; empty when none is set."""
    return options.text("CreemWebhookSecret").strip()


@frozen
class Product:
    """A product that the administrator offers; `currency` in lower case."""

    id: str
    name: str
    price: Decimal
    currency: str
    quota: int


def product(options: Options, product_id: str) -> Product:
    """The product of that id.

    Raises:
        PaymentRefused: there is none.
        NotConfigured: its price, currency or quota cannot be meant.
    """
    for entry in options.json("CreemProducts") or []:
        if product_id and entry.get("productId") == product_id:
            return _product(entry, product_id)
    raise PaymentRefused("there is no such product", param="product_id")


def checkout(bought: Product, trade_no: str, buyer: Buyer) -> dict[str, Any]:
    """The body of `POST /v1/checkouts`."""
    body: dict[str, Any] = {
        "product_id": bought.id,
        "request_id": trade_no,
        "metadata": {
            "username": buyer.username,
            "reference_id": str(buyer.user_id),
            "product_name": bought.name,
            "quota": str(bought.quota),
        },
    }
    return {**body, "customer": {"email": buyer.email}} if buyer.email else body


def trade_number(user_id: int, milliseconds: int, letters: str) -> str:
    """The order number that the checkout carries as `request_id`."""
    name = f"creem-ref-{user_id}-{milliseconds}-{letters}"
    return "ref_" + hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


def verify(given: str, body: bytes, secret: str) -> None:
    """Returns when the header `creem-signature` is right for the body.

    Raises:
        BadSignature.
    """
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise BadSignature("the signature is wrong")


class _Order(msgspec.Struct):
    product: str | dict[str, Any] = ""
    amount: int | None = None
    currency: str = ""
    status: str = ""
    type: str = ""
    discount_amount: int | None = None


class _Customer(msgspec.Struct):
    id: str = ""
    email: str | None = None


class _Checkout(msgspec.Struct):
    id: str = ""
    request_id: str | None = None
    order: _Order | None = None
    customer: _Customer | str | None = None


class _Envelope(msgspec.Struct):
    eventType: str
    object: msgspec.Raw = msgspec.Raw(b"{}")


def read_event(body: bytes) -> Payment | None:
    """What a verified event says was paid; None for all that pays no order of ours.

    Raises:
        BadEvent: an event of ours that cannot be read.
    """
    try:
        event = msgspec.json.decode(body, type=_Envelope)
        if event.eventType != _COMPLETED:
            return None
        checkout = msgspec.json.decode(event.object, type=_Checkout)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadEvent("the event cannot be read") from None
    order = checkout.order
    trade_no = checkout.request_id or ""
    if not plausible(trade_no) or order is None:
        return None
    if (order.status, order.type) != ("paid", "onetime"):
        return None
    if order.amount is None:
        raise BadEvent("the order has no amount")
    customer = checkout.customer if isinstance(checkout.customer, _Customer) else None
    return Payment(
        provider=CREEM,
        trade_no=trade_no,
        price=order.amount - (order.discount_amount or 0),
        currency=order.currency.lower(),
        merchant=_product_id(order.product),
        reference=checkout.id,
        discount=order.discount_amount or 0,
        email=(customer.email or "").strip().lower() if customer else "",
    )


def _product(entry: Mapping[str, Any], product_id: str) -> Product:
    wrong = NotConfigured("the product's price, currency or quota is not valid")
    try:
        price, quota = Decimal(entry.get("price", 0)), Decimal(entry.get("quota", 0))
    except (InvalidOperation, TypeError, ValueError):
        raise wrong from None
    currency = str(entry.get("currency") or "usd").lower()
    if not (0 < price < _MOST_PRICE and cents(price) == price * 100):
        raise wrong
    if not (0 < quota <= MOST_QUOTA and quota == quota.to_integral_value()):
        raise wrong
    if currency not in CURRENCIES:
        raise wrong
    name = str(entry.get("name") or product_id)
    return Product(product_id, name, price, currency, int(quota))


def _product_id(given: str | dict[str, Any]) -> str:
    return given if isinstance(given, str) else str(given.get("id") or "")
