"""EPay's signature, the form we sign, and notices: true, forged and odd ones."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import quote, urlencode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.options import Options
from knight_tw.payments import epay
from knight_tw.payments.epay import Merchant, NoticeRefused
from knight_tw.payments.orders import NotConfigured

MERCHANT = Merchant("7", "k1", "https://pay.example")
WORKED = {
    "money": "1.00",
    "name": "TUC1",
    "out_trade_no": "A",
    "pid": "7",
    "type": "alipay",
}
NOTICE = {
    "pid": "7",
    "trade_no": "T1",
    "out_trade_no": "USR2NOabcdef1795604332",
    "type": "alipay",
    "name": "TUC10",
    "money": "73.00",
    "trade_status": "TRADE_SUCCESS",
}


def signed(changes: dict[str, str] | None = None, key: str = "k1") -> dict[str, str]:
    """A notice, changed before it is signed."""
    fields = {**NOTICE, **(changes or {})}
    return {**fields, "sign_type": "MD5", "sign": epay.signature(fields, key)}


class Signatures(SynchronousTestCase):
    """`signature`."""

    def test_worked_example(self) -> None:
        """The specification's."""
        self.assertEqual(
            epay.signature(WORKED, "k1"), "0e1c7f5710bdfef1dbc5c967a90ed025"
        )

    def test_unsigned_members(self) -> None:
        """Empty values, the signature and its type do not count."""
        more = {**WORKED, "param": "", "sign": "x", "sign_type": "MD5"}
        self.assertEqual(epay.signature(more, "k1"), epay.signature(WORKED, "k1"))

    def test_order_is_that_of_bytes(self) -> None:
        """Upper case before lower case, whatever the order of the members."""
        self.assertEqual(
            epay.signature({"b": "2", "B": "1"}, "k"),
            epay.signature({"B": "1", "b": "2"}, "k"),
        )

    @given(
        st.dictionaries(st.sampled_from("abcdef"), st.text(max_size=5), max_size=6),
        st.sampled_from("abcdef"),
        st.text(min_size=1, max_size=5),
    )
    @settings(max_examples=50, deadline=None)
    def test_each_value_counts(
        self, fields: dict[str, str], name: str, value: str
    ) -> None:
        """A member that gets another value gets another signature."""
        changed = {**fields, name: value + fields.get(name, "")}
        self.assertNotEqual(epay.signature(fields, "k"), epay.signature(changed, "k"))


class Forms(SynchronousTestCase):
    """`form` and `Merchant.of`."""

    def test_members(self) -> None:
        """Those that the gateway asks for, signed with the merchant's key."""
        fields = epay.form(
            MERCHANT,
            method="wxpay",
            trade_no="USR1NOabcdef1",
            name="TUC10",
            money=Decimal("73"),
            callback="https://back.example/",
            site="https://gate.example",
        )
        sign = fields.pop("sign")
        self.assertEqual(
            fields,
            {
                "pid": "7",
                "type": "wxpay",
                "out_trade_no": "USR1NOabcdef1",
                "notify_url": "https://back.example/api/user/epay/notify",
                "return_url": "https://gate.example/console/log",
                "name": "TUC10",
                "money": "73.00",
                "device": "pc",
                "sign_type": "MD5",
            },
        )
        self.assertEqual(sign, epay.signature(fields, "k1"))

    def test_configured(self) -> None:
        """Id, key and address make a merchant; without one of them there is none."""
        rows = {"EpayId": "7", "EpayKey": " k1 ", "PayAddress": "https://pay.example/"}
        self.assertEqual(Merchant.of(Options.from_rows(rows)), MERCHANT)
        for key in rows:
            less = Options.from_rows({**rows, key: " "})
            self.assertRaises(NotConfigured, Merchant.of, less)

    def test_key_is_not_shown(self) -> None:
        """Neither in a traceback nor in a log."""
        self.assertNotIn("k1", repr(MERCHANT))


class Notices(SynchronousTestCase):
    """`members` and `payment`."""

    def believed(self, fields: dict[str, str]) -> bool:
        """Whether a notice counts."""
        try:
            epay.payment(fields, MERCHANT)
        except NoticeRefused:
            return False
        return True

    def test_paid(self) -> None:
        """A true notice is a payment in cents."""
        paid = epay.payment(signed(), MERCHANT)
        self.assertEqual(
            (paid.trade_no, paid.price, paid.merchant, paid.currency),
            ("USR2NOabcdef1795604332", 7300, "7", ""),
        )

    def test_money_forms(self) -> None:
        """Gateways write the same money in several ways."""
        for money, cents in (("73", 7300), ("73.0", 7300), ("73.010", 7301)):
            paid = epay.payment(signed({"money": money}), MERCHANT)
            self.assertEqual(paid.price, cents)

    def test_forged(self) -> None:
        """Each way in which a notice is not genuine, or not a payment."""
        true = signed()
        without = {key: {k: v for k, v in true.items() if k != key} for key in true}
        cases = {
            "wrong signature": {**true, "sign": "0" * 32},
            "upper case": {**true, "sign": true["sign"].upper()},
            "cut": {**true, "sign": true["sign"][:-1]},
            "not ASCII": {**true, "sign": "é" * 32},
            "another key": signed(key="k2"),
            "empty key": signed(key=""),
            "other money": {**true, "money": "7300.00"},
            "other order": {**true, "out_trade_no": "USR3NOabcdef1795604332"},
            "more members": {**true, "param": "x"},
            "sign_type": {**true, "sign_type": "RSA"},
            "closed": signed({"trade_status": "TRADE_CLOSED"}),
            "no order number": signed({"out_trade_no": "a&b"}),
            "long order number": signed({"out_trade_no": "a" * 192}),
            "blank money": signed({"money": " "}),
            "three decimals": signed({"money": "73.001"}),
            "exponent": signed({"money": "73e2"}),
            "sign": signed({"money": "-73.00"}),
            "infinite": signed({"money": "Infinity"}),
            "other digits": signed({"money": "٧٣"}),
        }
        cases |= {f"no {key}": without[key] for key in ("sign", "pid", "trade_no")}
        cases["no status"] = without["trade_status"]
        believed = [what for what, fields in cases.items() if self.believed(fields)]
        self.assertEqual(believed, [])

    def test_sign_type(self) -> None:
        """Its letters' case does not matter, nor does its absence; it is not signed."""
        true = signed()
        del true["sign_type"]
        for given_type in ({}, {"sign_type": "md5"}, {"sign_type": ""}):
            self.assertEqual(epay.payment({**true, **given_type}, MERCHANT).price, 7300)

    def test_our_own_form_is_no_notice(self) -> None:
        """What we signed for a browser proves no payment; the key is the same."""
        fields = epay.form(
            MERCHANT,
            method="alipay",
            trade_no="USR2NOabcdef1795604332",
            name="TUC10",
            money=Decimal("73"),
            callback="https://gate.example",
            site="https://gate.example",
        )
        self.assertRaises(NoticeRefused, epay.payment, fields, MERCHANT)
        more = {**fields, "trade_status": "TRADE_SUCCESS", "trade_no": "T1"}
        self.assertRaises(NoticeRefused, epay.payment, more, MERCHANT)

    def test_members(self) -> None:
        """Escapes and blanks are read as forms write them."""
        raw = urlencode({"name": "TUC 10 充值", "param": "a+b&c"}).encode()
        self.assertEqual(epay.members(raw), {"name": "TUC 10 充值", "param": "a+b&c"})

    def test_unreadable(self) -> None:
        """Twice the same member, another charset, too much."""
        for raw in (
            b"money=73.00&money=1.00",
            b"sign=a&sign=a",
            b"name=%ff%fe",
            "name=ä".encode(),
            b"a=" + b"x" * epay.LONGEST_FORM,
            b"&".join(b"m%d=1" % number for number in range(epay.MOST_FIELDS + 1)),
        ):
            self.assertRaises(NoticeRefused, epay.members, raw)

    def test_round_trip(self) -> None:
        """A signed notice survives the address of a GET."""
        raw = "&".join(f"{name}={quote(value)}" for name, value in signed().items())
        self.assertEqual(epay.payment(epay.members(raw.encode()), MERCHANT).price, 7300)
