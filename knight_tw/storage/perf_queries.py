"""How models did: `perf_metrics`, which the ledger fills; and what was used of them
over a long time, for the ranking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from knight_tw.storage.schema import knight_usage, perf_metrics, quota_data
from knight_tw.storage.usage_queries import Buckets

SUMS = (
    "request_count",
    "success_count",
    "total_latency_ms",
    "ttft_sum_ms",
    "ttft_count",
    "output_tokens",
    "generation_ms",
)
MOST_ROWS = 20_000
_P = perf_metrics.c


@frozen
class Measured:
    """Sums of one model, group or bucket, in the order of `SUMS`."""

    model: str
    group: str
    bucket: int
    sums: tuple[int, ...]


def by_model(
    connection: sa.Connection, since: int, groups: Sequence[str] | None
) -> list[Measured]:
    """The models by the number of calls since a moment, in some groups or in all."""
    query = (
        sa.select(_P.model_name, *_summed())
        .where(_P.bucket_ts >= since, *_among(groups))
        .group_by(_P.model_name)
        .order_by(sa.func.sum(_P.request_count).desc(), _P.model_name)
        .limit(MOST_ROWS)
    )
    rows = connection.execute(query).tuples()
    return [Measured(name, "", 0, _integers(sums)) for name, *sums in rows]


def by_group(
    connection: sa.Connection,
    model: str,
    since: int,
    groups: Sequence[str] | None,
    buckets: Buckets,
) -> list[Measured]:
    """One model, by group and bucket, in the order of both."""
    bucket = buckets.begin(_P.bucket_ts).label("bucket")
    query = (
        sa.select(_P.group, bucket, *_summed())
        .where(_P.model_name == model, _P.bucket_ts >= since, *_among(groups))
        .group_by(_P.group, "bucket")
        .order_by(_P.group, "bucket")
        .limit(MOST_ROWS)
    )
    rows = connection.execute(query).tuples()
    return [
        Measured(model, group or "", int(at or 0), _integers(sums))
        for group, at, *sums in rows
    ]


def prune(connection: sa.Connection, before: int) -> int:
    """Delete the buckets before a moment; how many rows."""
    old = sa.delete(perf_metrics).where(_P.bucket_ts < before)
    return connection.execute(old).rowcount


def used(
    connection: sa.Connection, since: int, buckets: Buckets, exported: bool
) -> list[tuple[str, int, int, int]]:
    """(model, bucket, tokens, calls) since a moment, the newest when they are many.

    Args:
        exported: `quota_data` is filled, which older gateways filled too; else our own
            table is read.
    """
    model: sa.Column[Any]
    tokens: sa.ColumnElement[Any]
    if exported:
        c = quota_data.c
        model, at = c.model_name, c.created_at
        tokens, calls = c.token_used, c["count"]
    else:
        c = knight_usage.c
        model, at = c.model_name, c.bucket_ts
        tokens, calls = c.prompt_tokens + c.completion_tokens, c["count"]
    bucket = buckets.begin(at).label("bucket")
    query = (
        sa.select(model.label("model"), bucket, sa.func.sum(tokens), sa.func.sum(calls))
        .where(at >= since)
        .group_by("model", "bucket")
        .order_by(sa.desc("bucket"), sa.desc("model"))
        .limit(MOST_ROWS)
    )
    found = [
        (name or "", int(start or 0), int(many or 0), int(times or 0))
        for name, start, many, times in connection.execute(query).tuples()
    ]
    return found[::-1]


def _summed() -> list[sa.ColumnElement[Any]]:
    return [sa.func.sum(_P[name]) for name in SUMS]


def _among(groups: Sequence[str] | None) -> list[sa.ColumnElement[bool]]:
    return [] if groups is None else [_P.group.in_(groups)]


def _integers(sums: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(one or 0) for one in sums)
