"""One measurement: a workload on a subject, with what it cost the subject."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from attrs import define, field

from benchmarks import machine, wrk
from benchmarks.subjects import LOAD_CORE, ROOT, Subject, pinned
from benchmarks.workloads import Workload

OPEN_STREAMS = 1000
STREAM_SECONDS = 10


@define
class Outcome:
    """What one subject did with one workload, round by round."""

    rounds: list[dict[str, Any]] = field(factory=list)

    def middle(self, path: str) -> float | None:
        """The median over the rounds of a figure such as `call_ms.p50`."""
        found = [value for one in self.rounds if (value := _at(one, path)) is not None]
        return median(found) if found else None

    @property
    def failures(self) -> int:
        """Calls that were not answered with 200, in all rounds."""
        return sum(one["failures"] for one in self.rounds)

    @property
    def reason(self) -> str:
        """The first failure's answer or error."""
        return next((one["reason"] for one in self.rounds if one["reason"]), "")


def _at(outcome: dict[str, Any], path: str) -> float | None:
    value: Any = outcome
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return None if value is None else float(value)


def measure(
    workload: Workload, subject: Subject, seconds: float, folder: Path
) -> dict[str, Any]:
    """Call `subject` for `seconds`; the outcome of `load` and the cost.

    `cpu_us` and `event_us` are microseconds of the subject's processor time per call
    and per event, `core` the share of its core that it used, `machine` the share of
    all cores that anybody used.
    """
    order = order_for(workload, subject, seconds)
    pid = subject.child.pid if subject.child else None
    everybody, before = machine.cpu_times(), machine.cpu_seconds(pid) if pid else 0.0
    if wrk.installed() and not workload.events:
        outcome = wrk.run(order, folder, pinned(LOAD_CORE))
    else:
        outcome = run_load(order)
    outcome["machine"] = machine.busy_share(everybody, machine.cpu_times())
    if pid:
        spent = machine.cpu_seconds(pid) - before
        outcome["core"] = spent / outcome["seconds"]
        outcome["cpu_us"] = 1e6 * spent / max(outcome["calls"], 1)
        if outcome["events"]:
            outcome["event_us"] = 1e6 * spent / outcome["events"]
    return outcome


def order_for(workload: Workload, subject: Subject, seconds: float) -> dict[str, Any]:
    """The order that `load` and `wrk` take."""
    return {
        "port": subject.port(workload.tls),
        "path": workload.path,
        "key": subject.key,
        "connections": workload.connections,
        "seconds": max(1, round(seconds)),
        "body": workload.body(),
        "stream": bool(workload.events),
        "spread": workload.events * workload.gap / 1e6,
    }


def run_load(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out an order with our own load generator."""
    with start_load(order) as running:
        said = running.communicate()[0]
    found: dict[str, Any] = json.loads(said)
    return found


def start_load(order: dict[str, Any]) -> subprocess.Popen[str]:
    """Begin an order; the outcome is a line on the process's output."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load", json.dumps(order)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=pinned(LOAD_CORE),
    )


def memory(subject: Subject) -> dict[str, float]:
    """Resident memory in MB, as it is and while a thousand streams are open."""
    if subject.child is None:
        return {}
    streams = Workload(
        "memory",
        "",
        OPEN_STREAMS,
        "calls",
        "",
        events=STREAM_SECONDS * 2,
        gap=500_000,
    )
    at_rest = machine.resident_mb(subject.child.pid)
    with start_load(order_for(streams, subject, STREAM_SECONDS - 1)) as running:
        time.sleep(STREAM_SECONDS / 2)
        busy = machine.resident_mb(subject.child.pid)
        found = json.loads(running.communicate()[0])
    return {
        "idle_mb": subject.idle_mb,
        "after_load_mb": at_rest,
        "streams_mb": busy,
        "streams_failed": found["failures"],
    }
