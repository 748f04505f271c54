"""A batch of entries and the database: the thread-side functions of the writer.

`post` is one transaction of the main database. It moves the journal's position first,
by `WHERE sequence = :before`: on SQLite that takes the write lock at once, and
everywhere it makes a second application of the same entries impossible, whoever tries.
Then it locks the rows, decides (`charges`), and writes log rows, balances, statistics.

With a second database for logs, `post` leaves the log rows out and `post_rows` writes
them there in a transaction of its own, with its own position. The main database goes
first, since only there is decided what was charged; amounts that fell short are kept in
`knight_meta` until both are through, so that a replay writes the same rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from attrs import define, field, frozen

from knight_tw.ledger import holds, instalments, statistics
from knight_tw.ledger.charges import Decision, decide
from knight_tw.ledger.entries import (
    REFUND,
    RELEASE,
    SETTLE,
    Entry,
    Row,
    with_member,
)
from knight_tw.ledger.statements import (
    INSERT_LOG,
    LOG_COLUMNS,
    UPDATE_CHANNEL,
    UPDATE_TOKEN,
    UPDATE_USER,
)
from knight_tw.storage.schema import knight_journal, knight_meta
from knight_tw.storage.sql import upsert

SYSTEM = 4
"""`logs.type` of what the gateway itself has to say."""

_QUOTA, _OTHER = LOG_COLUMNS.index("quota"), LOG_COLUMNS.index("other")


class Moved(Exception):
    """The journal's position is not where the caller thought: nothing was done."""


@frozen
class Batch:
    """Consecutive entries of one journal, and what belongs to their transaction.

    Attributes:
        before: The position that the database must have.
        last: The position afterwards.
        users, tokens: Ids whose balances are wanted besides those of the entries.
        rows: Write the log rows too (there is one database).
        export: Fill `quota_data` (option `DataExportEnabled`).
        perf: Seconds of a bucket of `perf_metrics`; 0 = not filled.
        attempts: Failed attempts per channel and minute.
        hourly_ids: Ids of rows of `quota_data` that are known.
        carried: What fell short before and is not yet in the database of the rows.
    """

    journal: str
    before: int
    last: int
    entries: Sequence[Entry]
    now: int
    node: str = ""
    rows: bool = True
    export: bool = True
    perf: int = 0
    users: Collection[int] = ()
    tokens: Collection[int] = ()
    attempts: statistics.Sums = field(factory=dict)
    hourly_ids: Mapping[tuple[Any, ...], int] = field(factory=dict)
    carried: Mapping[int, int] = field(factory=dict)


@define(eq=False)
class Posted:
    """What came of a batch."""

    decision: Decision
    hourly_ids: dict[tuple[Any, ...], int] = field(factory=dict)


def post(connection: sa.Connection, batch: Batch) -> Posted:
    """Applies a batch.

    Raises:
        Moved: the position is another one.
    """
    advance(connection, batch.journal, batch.before, batch.last, batch.now)
    decision = _decide(connection, batch)
    if batch.rows:
        insert_rows(connection, batch.entries, decision.short)
    elif batch.entries:
        _keep_short(connection, batch, decision)
    _move(connection, decision)
    sums = statistics.tally(
        batch.entries, decision, export=batch.export, perf=batch.perf
    )
    statistics.merge(sums.minutes, batch.attempts)
    statistics.write(connection, sums)
    found = statistics.write_hourly(
        connection, sums.hourly, batch.node, batch.hourly_ids
    )
    return Posted(decision, found)


def advance(
    connection: sa.Connection, journal: str, before: int, last: int, now: int
) -> None:
    """Moves a journal's position.

    Raises:
        Moved: it was not `before`.
    """
    c = knight_journal.c
    moved = connection.execute(
        sa.update(knight_journal)
        .where(c.journal == journal, c.sequence == before)
        .values(sequence=last, updated_at=now)
    )
    if moved.rowcount != 1:
        raise Moved(journal)


def _decide(connection: sa.Connection, batch: Batch) -> Decision:
    """The decision on locked rows; hold rows that are used up are gone afterwards."""
    entries = batch.entries
    with_row = {it.call for it in entries if it.sql and it.kind in (SETTLE, RELEASE)}
    held = holds.locked_holds(connection, with_row) if with_row else {}
    token_ids = {it.token for it in entries} | {it.token_id for it in held.values()}
    user_ids = {it.user for it in entries} | {it.user_id for it in held.values()}
    token_ids.update(batch.tokens)
    user_ids.update(batch.users)
    found_tokens = holds.locked_tokens(connection, token_ids - {0})
    found_users = holds.locked_users(connection, user_ids - {0})
    if held:
        holds.delete_holds(connection, held)
    return decide(entries, found_users, found_tokens, held)


def _move(connection: sa.Connection, decision: Decision) -> None:
    """Writes the moves of tokens, users and channels."""
    UPDATE_TOKEN.run(
        connection,
        [
            (key, it.remain, it.used, it.at)
            for key, it in sorted(decision.tokens.items())
        ],
    )
    UPDATE_USER.run(
        connection,
        [
            (key, it.quota, it.used, it.count)
            for key, it in sorted(decision.users.items())
        ],
    )
    UPDATE_CHANNEL.run(connection, sorted(decision.channels.items()))


def insert_rows(
    connection: sa.Connection, entries: Iterable[Entry], short: Mapping[int, int]
) -> None:
    """Writes the log rows of entries, with the amounts that were really charged."""
    rows: list[tuple[Any, ...]] = []
    further: list[tuple[Any, ...]] = []
    for entry in entries:
        row = entry.row
        if row is None or entry.hidden:
            continue
        values = list(msgspec.structs.astuple(row)[: len(LOG_COLUMNS)])
        values[_OTHER] = bytes(row.other).decode()
        if entry.kind == SETTLE:
            paid = values[_QUOTA] = short.get(entry.seq, entry.amount)
            if paid < entry.amount:
                values[_OTHER] = with_member(
                    row.other, "uncollected_quota", entry.amount - paid
                )
            if paid < entry.sure:
                rows.append(_missing(entry, row, entry.sure - paid))
        elif entry.kind == REFUND:
            values[_QUOTA] = entry.amount
        (further if entry.instalment > 1 else rows).append(tuple(values))
    INSERT_LOG.run(connection, rows)
    for one in further:
        instalments.add(connection, one)


def _missing(entry: Entry, row: Row, missing: int) -> tuple[Any, ...]:
    """A row that says that a promised charge was not there any more.

    Its quota is 0: the charge's own row already carries only what was taken.
    """
    said = Row(
        user_id=row.user_id,
        created_at=row.created_at,
        type=SYSTEM,
        content=(
            f"{missing} quota of a call could not be collected: "
            "the balance was lowered while it ran"
        ),
        username=row.username,
        request_id=row.request_id,
        group=row.group,
        other=msgspec.Raw(
            msgspec.json.encode({"uncollected_quota": missing, "call": entry.call})
        ),
    )
    values = list(msgspec.structs.astuple(said)[: len(LOG_COLUMNS)])
    values[_OTHER] = bytes(said.other).decode()
    return tuple(values)


def _keep_short(connection: sa.Connection, batch: Batch, decision: Decision) -> None:
    """Keeps what fell short until the log rows are written elsewhere."""
    key = _short_key(batch.journal)
    short = {**batch.carried, **decision.short}
    if short:
        text = msgspec.json.encode(short).decode()
        upsert(connection, knight_meta, [{"key": key, "value": text}], ("key",))
    else:
        connection.execute(sa.delete(knight_meta).where(knight_meta.c.key == key))


def _short_key(journal: str) -> str:
    return f"ledger_short:{journal}"


def kept_short(connection: sa.Connection, journal: str) -> dict[int, int]:
    """What the last batch of a journal kept for the second database."""
    query = sa.select(knight_meta.c.value).where(
        knight_meta.c.key == _short_key(journal)
    )
    text = connection.scalar(query)
    return msgspec.json.decode(text, type=dict[int, int]) if text else {}


def post_rows(
    connection: sa.Connection, batch: Batch, short: Mapping[int, int]
) -> None:
    """Writes the log rows of a batch into a database of their own.

    Raises:
        Moved: the position there is not `batch.before`.
    """
    advance(connection, batch.journal, batch.before, batch.last, batch.now)
    insert_rows(connection, batch.entries, short)


def position(connection: sa.Connection, journal: str) -> int | None:
    """The last applied sequence number of a journal, None when it is not known here."""
    c = knight_journal.c
    found = connection.scalar(sa.select(c.sequence).where(c.journal == journal))
    return None if found is None else int(found)


def set_position(
    connection: sa.Connection, journal: str, sequence: int, now: int
) -> None:
    """Makes a journal known, or marks it closed."""
    row = {"journal": journal, "sequence": sequence, "updated_at": now}
    upsert(connection, knight_journal, [row], ("journal",))
