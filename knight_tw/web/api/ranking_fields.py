"""The ranking of models and of who makes them, from what was used in each stretch of
time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

Row = dict[str, Any]

Used = tuple[str, int, int, int]
"""Model, beginning of a bucket, tokens, calls."""

MOST_LISTED, MOST_MOVED, MOST_DRAWN = 50, 10, 10
"""Models of the list, of those that rose or fell, and of the history."""

OTHERS = "others"
"""What the history calls everything beyond its largest."""


@frozen
class Vendor:
    """Who makes a model; empty when nobody said."""

    name: str
    icon: str = ""


NOBODY = Vendor("")


@frozen
class Period:
    """A stretch of time: the present one begins at `start`, the one before it at
    `earlier`, and both are drawn in buckets of `width` seconds."""

    start: int
    earlier: int
    width: int


def ranking(
    used: Iterable[Used],
    period: Period,
    vendor_of: Callable[[str], Vendor],
    shown: Callable[[str], bool],
) -> Row:
    """The page of the ranking, of the models that may be `shown`."""
    rows = [row for row in used if row[0] and shown(row[0])]
    now = _sums(row for row in rows if row[1] >= period.start)
    before = _sums(row for row in rows if row[1] < period.start)
    models = _ranked(now, before)
    for row in models:
        vendor = vendor_of(row["model_name"])
        row["vendor"], row["vendor_icon"] = vendor.name, vendor.icon
    present = [row for row in rows if row[1] >= period.start]
    by_vendor = [(vendor_of(row[0]).name, *row[1:]) for row in present]
    return {
        "models": models[:MOST_LISTED],
        "vendors": _vendors(now, before, vendor_of),
        "top_movers": _moved(models, 1),
        "top_droppers": _moved(models, -1),
        "models_history": _history(present, "models"),
        "vendor_share_history": _history(by_vendor, "vendors", shares=True),
    }


Sums = Mapping[str, tuple[int, int]]
"""Name to tokens and calls."""


def _sums(rows: Iterable[Used]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for name, _, tokens, calls in rows:
        known = found.get(name, (0, 0))
        found[name] = (known[0] + tokens, known[1] + calls)
    return found


def _order(sums: Sums) -> list[str]:
    return sorted(sums, key=lambda name: (-sums[name][0], -sums[name][1], name))


def _ranked(now: Sums, before: Sums) -> list[Row]:
    total = sum(tokens for tokens, _ in now.values())
    places = {name: place for place, name in enumerate(_order(before), 1)}
    return [
        {
            "rank": rank,
            "previous_rank": places.get(name),
            "model_name": name,
            "total_tokens": now[name][0],
            "request_count": now[name][1],
            "share": _share(now[name][0], total),
            "growth": _growth(now[name][0], before.get(name, (0, 0))[0]),
        }
        for rank, name in enumerate(_order(now), 1)
    ]


def _vendors(now: Sums, before: Sums, vendor_of: Callable[[str], Vendor]) -> list[Row]:
    today, past = _grouped(now, vendor_of), _grouped(before, vendor_of)
    icons = {vendor.name: vendor.icon for vendor in map(vendor_of, now)}
    models = Counter(vendor_of(model).name for model in now)
    total = sum(tokens for tokens, _ in today.values())
    return [
        {
            "rank": rank,
            "vendor": name,
            "icon": icons[name],
            "models_count": models[name],
            "total_tokens": today[name][0],
            "request_count": today[name][1],
            "share": _share(today[name][0], total),
            "growth": _growth(today[name][0], past.get(name, (0, 0))[0]),
        }
        for rank, name in enumerate(_order(today), 1)
    ][:MOST_LISTED]


def _grouped(sums: Sums, vendor_of: Callable[[str], Vendor]) -> Sums:
    return _sums(
        (vendor_of(name).name, 0, tokens, calls)
        for name, (tokens, calls) in sums.items()
    )


def _moved(models: Sequence[Row], way: int) -> list[Row]:
    """The models that rose (`way` 1) or fell (-1) most."""
    names = ("model_name", "vendor", "vendor_icon", "rank", "previous_rank")
    moved = [
        {
            **{name: row[name] for name in names},
            "rank_delta": row["previous_rank"] - row["rank"],
            "growth": row["growth"],
            "total_tokens": row["total_tokens"],
        }
        for row in models
        if row["previous_rank"] is not None
        and way * (row["previous_rank"] - row["rank"]) > 0
    ]
    moved.sort(key=lambda row: -way * row["rank_delta"])
    return moved[:MOST_MOVED]


def _history(rows: Sequence[Used], what: str, *, shares: bool = False) -> Row:
    """Tokens, or shares, of the largest per bucket; the rest is `OTHERS`."""
    drawn = _order(_sums(rows))[:MOST_DRAWN]
    points: dict[int, dict[str, int]] = {}
    for name, at, tokens, _ in rows:
        values = points.setdefault(at, {})
        place = name if name in drawn else OTHERS
        values[place] = values.get(place, 0) + tokens
    told: list[Row] = []
    for at in sorted(points):
        total = sum(points[at].values())
        found: Mapping[str, float] = points[at]
        if shares:
            found = {name: _share(many, total) for name, many in points[at].items()}
        told.append({"ts": at, "values": found})
    return {"points": told, what: drawn, "buckets": len(points)}


def _share(part: int, total: int) -> float:
    return round(part / total, 4) if total else 0.0


def _growth(now: int, before: int) -> float | None:
    return round((now - before) / before, 4) if before else None
