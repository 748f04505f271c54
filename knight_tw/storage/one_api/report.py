"""What the upgrade of a one-api database amounts to, as values and as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from knight_tw.providers import identity
from knight_tw.storage.one_api.channel_types import Move

_SHOWN = ("base_url", "other")
"""Columns whose new value is worth showing; keys are not for anybody's eyes."""


@frozen
class Report:
    """The upgrade of one database, done or foreseen.

    Attributes:
        rows: Rows per table before.
        changes: Per table, what happens to how many rows.
        moves: Every channel.
        warnings: What the operator should look at.
        backup: The copy that was made first; empty when none was.
    """

    rows: Mapping[str, int]
    changes: Mapping[str, tuple[tuple[int, str], ...]]
    moves: tuple[Move, ...]
    warnings: tuple[str, ...] = ()
    backup: str = ""

    @property
    def renumbered(self) -> list[Move]:
        """Channels that get another type."""
        return [move for move in self.moves if move.old_type != move.new_type]

    @property
    def disabled(self) -> list[Move]:
        """Channels that are switched off by the upgrade."""
        return [move for move in self.moves if move.disabled]


def lines(report: Report) -> Iterator[str]:
    """The report for people: rows, channels that change or stop, warnings."""
    if report.backup:
        yield f"Backup: {report.backup}"
    counted = (f"{table} {count}" for table, count in report.rows.items())
    yield f"Rows before: {', '.join(counted)}."
    count, kept = len(report.moves), len(report.moves) - len(report.renumbered)
    if count:
        yield f"Channels: {count}, of which {kept} keep the number of their type."
    for move in report.moves:
        if said := _said(move):
            yield f"  {move.id:>5}  {said}"
    if report.disabled:
        yield "Switched off, because they cannot work here:"
    for move in report.disabled:
        yield f"  {move.id:>5}  {move.name}: {move.disabled}"
    if warnings := [*report.warnings, *_warned(report.moves)]:
        yield "To be looked at:"
        yield from (f"  {text}" for text in warnings)


def _said(move: Move) -> str:
    """One line about a channel, empty when nothing about it changes."""
    became = f"{move.new_type} {identity.name_of(move.new_type)}"
    told = f"{move.old_type} {move.kind} -> {became}"
    if move.old_type == move.new_type:
        told = became
    parts = [f"{name} {move.columns[name]}" for name in _SHOWN if name in move.columns]
    if move.columns.get("key"):
        parts.append("key built from its config")
    if "setting" in move.columns:
        parts.append("system prompt kept")
    if "settings" in move.columns:
        parts.append("paths joined without /v1")
    if move.old_type == move.new_type and not parts:
        return ""
    return f"{told}  {move.name}" + (f"  ({'; '.join(parts)})" if parts else "")


def _warned(moves: tuple[Move, ...]) -> Iterator[str]:
    for move in moves:
        for text in move.warnings:
            yield f"channel {move.id} {move.name}: {text}"
