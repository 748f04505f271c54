"""What a statistics page asks for, and the arithmetic of its answers (management API,
section 18)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.web.server import Request

from knight_tw.records import ROLE_ADMIN
from knight_tw.storage.usage_queries import (
    DAY,
    HOUR,
    METRICS,
    MINUTE,
    PARTS,
    WEEK,
    Buckets,
    Metric,
    Scope,
    Sums,
    Value,
)
from knight_tw.web.api.answers import Refusal, invalid, query, query_integer
from knight_tw.web.api.log_fields import Arguments
from knight_tw.web.auth import Viewer

Row = dict[str, Any]

LONGEST = 400 * DAY
"""The longest range; what is older is not kept."""

USUAL = DAY
MOST_BUCKETS = 2_500
"""Points of one line: an hour's buckets of 104 days."""

WIDTHS: Mapping[str, int] = {"minute": MINUTE, "hour": HOUR, "day": DAY, "week": WEEK}

SITE_PARTS = frozenset(("user", "channel"))
"""What only administrators may part by."""

_FURTHEST = 14 * HOUR


@frozen
class Question:
    """Whose rows, and in which clock.

    Attributes:
        site: Everybody's rows, not only the viewer's own.
        shift: Seconds that the reader's clock is ahead of UTC.
    """

    scope: Scope
    site: bool
    shift: int


def question(request: Request, viewer: Viewer, now: int) -> Question:
    """The rows that a request is about, the last day's unless it says otherwise.

    Raises:
        Refusal: somebody else's rows, or a range that is none or too long.
    """
    site = _site(request, viewer)
    end = query_integer(request, "end_timestamp", 0) or now
    start = query_integer(request, "start_timestamp", 0) or end - USUAL
    if not 0 < start <= end < 2**40:
        raise invalid("start_timestamp", "before end_timestamp")
    if end - start > LONGEST:
        raise invalid("start_timestamp", "at most 400 days before end_timestamp")
    asked = Arguments(request)
    scope = Scope(
        start,
        end + 1,
        user_id=None if site else viewer.id,
        models=asked.texts("model", "model_name"),
        tokens=asked.texts("token", "token_name"),
        token_ids=asked.numbers("token_id"),
        groups=asked.texts("group"),
        channels=asked.numbers("channel") if site else (),
        usernames=asked.texts("username") if site else (),
        user_ids=asked.numbers("user_id") if site else (),
    )
    return Question(scope, site, _shift(request))


def _site(request: Request, viewer: Viewer) -> bool:
    """Whether everybody's rows are asked for: an administrator's usual view."""
    asked = query(request, "scope").lower()
    if asked not in ("", "own", "self", "site"):
        raise invalid("scope", "own or site")
    admin = viewer.role >= ROLE_ADMIN
    if asked == "site" and not admin:
        raise Refusal(
            "only administrators see the whole site",
            code="AUTH_INSUFFICIENT_PRIVILEGE",
        )
    return admin and asked in ("", "site")


def _shift(request: Request) -> int:
    """The clock by which days begin: `utc_offset`, in minutes ahead of UTC."""
    shift = query_integer(request, "utc_offset", 0) * MINUTE
    if abs(shift) > _FURTHEST:
        raise invalid("utc_offset", "minutes, at most 840")
    return shift


def metric_of(request: Request, usual: str = "spend") -> tuple[str, Metric]:
    """The metric that is asked for.

    Raises:
        Refusal: there is none of that name.
    """
    name = query(request, "metric", usual) or usual
    if name not in METRICS:
        raise invalid("metric", "one of " + ", ".join(METRICS))
    return name, METRICS[name]


def part_of(request: Request, name: str, site: bool) -> str | None:
    """What a whole is parted by; None for not at all.

    Raises:
        Refusal: nothing of that name, or only for administrators.
    """
    by = query(request, name)
    allowed = [one for one in PARTS if site or one not in SITE_PARTS]
    if by and by not in allowed:
        raise invalid(name, "one of " + ", ".join(allowed))
    return by or None


def buckets_of(request: Request, asked: Question) -> tuple[str, Buckets]:
    """The buckets that are asked for, or that suit the range.

    Raises:
        Refusal: no such width, or too many buckets.
    """
    name = query(request, "bucket", "auto") or "auto"
    span = asked.scope.end - asked.scope.start
    if name == "auto":
        name = _suited(span)
    width = WIDTHS.get(name)
    if width is None:
        raise invalid("bucket", "auto, minute, hour, day or week")
    if span // width > MOST_BUCKETS:
        raise invalid("bucket", f"at most {MOST_BUCKETS} of them in the range")
    return name, Buckets(width, asked.shift)


def _suited(span: int) -> str:
    if span <= 7 * DAY:
        return "hour"
    return "day" if span <= 120 * DAY else "week"


def line(
    metric: Metric,
    buckets: Iterable[int],
    sums: Mapping[int, Sums],
    later: int = 0,
) -> list[list[Value]]:
    """A value for every bucket.

    Args:
        later: Seconds that `sums` lie before the buckets they are shown at.
    """
    nothing = (0,) * len(metric.columns)
    return [[at, metric.value(sums.get(at - later, nothing))] for at in buckets]


def rest(
    whole: Mapping[int, Sums], parts: Iterable[Mapping[int, Sums]]
) -> dict[int, Sums]:
    """What is left of a whole over time beside its parts."""
    shown = list(parts)
    return {
        at: tuple(
            total - sum(part[at][place] for part in shown if at in part)
            for place, total in enumerate(sums)
        )
        for at, sums in whole.items()
    }


def together(parts: Iterable[Mapping[int, Sums]]) -> dict[int, Sums]:
    """Parts over time, added up."""
    found: dict[int, Sums] = {}
    for part in parts:
        for at, sums in part.items():
            known = found.get(at)
            found[at] = (
                sums
                if known is None
                else tuple(map(sum, zip(known, sums, strict=True)))
            )
    return found


def change(now: Value, before: Value) -> float | None:
    """How much a number grew, as a share of what it was; None when it was nothing."""
    if now is None or not before:
        return None
    return round((now - before) / before, 4)


SUMMED = ("quota", "count", "prompt_tokens", "completion_tokens", "cached_tokens")
"""The plain sums of a summary; its errors, durations and waits come behind."""


def summary(sums: Sequence[int]) -> Row:
    """The tiles of a dashboard, from the sums of `SUMMARY_COLUMNS`."""
    spend, requests, came, went, cached, errors = sums[:6]
    lasted, waited = sums[6 : 6 + 12], sums[6 + 12 :]
    return {
        "spend": spend,
        "requests": requests,
        "errors": errors,
        "tokens_in": came,
        "tokens_out": went,
        "cached": cached,
        "success_rate": (
            round((requests - errors) / requests, 4) if requests else None
        ),
        "latency_p50": METRICS["latency_p50"].value(lasted),
        "latency_p95": METRICS["latency_p95"].value(lasted),
        "ttft_p50": METRICS["ttft_p50"].value(waited),
    }


SUMMARY_COLUMNS = (
    *SUMMED,
    "errors",
    *METRICS["latency_p50"].columns,
    *METRICS["ttft_p50"].columns,
)
