"""Creem: products, signatures of events, what events tell."""

from __future__ import annotations

import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.options import Options
from knight_tw.payments import creem
from knight_tw.payments.creem import Account, BadEvent, BadSignature, Product
from knight_tw.payments.orders import Buyer, NotConfigured, Payment, PaymentRefused

SECRET = "creem-example"
PRODUCT = {
    "name": "Small",
    "productId": "prod_1",
    "price": 9.99,
    "currency": "EUR",
    "quota": 5_000_000,
}
ROWS = {
    "CreemApiKey": "creem_1",
    "CreemWebhookSecret": SECRET,
    "CreemProducts": json.dumps([PRODUCT]),
}
ORDER = {
    "id": "ord_1",
    "product": "prod_1",
    "amount": 999,
    "currency": "EUR",
    "status": "paid",
    "type": "onetime",
}


def event(kind: str = "checkout.completed", order: Any = None, **changes: Any) -> bytes:
    """The body of an event; `order` is what is changed of the order."""
    checkout = {
        "id": "ch_1",
        "object": "checkout",
        "request_id": "ref_1",
        "order": {**ORDER, **(order or {})},
        "customer": {"id": "cust_1", "email": " Ann@Example.com"},
        **changes,
    }
    return json.dumps({"id": "evt_1", "eventType": kind, "object": checkout}).encode()


def digest(body: bytes, secret: str = SECRET) -> str:
    """The signature of a body."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Products(SynchronousTestCase):
    """`Account.of`, `product`, `checkout`."""

    def test_configured(self) -> None:
        """A key, a secret and something to sell."""
        account = Account.of(Options.from_rows({**ROWS, "CreemTestMode": "true"}))
        self.assertTrue(account.test)
        self.assertNotIn("creem_1", repr(account))
        for key, empty in (
            ("CreemApiKey", ""),
            ("CreemWebhookSecret", ""),
            ("CreemProducts", "[]"),
        ):
            less = Options.from_rows({**ROWS, key: empty, "CreemTestMode": "true"})
            self.assertRaises(NotConfigured, Account.of, less)

    def test_product(self) -> None:
        """By its id, with an exact price."""
        found = creem.product(Options.from_rows(ROWS), "prod_1")
        self.assertEqual(
            found, Product("prod_1", "Small", Decimal("9.99"), "eur", 5_000_000)
        )
        for unknown in ("", "prod_2"):
            self.assertRaises(
                PaymentRefused, creem.product, Options.from_rows(ROWS), unknown
            )

    def test_nonsense(self) -> None:
        """A product that nobody can have meant is not sold."""
        for change in (
            {"price": 0},
            {"price": -1},
            {"price": "many"},
            {"price": 9.999},
            {"price": 10**12},
            {"price": None},
            {"quota": 0},
            {"quota": 1.5},
            {"quota": 10**16},
            {"quota": [1]},
            {"currency": "CNY"},
        ):
            rows = {"CreemProducts": json.dumps([{**PRODUCT, **change}])}
            self.assertRaises(
                NotConfigured, creem.product, Options.from_rows(rows), "prod_1"
            )

    def test_checkout(self) -> None:
        """What Creem is asked for."""
        bought = creem.product(Options.from_rows(ROWS), "prod_1")
        self.assertEqual(
            creem.checkout(bought, "ref_1", Buyer(2, "ann", "ann@example.com")),
            {
                "product_id": "prod_1",
                "request_id": "ref_1",
                "customer": {"email": "ann@example.com"},
                "metadata": {
                    "username": "ann",
                    "reference_id": "2",
                    "product_name": "Small",
                    "quota": "5000000",
                },
            },
        )
        self.assertNotIn("customer", creem.checkout(bought, "r", Buyer(2, "ann")))

    def test_trade_number(self) -> None:
        """Two orders of one user in one moment differ by their letters."""
        self.assertNotEqual(
            creem.trade_number(2, 5, "abcd"), creem.trade_number(2, 5, "abce")
        )


class Signatures(SynchronousTestCase):
    """`verify`."""

    def test_right(self) -> None:
        """One of our secret's."""
        creem.verify(digest(b"{}"), b"{}", SECRET)

    def test_forged(self) -> None:
        """Each way in which the header proves nothing."""
        good = digest(b"{}")
        for header in (
            "",
            "0" * 64,
            good[:-1],
            good.upper(),
            "é",
            digest(b"{} "),
            digest(b"{}", ""),
            f"sha256={good}",
        ):
            self.assertRaises(BadSignature, creem.verify, header, b"{}", SECRET)


class Events(SynchronousTestCase):
    """`read_event`."""

    def test_paid(self) -> None:
        """A finished checkout of something bought once."""
        paid = Payment(
            provider="creem",
            trade_no="ref_1",
            price=999,
            currency="eur",
            merchant="prod_1",
            reference="ch_1",
            email="ann@example.com",
        )
        self.assertEqual(creem.read_event(event()), paid)
        expanded = event(order={"product": {"id": "prod_1"}})
        self.assertEqual(creem.read_event(expanded), paid)

    def test_discount(self) -> None:
        """What was taken off was not paid."""
        paid = creem.read_event(event(order={"discount_amount": 100}))
        assert paid is not None
        self.assertEqual((paid.price, paid.discount), (899, 100))

    def test_nothing_to_do(self) -> None:
        """Other events, other orders, none of ours."""
        for body in (
            event("subscription.paid"),
            event("refund.created"),
            event(order={"status": "pending"}),
            event(order={"type": "recurring"}),
            event(request_id=None),
            event(request_id=""),
            event(request_id="ü"),
            b'{"eventType":"checkout.completed","object":{"request_id":"ref_1"}}',
        ):
            self.assertIsNone(creem.read_event(body))

    def test_unreadable(self) -> None:
        """Signed, but not what Creem sends."""
        for body in (
            b"",
            b"[]",
            b"\xff",
            b'{"eventType":"checkout.completed","object":[]}',
            event(order={"amount": "999"}),
            event(order={"amount": None}),
            event(order={"amount": 9.99}),
        ):
            self.assertRaises(BadEvent, creem.read_event, body)

    def test_customer_as_number(self) -> None:
        """A customer who is not written out has no address."""
        paid = creem.read_event(event(customer="cust_1"))
        assert paid is not None
        self.assertEqual(paid.email, "")
