"""Buying quota: what an amount costs, and orders at EPay, Stripe and Creem.

The answers of these routes have a form of their own: `{message: "success", data}` and
`{message: "error", data: <text>}`, to which a refusal adds its code.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from attrs import evolve, frozen
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.server import Request

from knight_tw import checkouts
from knight_tw.accounts.limits import Limits, Mark
from knight_tw.errors import KnightError
from knight_tw.options import Options
from knight_tw.payments import amounts, creem, epay, redirects, stripe
from knight_tw.payments.amounts import Amount
from knight_tw.payments.orders import (
    CREEM,
    EPAY,
    STRIPE,
    Buyer,
    NewOrder,
    NotConfigured,
    PaymentRefused,
    Terms,
    cents,
)
from knight_tw.storage import user_queries
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    ALWAYS_REAL,
    Refusal,
    client_ip,
    encode,
    from_error,
    install,
    integer,
    json_body,
    not_found,
    refuse,
    text,
)
from knight_tw.web.api.orders import Orders
from knight_tw.web.auth import Guard, Viewer, Who, allow

WALLET_PATH, LOG_PATH = "/console/topup", "/console/log"

_LETTERS = string.ascii_letters + string.digits
_OWN_ROUTES = (STRIPE, CREEM, "waffo", "waffo_pancake")
"""Methods that may stand among `PayMethods` and are not EPay's."""

Work = Coroutine[Deferred[Any], Any, dict[str, Any]]


@frozen(eq=False)
class PaymentsApi:
    """The routes by which users buy quota.

    Attributes:
        domains: Where a payment page may return to besides the site.
    """

    _db: Database
    _guard: Guard
    _limits: Limits
    _options: Callable[[], Options]
    _orders: Orders
    _stripe: checkouts.Stripe
    _creem: checkouts.Creem
    _domains: Sequence[str]
    _random: random.Random
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/user/amount", methods=["POST"])
    @allow(Who.USER)
    async def epay_amount(self, request: Request, viewer: Viewer) -> bytes:
        """What an amount costs at EPay."""
        work = self._cost(request, viewer, "MinTopUp", "Price")
        return await _answered(request, work)

    @app.route("/api/user/stripe/amount", methods=["POST"])
    @allow(Who.USER)
    async def stripe_amount(self, request: Request, viewer: Viewer) -> bytes:
        """About what an amount costs at Stripe, whose own price counts."""
        work = self._cost(request, viewer, "StripeMinTopUp", "StripeUnitPrice")
        return await _answered(request, work)

    @app.route("/api/user/waffo/amount", methods=["POST"])
    @allow(Who.USER)
    async def waffo_amount(self, request: Request, viewer: Viewer) -> bytes:
        """What an amount would cost at Waffo."""
        work = self._cost(request, viewer, "WaffoMinTopUp", "WaffoUnitPrice")
        return await _answered(request, work)

    @app.route("/api/user/waffo-pancake/amount", methods=["POST"])
    @allow(Who.USER)
    async def pancake_amount(self, request: Request, viewer: Viewer) -> bytes:
        """What an amount would cost at Waffo Pancake."""
        work = self._cost(
            request, viewer, "WaffoPancakeMinTopUp", "WaffoPancakeUnitPrice"
        )
        return await _answered(request, work)

    @app.route("/api/user/pay", methods=["POST"])
    @allow(Who.USER)
    async def epay_order(self, request: Request, viewer: Viewer) -> bytes:
        """An order at EPay: the form that the browser posts there."""
        return await _answered(request, self._epay_order(request, viewer))

    @app.route("/api/user/stripe/pay", methods=["POST"])
    @allow(Who.USER)
    async def stripe_order(self, request: Request, viewer: Viewer) -> bytes:
        """An order at Stripe: the address of its checkout."""
        return await _answered(request, self._stripe_order(request, viewer))

    @app.route("/api/user/creem/pay", methods=["POST"])
    @allow(Who.USER)
    async def creem_order(self, request: Request, viewer: Viewer) -> bytes:
        """An order at Creem: the address of its checkout."""
        return await _answered(request, self._creem_order(request, viewer))

    @app.route("/api/user/waffo/pay", methods=["POST"])
    @allow(Who.USER)
    async def waffo_order(self, request: Request, viewer: Viewer) -> bytes:
        """Waffo takes no orders here."""
        return await _answered(request, self._no_order(request, "Waffo"))

    @app.route("/api/user/waffo-pancake/pay", methods=["POST"])
    @allow(Who.USER)
    async def pancake_order(self, request: Request, viewer: Viewer) -> bytes:
        """Waffo Pancake takes no orders here."""
        return await _answered(request, self._no_order(request, "Waffo Pancake"))

    async def _cost(
        self, request: Request, viewer: Viewer, least: str, price: str
    ) -> dict[str, Any]:
        options = self._options()
        asked = _amount(options, json_body(request), least)
        if price == "StripeUnitPrice":
            stripe.quantity(asked.dollars)
        cost = amounts.money(options, asked, options.decimal(price), viewer.group)
        return {"data": f"{cost:.2f}"}

    async def _epay_order(self, request: Request, viewer: Viewer) -> dict[str, Any]:
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        options, body = self._options(), json_body(request)
        merchant = epay.Merchant.of(options)
        asked = _amount(options, body, "MinTopUp")
        method = _method(options, text(body, "payment_method", ""), asked)
        price = options.decimal("Price")
        money = amounts.money(options, asked, price, viewer.group)
        site = _site(options)
        fields = epay.form(
            merchant,
            method=method,
            trade_no=f"USR{viewer.id}NO{self._letters(6)}{int(self._now())}",
            name=f"TUC{asked.entered}",
            money=money,
            callback=options.text("CustomCallbackAddress").strip() or site,
            site=site,
        )
        terms = Terms(asked.quota, cents(money), merchant=merchant.pid)
        await self._orders.place(
            NewOrder(
                user_id=viewer.id,
                trade_no=fields["out_trade_no"],
                amount=int(asked.dollars),
                money=money,
                method=method,
                provider=EPAY,
                terms=terms,
            )
        )
        return {"data": fields, "url": f"{merchant.gateway}/submit.php"}

    async def _stripe_order(self, request: Request, viewer: Viewer) -> dict[str, Any]:
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        options, body = self._options(), json_body(request)
        _check_own(body, STRIPE)
        account = stripe.Account.of(options)
        asked = _amount(options, body, "StripeMinTopUp")
        stripe.quantity(asked.dollars)
        site = _site(options)
        pages = (
            self._return(body, "success_url", site, LOG_PATH),
            self._return(body, "cancel_url", site, WALLET_PATH),
        )
        trade_no = stripe.trade_number(viewer.id, self._ms(), self._letters(4))
        buyer = await self._account(viewer)
        link, terms = await self._session(account, asked, trade_no, buyer, pages)
        await self._orders.place(
            NewOrder(
                user_id=viewer.id,
                trade_no=trade_no,
                amount=int(asked.dollars),
                money=asked.dollars,
                method=STRIPE,
                provider=STRIPE,
                terms=terms,
            )
        )
        return {"data": {"pay_link": link}}

    async def _session(
        self,
        account: stripe.Account,
        asked: Amount,
        trade_no: str,
        buyer: Buyer,
        pages: tuple[str, str],
    ) -> tuple[str, Terms]:
        """The address of a new checkout, and what a payment of it must be like."""
        count = stripe.quantity(asked.dollars)
        price = await self._stripe.price(account)
        terms = Terms(
            asked.quota,
            price.total(count),
            price.currency,
            promotions=account.promotions,
        )
        form = stripe.session_form(
            account,
            trade_no=trade_no,
            count=count,
            currency=price.currency,
            buyer=buyer,
            pages=pages,
        )
        session = await self._stripe.session(account, trade_no, form)
        return session.url, evolve(terms, reference=session.reference)

    async def _creem_order(self, request: Request, viewer: Viewer) -> dict[str, Any]:
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        options, body = self._options(), json_body(request)
        _check_own(body, CREEM)
        account = creem.Account.of(options)
        bought = creem.product(options, text(body, "product_id", ""))
        buyer = await self._account(viewer)
        trade_no = creem.trade_number(viewer.id, self._ms(), self._letters(4))
        checkout = await self._creem.checkout(
            account, creem.checkout(bought, trade_no, buyer)
        )
        price = cents(bought.price)
        terms = Terms(
            bought.quota, price, bought.currency, bought.id, checkout.reference
        )
        await self._orders.place(
            NewOrder(
                user_id=viewer.id,
                trade_no=trade_no,
                amount=bought.quota,
                money=bought.price,
                method=CREEM,
                provider=CREEM,
                terms=terms,
            )
        )
        return {"data": {"checkout_url": checkout.url, "order_id": trade_no}}

    async def _no_order(self, request: Request, who: str) -> dict[str, Any]:
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        raise NotConfigured(f"{who} is not configured")

    async def _account(self, viewer: Viewer) -> Buyer:
        """What a gateway is told of the buyer."""
        row = await self._db.read(user_queries.account, viewer.id)
        if row is None:
            raise not_found("user")
        return Buyer(
            viewer.id, viewer.username, row["email"] or "", row["stripe_customer"] or ""
        )

    def _return(self, body: dict[str, Any], name: str, site: str, path: str) -> str:
        """Where the payment page leads; the member of the body, else a page of ours."""
        asked = text(body, name, "").strip()
        if not asked:
            return site + path
        return redirects.checked(asked, name, site, self._domains)

    def _letters(self, count: int) -> str:
        return "".join(self._random.choices(_LETTERS, k=count))

    def _ms(self) -> int:
        return int(self._now() * 1000)


def _amount(options: Options, body: dict[str, Any], least: str) -> Amount:
    return amounts.amount(options, integer(body, "amount"), options.integer(least))


def _method(options: Options, asked: str, amount: Amount) -> str:
    """One of the ways to pay that the administrator offers at EPay.

    Raises:
        PaymentRefused: there is no such one, or it takes larger amounts only.
    """
    for method in options.json("PayMethods") or []:
        if method.get("type") != asked or not asked or asked in _OWN_ROUTES:
            continue
        least = str(method.get("min_topup") or "").strip()
        if least.isascii() and least.isdigit():
            amounts.amount(options, amount.entered, int(least))
        return asked
    raise PaymentRefused("there is no such payment method", param="payment_method")


def _check_own(body: dict[str, Any], method: str) -> None:
    """The routes of Stripe and Creem take their own method alone."""
    if text(body, "payment_method", "") != method:
        raise PaymentRefused("this is another payment method", param="payment_method")


def _site(options: Options) -> str:
    """The address of the console, where callbacks and browsers come to.

    Raises:
        NotConfigured: nobody has set it.
    """
    site = options.text("ServerAddress").strip().rstrip("/")
    if not site:
        raise NotConfigured("ServerAddress is not set")
    return site


async def _answered(request: Request, work: Work) -> bytes:
    """`{message: "success"}` with what `work` returns, or `{message: "error"}`.

    What is refused on every route alike (no login, too many requests, no JSON, no
    database) keeps the envelope.
    """
    try:
        return encode({"message": "success", **await work})
    except Refusal as raised:
        refusal = raised
    except KnightError as error:
        refusal = from_error(error)
    if refusal.code in ALWAYS_REAL:
        raise refusal
    refuse(request, refusal)
    return encode(
        {
            "message": "error",
            "data": refusal.message,
            "code": refusal.code,
            "params": refusal.params,
        }
    )
