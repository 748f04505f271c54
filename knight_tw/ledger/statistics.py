"""What the charts are drawn from: sums per hour and per minute, made with each batch.

===========================  =====================================================
table                        one row for each
===========================  =====================================================
`quota_data`                 hour, user, model, group, token, channel, node; only
                             with the option `DataExportEnabled`
`knight_usage`               hour, user, token, channel, model, group, HTTP status
`knight_channel_minutes`     minute and channel
`perf_metrics`               bucket, model and group; only with the option
                             `perf_metrics_setting.enabled`
===========================  =====================================================

Settlements count in all three. A `note` with a status (a call that failed) counts in
`knight_usage` alone: the attempts that failed are counted one by one in the channel's
minutes (`Attempts`), whatever became of their call. Those are kept in memory between
two flushes, so a crash loses the last ones; everything else is as exact as the charges.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from attrs import define, field

from knight_tw.ledger.charges import Decision
from knight_tw.ledger.entries import NOTE, SETTLE, Entry, Row
from knight_tw.ledger.statements import ADD_HOURLY, adding
from knight_tw.storage.schema import (
    LATENCY_BOUNDS,
    LATENCY_COLUMNS,
    TTFT_COLUMNS,
    knight_channel_minutes,
    knight_usage,
    perf_metrics,
    quota_data,
)
from knight_tw.storage.sql import chunks, new_id

HOUR, MINUTE = 3600, 60

USAGE_KEYS = (
    "bucket_ts",
    "user_id",
    "token_id",
    "channel_id",
    "model_name",
    "use_group",
    "status",
)
USAGE_SUMS = (
    "count",
    "quota",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "latency_ms",
    "ttft_ms",
    "ttft_count",
    *LATENCY_COLUMNS,
    *TTFT_COLUMNS,
)
PERF_KEYS = ("model_name", "group", "bucket_ts")
PERF_SUMS = (
    "request_count",
    "success_count",
    "total_latency_ms",
    "ttft_sum_ms",
    "ttft_count",
    "output_tokens",
    "generation_ms",
)
MINUTE_KEYS = ("channel_id", "minute")
MINUTE_SUMS = ("count", "errors", *LATENCY_COLUMNS)
HOURLY_KEYS = (
    "user_id",
    "username",
    "model_name",
    "created_at",
    "use_group",
    "token_id",
    "channel_id",
)

_LATENCY_AT = USAGE_SUMS.index("lat_0")
_TTFT_AT = USAGE_SUMS.index("ttft_0")
_BOUNDS_MS = tuple(round(bound * 1000) for bound in LATENCY_BOUNDS)
_MOST_IDS = 50_000

ADD_USAGE = adding(knight_usage, USAGE_KEYS, USAGE_SUMS)
ADD_MINUTE = adding(knight_channel_minutes, MINUTE_KEYS, MINUTE_SUMS)
ADD_PERF = adding(perf_metrics, PERF_KEYS, PERF_SUMS)

Sums = dict[tuple[Any, ...], list[int]]
"""Key columns to sums, both in the order of the tuples above."""


class _Measures(msgspec.Struct):
    """What `other` says that the statistics want."""

    cache_tokens: float = 0
    frt: float = 0


_measures = msgspec.json.Decoder(_Measures).decode


@define(eq=False)
class Tally:
    """The sums of one batch."""

    usage: Sums = field(factory=dict)
    minutes: Sums = field(factory=dict)
    hourly: Sums = field(factory=dict)
    perf: Sums = field(factory=dict)


@define(eq=False)
class Attempts:
    """Failed attempts per channel and minute that no flush has taken yet."""

    sums: Sums = field(factory=dict)
    _limit: int = 20_000

    def failed(self, channel_id: int, now: float, seconds: float) -> None:
        """One attempt on a channel failed after `seconds`."""
        if len(self.sums) < self._limit:
            _add_minute(self.sums, channel_id, int(now), round(seconds * 1000), 1)

    def take(self) -> Sums:
        """What there is; from now on it counts as written."""
        taken, self.sums = self.sums, {}
        return taken

    def put_back(self, taken: Sums) -> None:
        """The flush failed."""
        merge(self.sums, taken)


def merge(into: Sums, more: Sums) -> None:
    """Adds sums to sums."""
    for key, values in more.items():
        sums = into.get(key)
        into[key] = (
            values
            if sums is None
            else [one + other for one, other in zip(sums, values, strict=True)]
        )


def tally(
    entries: Iterable[Entry], decision: Decision, *, export: bool, perf: int = 0
) -> Tally:
    """The sums of a batch.

    Args:
        export: The option `DataExportEnabled`: also fill `quota_data`.
        perf: Seconds of a bucket of `perf_metrics`; 0 = do not fill it.
    """
    sums = Tally()
    for entry in entries:
        row = entry.row
        if row is None:
            continue
        if entry.kind == SETTLE:
            quota = decision.short.get(entry.seq, entry.amount)
            first = entry.instalment <= 1
            status = row.status or 200
            duration, waited = _add_usage(sums, row, quota, status, first=first)
            errors = 1 if status >= 400 else 0
            if first:
                _add_minute(
                    sums.minutes, row.channel_id, row.created_at, duration, errors
                )
            if export:
                _add_hourly(sums, row, quota, first=first)
            if perf and first:
                _add_perf(sums.perf, row, status, perf, duration, waited)
        elif entry.kind == NOTE and row.status is not None:
            duration, _ = _add_usage(sums, row, 0, row.status, first=True)
            if perf:
                _add_perf(sums.perf, row, row.status, perf, duration, 0)
    return sums


def _add_usage(
    sums: Tally, row: Row, quota: int, status: int, *, first: bool
) -> tuple[int, int]:
    """Counts a call; how long it took and how long its first byte, in ms. Unless this
    is its `first` instalment only what was used is added: it is counted already."""
    key = (
        row.created_at - row.created_at % HOUR,
        row.user_id,
        row.token_id,
        row.channel_id,
        row.model_name[:64],
        row.group[:64],
        status,
    )
    values = sums.usage.get(key)
    if values is None:
        values = sums.usage[key] = [0] * len(USAGE_SUMS)
    cached, waited = _measured(row)
    duration = row.duration_ms or row.use_time * 1000
    values[1] += quota
    values[2] += row.prompt_tokens
    values[3] += row.completion_tokens
    values[4] += cached
    if not first:
        return duration, waited
    values[0] += 1
    values[5] += duration
    values[_LATENCY_AT + bisect_left(_BOUNDS_MS, duration)] += 1
    if waited > 0:
        values[6] += waited
        values[7] += 1
        values[_TTFT_AT + bisect_left(_BOUNDS_MS, waited)] += 1
    return duration, waited


def _measured(row: Row) -> tuple[int, int]:
    """Cached tokens and milliseconds to the first byte, 0 where `other` has none."""
    try:
        measures = _measures(row.other)
    except msgspec.MsgspecError:
        return 0, 0
    return int(measures.cache_tokens), int(measures.frt)


def _add_perf(
    sums: Sums, row: Row, status: int, width: int, duration: int, waited: int
) -> None:
    """Counts how a model did. What the client did wrong says nothing about the model;
    how fast it writes is seen in streams alone."""
    if not row.model_name or (400 <= status < 500 and status not in (408, 429)):
        return
    key = (
        row.model_name[:128],
        row.group[:64],
        row.created_at - row.created_at % width,
    )
    values = sums.get(key)
    if values is None:
        values = sums[key] = [0] * len(PERF_SUMS)
    values[0] += 1
    if status >= 400:
        return
    values[1] += 1
    values[2] += duration
    if waited > 0 and row.is_stream:
        values[3] += waited
        values[4] += 1
        if duration > waited:
            values[5] += row.completion_tokens
            values[6] += duration - waited


def _add_minute(
    sums: Sums, channel_id: int, at: int, duration: int, errors: int
) -> None:
    if not channel_id:
        return
    key = (channel_id, at - at % MINUTE)
    values = sums.get(key)
    if values is None:
        values = sums[key] = [0] * len(MINUTE_SUMS)
    values[0] += 1
    values[1] += errors
    values[2 + bisect_left(_BOUNDS_MS, duration)] += 1


def _add_hourly(sums: Tally, row: Row, quota: int, *, first: bool) -> None:
    key = (
        row.user_id,
        row.username[:64],
        row.model_name[:64],
        row.created_at - row.created_at % HOUR,
        row.group[:64],
        row.token_id,
        row.channel_id,
    )
    values = sums.hourly.setdefault(key, [0, 0, 0])
    values[0] += row.prompt_tokens + row.completion_tokens
    values[1] += first
    values[2] += quota


def write(connection: sa.Connection, sums: Tally) -> None:
    """Adds the sums of the tables that have a unique key.

    In the order of their keys, so that two processes never lock rows crosswise.
    """
    ADD_USAGE.run(connection, [(*it, *sums.usage[it]) for it in sorted(sums.usage)])
    ADD_MINUTE.run(
        connection, [(*it, *sums.minutes[it]) for it in sorted(sums.minutes)]
    )
    ADD_PERF.run(connection, [(*it, *sums.perf[it]) for it in sorted(sums.perf)])


def write_hourly(
    connection: sa.Connection,
    sums: Sums,
    node: str,
    known: Mapping[tuple[Any, ...], int],
) -> dict[tuple[Any, ...], int]:
    """Adds to the rows of `quota_data`, which has no unique key to upsert by.

    Args:
        known: Key to row id, as earlier calls returned them.

    Returns:
        Ids that were not known, or are others now.
    """
    remembered = {key: known[key] for key in sums if key in known}
    gone = _add_by_id(connection, sums, remembered)
    unknown = [key for key in sums if key not in remembered or remembered[key] in gone]
    if not unknown:
        return {}
    found = _find(connection, unknown, node)
    _add_by_id(connection, sums, found)
    for key in unknown:
        if key not in found:
            found[key] = _insert(connection, key, sums[key], node)
    return found


def _add_by_id(
    connection: sa.Connection, sums: Sums, ids: Mapping[tuple[Any, ...], int]
) -> set[int]:
    """Adds to rows by id; the ids among them that do not exist (any more)."""
    if not ids:
        return set()
    changes = [(row, *sums[key]) for key, row in ids.items()]
    if ADD_HOURLY.run(connection, sorted(changes)) == len(changes):
        return set()
    c = quota_data.c
    missing = set(ids.values())
    for some in chunks(sorted(missing)):
        missing -= set(connection.scalars(sa.select(c.id).where(c.id.in_(some))))
    return missing


def _find(
    connection: sa.Connection, keys: list[tuple[Any, ...]], node: str
) -> dict[tuple[Any, ...], int]:
    """Key to row id of the rows that exist already."""
    c = quota_data.c
    wanted = set(keys)
    found: dict[tuple[Any, ...], int] = {}
    hours = sorted({key[3] for key in keys})
    for some in chunks(sorted({key[0] for key in keys})):
        query = sa.select(c.id, *(c[name] for name in HOURLY_KEYS)).where(
            c.user_id.in_(some), c.created_at.in_(hours), c.node_name == node
        )
        for row, *key in connection.execute(query):
            if tuple(key) in wanted:
                found[tuple(key)] = row
    return found


def _insert(
    connection: sa.Connection, key: tuple[Any, ...], values: list[int], node: str
) -> int:
    names = (*HOURLY_KEYS, "token_used", "count", "quota")
    row = dict(zip(names, (*key, *values), strict=True))
    return new_id(connection, quota_data, {"node_name": node, **row})


def remember(
    known: dict[tuple[Any, ...], int], found: Mapping[tuple[Any, ...], int]
) -> None:
    """Keeps ids for the next `write_hourly`, not more than make sense."""
    if len(known) + len(found) > _MOST_IDS:
        known.clear()
    known.update(found)
