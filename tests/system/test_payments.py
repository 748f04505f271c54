"""Buying quota as a user and a gateway do it, against the running service."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa

from knight_tw.payments import epay
from knight_tw.payments.orders import NewOrder, Terms
from knight_tw.storage import top_up_queries
from tests import engines
from tests.system.test_scripts import Person, Script

KEY = "epay-key"
STRIPE_SECRET, CREEM_SECRET = "whsec_example", "creem-example"
OPTIONS = {
    "ServerAddress": "https://gate.example.com",
    "EpayId": "1001",
    "EpayKey": KEY,
    "PayAddress": "https://pay.example.com",
    "StripeWebhookSecret": STRIPE_SECRET,
    "CreemWebhookSecret": CREEM_SECRET,
}
UNIT = 500_000


@engines.for_engines
class Payments(Script):
    """From the options to the balance."""

    def setUp(self) -> None:
        """The administrator has set the gateways up."""
        super().setUp()
        for key, value in OPTIONS.items():
            self.call("PUT", "/api/option/", {"key": key, "value": value})

    def buyer(self, name: str) -> Person:
        """Somebody with nothing."""
        who = self.person(name)
        self.assertEqual(self.quota(who), 0)
        return who

    def quota(self, who: Person) -> int:
        """A balance."""
        return int(who.call("GET", "/api/user/self")["quota"])

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The top-ups in somebody's log."""
        path = f"/api/log/?type=1&username={name}"
        return list(self.call("GET", path)["items"])

    def alarms(self, trade_no: str) -> int:
        """How often an order raised an alarm, as the audit log says."""
        rows = self.call("GET", "/api/log/?type=3&page_size=100")["items"]
        return sum(f"order {trade_no} not credited" in row["content"] for row in rows)

    def buy(self, who: Person, amount: int = 10) -> dict[str, str]:
        """An order at EPay: the form that a browser would post."""
        told = {"amount": amount, "payment_method": "alipay"}
        status, answer = who.ask("POST", "/api/user/pay", told)
        self.assertEqual((status, answer["message"]), (200, "success"), answer)
        self.assertEqual(answer["url"], "https://pay.example.com/submit.php")
        fields: dict[str, str] = answer["data"]
        return fields

    def notify(self, form: dict[str, str], key: str = KEY, **changes: str) -> bytes:
        """What EPay's notice about a form is answered."""
        fields = {
            **{name: form[name] for name in ("pid", "out_trade_no", "type", "name")},
            "money": form["money"],
            "trade_no": "T1",
            "trade_status": "TRADE_SUCCESS",
            **changes,
        }
        fields |= {"sign": epay.signature(fields, key), "sign_type": "MD5"}
        path = f"{epay.NOTIFY_PATH}?{urlencode(fields)}"
        return bytes(self.process.ask("GET", path, Cookie="")[1])

    @contextmanager
    def database(self) -> Iterator[sa.Connection]:
        """The service's own database."""
        place = self.process.environment.get("SQL_DSN")
        place = place or f"sqlite:///{self.process.folder}/data/one-api.db"
        engine = engines.engine_for(place)
        with engine.begin() as connection:
            yield connection
        engine.dispose()

    def order(self, who: Person, trade_no: str, provider: str, terms: Terms) -> None:
        """An order as the service stores it when Stripe or Creem gave a checkout."""
        new = NewOrder(
            user_id=who.user_id,
            trade_no=trade_no,
            amount=10 if provider == "stripe" else terms.quota,
            money=Decimal(10),
            method=provider,
            provider=provider,
            terms=terms,
        )
        with self.database() as connection:
            top_up_queries.place(connection, new, int(time.time()))

    def test_epay(self) -> None:
        """Price, order, forgeries, payment, repetition, bill, row, balance."""
        eve = self.buyer("eve-epay")
        cost = eve.ask("POST", "/api/user/amount", {"amount": 10})[1]
        self.assertEqual(cost, {"message": "success", "data": "73.00"})
        info = eve.call("GET", "/api/user/topup/info")
        self.assertIs(info["enable_online_topup"], True)
        form = self.buy(eve)
        for answer in (
            self.notify(form, key="another"),
            self.notify(form, money="0.01"),
            self.notify(form, pid="1002"),
            self.notify(form, trade_status="WAIT"),
            self.notify({**form, "out_trade_no": "USR1NOaaaaaa1"}),
        ):
            self.assertEqual(answer, b"fail")
        self.assertEqual(self.quota(eve), 0)
        self.until(lambda: self.alarms(form["out_trade_no"]), 2)
        for _ in range(2):
            self.assertEqual(self.notify(form), b"success")
        self.assertEqual(self.quota(eve), 10 * UNIT)
        self.until(lambda: len(self.rows("eve-epay")), 1)
        self.assertEqual(self.rows("eve-epay")[0]["quota"], 10 * UNIT)
        (bill,) = eve.call("GET", "/api/user/topup/self")["items"]
        self.assertEqual(
            (bill["status"], bill["money"], bill["trade_no"]),
            ("success", 73, form["out_trade_no"]),
        )
        path = f"/api/user/topup?keyword={form['out_trade_no']}"
        self.assertEqual(self.call("GET", path)["total"], 1)

    def test_bought_quota_is_spent(self) -> None:
        """A key that was refused works as soon as the payment has come."""
        joe = self.buyer("joe-epay")
        made = joe.call("POST", "/api/token/", {"name": "j", "unlimited_quota": True})
        key = "sk-" + joe.call("POST", f"/api/token/{made['id']}/key")["key"]
        self.assertEqual(self.chat(key)[0], 403)
        self.assertEqual(self.notify(self.buy(joe, 1)), b"success")
        self.assertEqual(self.chat(key)[0], 200)

    def test_many_notices_at_once(self) -> None:
        """Twenty of one payment, eight at a time."""
        ina = self.buyer("ina-epay")
        form = self.buy(ina)
        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(lambda _: self.notify(form), range(20)))
        self.assertEqual(set(told), {b"success"})
        self.assertEqual(self.quota(ina), 10 * UNIT)
        self.until(lambda: len(self.rows("ina-epay")), 1)

    def test_by_hand(self) -> None:
        """An administrator completes an order; the notice comes too late."""
        kim = self.buyer("kim-epay")
        form = self.buy(kim)
        told = {"trade_no": form["out_trade_no"]}
        self.call("POST", "/api/user/topup/complete", told)
        self.assertEqual(self.notify(form), b"success")
        self.assertEqual(self.quota(kim), 10 * UNIT)
        answer = self.process.ask(
            "POST", "/api/user/topup/complete", {"trade_no": "unknown"}
        )
        self.refused(answer, "not_found")

    def stripe(self, trade_no: str, at: int | None = None, **changes: Any) -> int:
        """The status that answers an event of Stripe."""
        session = {
            "id": "cs_1",
            "mode": "payment",
            "client_reference_id": trade_no,
            "status": "complete",
            "payment_status": "paid",
            "amount_total": 8000,
            "currency": "usd",
            "customer": "cus_1",
            **changes,
        }
        told = {"type": "checkout.session.completed", "data": {"object": session}}
        at = int(time.time()) if at is None else at
        signed = f"{at}.".encode() + json.dumps(told).encode()
        digest = hmac.new(STRIPE_SECRET.encode(), signed, hashlib.sha256).hexdigest()
        return self.process.ask(
            "POST",
            "/api/stripe/webhook",
            told,
            Cookie="",
            **{"Stripe-Signature": f"t={at},v1={digest}"},
        )[0]

    def test_stripe(self) -> None:
        """Forged, old, wrong and true events about an order."""
        lea = self.buyer("lea-stripe")
        terms = Terms(10 * UNIT, 8000, "usd", "", "cs_1")
        self.order(lea, "ref_lea", "stripe", terms)
        answer = self.process.ask("POST", "/api/stripe/webhook", {"id": "x"})
        self.assertEqual(answer[0], 400)
        self.assertEqual(self.stripe("ref_lea", at=int(time.time()) - 400), 400)
        for changes in ({"amount_total": 1}, {"currency": "jpy"}, {"id": "cs_2"}):
            self.assertEqual(self.stripe("ref_lea", **changes), 200)
        self.assertEqual(self.stripe("somebody-else"), 200)
        self.assertEqual(self.quota(lea), 0)
        self.until(lambda: self.alarms("ref_lea"), 3)
        for _ in range(2):
            self.assertEqual(self.stripe("ref_lea"), 200)
        self.assertEqual(self.quota(lea), 10 * UNIT)
        self.until(lambda: len(self.rows("lea-stripe")), 1)

    def test_creem(self) -> None:
        """Forged, wrong and true events about an order."""
        mia = self.buyer("mia-creem")
        terms = Terms(777, 999, "usd", "prod_1", "ch_1")
        self.order(mia, "ref_mia", "creem", terms)

        def told(secret: str = CREEM_SECRET, **changes: Any) -> int:
            order = {
                "product": "prod_1",
                "amount": 999,
                "currency": "USD",
                "status": "paid",
                "type": "onetime",
                **changes,
            }
            checkout = {"id": "ch_1", "request_id": "ref_mia", "order": order}
            event = {"eventType": "checkout.completed", "object": checkout}
            body = json.dumps(event).encode()
            digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            path, headers = "/api/creem/webhook", {"creem-signature": digest}
            return self.process.ask("POST", path, event, Cookie="", **headers)[0]

        self.assertEqual(told("another"), 400)
        self.assertEqual((told(amount=1), told(product="prod_2")), (200, 200))
        self.assertEqual(self.quota(mia), 0)
        self.assertEqual((told(), told()), (200, 200))
        self.assertEqual(self.quota(mia), 777)
        self.until(lambda: len(self.rows("mia-creem")), 1)

    def test_switched_off(self) -> None:
        """Without a secret nothing is believed: 503, until it is set again."""
        form = self.buy(self.buyer("nia-epay"))
        for key in ("EpayKey", "StripeWebhookSecret", "CreemWebhookSecret"):
            self.call("PUT", "/api/option/", {"key": key, "value": ""})
        self.assertEqual(self.notify(form, key=""), b"fail")
        for path in (
            epay.NOTIFY_PATH,
            "/api/stripe/webhook",
            "/api/creem/webhook",
            "/api/waffo/webhook",
            "/api/waffo-pancake/webhook/prod",
        ):
            self.assertEqual(self.process.ask("POST", path, {}, Cookie="")[0], 503)

    def test_referral(self) -> None:
        """A code is told twice the same; what is not there cannot be moved."""
        oda = self.buyer("oda-refer")
        codes = {oda.call("GET", "/api/user/aff") for _ in range(2)}
        self.assertEqual(len(codes), 1)
        for quota, code in ((UNIT - 1, "invalid_field"), (UNIT, "insufficient_quota")):
            answer = oda.ask("POST", "/api/user/aff_transfer", {"quota": quota})
            self.refused(answer, code)

    def test_pages_without_a_gateway(self) -> None:
        """Waffo, io.net and the declaration answer as consoles expect."""
        settings = self.call("GET", "/api/deployments/settings")
        self.assertEqual(settings["provider"], "io.net")
        self.refused(self.process.ask("GET", "/api/deployments/"), "not_configured")
        answer = self.process.ask("GET", "/api/option/waffo-pancake/catalog")
        self.refused(answer, "not_configured")
        told = self.call("POST", "/api/option/payment_compliance", {"confirmed": True})
        self.assertEqual((told["confirmed"], told["terms_version"]), (True, "v1"))
