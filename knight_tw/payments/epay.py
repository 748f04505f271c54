"""EPay: a signed form that a browser posts, a signed notice that the gateway sends.

Both are flat sets of texts under one signature: empty values, `sign` and `sign_type`
dropped, the rest sorted by name in byte order, joined as `name=value` with `&` and no
escaping, the merchant's key behind it, MD5, lower-case hex. The form that we sign for a
browser is thus signed by the same key as a notice; what tells them apart are members
that only a notice has, and the strict forms of those that count.
Source: billing specification, section 11.1.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from urllib.parse import parse_qsl

from attrs import field, frozen

from knight_tw.options import Options
from knight_tw.payments.orders import EPAY, NotConfigured, Payment, plausible

PAID = "TRADE_SUCCESS"
"""`trade_status` of a payment that has come."""

SIGN_TYPE = "MD5"
NOTIFY_PATH = "/api/user/epay/notify"
RETURN_PATH = "/console/log"

MOST_FIELDS, LONGEST_FORM = 40, 16_384
"""Of a notice; real ones have nine members and a few hundred bytes."""

_UNSIGNED = frozenset({"sign", "sign_type"})
_NEEDED = ("pid", "trade_no", "out_trade_no", "money", "trade_status", "sign")
_MONEY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?\Z", re.ASCII)


class NoticeRefused(Exception):
    """A notice that is not genuine, or tells of no payment; the text is for the log."""


@frozen
class Merchant:
    """The account at an EPay gateway.

    Attributes:
        gateway: Its address, to which `/submit.php` is added.
    """

    pid: str
    key: str = field(repr=False)
    gateway: str

    @classmethod
    def of(cls, options: Options) -> Merchant:
        """The account that the options name.

        Raises:
            NotConfigured: the id, the key or the address is missing.
        """
        pid = options.text("EpayId").strip()
        key = options.text("EpayKey").strip()
        gateway = options.text("PayAddress").strip().rstrip("/")
        if not (pid and key and gateway):
            raise NotConfigured("the administrator has not configured payments")
        return cls(pid, key, gateway)


def form(
    merchant: Merchant,
    *,
    method: str,
    trade_no: str,
    name: str,
    money: Decimal,
    callback: str,
    site: str,
) -> dict[str, str]:
    """The signed members that a browser posts to `{gateway}/submit.php`.

    Args:
        money: Two decimals.
        callback: The address below which this gateway can be reached by the other.
        site: The address of the console.
    """
    fields = {
        "pid": merchant.pid,
        "type": method,
        "out_trade_no": trade_no,
        "notify_url": callback.rstrip("/") + NOTIFY_PATH,
        "return_url": site.rstrip("/") + RETURN_PATH,
        "name": name,
        "money": f"{money:.2f}",
        "device": "pc",
    }
    sign = signature(fields, merchant.key)
    return {**fields, "sign_type": SIGN_TYPE, "sign": sign}


def signature(fields: Mapping[str, str], key: str) -> str:
    """The signature of the members that are signed."""
    signed = sorted(
        (name.encode(), value.encode())
        for name, value in fields.items()
        if value and name not in _UNSIGNED
    )
    text = b"&".join(name + b"=" + value for name, value in signed)
    return hashlib.md5(text + key.encode(), usedforsecurity=False).hexdigest()


def members(raw: bytes) -> dict[str, str]:
    """The members of a query or of a posted form.

    Raises:
        NoticeRefused: too long, not UTF-8, or a member stands there twice.
    """
    if len(raw) > LONGEST_FORM:
        raise NoticeRefused("the form is too long")
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise NoticeRefused("the form cannot be read") from None
    return _unique(pairs)


def payment(fields: Mapping[str, str], merchant: Merchant) -> Payment:
    """What a notice says was paid.

    Raises:
        NoticeRefused: the signature is wrong, something is missing or malformed, or
            nothing was paid.
    """
    missing = [name for name in _NEEDED if not fields.get(name)]
    if missing:
        raise NoticeRefused(f"{', '.join(missing)} missing")
    if fields.get("sign_type", "").upper() not in ("", SIGN_TYPE):
        raise NoticeRefused("sign_type is not MD5")
    expected = signature(fields, merchant.key)
    if not hmac.compare_digest(expected.encode(), fields["sign"].encode()):
        raise NoticeRefused("the signature is wrong")
    if fields["trade_status"] != PAID:
        raise NoticeRefused("trade_status is not TRADE_SUCCESS")
    if not plausible(fields["out_trade_no"]):
        raise NoticeRefused("out_trade_no is malformed")
    return Payment(
        provider=EPAY,
        trade_no=fields["out_trade_no"],
        price=_cents(fields["money"]),
        merchant=fields["pid"],
    )


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise NoticeRefused("a member stands there twice")
        found[name] = value
    return found


def _cents(text: str) -> int:
    if not _MONEY.match(text):
        raise NoticeRefused("money is malformed")
    value = Decimal(text) * 100
    if value != value.to_integral_value():
        raise NoticeRefused("money has more than two decimals")
    return int(value)
