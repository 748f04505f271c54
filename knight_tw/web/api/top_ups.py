"""Orders as people see them: what can be bought, the own bills, everybody's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts import access
from knight_tw.options import Options
from knight_tw.payments import amounts, creem, epay, stripe
from knight_tw.payments.orders import STRIPE, NotConfigured
from knight_tw.storage import top_up_queries, user_queries
from knight_tw.storage.database import Database
from knight_tw.storage.top_up_queries import End
from knight_tw.web.api.answers import (
    Refusal,
    install,
    json_body,
    missing,
    not_found,
    ok,
    page,
    paging,
    query,
    text,
)
from knight_tw.web.api.orders import Orders
from knight_tw.web.auth import Guard, Viewer, Who, allow

TERMS_VERSION = "v1"
"""The version of the declaration that the newest originals ask administrators for."""

_LONGEST_KEYWORD = 255
_STRIPE_METHOD = {"name": "Stripe", "type": STRIPE, "color": "#635bff"}


@frozen(eq=False)
class TopUpsApi:
    """The routes that show orders, and the one that completes one by hand."""

    _db: Database
    _guard: Guard
    _options: Callable[[], Options]
    _orders: Orders

    app = Klein()
    install(app)

    @app.route("/api/user/topup/info", methods=["GET"])
    @allow(Who.USER)
    async def show(self, request: Request, viewer: Viewer) -> bytes:
        """How quota can be bought."""
        return ok(info(self._options()))

    @app.route("/api/user/topup/self", methods=["GET"])
    @allow(Who.USER)
    async def own(self, request: Request, viewer: Viewer) -> bytes:
        """The own orders, newest first."""
        return await self._page(request, viewer.id)

    @app.route("/api/user/topup", methods=["GET"])
    @allow(Who.ADMIN)
    async def everybodys(self, request: Request, viewer: Viewer) -> bytes:
        """All orders, newest first."""
        return await self._page(request, None)

    async def _page(self, request: Request, user_id: int | None) -> bytes:
        asked = paging(request)
        rows, total = await self._db.read(
            top_up_queries.page,
            user_id,
            query(request, "keyword")[:_LONGEST_KEYWORD],
            asked.offset,
            asked.size,
        )
        return page([_view(row) for row in rows], total, asked)

    @app.route("/api/user/topup/complete", methods=["POST"])
    @allow(Who.ADMIN)
    async def complete(self, request: Request, viewer: Viewer) -> bytes:
        """Credit an order whose payment arrived in a way that we did not see."""
        trade_no = text(json_body(request), "trade_no", "", longest=255).strip()
        if not trade_no:
            raise missing("trade_no")
        await self._check_owner(viewer, trade_no)
        outcome = await self._orders.complete(request, viewer, trade_no)
        if outcome.end is End.UNKNOWN:
            raise not_found("order")
        if outcome.end in (End.CLOSED, End.REFUSED):
            raise Refusal(outcome.why, code="order_not_pending")
        return ok(None)

    async def _check_owner(self, viewer: Viewer, trade_no: str) -> None:
        """Nobody gives quota to himself by an order that nobody paid.

        Raises:
            Refusal: there is no such order, or it belongs to an account that the
                viewer may not change.
        """
        user_id = await self._db.read(top_up_queries.owner, trade_no)
        if user_id is None:
            raise not_found("order")
        row = await self._db.read(user_queries.account, user_id)
        if row is not None and not access.may_act_on(viewer.role, row["role"]):
            raise Refusal(
                "you may not complete orders of your own or a higher role",
                code="forbidden_target",
            )


def info(options: Options) -> dict[str, Any]:
    """What the wallet page needs to know."""
    by_stripe = _ready(options, stripe.Account.of)
    return {
        "enable_online_topup": _ready(options, epay.Merchant.of),
        "enable_stripe_topup": by_stripe,
        "enable_creem_topup": _ready(options, creem.Account.of),
        "enable_waffo_topup": False,
        "enable_waffo_pancake_topup": False,
        "enable_redemption": True,
        "payment_compliance_confirmed": True,
        "payment_compliance_terms_version": TERMS_VERSION,
        "waffo_pay_methods": None,
        "creem_products": options.text("CreemProducts").strip() or "[]",
        "pay_methods": _methods(options, by_stripe),
        "min_topup": options.integer("MinTopUp"),
        "stripe_min_topup": options.integer("StripeMinTopUp"),
        "waffo_min_topup": options.integer("WaffoMinTopUp"),
        "waffo_pancake_min_topup": options.integer("WaffoPancakeMinTopUp"),
        "amount_options": options.json("payment_setting.amount_options") or [],
        "discount": amounts.discounts(options),
        "topup_link": options.text("TopUpLink"),
    }


def _ready(options: Options, account: Callable[[Options], Any]) -> bool:
    try:
        account(options)
    except NotConfigured:
        return False
    return True


def _methods(options: Options, by_stripe: bool) -> list[Any]:
    """The buttons of the wallet; Stripe's is added when nobody named one."""
    methods = list(options.json("PayMethods") or [])
    named = any(method.get("type") == STRIPE for method in methods)
    if by_stripe and not named:
        least = str(options.integer("StripeMinTopUp"))
        methods.append({**_STRIPE_METHOD, "min_topup": least})
    return methods


def _view(row: Mapping[str, Any]) -> dict[str, Any]:
    money: Decimal = row["money"]
    whole = money == money.to_integral_value()
    return {**row, "money": int(money) if whole else money.normalize()}
