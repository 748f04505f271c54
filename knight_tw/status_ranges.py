"""Sets of HTTP status codes as administrators write them: `401,500-503`."""

from __future__ import annotations

import re

from attrs import frozen

LOWEST, HIGHEST = 100, 599
FULL_WIDTH_COMMA = "\uff0c"
"""What a Chinese keyboard types for a comma."""

_ITEM = re.compile(r"(\d{3})(?:\s*-\s*(\d{3}))?", re.ASCII)


@frozen
class StatusRanges:
    """An immutable set of status codes; `code in ranges` is the question asked."""

    codes: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> StatusRanges:
        """The set that a comma list of `N` and `N-M` names; empty items are skipped.

        Raises:
            ValueError: an item is not a code, lies outside 100 to 599, or runs
                backwards. The message is fit for the administrator.
        """
        codes: set[int] = set()
        for item in text.replace(FULL_WIDTH_COMMA, ",").split(","):
            if not (item := item.strip()):
                continue
            codes.update(_codes(item))
        return cls(frozenset(codes))

    def __contains__(self, status: object) -> bool:
        return status in self.codes

    def __str__(self) -> str:
        """The shortest text that parses to the same set."""
        spans: list[list[int]] = []
        for code in sorted(self.codes):
            if spans and code == spans[-1][1] + 1:
                spans[-1][1] = code
            else:
                spans.append([code, code])
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _codes(item: str) -> range:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ValueError(f"invalid status code: {item[:40]}")
    first = int(match[1])
    last = int(match[2] or first)
    if not LOWEST <= first <= last <= HIGHEST:
        raise ValueError(f"status code out of range {LOWEST} to {HIGHEST}: {item}")
    return range(first, last + 1)
