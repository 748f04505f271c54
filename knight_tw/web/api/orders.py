"""What follows when an order is made, paid or refused: rows, caches, alarms.

A payment that is genuine but not what its order asks for credits nothing and leaves the
order as it is; it is an alarm in the process's log and in the record of administrative
writes, since somebody's money has arrived and a person has to look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.server import Request

from knight_tw.options import Options
from knight_tw.payments.orders import NewOrder, Order, Payment
from knight_tw.payments.stripe import Closing
from knight_tw.storage import top_up_queries
from knight_tw.storage.database import Database, to_the_end
from knight_tw.storage.top_up_queries import End, Outcome
from knight_tw.web.api.audit import MANAGE, TOP_UP, Audit
from knight_tw.web.auth import Viewer

log = Logger()

Changed = Callable[[str, str], Awaitable[None]]
BalancesChanged = Callable[[int], None]

PAID, ALARM = "topup.paid", "payment.alarm"
"""Actions of the log's rows."""


@frozen(eq=False)
class Orders:
    """Makes orders and settles them."""

    _db: Database
    _audit: Audit
    _options: Callable[[], Options]
    _changed: Changed
    _balances_changed: BalancesChanged
    _now: Callable[[], float]

    async def place(self, order: NewOrder) -> None:
        """Store an order that can be paid from now on."""
        await self._db.run(top_up_queries.place, order, int(self._now()))
        log.info(
            "order {trade_no} of user {user_id} by {provider}",
            trade_no=order.trade_no,
            user_id=order.user_id,
            provider=order.provider,
        )

    async def paid(self, request: Request, payment: Payment) -> Outcome:
        """Credit what a genuine payment is for; whatever came of it.

        An order that was credited before is one whose answer was lost: the caches are
        told again, no row is written. All of it happens even when the gateway hangs up
        meanwhile.
        """
        return await to_the_end(Deferred.fromCoroutine(self._paid(request, payment)))

    async def _paid(self, request: Request, payment: Payment) -> Outcome:
        outcome = await self._db.run(
            top_up_queries.pay, payment, self._unit(), int(self._now())
        )
        if outcome.end is End.UNKNOWN:
            log.warn(
                "payment by {provider} for an unknown order {trade_no}",
                provider=payment.provider,
                trade_no=payment.trade_no,
            )
        elif outcome.end in (End.CLOSED, End.REFUSED):
            self.alarm(request, payment, outcome.why, outcome.order)
        await self._credited(request, outcome)
        return outcome

    async def complete(
        self, request: Request, viewer: Viewer, trade_no: str
    ) -> Outcome:
        """Credit an order because an administrator says that it was paid."""
        work = self._complete(request, viewer, trade_no)
        return await to_the_end(Deferred.fromCoroutine(work))

    async def _complete(
        self, request: Request, viewer: Viewer, trade_no: str
    ) -> Outcome:
        outcome = await self._db.run(
            top_up_queries.complete, trade_no, self._unit(), int(self._now())
        )
        await self._credited(request, outcome)
        if outcome.end is End.CREDITED and outcome.order is not None:
            told = {"trade_no": trade_no, "quota": outcome.quota}
            target = outcome.order.user_id
            self._audit.write(request, viewer, "topup.complete", told, target=target)
        return outcome

    async def close(self, closing: Closing, provider: str) -> None:
        """An order will not be paid."""
        closed = await self._db.run(
            top_up_queries.close,
            provider,
            closing.trade_no,
            closing.status,
            closing.reference,
        )
        if closed:
            log.info(
                "order {trade_no} is {status}",
                trade_no=closing.trade_no,
                status=closing.status,
            )

    def alarm(
        self, request: Request, payment: Payment, why: str, order: Order | None = None
    ) -> None:
        """Somebody paid, and it was not credited."""
        told: dict[str, Any] = {
            "provider": payment.provider,
            "trade_no": payment.trade_no,
            "reason": why,
        }
        if order is not None:
            told["target_user_id"] = order.user_id
        log.error("payment not credited: {why}", why=why, **told)
        content = f"payment for order {payment.trade_no} not credited: {why}"
        other = {"op": {"action": ALARM, "params": told}}
        self._audit.note(request, MANAGE, 0, "", content, other)

    def _unit(self) -> Decimal:
        return self._options().decimal("QuotaPerUnit")

    async def _credited(self, request: Request, outcome: Outcome) -> None:
        order = outcome.order
        if order is None or outcome.end not in (End.CREDITED, End.BEFORE):
            return
        self._balances_changed(order.user_id)
        if outcome.end is End.CREDITED:
            self._row(request, order, outcome)
        await self._changed("user", str(order.user_id))

    def _row(self, request: Request, order: Order, outcome: Outcome) -> None:
        """The row of the log that shows the top-up to its owner."""
        way = f"{order.provider} ({order.method})" if order.method else order.provider
        money = f"{order.money:.2f}"
        content = f"top-up of {outcome.quota} quota for {money} by {way}"
        told = {
            "trade_no": order.trade_no,
            "payment_provider": order.provider,
            "payment_method": order.method,
            "money": money,
        }
        other = {"op": {"action": PAID, "params": told}}
        log.info(
            "order {trade_no} credited {quota} to user {user_id}",
            trade_no=order.trade_no,
            quota=outcome.quota,
            user_id=order.user_id,
        )
        self._audit.note(
            request,
            TOP_UP,
            order.user_id,
            outcome.username,
            content,
            other,
            outcome.quota,
        )
