"""What can be bought, the own bills, everybody's, and completing one by hand."""

from __future__ import annotations

import json

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema
from tests.web.api.payments import CREEM, EPAY, PRODUCT, STRIPE, Payments, notice
from tests.web.api.shapes import PAGE, misfit, number
from tests.web.gateway import NOW

INFO = {
    "amount_options": [int],
    "creem_products": str,
    "discount": dict,
    "enable_creem_topup": bool,
    "enable_online_topup": bool,
    "enable_redemption": bool,
    "enable_stripe_topup": bool,
    "enable_waffo_pancake_topup": bool,
    "enable_waffo_topup": bool,
    "min_topup": int,
    "pay_methods": list,
    "payment_compliance_confirmed": bool,
    "payment_compliance_terms_version": str,
    "stripe_min_topup": int,
    "topup_link": str,
    "waffo_min_topup": int,
    "waffo_pancake_min_topup": int,
    "waffo_pay_methods": (list, type(None)),
}
ORDER = {
    "id": int,
    "user_id": int,
    "amount": int,
    "money": number,
    "trade_no": str,
    "payment_method": str,
    "payment_provider": str,
    "create_time": int,
    "complete_time": int,
    "status": str,
}


class Case(SynchronousTestCase):
    """A gateway with EPay, a buyer and an administrator."""

    def setUp(self) -> None:
        """Both have logged in."""
        self.gateway = Payments()
        self.gateway.begin(**EPAY)
        self.ann, self.adm = self.gateway.bearer("ann"), self.gateway.bearer("adm")
        self.gateway.notes.clear()

    def buy(self, name: str = "ann", amount: int = 10) -> str:
        """An order; its number."""
        body = {"amount": amount, "payment_method": "alipay"}
        client = {"ann": self.ann, "adm": self.adm}.get(name)
        client = client or self.gateway.bearer(name)
        return str(client.post("/api/user/pay", body).json["data"]["out_trade_no"])


class Info(Case):
    """GET /api/user/topup/info."""

    def test_shape(self) -> None:
        """The reference's members."""
        data = self.ann.get("/api/user/topup/info").data
        self.assertEqual(misfit(data, INFO), "")
        self.assertEqual(data["amount_options"], [10, 20, 50, 100, 200, 500])
        self.assertEqual(
            [method["type"] for method in data["pay_methods"]],
            ["alipay", "wxpay", "custom1"],
        )
        self.assertIs(data["payment_compliance_confirmed"], True)

    def test_gateways(self) -> None:
        """One is offered when everything is there that it needs, its secret too."""
        for rows, name in (
            (EPAY, "enable_online_topup"),
            (STRIPE, "enable_stripe_topup"),
            (CREEM, "enable_creem_topup"),
        ):
            for key, value in rows.items():
                self.gateway.set_option(key, value)
            self.assertIs(self.ann.get("/api/user/topup/info").data[name], True)
            for key, value in rows.items():
                self.gateway.set_option(key, "")
                data = self.ann.get("/api/user/topup/info").data
                self.assertIs(data[name], False, key)
                self.gateway.set_option(key, value)

    def test_stripe_has_a_button(self) -> None:
        """Unless the administrator made one of another name."""
        for key, value in STRIPE.items():
            self.gateway.set_option(key, value)
        self.gateway.set_option("StripeMinTopUp", "5")
        methods = self.ann.get("/api/user/topup/info").data["pay_methods"]
        self.assertEqual(
            (methods[-1]["type"], methods[-1]["min_topup"]), ("stripe", "5")
        )
        own = [{"name": "Card", "type": "stripe"}]
        self.gateway.set_option("PayMethods", json.dumps(own))
        self.assertEqual(self.ann.get("/api/user/topup/info").data["pay_methods"], own)

    def test_products(self) -> None:
        """As the text that consoles read."""
        self.gateway.set_option("CreemProducts", json.dumps([PRODUCT]))
        data = self.ann.get("/api/user/topup/info").data
        self.assertEqual(json.loads(data["creem_products"]), [PRODUCT])

    def test_discounts(self) -> None:
        """As numbers."""
        self.gateway.set_option("payment_setting.amount_discount", '{"100":0.95}')
        data = self.ann.get("/api/user/topup/info").data
        self.assertEqual(data["discount"], {"100": 0.95})

    def test_no_secrets(self) -> None:
        """Nothing but what buyers may know."""
        body = self.ann.get("/api/user/topup/info").body.decode()
        for secret in (EPAY["EpayKey"], EPAY["EpayId"], "sk_test_1"):
            self.assertNotIn(secret, body)


class Bills(Case):
    """GET /api/user/topup/self and /api/user/topup."""

    def test_own(self) -> None:
        """Newest first, nobody else's."""
        first, second = self.buy(), self.buy(amount=3)
        self.buy("adm")
        data = self.ann.get("/api/user/topup/self").data
        self.assertEqual(misfit(data, PAGE), "")
        self.assertEqual(misfit(data["items"], [ORDER]), "")
        self.assertEqual([row["trade_no"] for row in data["items"]], [second, first])
        self.assertEqual([row["money"] for row in data["items"]], [21.9, 73])
        self.assertEqual(data["total"], 2)

    def test_everybodys(self) -> None:
        """For administrators; with or without the slash, by a part of the number."""
        first, second = self.buy(), self.buy("adm")
        for path in ("/api/user/topup", "/api/user/topup/"):
            data = self.adm.get(f"{path}?p=1&page_size=10").data
            self.assertEqual(
                [row["trade_no"] for row in data["items"]], [second, first]
            )
        found = self.adm.get(f"/api/user/topup?keyword={first[4:14]}").data
        self.assertEqual([row["trade_no"] for row in found["items"]], [first])
        self.assertEqual(self.adm.get("/api/user/topup?keyword=%25").data["items"], [])
        self.assertEqual(self.ann.get("/api/user/topup").status, 403)

    def test_pages(self) -> None:
        """A page at a time."""
        numbers = [self.buy() for _ in range(3)]
        data = self.ann.get("/api/user/topup/self?p=2&page_size=2").data
        self.assertEqual([row["trade_no"] for row in data["items"]], numbers[:1])
        self.assertEqual((data["page"], data["total"]), (2, 3))

    def test_not_logged_in(self) -> None:
        """401."""
        for path in ("info", "self", ""):
            answer = self.gateway.ask("GET", f"/api/user/topup/{path}")
            self.assertEqual(answer.status, 401)


class ByHand(Case):
    """POST /api/user/topup/complete."""

    def complete(self, trade_no: str, client: str = "adm") -> str:
        """The code of the answer, or `ok`."""
        asking = {"adm": self.adm, "ann": self.ann}.get(client)
        asking = asking or self.gateway.bearer(client)
        body = {"trade_no": trade_no}
        answer = asking.post("/api/user/topup/complete", body)
        if answer.json["success"]:
            self.assertIsNone(answer.json["data"])
            return "ok"
        return answer.code

    def test_complete(self) -> None:
        """Credited once, in the buyer's log and the administrator's."""
        trade_no = self.buy()
        self.assertEqual([self.complete(trade_no) for _ in range(2)], ["ok", "ok"])
        self.assertEqual(self.gateway.row(2)["quota"], 5_000_000)
        self.assertEqual(self.gateway.order()["complete_time"], NOW)
        self.assertEqual(self.gateway.top_ups(), [(2, 5_000_000)])
        (audit,) = (note for note in self.gateway.notes if note["type"] == 3)
        self.assertEqual(audit["user_id"], 3)
        self.assertEqual(
            audit["other"]["op"],
            {
                "action": "topup.complete",
                "params": {
                    "trade_no": trade_no,
                    "quota": 5_000_000,
                    "target_user_id": 2,
                },
            },
        )
        self.gateway.notice(notice(trade_no))
        self.assertEqual(self.gateway.row(2)["quota"], 5_000_000)

    def test_creem_is_raw(self) -> None:
        """A product's quota is not multiplied, as the originals do."""
        for key, value in CREEM.items():
            self.gateway.set_option(key, value)
        body = {"product_id": "prod_1", "payment_method": "creem"}
        data = self.ann.post("/api/user/creem/pay", body).json["data"]
        self.assertEqual(self.complete(data["order_id"]), "ok")
        self.assertEqual(self.gateway.row(2)["quota"], PRODUCT["quota"])

    def test_refused(self) -> None:
        """Unknown, empty, closed."""
        trade_no = self.buy()
        self.assertEqual(self.complete("unknown"), "not_found")
        self.assertEqual(self.complete(" "), "missing_field")
        self.assertEqual(self.complete("x" * 256), "invalid_field")
        closed = sa.update(schema.top_ups).values(status="expired")
        self.gateway.execute(closed)
        self.assertEqual(self.complete(trade_no), "order_not_pending")
        self.assertEqual(self.gateway.row(2)["quota"], 0)

    def test_nobody_completes_the_own(self) -> None:
        """An administrator gives himself nothing, nor his equals; root may."""
        self.gateway.add_user("eve", 10)
        own, other, roots = self.buy("adm"), self.buy("eve"), self.buy("root")
        for trade_no in (own, other, roots):
            self.assertEqual(self.complete(trade_no), "forbidden_target")
        self.assertEqual(
            self.complete(self.buy(), "ann"), "AUTH_INSUFFICIENT_PRIVILEGE"
        )
        for trade_no in (own, other, roots):
            self.assertEqual(self.complete(trade_no, "root"), "ok")

    def test_account_gone(self) -> None:
        """There is nobody to credit."""
        trade_no = self.buy()
        self.gateway.execute(sa.delete(schema.users).where(schema.users.c.id == 2))
        self.assertEqual(self.complete(trade_no), "order_not_pending")
