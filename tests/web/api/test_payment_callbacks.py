"""Messages of payment gateways: true ones, repeated ones, and every forgery."""

from __future__ import annotations

from urllib.parse import urlencode

import sqlalchemy as sa
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import DatabaseAway
from knight_tw.payments.orders import EXPIRED, FAILED
from knight_tw.storage import schema
from tests.web.api.payments import (
    CREEM,
    EPAY,
    KEY,
    STRIPE,
    STRIPE_SECRET,
    Payments,
    checkout_event,
    hmac256,
    notice,
    session_event,
)
from tests.web.gateway import NOW, Answer

CREDIT = 5_000_000


class Case(SynchronousTestCase):
    """A gateway with every provider, and an open order at one."""

    def setUp(self) -> None:
        """Ann has ordered."""
        self.gateway = Payments()
        self.gateway.begin(**EPAY, **STRIPE, **CREEM)
        self.ann = self.gateway.bearer("ann")
        self.trade_no = self.buy()
        self.gateway.notes.clear()
        self.gateway.changes.clear()

    def buy(self) -> str:
        """An order; its number."""
        body = {"amount": 10, "payment_method": "alipay"}
        fields = self.ann.post("/api/user/pay", body).json["data"]
        return str(fields["out_trade_no"])

    def quota(self) -> int:
        """Ann's balance."""
        return int(self.gateway.row(2)["quota"])

    def credited(self) -> None:
        """Ann has what she bought, once, and everybody knows."""
        self.assertEqual(self.quota(), CREDIT)
        self.assertEqual(self.gateway.order(self.trade_no)["status"], "success")
        self.assertEqual(self.gateway.top_ups(), [(2, CREDIT)])
        self.assertIn(2, self.gateway.balances)
        self.assertIn(("user", "2"), self.gateway.changes)
        self.assertEqual(self.gateway.alarms(), [])

    def untouched(self, alarms: int = 0, status: str = "pending") -> None:
        """Nothing was credited; so many alarms rang."""
        self.assertEqual(self.quota(), 0)
        self.assertEqual(self.gateway.order(self.trade_no)["status"], status)
        self.assertEqual(self.gateway.top_ups(), [])
        self.assertEqual(len(self.gateway.alarms()), alarms)
        self.assertEqual(self.gateway.balances, [])

    def close(self, status: str) -> None:
        """The order ended without a payment."""
        self.gateway.execute(sa.update(schema.top_ups).values(status=status))


class Epay(Case):
    """`/api/user/epay/notify`."""

    def told(self, answer: Answer, body: bytes, status: int = 200) -> None:
        """EPay is answered to the letter, in plain text."""
        self.assertEqual((answer.status, answer.body), (status, body))
        self.assertEqual(answer.get("Content-Type"), "text/plain; charset=utf-8")

    def test_paid(self) -> None:
        """By an address."""
        self.told(self.gateway.notice(notice(self.trade_no)), b"success")
        self.credited()

    def test_paid_by_form(self) -> None:
        """By a posted form."""
        self.told(self.gateway.notice(notice(self.trade_no), "POST"), b"success")
        self.credited()

    def test_row(self) -> None:
        """The buyer's log says what was paid, by what, for which order."""
        self.gateway.notice(notice(self.trade_no))
        (row,) = (note for note in self.gateway.notes if note["type"] == 1)
        self.assertEqual((row["username"], row["quota"]), ("ann", CREDIT))
        self.assertEqual(
            row["other"]["op"],
            {
                "action": "topup.paid",
                "params": {
                    "trade_no": self.trade_no,
                    "payment_provider": "epay",
                    "payment_method": "alipay",
                    "money": "73.00",
                },
            },
        )

    def test_told_again(self) -> None:
        """Success once more, and nothing else."""
        for _ in range(3):
            self.told(self.gateway.notice(notice(self.trade_no)), b"success")
        self.credited()

    def test_not_genuine(self) -> None:
        """Whoever lacks the key is told to fail, and rings no alarm."""
        true = notice(self.trade_no)
        unsigned = {name: text for name, text in true.items() if name != "sign"}
        for fields in (
            unsigned,
            {**true, "sign": ""},
            {**true, "sign": "0" * 32},
            {**true, "money": "0.01"},
            {**true, "out_trade_no": "USR3NOabcdef1795604332"},
            {**true, "sign_type": "RSA2"},
            notice(self.trade_no, key="another"),
            notice(self.trade_no, key=""),
            notice(self.trade_no, trade_status="TRADE_CLOSED"),
            notice(self.trade_no, money="1e9"),
            {},
        ):
            for method in ("GET", "POST"):
                self.told(self.gateway.notice(fields, method), b"fail")
        self.untouched()

    def test_odd_forms(self) -> None:
        """Members twice, other charsets, JSON, the members in the wrong place."""
        true = urlencode(notice(self.trade_no))
        for text, method in (
            (f"{true}&money=73.00", "GET"),
            (f"money=0.01&{true}", "POST"),
            (f"{true}&name=%ff", "GET"),
            ('{"pid":"1001"}', "POST"),
            (f"%7B{true}", "GET"),
        ):
            self.told(self.gateway.notice_text(text, method), b"fail")
        path = f"/api/user/epay/notify?{true}"
        self.told(self.gateway.ask("POST", path, b""), b"fail")
        self.untouched()

    def test_not_what_was_ordered(self) -> None:
        """Genuine, but another amount or merchant: an alarm, and no credit."""
        for changes in (
            {"money": "72.99"},
            {"money": "73.01"},
            {"money": "0.00"},
            {"pid": "1002"},
        ):
            self.gateway.notes.clear()
            answer = self.gateway.notice(notice(self.trade_no, **changes))
            self.told(answer, b"fail")
            self.untouched(alarms=1)
        alarm = self.gateway.notes[0]
        self.assertEqual((alarm["type"], alarm["user_id"]), (3, 0))
        self.assertIn(self.trade_no, alarm["content"])

    def test_alarm_names_the_account(self) -> None:
        """So that somebody can look."""
        self.gateway.notice(notice(self.trade_no, money="1.00"))
        params = self.gateway.notes[0]["other"]["op"]["params"]
        self.assertEqual(params["target_user_id"], 2)
        self.assertEqual(params["reason"], "paid 100, expected 7300")

    def test_unknown_order(self) -> None:
        """Genuine, for an order that we do not have."""
        self.told(self.gateway.notice(notice("USR2NOzzzzzz1")), b"fail")
        self.untouched()

    def test_closed_order(self) -> None:
        """Paid after it failed or expired: a person has to look."""
        for status in (FAILED, EXPIRED):
            self.gateway.notes.clear()
            self.close(status)
            self.told(self.gateway.notice(notice(self.trade_no)), b"fail")
            self.untouched(alarms=1, status=status)

    def test_order_of_another_gateway(self) -> None:
        """An EPay notice does not pay an order at Stripe."""
        self.ann.post(
            "/api/user/stripe/pay", {"amount": 10, "payment_method": "stripe"}
        )
        number = self.gateway.order()["trade_no"]
        answer = self.gateway.notice(notice(number, money="80.00"))
        self.told(answer, b"fail")
        self.assertEqual(len(self.gateway.alarms()), 1)
        self.assertEqual(self.quota(), 0)

    def test_not_configured(self) -> None:
        """Without id, key or address nothing is believed, least of all an empty key."""
        for key, told in (
            ("EpayKey", notice(self.trade_no, key="")),
            ("EpayKey", notice(self.trade_no)),
            ("EpayId", notice(self.trade_no, pid="")),
            ("PayAddress", notice(self.trade_no)),
        ):
            self.gateway.set_option(key, "")
            for method in ("GET", "POST"):
                self.told(self.gateway.notice(told, method), b"fail", 503)
            self.gateway.set_option(key, EPAY[key])
        self.untouched()

    def test_key_changed(self) -> None:
        """The new key counts from then on."""
        self.gateway.set_option("EpayKey", "new")
        self.told(self.gateway.notice(notice(self.trade_no)), b"fail")
        self.told(self.gateway.notice(notice(self.trade_no, key="new")), b"success")
        self.credited()

    def test_price_changed(self) -> None:
        """An order keeps the price and the credit it was made with."""
        self.gateway.set_option("Price", "1")
        self.gateway.set_option("QuotaPerUnit", "1")
        self.told(self.gateway.notice(notice(self.trade_no)), b"success")
        self.credited()

    def test_our_own_form(self) -> None:
        """The form that the buyer's browser has proves nothing."""
        body = {"amount": 10, "payment_method": "alipay"}
        fields = self.ann.post("/api/user/pay", body).json["data"]
        self.told(self.gateway.notice(fields), b"fail")
        more = {**fields, "trade_status": "TRADE_SUCCESS", "trade_no": "T1"}
        self.told(self.gateway.notice(more), b"fail")
        self.untouched()

    def test_order_of_another_program(self) -> None:
        """It has no terms: money and merchant must be right all the same."""
        self.gateway.execute(sa.delete(schema.knight_orders))
        for changes in ({"pid": "1002"}, {"money": "73.01"}):
            self.gateway.notes.clear()
            answer = self.gateway.notice(notice(self.trade_no, **changes))
            self.told(answer, b"fail")
            self.untouched(alarms=1)
        self.gateway.notes.clear()
        self.told(self.gateway.notice(notice(self.trade_no)), b"success")
        self.credited()

    def test_database_away(self) -> None:
        """EPay is to ask again; then it is credited."""
        told = notice(self.trade_no)
        self.gateway.faults.before = DatabaseAway("away", retry_after=1)
        self.told(self.gateway.notice(told), b"fail", 503)
        self.gateway.faults.before = None
        self.told(self.gateway.notice(told), b"success")
        self.credited()

    def test_gateway_hangs_up(self) -> None:
        """Whoever leaves while it is credited keeps nothing from happening."""
        waiting: Deferred[None] = Deferred()
        self.gateway.faults.wait = waiting
        channel = self.gateway.site.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5))
        channel.makeConnection(StringTransport())
        told = urlencode(notice(self.trade_no))
        path = f"/api/user/epay/notify?{told}"
        channel.dataReceived(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        channel.connectionLost(Failure(ConnectionDone()))
        waiting.callback(None)
        self.credited()


class Stripe(Case):
    """`/api/stripe/webhook`."""

    def buy(self) -> str:
        """An order; its number."""
        body = {"amount": 10, "payment_method": "stripe"}
        self.ann.post("/api/user/stripe/pay", body)
        return str(self.gateway.order()["trade_no"])

    def test_paid(self) -> None:
        """At once; the customer's number is kept."""
        answer = self.gateway.stripe_event(session_event(self.trade_no))
        self.assertEqual((answer.status, answer.body), (200, b"credited"))
        self.credited()
        self.assertEqual(self.gateway.row(2)["stripe_customer"], "cus_1")

    def test_paid_later(self) -> None:
        """By a method that takes days."""
        event = session_event(self.trade_no, "async_payment_succeeded")
        self.assertEqual(self.gateway.stripe_event(event).status, 200)
        self.credited()

    def test_told_again(self) -> None:
        """200 each time; credited once."""
        for _ in range(3):
            answer = self.gateway.stripe_event(session_event(self.trade_no))
            self.assertEqual(answer.status, 200)
        self.credited()

    def test_not_genuine(self) -> None:
        """400, and no alarm."""
        body = session_event(self.trade_no)
        good = hmac256(f"{NOW}.".encode() + body, STRIPE_SECRET)
        empty = hmac256(f"{NOW}.".encode() + body, "")
        for header in (
            "",
            "x",
            f"t={NOW}",
            f"t={NOW},v1={'0' * 64}",
            f"t={NOW},v1={empty}",
            f"t={NOW + 1},v1={good}",
            f"t={NOW},v0={good}",
        ):
            self.assertEqual(self.gateway.stripe_event(body, header).status, 400)
        changed = session_event(self.trade_no, amount_total=1)
        answer = self.gateway.stripe_event(changed, f"t={NOW},v1={good}")
        self.assertEqual(answer.status, 400)
        self.untouched()

    def test_several_signatures(self) -> None:
        """While the secret is rolled."""
        body = session_event(self.trade_no)
        good = hmac256(f"{NOW}.".encode() + body, STRIPE_SECRET)
        header = f"t={NOW},v1={'0' * 64},v1={good}"
        self.assertEqual(self.gateway.stripe_event(body, header).status, 200)
        self.credited()

    def test_replayed_late(self) -> None:
        """A header that was caught is worth nothing after five minutes, nor before."""
        body = session_event(self.trade_no)
        good = hmac256(f"{NOW}.".encode() + body, STRIPE_SECRET)
        early = hmac256(f"{NOW + 602}.".encode() + body, STRIPE_SECRET)
        self.gateway.clock.advance(301)
        for header in (f"t={NOW},v1={good}", f"t={NOW + 602},v1={early}"):
            self.assertEqual(self.gateway.stripe_event(body, header).status, 400)
        self.untouched()

    def test_not_what_was_ordered(self) -> None:
        """Another total, currency or checkout, a discount nobody allowed: an alarm."""
        for changes in (
            {"amount_total": 7999},
            {"amount_total": 800_000},
            {"amount_total": 0},
            {"currency": "jpy"},
            {"id": "cs_2"},
            {"amount_total": 7500, "total_details": {"amount_discount": 500}},
            {"amount_total": 9000, "total_details": {"amount_discount": -1000}},
        ):
            self.gateway.notes.clear()
            body = session_event(self.trade_no, **changes)
            answer = self.gateway.stripe_event(body)
            self.assertEqual((answer.status, answer.body), (200, b"refused"))
            self.untouched(alarms=1)

    def test_promotion(self) -> None:
        """A code that the order allows; the rest must be there."""
        self.gateway.set_option("StripePromotionCodesEnabled", "true")
        self.trade_no = self.buy()
        self.gateway.set_option("StripePromotionCodesEnabled", "false")
        details = {"amount_discount": 500}
        short = session_event(self.trade_no, amount_total=7400, total_details=details)
        self.gateway.stripe_event(short)
        self.untouched(alarms=1)
        self.gateway.notes.clear()
        body = session_event(self.trade_no, amount_total=7500, total_details=details)
        self.gateway.stripe_event(body)
        self.credited()

    def test_slow_method(self) -> None:
        """Not paid yet is nothing; later it is paid, or fails."""
        open_event = session_event(self.trade_no, payment_status="unpaid")
        self.assertEqual(self.gateway.stripe_event(open_event).body, b"ignored")
        self.untouched()
        failed = session_event(self.trade_no, "async_payment_failed")
        self.assertEqual(self.gateway.stripe_event(failed).status, 200)
        self.untouched(status=FAILED)
        self.gateway.stripe_event(session_event(self.trade_no))
        self.untouched(alarms=1, status=FAILED)

    def test_expired(self) -> None:
        """An order that nobody paid ends; one that is paid does not."""
        expired = session_event(self.trade_no, "expired", status="expired")
        self.gateway.stripe_event(session_event(self.trade_no, "expired", id="cs_2"))
        self.untouched()
        self.gateway.stripe_event(expired)
        self.untouched(status=EXPIRED)
        self.trade_no = self.buy()
        self.gateway.stripe_event(session_event(self.trade_no))
        for kind in ("expired", "async_payment_failed"):
            self.gateway.stripe_event(session_event(self.trade_no, kind))
        self.credited()

    def test_free_by_promotion(self) -> None:
        """A code for everything pays nothing."""
        body = session_event(
            self.trade_no, payment_status="no_payment_required", amount_total=0
        )
        self.assertEqual(self.gateway.stripe_event(body).body, b"ignored")
        self.untouched()

    def test_other_events(self) -> None:
        """Those of other sales of the same account are 200 and change nothing."""
        for body in (
            session_event("somebody-else"),
            session_event(""),
            b'{"type":"invoice.paid","data":{"object":{}}}',
        ):
            self.assertEqual(self.gateway.stripe_event(body).status, 200)
        self.untouched()

    def test_unreadable(self) -> None:
        """Signed nonsense is 400."""
        for body in (b"", b"{", session_event(self.trade_no, amount_total="8000")):
            self.assertEqual(self.gateway.stripe_event(body).status, 400)
        self.untouched()

    def test_order_of_another_gateway(self) -> None:
        """A Stripe event does not pay an order at EPay."""
        body = {"amount": 10, "payment_method": "alipay"}
        fields = self.ann.post("/api/user/pay", body).json["data"]
        event = session_event(fields["out_trade_no"], amount_total=7300)
        self.assertEqual(self.gateway.stripe_event(event).body, b"refused")
        self.assertEqual(len(self.gateway.alarms()), 1)
        self.assertEqual(self.quota(), 0)

    def test_not_configured(self) -> None:
        """Without a secret nothing is believed, least of all an empty one."""
        self.gateway.set_option("StripeWebhookSecret", "")
        body = session_event(self.trade_no)
        forged = f"t={NOW},v1={hmac256(f'{NOW}.'.encode() + body, '')}"
        for header in (None, "", forged):
            answer = self.gateway.stripe_event(body, header)
            self.assertEqual((answer.status, answer.body), (503, b"not configured"))
        self.untouched()

    def test_orders_outlive_the_key(self) -> None:
        """Whoever stops selling still credits what was paid."""
        self.gateway.set_option("StripeApiSecret", "")
        self.gateway.stripe_event(session_event(self.trade_no))
        self.credited()

    def test_database_away(self) -> None:
        """Stripe is to ask again; then it is credited."""
        self.gateway.faults.before = DatabaseAway("away", retry_after=1)
        answer = self.gateway.stripe_event(session_event(self.trade_no))
        self.assertEqual(answer.status, 503)
        self.gateway.faults.before = None
        self.gateway.stripe_event(session_event(self.trade_no))
        self.credited()

    def test_answer_was_lost(self) -> None:
        """The order is paid though we were told that the database is away: the second
        event finds it paid, and the caches are told."""
        self.gateway.faults.after = DatabaseAway("away", retry_after=1)
        answer = self.gateway.stripe_event(session_event(self.trade_no))
        self.assertEqual((answer.status, self.quota()), (503, CREDIT))
        self.assertEqual(self.gateway.balances, [])
        self.gateway.faults.after = None
        answer = self.gateway.stripe_event(session_event(self.trade_no))
        self.assertEqual((answer.status, self.quota()), (200, CREDIT))
        self.assertEqual(self.gateway.balances, [2])


class Creem(Case):
    """`/api/creem/webhook`."""

    def buy(self) -> str:
        """An order; its number."""
        body = {"product_id": "prod_1", "payment_method": "creem"}
        self.ann.post("/api/user/creem/pay", body)
        return str(self.gateway.order()["trade_no"])

    def test_paid(self) -> None:
        """The product's quota, raw; the empty address is filled."""
        for _ in range(2):
            answer = self.gateway.creem_event(checkout_event(self.trade_no))
            self.assertEqual(answer.status, 200)
        self.credited()
        self.assertEqual(self.gateway.row(2)["email"], "ann@example.com")

    def test_not_genuine(self) -> None:
        """400, and no alarm."""
        body = checkout_event(self.trade_no)
        for header in ("", "0" * 64, hmac256(body, ""), hmac256(b"{}", "x")):
            self.assertEqual(self.gateway.creem_event(body, header).status, 400)
        self.untouched()

    def test_not_what_was_ordered(self) -> None:
        """Another amount, currency or product, a discount: an alarm."""
        for changes in (
            {"amount": 998},
            {"amount": 99_900},
            {"currency": "EUR"},
            {"product": "prod_2"},
            {"discount_amount": 100},
        ):
            self.gateway.notes.clear()
            body = checkout_event(self.trade_no, **changes)
            self.assertEqual(self.gateway.creem_event(body).body, b"refused")
            self.untouched(alarms=1)

    def test_not_paid(self) -> None:
        """Pending and repeated payments are not ours."""
        for changes in ({"status": "pending"}, {"type": "recurring"}):
            body = checkout_event(self.trade_no, **changes)
            self.assertEqual(self.gateway.creem_event(body).body, b"ignored")
        self.untouched()

    def test_unreadable(self) -> None:
        """Signed nonsense is 400."""
        for body in (b"", b"[]", checkout_event(self.trade_no, amount="999")):
            self.assertEqual(self.gateway.creem_event(body).status, 400)

    def test_not_configured(self) -> None:
        """The test mode needs a secret too."""
        self.gateway.set_option("CreemWebhookSecret", "")
        self.gateway.set_option("CreemTestMode", "true")
        body = checkout_event(self.trade_no)
        for header in (None, "", hmac256(body, "")):
            answer = self.gateway.creem_event(body, header)
            self.assertEqual(answer.status, 503)
        self.untouched()

    def test_unknown_order(self) -> None:
        """200: asked again it would be unknown again."""
        answer = self.gateway.creem_event(checkout_event("ref_other"))
        self.assertEqual((answer.status, answer.body), (200, b"unknown order"))
        self.untouched()


class Waffo(Case):
    """Gateways that are not spoken."""

    def test_events(self) -> None:
        """503, whatever is sent."""
        for path in ("/api/waffo/webhook", "/api/waffo-pancake/webhook/test"):
            answer = self.gateway.ask("POST", path, {"id": "x"})
            self.assertEqual((answer.status, answer.body), (503, b"not configured"))


class Secrets(Case):
    """What never leaves."""

    def test_no_secret_is_told(self) -> None:
        """Neither in answers nor in rows."""
        bodies = [
            self.gateway.notice(notice(self.trade_no, key="x")).body,
            self.gateway.stripe_event(b"{}", "t=1,v1=x").body,
            self.gateway.creem_event(b"{}", "x").body,
        ]
        self.gateway.notice(notice(self.trade_no))
        told = repr((bodies, self.gateway.notes))
        for secret in (KEY, STRIPE_SECRET, "creem-example"):
            self.assertNotIn(secret, told)
