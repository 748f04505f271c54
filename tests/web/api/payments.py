"""The gateway in memory with the surfaces about top-ups, and gateways that pay."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

import sqlalchemy as sa
from attrs import define, field
from twisted.internet.defer import Deferred

from knight_tw.checkouts import Creem, Stripe
from knight_tw.payments import epay
from knight_tw.storage import schema
from knight_tw.storage.database import Database
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.deployments import DeploymentsApi
from knight_tw.web.api.orders import Orders
from knight_tw.web.api.payment_callbacks import PaymentCallbacks
from knight_tw.web.api.payment_settings import PaymentSettingsApi
from knight_tw.web.api.payments import PaymentsApi
from knight_tw.web.api.top_ups import TopUpsApi
from tests.web.api.management import ScriptedUpstream
from tests.web.gateway import Answer, Gateway

SITE = "https://gate.example.com"
KEY = "epay-key"
STRIPE_SECRET, CREEM_SECRET = "whsec_example", "creem-example"
PRODUCT = {
    "name": "Small",
    "productId": "prod_1",
    "price": 9.99,
    "currency": "USD",
    "quota": 5_000_000,
}
EPAY = {"EpayId": "1001", "EpayKey": KEY, "PayAddress": "https://pay.example.com"}
STRIPE = {
    "StripeApiSecret": "sk_test_1",
    "StripeWebhookSecret": STRIPE_SECRET,
    "StripePriceId": "price_1",
}
CREEM = {
    "CreemApiKey": "creem_1",
    "CreemWebhookSecret": CREEM_SECRET,
    "CreemProducts": json.dumps([PRODUCT]),
}
PRICE_URL = "https://api.stripe.com/v1/prices/price_1"
SESSION_URL = "https://api.stripe.com/v1/checkout/sessions"
CREEM_URL = "https://api.creem.io/v1/checkouts"
PRICE = {
    "id": "price_1",
    "active": True,
    "type": "one_time",
    "billing_scheme": "per_unit",
    "unit_amount": 800,
    "currency": "usd",
}


@define(eq=False)
class Faulty:
    """A database that can be told to fail before or after its work, or to wait."""

    db: Database
    before: Exception | None = None
    after: Exception | None = None
    wait: Deferred[None] | None = None

    async def run(self, work: Any, *args: Any) -> Any:
        """What the work returns, unless told otherwise."""
        if self.wait is not None:
            await self.wait
        if self.before is not None:
            raise self.before
        result = await self.db.run(work, *args)
        if self.after is not None:
            raise self.after
        return result


@define(eq=False)
class Payments(Gateway):
    """Buyers, an administrator, and gateways of the other side."""

    upstream: ScriptedUpstream = field(factory=ScriptedUpstream)
    faults: Faulty = field(init=False)

    def surfaces(self) -> list[Any]:
        """Those of the accounts, and ours."""
        db, guard, options = self.db, self.guard, self.view
        audit = Audit(self.notes.append, self.clock)
        seconds = self.clock.seconds
        self.faults = Faulty(db)
        faulty = cast(Database, self.faults)
        orders = Orders(
            faulty, audit, options, self.changed, self.balances.append, seconds
        )
        return [
            *super().surfaces(),
            TopUpsApi(db, guard, options, orders),
            PaymentsApi(
                db,
                guard,
                self.limits,
                options,
                orders,
                Stripe(self.upstream),
                Creem(self.upstream),
                ("shop.example",),
                self.chance,
                seconds,
            ),
            PaymentCallbacks(options, orders, seconds),
            PaymentSettingsApi(db, guard, audit, self.changed, seconds),
            DeploymentsApi(guard),
        ]

    def begin(self, **rows: str) -> None:
        """Set up, with options, user 2 `ann` and user 3 `adm`."""
        self.set_up()
        self.add_user("ann")
        self.add_user("adm", 10)
        for key, value in {"ServerAddress": SITE, **rows}.items():
            self.set_option(key, value)
        self.upstream.answers |= {
            PRICE_URL: (200, PRICE),
            SESSION_URL: (200, {"id": "cs_1", "url": "https://checkout.example/1"}),
            CREEM_URL: (200, {"id": "ch_1", "checkout_url": "https://creem.example/1"}),
        }

    # what is stored -----------------------------------------------------------

    def order(self, trade_no: str = "") -> dict[str, Any]:
        """An order's row, the newest without a number."""
        asked = sa.select(schema.top_ups).order_by(schema.top_ups.c.id.desc())
        if trade_no:
            asked = asked.where(schema.top_ups.c.trade_no == trade_no)
        return self.rows(asked)[0]

    def terms(self) -> dict[str, Any]:
        """The terms of the newest order."""
        trade_no = self.order()["trade_no"]
        asked = sa.select(schema.knight_orders)
        found = asked.where(schema.knight_orders.c.trade_no == trade_no)
        return self.rows(found)[0]

    def alarms(self) -> list[str]:
        """Why payments were not credited, as the audit log says."""
        found = [note["other"].get("op", {}) for note in self.notes]
        return [
            op["params"]["reason"]
            for op in found
            if op.get("action") == "payment.alarm"
        ]

    def top_ups(self) -> list[tuple[int, int]]:
        """User and quota of each top-up row of the log."""
        rows = [note for note in self.notes if note["type"] == 1]
        return [(note["user_id"], note["quota"]) for note in rows]

    # what gateways send -------------------------------------------------------

    def notice(self, fields: dict[str, str], method: str = "GET") -> Answer:
        """EPay's notice as it stands."""
        return self.notice_text(urlencode(fields), method)

    def notice_text(self, text: str, method: str = "GET") -> Answer:
        """The same, written out."""
        path = epay.NOTIFY_PATH
        if method == "GET":
            return self.ask("GET", f"{path}?{text}")
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, text.encode(), kind)

    def stripe_event(self, body: bytes, header: str | None = None) -> Answer:
        """An event, signed unless a header is given."""
        if header is None:
            at = int(self.clock.seconds())
            header = f"t={at},v1={hmac256(f'{at}.'.encode() + body, STRIPE_SECRET)}"
        headers = {"Stripe-Signature": header} if header else {}
        return self.ask("POST", "/api/stripe/webhook", body, headers)

    def creem_event(self, body: bytes, header: str | None = None) -> Answer:
        """An event, signed unless a header is given."""
        if header is None:
            header = hmac256(body, CREEM_SECRET)
        headers = {"creem-signature": header} if header else {}
        return self.ask("POST", "/api/creem/webhook", body, headers)


def hmac256(body: bytes, secret: str) -> str:
    """HMAC-SHA256 in hex."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def notice(trade_no: str, key: str = KEY, **changes: str) -> dict[str, str]:
    """EPay's signed notice that ten dollars were paid; changes are signed too."""
    fields = {
        "pid": "1001",
        "trade_no": "T1",
        "out_trade_no": trade_no,
        "type": "alipay",
        "name": "TUC10",
        "money": "73.00",
        "trade_status": "TRADE_SUCCESS",
        **changes,
    }
    return {**fields, "sign": epay.signature(fields, key), "sign_type": "MD5"}


def session_event(trade_no: str, kind: str = "completed", **changes: Any) -> bytes:
    """Stripe's event that ten of the price object were paid."""
    session = {
        "id": "cs_1",
        "mode": "payment",
        "client_reference_id": trade_no,
        "status": "complete",
        "payment_status": "paid",
        "amount_total": 8000,
        "currency": "usd",
        "customer": "cus_1",
        "total_details": {"amount_discount": 0},
        **changes,
    }
    told = {"type": f"checkout.session.{kind}", "data": {"object": session}}
    return json.dumps(told).encode()


def checkout_event(trade_no: str, **changes: Any) -> bytes:
    """Creem's event that the product was paid; changes are of the order."""
    order = {
        "product": "prod_1",
        "amount": 999,
        "currency": "USD",
        "status": "paid",
        "type": "onetime",
        **changes,
    }
    checkout = {
        "id": "ch_1",
        "request_id": trade_no,
        "order": order,
        "customer": {"id": "cust_1", "email": "ann@example.com"},
    }
    return json.dumps({"eventType": "checkout.completed", "object": checkout}).encode()


def form_of(sent: dict[str, Any]) -> dict[str, str]:
    """The members of a form that was sent."""
    return dict(parse_qsl(sent["body"].decode(), strict_parsing=True))
