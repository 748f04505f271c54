"""Log rows of calls that are charged in instalments: a realtime session is, by turns.

The first instalment makes the row. Each further one adds to it, in the transaction that
moves the balances, so that after a crash the row holds what was charged by then, no
more and no less. When the row is gone meanwhile, the next instalment makes it again.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from knight_tw.ledger.statements import INSERT_LOG, LOG_COLUMNS
from knight_tw.storage.schema import logs

SUMS = ("quota", "prompt_tokens", "completion_tokens")
"""Columns that are added up."""

LATEST = ("created_at", "use_time", "content", "status", "upstream_request_id")
"""Columns that the latest instalment decides."""

SUMMED = (
    "cache_tokens",
    "audio_input",
    "audio_output",
    "text_input",
    "text_output",
    "uncollected_quota",
)
"""Members of `other` that are added up; of all others the latest value counts."""

EVIDENCE = ("provider", "counted", "estimated")
"""From the best to the weakest; a call rests on the weakest that it has."""


def add(connection: sa.Connection, values: tuple[Any, ...]) -> None:
    """Adds an instalment to its call's row.

    Args:
        values: Its own row, in the order of `LOG_COLUMNS`.
    """
    new = dict(zip(LOG_COLUMNS, values, strict=True))
    c = logs.c
    query = (
        sa.select(c.id, c.other, *(c[name] for name in SUMS))
        .where(
            c.request_id == new["request_id"],
            c.user_id == new["user_id"],
            c.type == new["type"],
        )
        .order_by(c.id)
        .limit(1)
    )
    found = connection.execute(query).mappings().first()
    if found is None:
        INSERT_LOG.run(connection, [values])
        return
    changed = {name: new[name] for name in LATEST}
    changed |= {name: (found[name] or 0) + new[name] for name in SUMS}
    changed["other"] = merged(found["other"] or "{}", new["other"])
    connection.execute(sa.update(logs).where(c.id == found["id"]).values(changed))


def merged(old: str, new: str) -> str:
    """The JSON objects `other` of two instalments, as that of both."""
    before, after = _object(old), _object(new)
    whole = before | after
    for name in SUMMED:
        if name in whole:
            whole[name] = _number(before, name) + _number(after, name)
    rests_on = {before.get("evidence"), after.get("evidence")}
    known = [evidence for evidence in EVIDENCE if evidence in rests_on]
    if known:
        whole["evidence"] = known[-1]
    return msgspec.json.encode(whole).decode()


def _object(text: str) -> dict[str, Any]:
    """The members of a column that others write, too; none when it is no object."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


def _number(members: dict[str, Any], name: str) -> int | float:
    value = members.get(name)
    return value if isinstance(value, int | float) else 0
