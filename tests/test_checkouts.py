"""Asking Stripe and Creem for checkouts, over real sockets."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from knight_tw.checkouts import BODY_LIMIT, SECONDS, CheckoutFailed, Creem, Stripe
from knight_tw.payments import creem, stripe
from knight_tw.payments.orders import Buyer
from knight_tw.upstream import Upstream
from tests.protocols.upstreams import Scripted
from tests.protocols.upstreams import Upstream as Served

ACCOUNT = stripe.Account("sk_test_1", "price/../1?x", False)
SHOP = creem.Account("creem_1", True)
FORM = stripe.session_form(
    ACCOUNT,
    trade_no="ref_1",
    count=10,
    currency="usd",
    buyer=Buyer(2, "ann", "ann+a@example.com"),
    pages=("https://gate.example/a?b=c&d", "https://gate.example/b"),
)


class Sockets(TestCase):
    """What goes over the wire, and what comes back."""

    def gateway(self, body: bytes, status: int = 200) -> Scripted:
        """A payment gateway that answers everything with `body`."""

        def script(served: Served) -> None:
            served.answer(body, "Content-Type: application/json", status=status)

        scripted = Scripted(script).listen()
        self.addCleanup(scripted.stop)
        return scripted

    def send(self) -> Any:
        """The client that the service has."""
        upstream = Upstream(reactor)
        self.addCleanup(upstream.close)
        return upstream.send

    async def test_price(self) -> None:
        """The price's id is one segment of the path, whatever it looks like."""
        price = {
            "active": True,
            "type": "one_time",
            "unit_amount": 8,
            "currency": "eur",
        }
        served = self.gateway(json.dumps(price).encode())
        asking = Stripe(self.send(), _place(served))
        self.assertEqual(await asking.price(ACCOUNT), stripe.Price(8, "eur"))
        head = served.requests[0][0]
        self.assertIn("GET /v1/prices/price%2F..%2F1%3Fx HTTP/1.1", head)
        self.assertIn("Authorization: Bearer sk_test_1", head)
        self.assertIn(f"Stripe-Version: {stripe.API_VERSION}", head)

    async def test_session(self) -> None:
        """A form, read back as it was meant."""
        served = self.gateway(b'{"id":"cs_1","url":"https://checkout.example"}')
        checkout = await Stripe(self.send(), _place(served)).session(
            ACCOUNT, "ref_1", FORM
        )
        self.assertEqual(checkout.reference, "cs_1")
        head, body = served.requests[0]
        self.assertIn("POST /v1/checkout/sessions HTTP/1.1", head)
        self.assertIn("Content-Type: application/x-www-form-urlencoded", head)
        self.assertIn("Idempotency-Key: ref_1", head)
        self.assertEqual(parse_qsl(body.decode(), strict_parsing=True), FORM)

    async def test_product(self) -> None:
        """JSON, to the service that the mode names."""
        served = self.gateway(b'{"id":"ch_1","checkout_url":"https://creem.example"}')
        asking = Creem(self.send(), "http://127.0.0.1:1", _place(served))
        checkout = await asking.checkout(SHOP, {"product_id": "prod_1"})
        self.assertEqual(checkout.url, "https://creem.example")
        head, body = served.requests[0]
        self.assertIn("POST /v1/checkouts HTTP/1.1", head)
        self.assertIn("x-api-key: creem_1", head)
        self.assertEqual(json.loads(body), {"product_id": "prod_1"})

    async def test_refused(self) -> None:
        """The buyer is not told why."""
        served = self.gateway(b'{"error":{"message":"no such key sk_test_1"}}', 401)
        asking = Stripe(self.send(), _place(served))
        failure = await self.assertFailure(
            Deferred.fromCoroutine(asking.price(ACCOUNT)), CheckoutFailed
        )
        self.assertNotIn("key", str(failure))

    async def test_away(self) -> None:
        """Nobody listens."""
        asking = Creem(self.send(), "http://127.0.0.1:1", "http://127.0.0.1:1")
        await self.assertFailure(
            Deferred.fromCoroutine(asking.checkout(SHOP, {})), CheckoutFailed
        )

    async def test_too_long(self) -> None:
        """An answer without end is not read to its end."""
        served = self.gateway(b" " * (BODY_LIMIT + 1))
        asking = Creem(self.send(), "", _place(served))
        await self.assertFailure(
            Deferred.fromCoroutine(asking.checkout(SHOP, {})), CheckoutFailed
        )


class Bounds(SynchronousTestCase):
    """What keeps a slow gateway from being waited for."""

    def test_limits(self) -> None:
        """Thirty seconds to the head and for the body, and a size."""
        told: list[Any] = []

        class Answer:
            """A good answer."""

            status = 200

            def read(self, limit: int, timeout: float | None = None) -> Deferred[bytes]:
                """Noted."""
                told.append((limit, timeout))
                return succeed(b'{"id":"ch_1","checkout_url":"https://creem.example"}')

        def send(*_: Any, **options: Any) -> Deferred[Any]:
            told.append(options)
            return succeed(Answer())

        work = Deferred.fromCoroutine(Creem(send).checkout(SHOP, {}))
        self.successResultOf(work)
        self.assertEqual(told, [{"first_byte_timeout": SECONDS}, (BODY_LIMIT, SECONDS)])


def _place(served: Scripted) -> str:
    return f"http://127.0.0.1:{served.port}"
