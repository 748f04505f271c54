"""Percentiles from counts of calls by how long they took."""

from __future__ import annotations

from collections.abc import Sequence

BEYOND = 2.0
"""The last class, which has no bound, is taken to end at so many times the last one."""


def percentile(
    counts: Sequence[int], bounds: Sequence[float], share: float
) -> float | None:
    """The duration in seconds that `share` of the calls did not exceed, taking calls as
    spread evenly within their class; None without calls.

    Args:
        counts: Calls per class.
        bounds: Upper bounds of the classes but the last, in seconds.
        share: 0 to 1.
    """
    wanted = share * sum(counts)
    if not any(counts):
        return None
    below, lower, longest = 0, 0.0, BEYOND * bounds[-1]
    for count, upper in zip(counts, (*bounds, longest), strict=True):
        if count and below + count >= wanted:
            return lower + (upper - lower) * (wanted - below) / count
        below, lower = below + count, upper
    return longest
