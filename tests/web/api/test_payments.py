"""Buying quota: prices and orders at each gateway."""

from __future__ import annotations

import json
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import UpstreamFailed
from knight_tw.payments import epay
from tests.web.api.payments import (
    CREEM,
    CREEM_URL,
    EPAY,
    KEY,
    PRICE,
    PRICE_URL,
    SESSION_URL,
    SITE,
    STRIPE,
    Payments,
    form_of,
)
from tests.web.gateway import NOW, Answer

ROUTES = (
    "/api/user/amount",
    "/api/user/pay",
    "/api/user/stripe/amount",
    "/api/user/stripe/pay",
    "/api/user/creem/pay",
    "/api/user/waffo/amount",
    "/api/user/waffo/pay",
    "/api/user/waffo-pancake/amount",
    "/api/user/waffo-pancake/pay",
)


class Case(SynchronousTestCase):
    """A gateway with buyers."""

    rows: ClassVar[dict[str, str]] = {}

    def setUp(self) -> None:
        """Ann has logged in."""
        self.gateway = Payments()
        self.gateway.begin(**self.rows)
        self.ann = self.gateway.bearer("ann")
        self.gateway.notes.clear()

    def refused(self, answer: Answer, code: str) -> None:
        """The form of a refusal of these routes."""
        self.assertEqual(answer.status, 200)
        self.assertEqual(set(answer.json), {"message", "data", "code", "params"})
        self.assertEqual((answer.json["message"], answer.json["code"]), ("error", code))
        self.assertIsInstance(answer.json["data"], str)

    def no_order(self) -> None:
        """Nothing was stored."""
        self.assertEqual(self.ann.get("/api/user/topup/self").data["total"], 0)


class NothingConfigured(Case):
    """Before the administrator has done anything."""

    def test_orders(self) -> None:
        """Each gateway says that it is not configured."""
        for path, method in (
            ("/api/user/pay", "alipay"),
            ("/api/user/stripe/pay", "stripe"),
            ("/api/user/creem/pay", "creem"),
            ("/api/user/waffo/pay", ""),
            ("/api/user/waffo-pancake/pay", ""),
        ):
            body = {"amount": 10, "payment_method": method, "product_id": "p"}
            self.refused(self.ann.post(path, body), "not_configured")
        self.no_order()
        self.assertEqual(self.gateway.upstream.sent, [])

    def test_other_method(self) -> None:
        """Stripe's and Creem's routes take their own method alone."""
        for path in ("/api/user/stripe/pay", "/api/user/creem/pay"):
            body = {"amount": 10, "payment_method": "alipay", "product_id": "p"}
            self.refused(self.ann.post(path, body), "invalid_field")

    def test_amounts(self) -> None:
        """Prices need no gateway."""
        for path, cost in (
            ("/api/user/amount", "73.00"),
            ("/api/user/stripe/amount", "80.00"),
            ("/api/user/waffo/amount", "10.00"),
            ("/api/user/waffo-pancake/amount", "10.00"),
        ):
            answer = self.ann.post(path, {"amount": 10})
            self.assertEqual(answer.json, {"message": "success", "data": cost})

    def test_bad_amounts(self) -> None:
        """Too little, too much, no number."""
        for path in (ROUTES[0], ROUTES[2], ROUTES[5], ROUTES[7]):
            for amount in (0, -10, 2**60, "x", 1.5, [], True):
                answer = self.ann.post(path, {"amount": amount})
                self.refused(answer, "invalid_field")
            self.refused(self.ann.post(path, {}), "missing_field")
        answer = self.ann.post("/api/user/stripe/amount", {"amount": 10_001})
        self.refused(answer, "invalid_field")

    def test_real_status(self) -> None:
        """Our console asks for the status as it is."""
        answer = self.ann.ask(
            "POST", "/api/user/pay", {"amount": 10}, {"X-Knight-Status": "real"}
        )
        self.assertEqual((answer.status, answer.json["code"]), (409, "not_configured"))

    def test_not_logged_in(self) -> None:
        """The envelope of every route, and nothing is counted."""
        for path in ROUTES:
            answer = self.gateway.ask("POST", path, {"amount": 10})
            self.assertEqual((answer.status, answer.code), (401, "AUTH_UNAUTHORIZED"))

    def test_no_object(self) -> None:
        """The envelope of every route."""
        for path in ROUTES[:1] + ROUTES[2:3]:
            answer = self.ann.ask("POST", path, b"[]")
            self.assertEqual((answer.status, answer.code), (400, "malformed_body"))


class Limits(SynchronousTestCase):
    """The limit of orders by address."""

    def test_orders(self) -> None:
        """The third order within the window is 429 on every gateway."""
        on = {"CRITICAL_RATE_LIMIT_ENABLE": "true", "CRITICAL_RATE_LIMIT": "3"}
        for path in (*ROUTES[1:2], *ROUTES[3:5], ROUTES[6], ROUTES[8]):
            gateway = Payments(env=on)
            gateway.begin()
            ann = gateway.bearer("ann")
            statuses = [ann.post(path, {"amount": 10}).status for _ in range(3)]
            self.assertEqual(statuses, [200, 200, 429], path)


class Epay(Case):
    """Orders at EPay."""

    rows = EPAY

    def buy(self, **changes: object) -> Answer:
        """An order of ten dollars."""
        body = {"amount": 10, "payment_method": "alipay", **changes}
        return self.ann.post("/api/user/pay", body)

    def test_order(self) -> None:
        """The signed form, where to post it, and the order as it is stored."""
        answer = self.buy()
        fields = answer.json["data"]
        self.assertEqual(set(answer.json), {"message", "data", "url"})
        self.assertEqual(answer.json["url"], "https://pay.example.com/submit.php")
        trade_no = fields["out_trade_no"]
        self.assertRegex(trade_no, rf"\AUSR2NO[0-9A-Za-z]{{6}}{NOW}\Z")
        self.assertEqual(
            fields,
            {
                "device": "pc",
                "money": "73.00",
                "name": "TUC10",
                "notify_url": f"{SITE}/api/user/epay/notify",
                "out_trade_no": trade_no,
                "pid": "1001",
                "return_url": f"{SITE}/console/log",
                "sign": epay.signature(fields, KEY),
                "sign_type": "MD5",
                "type": "alipay",
            },
        )
        row, terms = self.gateway.order(trade_no), self.gateway.terms()
        self.assertEqual((row["amount"], row["money"], row["user_id"]), (10, 73, 2))
        self.assertEqual(
            (row["payment_method"], row["payment_provider"], row["status"]),
            ("alipay", "epay", "pending"),
        )
        self.assertEqual((row["create_time"], row["complete_time"]), (NOW, 0))
        self.assertEqual(
            (terms["quota"], terms["price"], terms["merchant"]),
            (5_000_000, 7300, "1001"),
        )
        self.assertNotIn(KEY, answer.body.decode())

    def test_callback_address(self) -> None:
        """Another one for the gateway than for browsers."""
        self.gateway.set_option("CustomCallbackAddress", "https://back.example/")
        fields = self.buy().json["data"]
        self.assertEqual(
            fields["notify_url"], "https://back.example/api/user/epay/notify"
        )
        self.assertEqual(fields["return_url"], f"{SITE}/console/log")

    def test_no_site(self) -> None:
        """Without its own address a gateway cannot be called back."""
        self.gateway.set_option("ServerAddress", "")
        self.refused(self.buy(), "not_configured")
        self.no_order()

    def test_refused(self) -> None:
        """Unknown ways to pay, those of other gateways, amounts below a way's own."""
        methods = [{"name": "S", "type": "stripe"}, {"name": "A", "type": "alipay"}]
        for method in ("", "nosuch", "creem"):
            self.refused(self.buy(payment_method=method), "invalid_field")
        self.refused(self.buy(payment_method="custom1"), "invalid_field")
        self.refused(self.buy(amount=0), "invalid_field")
        self.gateway.set_option("PayMethods", json.dumps(methods))
        self.refused(self.buy(payment_method="stripe"), "invalid_field")
        self.no_order()
        self.assertEqual(self.buy().json["message"], "success")

    def test_way_with_a_minimum(self) -> None:
        """From its own minimum on."""
        answer = self.buy(payment_method="custom1", amount=50)
        self.assertEqual(answer.json["data"]["money"], "365.00")

    def test_tokens(self) -> None:
        """Where amounts are quota, exactly what was entered is credited."""
        self.gateway.set_option("general_setting.quota_display_type", "TOKENS")
        answer = self.buy(amount=750_001)
        self.assertEqual(answer.json["data"]["money"], "10.95")
        terms = self.gateway.terms()
        self.assertEqual((terms["quota"], terms["price"]), (750_001, 1095))
        self.assertEqual(self.gateway.order()["amount"], 1)

    def test_group_and_discount(self) -> None:
        """Both lower the price, and the order remembers it."""
        self.gateway.set_option("TopupGroupRatio", '{"default":0.9}')
        self.gateway.set_option("payment_setting.amount_discount", '{"10":0.95}')
        self.assertEqual(self.buy().json["data"]["money"], "62.42")
        self.assertEqual(self.gateway.terms()["price"], 6242)


class Stripe(Case):
    """Orders at Stripe."""

    rows = STRIPE

    def buy(self, **changes: object) -> Answer:
        """An order of ten dollars."""
        body = {"amount": 10, "payment_method": "stripe", **changes}
        return self.ann.post("/api/user/stripe/pay", body)

    def test_order(self) -> None:
        """The price is read, a session made, and the order stored with both."""
        answer = self.buy()
        self.assertEqual(
            answer.json,
            {"message": "success", "data": {"pay_link": "https://checkout.example/1"}},
        )
        price, session = self.gateway.upstream.sent
        self.assertEqual((price["method"], price["url"]), ("GET", PRICE_URL))
        for sent in (price, session):
            self.assertEqual(sent["headers"]["Authorization"], "Bearer sk_test_1")
        row, terms = self.gateway.order(), self.gateway.terms()
        headers, form = session["headers"], form_of(session)
        self.assertRegex(row["trade_no"], r"\Aref_[0-9a-f]{40}\Z")
        self.assertEqual(headers["Idempotency-Key"], row["trade_no"])
        self.assertEqual(form["client_reference_id"], row["trade_no"])
        self.assertEqual(
            (form["line_items[0][price]"], form["line_items[0][quantity]"]),
            ("price_1", "10"),
        )
        self.assertEqual(form["success_url"], f"{SITE}/console/log")
        self.assertEqual(form["cancel_url"], f"{SITE}/console/topup")
        self.assertEqual((row["amount"], row["money"], row["user_id"]), (10, 10, 2))
        self.assertEqual(
            terms,
            {
                "trade_no": row["trade_no"],
                "quota": 5_000_000,
                "price": 8000,
                "currency": "usd",
                "merchant": "",
                "reference": "cs_1",
                "promotions": False,
            },
        )

    def test_promotions(self) -> None:
        """Whether they were allowed is stored with the order."""
        self.gateway.set_option("StripePromotionCodesEnabled", "true")
        self.buy()
        self.assertIs(self.gateway.terms()["promotions"], True)

    def test_redirects(self) -> None:
        """To the site and to trusted domains, nowhere else."""
        self.buy(success_url="https://www.shop.example/a", cancel_url=f"{SITE}/b")
        form = form_of(self.gateway.upstream.sent[-1])
        self.assertEqual(
            (form["success_url"], form["cancel_url"]),
            ("https://www.shop.example/a", f"{SITE}/b"),
        )
        for name in ("success_url", "cancel_url"):
            answer = self.buy(**{name: "https://evil.example/"})
            self.refused(answer, "invalid_field")
            self.assertEqual(answer.json["params"]["field"], name)

    def test_tokens(self) -> None:
        """Where amounts are quota, whole dollars of it."""
        self.gateway.set_option("general_setting.quota_display_type", "TOKENS")
        self.refused(self.buy(amount=750_000), "invalid_field")
        self.assertEqual(self.buy(amount=1_000_000).json["message"], "success")
        self.assertEqual(self.gateway.terms()["price"], 1600)

    def test_bad_amounts(self) -> None:
        """Nothing is asked of Stripe."""
        for amount in (0, 10_001, "x"):
            self.refused(self.buy(amount=amount), "invalid_field")
        self.assertEqual(self.gateway.upstream.sent, [])

    def test_wrong_key(self) -> None:
        """A publishable key is none."""
        self.gateway.set_option("StripeApiSecret", "pk_test_1")
        self.refused(self.buy(), "not_configured")

    def test_wrong_price(self) -> None:
        """A price that is no price per unit."""
        changed = {**PRICE, "type": "recurring"}
        self.gateway.upstream.answers[PRICE_URL] = (200, changed)
        self.refused(self.buy(), "not_configured")
        self.no_order()

    def test_failures(self) -> None:
        """Stripe refuses, answers nonsense, or is away: no order, and no details."""
        refusal = {"error": {"message": "Invalid API Key provided: sk_test_1"}}
        for url, failure in (
            (PRICE_URL, (401, refusal)),
            (SESSION_URL, (400, refusal)),
            (SESSION_URL, (200, [])),
            (SESSION_URL, (200, {"id": "cs_1"})),
            (SESSION_URL, (200, {"id": 5, "url": "https://checkout.example"})),
            (SESSION_URL, (200, b"\xff")),
            (SESSION_URL, (302, b"")),
            (PRICE_URL, UpstreamFailed("away", detail="no route to host")),
        ):
            kept = self.gateway.upstream.answers[url]
            self.gateway.upstream.answers[url] = failure
            answer = self.buy()
            self.refused(answer, "upstream_failed")
            self.assertNotIn("sk_test", answer.body.decode())
            self.gateway.upstream.answers[url] = kept
        self.no_order()


class Creem(Case):
    """Orders at Creem."""

    rows = CREEM

    def buy(self, **changes: object) -> Answer:
        """An order of the product."""
        body = {"product_id": "prod_1", "payment_method": "creem", **changes}
        return self.ann.post("/api/user/creem/pay", body)

    def test_order(self) -> None:
        """A checkout is made and the order stored with the product's price."""
        answer = self.buy()
        row = self.gateway.order()
        data = {"checkout_url": "https://creem.example/1", "order_id": row["trade_no"]}
        self.assertEqual(answer.json, {"message": "success", "data": data})
        (sent,) = self.gateway.upstream.sent
        self.assertEqual((sent["method"], sent["url"]), ("POST", CREEM_URL))
        self.assertEqual(sent["headers"]["x-api-key"], "creem_1")
        told = json.loads(sent["body"])
        self.assertEqual(told["request_id"], row["trade_no"])
        self.assertEqual(told["metadata"]["username"], "ann")
        self.assertEqual(
            (row["amount"], str(row["money"]), row["payment_provider"]),
            (5_000_000, "9.99", "creem"),
        )
        terms = self.gateway.terms()
        self.assertEqual(
            (terms["price"], terms["currency"], terms["merchant"], terms["reference"]),
            (999, "usd", "prod_1", "ch_1"),
        )

    def test_test_mode(self) -> None:
        """The test service is another address."""
        self.gateway.set_option("CreemTestMode", "true")
        self.refused(self.buy(), "upstream_failed")
        self.assertEqual(
            self.gateway.upstream.sent[0]["url"],
            "https://test-api.creem.io/v1/checkouts",
        )

    def test_refused(self) -> None:
        """No such product."""
        for product in ("", "prod_2", None):
            self.refused(self.buy(product_id=product), "invalid_field")
        self.no_order()
