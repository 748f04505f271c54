"""Orders of top-ups: made, paid exactly once, closed, listed.

Whoever settles an order locks its row first (`FOR UPDATE`; SQLite has one writer), then
the account's, here as everywhere else, and does everything in one transaction: two
notices of one payment wait for each other, and the second finds the order paid.
"""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from knight_tw.payments import orders
from knight_tw.payments.orders import (
    BALANCE,
    CREEM,
    MOST_QUOTA,
    PENDING,
    STRIPE,
    SUCCESS,
    NewOrder,
    Order,
    Payment,
    Terms,
)
from knight_tw.storage import totals
from knight_tw.storage.matching import Condition, contains
from knight_tw.storage.schema import knight_orders, top_ups, users

Row = dict[str, Any]

MOST_COUNTED = 100_000
"""Where counting the orders of a list ends."""

_LONGEST_CUSTOMER = 64


class End(enum.Enum):
    """How a notice of a payment ended."""

    CREDITED = "credited"
    BEFORE = "credited before"
    UNKNOWN = "unknown order"
    CLOSED = "closed order"
    REFUSED = "refused"


@frozen
class Outcome:
    """What became of an order.

    Attributes:
        why: For people, when it was not credited.
        order: None when it is unknown.
        username: The account's name, when it was credited.
        quota: What was credited.
    """

    end: End
    why: str = ""
    order: Order | None = None
    username: str = ""
    quota: int = 0


def place(connection: sa.Connection, new: NewOrder, now: int) -> None:
    """Stores a new order, to be paid."""
    connection.execute(
        sa.insert(top_ups).values(
            user_id=new.user_id,
            amount=new.amount,
            money=new.money,
            trade_no=new.trade_no,
            payment_method=new.method,
            payment_provider=new.provider,
            create_time=now,
            complete_time=0,
            status=PENDING,
        )
    )
    terms = new.terms
    connection.execute(
        sa.insert(knight_orders).values(
            trade_no=new.trade_no,
            quota=terms.quota,
            price=terms.price,
            currency=terms.currency,
            merchant=terms.merchant,
            reference=terms.reference,
            promotions=terms.promotions,
        )
    )


def pay(
    connection: sa.Connection, payment: Payment, unit: Decimal, now: int
) -> Outcome:
    """Credits the order that a genuine payment is for, once, if it is what was asked.

    Nothing changes otherwise.

    Args:
        unit: `QuotaPerUnit`, for orders without terms.
    """
    order = _locked(connection, payment.trade_no)
    if order is None:
        return Outcome(End.UNKNOWN, "there is no such order")
    if order.provider != payment.provider:
        why = f"an order of {order.provider}, not of {payment.provider}"
        return Outcome(End.REFUSED, why, order)
    if order.status == SUCCESS:
        return Outcome(End.BEFORE, order=order)
    if order.status != PENDING:
        return Outcome(End.CLOSED, f"the order is {order.status}", order)
    if why := orders.difference(order, payment):
        return Outcome(End.REFUSED, why, order)
    outcome = _credit(connection, order, unit, now)
    if outcome.end is End.CREDITED:
        _remember(connection, order, payment)
    return outcome


def owner(connection: sa.Connection, trade_no: str) -> int | None:
    """The account of an order."""
    asked = sa.select(top_ups.c.user_id, top_ups.c.trade_no)
    row = connection.execute(asked.where(top_ups.c.trade_no == trade_no)).first()
    return row.user_id if row is not None and row.trade_no == trade_no else None


def complete(
    connection: sa.Connection, trade_no: str, unit: Decimal, now: int
) -> Outcome:
    """Credits an order by its provider's rule because an administrator says so."""
    order = _locked(connection, trade_no)
    if order is None:
        return Outcome(End.UNKNOWN, "there is no such order")
    if order.status == SUCCESS:
        return Outcome(End.BEFORE, order=order)
    if order.status != PENDING:
        return Outcome(End.CLOSED, f"the order is {order.status}", order)
    if order.provider == BALANCE:
        return Outcome(End.REFUSED, "the order is paid from the balance", order)
    return _credit(connection, order, unit, now)


def close(
    connection: sa.Connection, provider: str, trade_no: str, status: str, reference: str
) -> bool:
    """True when an open order of the provider became failed or expired.

    Args:
        reference: The provider's own number of the checkout, which must be the order's.
    """
    order = _locked(connection, trade_no)
    if order is None or (order.provider, order.status) != (provider, PENDING):
        return False
    if order.terms and order.terms.reference not in ("", reference):
        return False
    return _moved(connection, order, status, 0)


def page(
    connection: sa.Connection,
    user_id: int | None,
    keyword: str,
    offset: int,
    limit: int,
) -> tuple[list[Row], int]:
    """Orders, newest first, and how many there are.

    Args:
        user_id: None for those of everybody.
        keyword: Part of the order number.
    """
    where: list[Condition] = []
    if user_id is not None:
        where.append(top_ups.c.user_id == user_id)
    if keyword:
        where.append(contains(top_ups.c.trade_no, keyword))
    asked = sa.select(top_ups).where(*where).order_by(top_ups.c.id.desc())
    found = connection.execute(asked.offset(offset).limit(limit))
    rows = [_filled(row) for row in found]
    count = totals.total(
        connection,
        top_ups.c.id,
        where,
        MOST_COUNTED,
        page=(offset, limit, len(rows)),
    )
    return rows, count


def _filled(row: sa.Row[Any]) -> Row:
    """The row as it is shown: NULLs of old rows replaced, the provider inferred."""
    method = row.payment_method or ""
    return {
        "id": row.id,
        "user_id": row.user_id or 0,
        "amount": row.amount or 0,
        "money": row.money or Decimal(0),
        "trade_no": row.trade_no or "",
        "payment_method": method,
        "payment_provider": orders.provider_of(row.payment_provider, method),
        "create_time": row.create_time or 0,
        "complete_time": row.complete_time or 0,
        "status": row.status or "",
    }


def _locked(connection: sa.Connection, trade_no: str) -> Order | None:
    """The order of exactly that number, its row locked."""
    asked = sa.select(top_ups).where(top_ups.c.trade_no == trade_no)
    row = connection.execute(asked.with_for_update()).first()
    # MySQL's collation takes other letters for the same.
    if row is None or row.trade_no != trade_no:
        return None
    values = _filled(row)
    return Order(
        id=values["id"],
        user_id=values["user_id"],
        trade_no=trade_no,
        amount=values["amount"],
        money=values["money"],
        method=values["payment_method"],
        provider=values["payment_provider"],
        status=values["status"],
        terms=_terms(connection, trade_no),
    )


def _terms(connection: sa.Connection, trade_no: str) -> Terms | None:
    asked = sa.select(knight_orders).where(knight_orders.c.trade_no == trade_no)
    row = connection.execute(asked).first()
    if row is None:
        return None
    return Terms(
        quota=row.quota,
        price=row.price,
        currency=row.currency or "",
        merchant=row.merchant or "",
        reference=row.reference or "",
        promotions=bool(row.promotions),
    )


def _credit(
    connection: sa.Connection, order: Order, unit: Decimal, now: int
) -> Outcome:
    quota = orders.credit(order, unit)
    if not 0 < quota <= MOST_QUOTA:
        return Outcome(End.REFUSED, f"a credit of {quota} cannot be meant", order)
    account = sa.select(users.c.username).where(users.c.id == order.user_id)
    row = connection.execute(account.with_for_update()).first()
    if row is None:
        return Outcome(End.REFUSED, "the account is gone", order)
    if not _moved(connection, order, SUCCESS, now):
        return Outcome(End.BEFORE, order=order)
    raised = sa.func.coalesce(users.c.quota, 0) + quota
    connection.execute(
        sa.update(users).where(users.c.id == order.user_id).values(quota=raised)
    )
    return Outcome(End.CREDITED, "", order, row.username or "", quota)


def _moved(connection: sa.Connection, order: Order, status: str, now: int) -> bool:
    """True when the order left the state pending by this statement."""
    here = (top_ups.c.id == order.id, top_ups.c.status == PENDING)
    changed = sa.update(top_ups).where(*here)
    moved = connection.execute(changed.values(status=status, complete_time=now))
    return moved.rowcount == 1


def _remember(connection: sa.Connection, order: Order, payment: Payment) -> None:
    """Keeps what the gateway told of the customer."""
    here = users.c.id == order.user_id
    if payment.provider == STRIPE and payment.customer:
        customer = payment.customer[:_LONGEST_CUSTOMER]
        connection.execute(
            sa.update(users).where(here).values(stripe_customer=customer)
        )
    if payment.provider == CREEM and payment.email:
        _fill_email(connection, order.user_id, payment.email)


def _fill_email(connection: sa.Connection, user_id: int, email: str) -> None:
    """An account without an address gets the payer's, unless it is somebody else's:
    an address that two accounts share logs nobody in."""
    same = sa.func.lower(users.c.email) == email
    if "@" not in email or len(email) > 191 or not email.isprintable():
        return
    if connection.execute(sa.select(users.c.id).where(same).limit(1)).first():
        return
    blank = sa.or_(users.c.email.is_(None), users.c.email == "")
    filled = sa.update(users).where(users.c.id == user_id, blank)
    connection.execute(filled.values(email=email))
