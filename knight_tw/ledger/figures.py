"""Plain counters of what the ledger did, for the metrics page."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field

from knight_tw.ledger.charges import Decision


@define(eq=False)
class Figures:
    """Counts since the process began; nobody but the ledger writes them.

    Attributes:
        charged: Quota by evidence, as really taken.
        uncollected: Quota that nobody had any more.
        holds: Holds given in `memory` and in `sql`, and those `refused`.
        holds_open, holds_quota: What is open now.
        flushes: Batches applied.
        flushed_records: Entries in them.
        failed_flushes: Attempts that the database refused.
        observe: Told the seconds and the entries of each batch, for a histogram.
    """

    charged: dict[str, int] = field(factory=dict)
    uncollected: int = 0
    holds: dict[str, int] = field(factory=lambda: {"memory": 0, "sql": 0, "refused": 0})
    holds_open: int = 0
    holds_quota: int = 0
    flushes: int = 0
    flushed_records: int = 0
    failed_flushes: int = 0
    observe: Callable[[float, int], None] | None = None

    def flushed(
        self, seconds: float, records: int, decisions: Iterable[Decision]
    ) -> None:
        """A batch was applied."""
        self.flushes += 1
        self.flushed_records += records
        for decision in decisions:
            self.uncollected += decision.uncollected
            for evidence, amount in decision.charged.items():
                self.charged[evidence] = self.charged.get(evidence, 0) + amount
        if self.observe is not None:
            self.observe(seconds, records)
