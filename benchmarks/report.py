"""Tables of what was measured: for the terminal, as Markdown, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from benchmarks.measure import Outcome
from benchmarks.workloads import (
    COLD_START,
    MEMORY_LIMITS,
    Budget,
    Limit,
    Workload,
)

YARD, FLOOR = "nginx", "direct"
COLUMNS = ("", "of nginx", "CPU µs", "core", "p50 ms", "p99 ms", "failed")
LANE = "fast lane"
FULL = 0.9
"""Share of its core that a subject uses when nothing else is the limit."""


@define
class Report:
    """Everything one run found out."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    outcomes: dict[str, dict[str, Outcome]] = field(factory=dict)
    memory: dict[str, dict[str, float]] = field(factory=dict)
    cold_start: dict[str, float] = field(factory=dict)
    notes: list[str] = field(factory=list)

    def add(self, workload: Workload, subject: str, outcome: dict[str, Any]) -> None:
        """Keep one round's outcome."""
        by_subject = self.outcomes.setdefault(workload.name, {})
        by_subject.setdefault(subject, Outcome()).rounds.append(outcome)


def lines(report: Report, workloads: Iterable[Workload]) -> list[str]:
    """The report as Markdown that also reads well on a terminal."""
    found = ["# Benchmark", "", *_machine(report)]
    for workload in workloads:
        if outcomes := report.outcomes.get(workload.name):
            found += ["", *_workload(workload, outcomes)]
    if report.memory:
        found += ["", *_memory(report)]
    if report.notes:
        found += ["", *(f"- {note}" for note in report.notes)]
    return found


def _machine(report: Report) -> list[str]:
    facts = report.machine
    packages = ", ".join(f"{name} {v}" for name, v in facts["packages"].items())
    return [
        f"- {facts['processor']}, {facts['cores']} cores, Linux {facts['kernel']}, "
        f"load before {facts['load_average'][0]}, after {facts['load_after'][0]}",
        f"- Python {facts['python']}, {packages}",
        f"- {facts['nginx']}, {facts['wrk'] or 'no wrk'}, commit {facts['commit']}",
        f"- {report.settings['rounds']} rounds of {report.settings['seconds']} s in "
        "alternation, medians; subject on one core, load and provider on the other",
    ]


def _workload(workload: Workload, outcomes: Mapping[str, Outcome]) -> list[str]:
    rows = [
        _row(workload, subject, outcome, outcomes.get(YARD))
        for subject, outcome in outcomes.items()
    ]
    table = _table((workload.unit, *COLUMNS[1:]), rows)
    verdict = _verdict(workload, outcomes)
    return [f"## {workload.title}", "", *table, *verdict]


def _row(
    workload: Workload, subject: str, outcome: Outcome, yard: Outcome | None
) -> tuple[str, ...]:
    figure = outcome.middle(workload.figure)
    share = _share(figure, yard.middle(workload.figure) if yard else None)
    core = outcome.middle("core")
    return (
        subject,
        _number(figure),
        "" if share is None else f"{share:.2f}",
        _number(outcome.middle("event_us" if workload.events else "cpu_us")),
        "" if core is None else f"{core:.0%}",
        _number(outcome.middle("call_ms.p50")),
        _number(outcome.middle("call_ms.p99")),
        str(outcome.failures),
    )


def _share(figure: float | None, yard: float | None) -> float | None:
    return figure / yard if figure is not None and yard else None


def _verdict(workload: Workload, outcomes: Mapping[str, Outcome]) -> list[str]:
    lane = outcomes.get(LANE)
    if lane is None:
        return []
    said = [_limited(limit, lane, outcomes.get(FLOOR)) for limit in workload.limits]
    if workload.budget is not None:
        said.append(_budgeted(workload, workload.budget, lane, outcomes.get(YARD)))
        core = lane.middle("core")
        if core is not None and core < FULL:
            said.append(f"its core was {core:.0%} full: something else was the limit")
    return ["", *(f"- {LANE}, {one}" for one in said)] if said else []


def _budgeted(
    workload: Workload, budget: Budget, lane: Outcome, yard: Outcome | None
) -> str:
    figure = lane.middle(workload.figure) or 0.0
    share = _share(figure, yard.middle(workload.figure) if yard else None)
    if share is None or not budget.share_must:
        what = f"{figure:,.0f} {workload.unit}"
        return _judged(what, figure, budget.must, budget.aim)
    return _judged(f"{share:.2f} of nginx", share, budget.share_must, budget.share_aim)


def _limited(limit: Limit, lane: Outcome, floor: Outcome | None) -> str:
    figure = lane.middle(limit.figure) or 0.0
    under = (floor.middle(limit.figure) if floor else None) or 0.0
    return _within(limit, max(figure - under, 0.0))


def _within(limit: Limit, figure: float) -> str:
    what = f"{limit.what}: {_number(figure)}"
    return _judged(what, -figure, -limit.must, -limit.aim)


def _judged(what: str, figure: float, must: float, aim: float) -> str:
    if figure >= aim:
        return f"{what}: reaches the aim ({abs(aim):g})"
    if figure >= must:
        return f"{what}: keeps the budget ({abs(must):g}), the aim is {abs(aim):g}"
    return f"{what}: MISSES the budget ({abs(must):g})"


def _memory(report: Report) -> list[str]:
    heads = ("MB resident", "idle", "after load", "1,000 streams", "cold start s")
    rows: list[tuple[str, ...]] = [
        (
            subject,
            _number(found.get("idle_mb")),
            _number(found.get("after_load_mb")),
            _number(found.get("streams_mb")),
            f"{report.cold_start[subject]:.2f}" if subject in report.cold_start else "",
        )
        for subject, found in report.memory.items()
    ]
    said = []
    if lane := report.memory.get(LANE):
        said += [_within(limit, lane[limit.figure]) for limit in MEMORY_LIMITS]
    if LANE in report.cold_start:
        said.append(_within(COLD_START, report.cold_start[LANE]))
    verdict = ["", *(f"- {LANE}, {one}" for one in said)] if said else []
    return ["## Memory and start", "", *_table(heads, rows), *verdict]


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    heads = heads if len(heads) == len(rows[0]) else ("", *heads)
    cells = [heads, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    rule = ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:]))

    def line(row: tuple[str, ...]) -> str:
        first, *others = row
        padded = [first.ljust(widths[0])]
        padded += [one.rjust(w) for one, w in zip(others, widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    return [line(heads), line(rule), *(line(row) for row in rows)]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write(report: Report, text: list[str], folder: Path) -> Path:
    """Write `folder`/<time>.md and .json; returns the first."""
    folder.mkdir(parents=True, exist_ok=True)
    name = datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S")
    if report.settings["quick"]:
        name += "-quick"
    path = folder / f"{name}.md"
    path.write_text("\n".join(text) + "\n")
    everything = {
        "machine": report.machine,
        "settings": report.settings,
        "outcomes": {
            workload: {subject: one.rounds for subject, one in by_subject.items()}
            for workload, by_subject in report.outcomes.items()
        },
        "memory": report.memory,
        "cold_start": report.cold_start,
        "notes": report.notes,
    }
    path.with_suffix(".json").write_text(json.dumps(everything, indent=1) + "\n")
    return path
