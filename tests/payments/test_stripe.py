"""Stripe: signatures of events, what events tell, prices, the form of a session."""

from __future__ import annotations

import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.options import Options
from knight_tw.payments import stripe
from knight_tw.payments.orders import (
    EXPIRED,
    FAILED,
    Buyer,
    NotConfigured,
    Payment,
    PaymentRefused,
)
from knight_tw.payments.stripe import Account, BadEvent, BadSignature, Closing

SECRET = "whsec_example"
NOW = 1_795_604_332
ROWS = {
    "StripeApiSecret": "sk_test_1",
    "StripeWebhookSecret": SECRET,
    "StripePriceId": "price_1",
}
SESSION = {
    "id": "cs_1",
    "object": "checkout.session",
    "mode": "payment",
    "client_reference_id": "ref_1",
    "status": "complete",
    "payment_status": "paid",
    "amount_total": 8000,
    "currency": "usd",
    "customer": "cus_1",
    "total_details": {"amount_discount": 0, "amount_tax": 0},
}
PRICE = {
    "id": "price_1",
    "active": True,
    "type": "one_time",
    "billing_scheme": "per_unit",
    "unit_amount": 800,
    "currency": "USD",
    "transform_quantity": None,
}


def digest(body: bytes, time: int | str = NOW, secret: str = SECRET) -> str:
    """The signature of a body at a time."""
    signed = f"{time}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def event(kind: str, **changes: Any) -> bytes:
    """The body of an event."""
    session = {**SESSION, **changes}
    return json.dumps(
        {"id": "evt_1", "type": kind, "data": {"object": session}}
    ).encode()


class Signatures(SynchronousTestCase):
    """`verify`."""

    body = b'{"type":"x"}'

    def accepted(self, header: str, now: float = NOW) -> bool:
        """Whether the header is believed."""
        try:
            stripe.verify(header, self.body, SECRET, now)
        except BadSignature:
            return False
        return True

    def test_right(self) -> None:
        """One of our secret's, in time."""
        self.assertTrue(self.accepted(f"t={NOW},v1={digest(self.body)}"))

    def test_several(self) -> None:
        """While the secret is rolled there are two; either place will do."""
        good, bad = digest(self.body), "0" * 64
        self.assertTrue(self.accepted(f"t={NOW},v1={bad},v1={good}"))
        self.assertTrue(self.accepted(f"t={NOW}, v1={good}, v1={bad}, v0={bad}"))

    def test_forged(self) -> None:
        """Each way in which the header proves nothing."""
        good = digest(self.body)
        for header in (
            "",
            f"t={NOW}",
            f"v1={good}",
            f"t={NOW},v1=",
            f"t={NOW},v1={'0' * 64}",
            f"t={NOW},v1={good[:-1]}",
            f"t={NOW},v1={good.upper()}",
            f"t={NOW},v0={good}",
            f"t={NOW + 1},v1={good}",
            f"t={NOW},t={NOW},v1={good}",
            f"t={NOW}.0,v1={digest(self.body, f'{NOW}.0')}",
            f"t=,v1={digest(self.body, '')}",
            f"t=-1,v1={digest(self.body, -1)}",
            f"t=٣,v1={digest(self.body, '٣')}",
            f"t={NOW},v1={digest(self.body, secret='whsec_other')}",
            f"t={NOW},v1={digest(self.body, secret='')}",
            f"t={NOW},v1={digest(self.body + b' ')}",
            f"t={NOW},v1=é",
        ):
            self.assertFalse(self.accepted(header), header)

    def test_time(self) -> None:
        """Five minutes before and after, not a second more."""
        header = f"t={NOW},v1={digest(self.body)}"
        for now, fine in ((300, True), (301, False), (-300, True), (-301, False)):
            self.assertEqual(self.accepted(header, NOW + now), fine, now)


class Events(SynchronousTestCase):
    """`read_event`."""

    def test_paid(self) -> None:
        """At once, or later by a slow method."""
        for kind in ("completed", "async_payment_succeeded"):
            self.assertEqual(
                stripe.read_event(event(f"checkout.session.{kind}")),
                Payment(
                    provider="stripe",
                    trade_no="ref_1",
                    price=8000,
                    currency="usd",
                    reference="cs_1",
                    customer="cus_1",
                ),
            )

    def test_promotion(self) -> None:
        """What was taken off stands beside the total."""
        details = {"amount_discount": 500}
        body = event(
            "checkout.session.completed", amount_total=7500, total_details=details
        )
        paid = stripe.read_event(body)
        assert isinstance(paid, Payment)
        self.assertEqual((paid.price, paid.discount), (7500, 500))

    def test_closing(self) -> None:
        """A payment that failed later, and a checkout nobody finished."""
        for kind, status in (("async_payment_failed", FAILED), ("expired", EXPIRED)):
            self.assertEqual(
                stripe.read_event(event(f"checkout.session.{kind}", status="expired")),
                Closing("ref_1", status, "cs_1"),
            )

    def test_nothing_to_do(self) -> None:
        """Other events, unpaid ones, other sessions of the same account."""
        kind = "checkout.session.completed"
        for body in (
            event("invoice.paid"),
            b'{"type":"charge.refunded","data":{"object":[]}}',
            event(kind, payment_status="unpaid"),
            event(kind, payment_status="no_payment_required"),
            event(kind, status="open"),
            event(kind, mode="subscription"),
            event(kind, client_reference_id=None),
            event(kind, client_reference_id="a\0b"),
            event(kind, client_reference_id="a" * 192),
        ):
            self.assertIsNone(stripe.read_event(body))

    def test_unreadable(self) -> None:
        """Signed, but not what Stripe sends."""
        kind = "checkout.session.completed"
        for body in (
            b"",
            b"[]",
            b"\xff",
            b'{"type":"checkout.session.completed"}',
            b'{"type":"checkout.session.completed","data":{"object":5}}',
            event(kind, amount_total="8000"),
            event(kind, amount_total=80.5),
            event(kind, amount_total=None),
            event(kind, currency=None),
        ):
            self.assertRaises(BadEvent, stripe.read_event, body)

    def test_expanded_customer(self) -> None:
        """A customer that is an object has no number that we keep."""
        body = event("checkout.session.completed", customer={"id": "cus_1"})
        paid = stripe.read_event(body)
        assert isinstance(paid, Payment)
        self.assertEqual(paid.customer, "")


class Accounts(SynchronousTestCase):
    """`Account.of`, `price`, `quantity`, `session_form`."""

    def test_configured(self) -> None:
        """Key, secret and price; the key is a secret or a restricted one."""
        account = Account.of(Options.from_rows(ROWS))
        self.assertEqual(account, Account("sk_test_1", "price_1", False))
        self.assertNotIn("sk_test_1", repr(account))
        Account.of(Options.from_rows({**ROWS, "StripeApiSecret": "rk_live_1"}))
        for key, value in (
            ("StripeApiSecret", ""),
            ("StripeApiSecret", "pk_test_1"),
            ("StripeWebhookSecret", " "),
            ("StripePriceId", ""),
        ):
            less = Options.from_rows({**ROWS, key: value})
            self.assertRaises(NotConfigured, Account.of, less)

    def test_price(self) -> None:
        """The unit amount and the currency in lower case."""
        price = stripe.price(PRICE)
        self.assertEqual((price.unit, price.currency), (800, "usd"))
        self.assertEqual(price.total(10), 8000)
        self.assertRaises(PaymentRefused, stripe.Price(2**50, "usd").total, 10)

    def test_other_prices(self) -> None:
        """Subscriptions, tiers, prices that buyers choose, fractions, old ones."""
        for change in (
            {"active": False},
            {"type": "recurring"},
            {"billing_scheme": "tiered"},
            {"unit_amount": None},
            {"unit_amount": 0},
            {"unit_amount": 8.5},
            {"unit_amount": True},
            {"currency": None},
            {"transform_quantity": {"divide_by": 10, "round": "up"}},
        ):
            self.assertRaises(NotConfigured, stripe.price, {**PRICE, **change})

    def test_quantity(self) -> None:
        """Whole US dollars, ten thousand at most."""
        self.assertEqual(stripe.quantity(Decimal(10_000)), 10_000)
        for dollars in ("10001", "1.5"):
            self.assertRaises(PaymentRefused, stripe.quantity, Decimal(dollars))

    def form(self, buyer: Buyer, promotions: bool = False) -> dict[str, str]:
        """The form of a session."""
        fields = stripe.session_form(
            Account("sk_test_1", "price_1", promotions),
            trade_no="ref_1",
            count=10,
            currency="usd",
            buyer=buyer,
            pages=("https://gate.example/a", "https://gate.example/b"),
        )
        self.assertEqual(len(dict(fields)), len(fields))
        return dict(fields)

    def test_form(self) -> None:
        """A new customer with an address."""
        self.assertEqual(
            self.form(Buyer(2, "ann", "ann@example.com")),
            {
                "mode": "payment",
                "client_reference_id": "ref_1",
                "line_items[0][price]": "price_1",
                "line_items[0][quantity]": "10",
                "currency": "usd",
                "adaptive_pricing[enabled]": "false",
                "allow_promotion_codes": "false",
                "success_url": "https://gate.example/a",
                "cancel_url": "https://gate.example/b",
                "customer_creation": "always",
                "customer_email": "ann@example.com",
            },
        )

    def test_known_customer(self) -> None:
        """Stripe's own number says enough; without an address Stripe asks for one."""
        form = self.form(Buyer(2, "ann", "ann@example.com", "cus_1"), True)
        self.assertEqual(
            (form["customer"], form["allow_promotion_codes"]), ("cus_1", "true")
        )
        self.assertNotIn("customer_email", form)
        self.assertNotIn("customer_creation", form)
        self.assertNotIn("customer_email", self.form(Buyer(2, "ann")))

    def test_trade_number(self) -> None:
        """Stripe's reference of the order has the originals' form."""
        number = stripe.trade_number(2, 1_795_604_332_000, "abcd")
        self.assertEqual(number, "ref_81ccdb275045fa3356d191cfa3de0890568a66f0")
