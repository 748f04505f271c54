"""The table `auth_flows`: things begun in one request and ended in a later one.

A row is found by a digest: of the random token that the client brings back, or of the
address that a short code was sent to. Tokens and codes themselves are not stored. A row
serves once: whoever marks it as consumed first has it. Expiry is compared in Python,
since the times of this table may be text (`columns.Moment`).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from attrs import frozen

from knight_tw.storage.schema import auth_flows as flows
from knight_tw.storage.sql import json_object, upsert

MOST_WRONG_TRIES = 5
"""Wrong codes after which the right one is worthless too."""

_CHUNK = 1_000


@frozen
class Flow:
    """What was remembered when the flow began.

    Attributes:
        key: The digest by which the row is found.
        provider, intent, session_id: Empty when the flow has none.
        user_id: 0 when nobody is concerned yet.
        code: The digest of the short code; empty in a flow with a token.
        created_at, expires_at: Unix seconds.
    """

    key: str
    purpose: str
    provider: str
    intent: str
    user_id: int
    session_id: str
    payload: Mapping[str, Any]
    code: str
    created_at: int
    expires_at: int


def begin(connection: sa.Connection, flow: Flow) -> None:
    """Stores a flow, in place of one with the same key."""
    kept = {"payload": dict(flow.payload), "code": flow.code, "wrong": 0}
    row = {
        "token_hash": flow.key,
        "purpose": flow.purpose,
        "provider": flow.provider,
        "intent": flow.intent,
        "user_id": flow.user_id,
        "session_id": flow.session_id,
        "payload": msgspec.json.encode(kept).decode(),
        "created_at": _moment(flow.created_at),
        "expires_at": _moment(flow.expires_at),
        "consumed_at": None,
    }
    upsert(connection, flows, [row], ["token_hash"])


def peek(connection: sa.Connection, purpose: str, key: str, now: int) -> Flow | None:
    """The living flow of that key, left as it is."""
    row = connection.execute(sa.select(flows).where(*_open(purpose, key))).first()
    return None if row is None else _living(row, now)


def take(connection: sa.Connection, purpose: str, key: str, now: int) -> Flow | None:
    """The living flow of that key, for the first who asks; nobody gets it again."""
    row = connection.execute(
        sa.select(flows).where(*_open(purpose, key)).with_for_update()
    ).first()
    return _consumed(connection, row, now)


def check_code(
    connection: sa.Connection, purpose: str, key: str, code: str, now: int
) -> Flow | None:
    """The living flow whose code has the digest `code`, left as it is; else None.

    A wrong code is counted; after the fifth the flow is gone.
    """
    row = connection.execute(
        sa.select(flows).where(*_open(purpose, key)).with_for_update()
    ).first()
    flow = None if row is None else _living(row, now)
    if row is None or flow is None:
        return None
    if hmac.compare_digest(flow.code.encode(), code.encode()):
        return flow
    kept = json_object(row.payload)
    kept["wrong"] = int(kept.get("wrong", 0)) + 1
    if kept["wrong"] >= MOST_WRONG_TRIES:
        connection.execute(sa.delete(flows).where(flows.c.id == row.id))
    else:
        text = msgspec.json.encode(kept).decode()
        connection.execute(
            sa.update(flows).where(flows.c.id == row.id).values(payload=text)
        )
    return None


def spend(connection: sa.Connection, flow: Flow, now: int) -> bool:
    """True for the first who spends a flow that was looked at before.

    For use inside the transaction that does what the flow allows. False when it was
    spent, has expired, or its code was replaced by a newer one.
    """
    row = connection.execute(
        sa.select(flows).where(*_open(flow.purpose, flow.key)).with_for_update()
    ).first()
    found = None if row is None else _living(row, now)
    if found is None or found.code != flow.code:
        return False
    return _consumed(connection, row, now) is not None


def forget(connection: sa.Connection, purpose: str, key: str) -> None:
    """Deletes a flow."""
    connection.execute(
        sa.delete(flows).where(flows.c.purpose == purpose, flows.c.token_hash == key)
    )


def prune(connection: sa.Connection, before: int, after_id: int) -> int:
    """Deletes what expired before the time `before`, in the next thousand rows.

    Returns:
        The id of the last row looked at; 0 at the end of the table.
    """
    rows = connection.execute(
        sa.select(flows.c.id, flows.c.expires_at)
        .where(flows.c.id > after_id)
        .order_by(flows.c.id)
        .limit(_CHUNK)
    ).all()
    limit = _moment(before)
    old = [row.id for row in rows if row.expires_at is None or row.expires_at < limit]
    if old:
        connection.execute(sa.delete(flows).where(flows.c.id.in_(old)))
    return rows[-1].id if len(rows) == _CHUNK else 0


def _open(purpose: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        flows.c.token_hash == key,
        flows.c.purpose == purpose,
        flows.c.consumed_at.is_(None),
    )


def _consumed(
    connection: sa.Connection, row: sa.Row[Any] | None, now: int
) -> Flow | None:
    """The flow of a row that this statement, and no other, marks as consumed."""
    flow = None if row is None else _living(row, now)
    if row is None or flow is None:
        return None
    marked = connection.execute(
        sa.update(flows)
        .where(flows.c.id == row.id, flows.c.consumed_at.is_(None))
        .values(consumed_at=_moment(now))
    )
    return flow if marked.rowcount == 1 else None


def _living(row: sa.Row[Any], now: int) -> Flow | None:
    if row.expires_at is None or row.expires_at <= _moment(now):
        return None
    kept = json_object(row.payload)
    payload = kept.get("payload")
    return Flow(
        key=row.token_hash,
        purpose=row.purpose,
        provider=row.provider or "",
        intent=row.intent or "",
        user_id=row.user_id or 0,
        session_id=row.session_id or "",
        payload=payload if isinstance(payload, dict) else {},
        code=str(kept.get("code") or ""),
        created_at=0 if row.created_at is None else int(row.created_at.timestamp()),
        expires_at=int(row.expires_at.timestamp()),
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
