"""What the machine says: processor time and memory of processes, versions, load."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

TICK = os.sysconf("SC_CLK_TCK")
PACKAGES = ("knight-omega", "Twisted", "klein", "treq", "httptools", "msgspec")


def family(pid: int) -> list[int]:
    """The process and everything that descends from it."""
    found = [pid]
    for one in found:
        for tasks in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in tasks.read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its descendants so far."""
    return sum(_cpu_ticks(one) for one in family(pid)) / TICK


def _cpu_ticks(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return 0
    # The name in brackets may hold blanks; user and system time are fields 14 and 15.
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def resident_mb(pid: int) -> float:
    """Resident memory of a process and its descendants, in MB of 1024 kB."""
    return sum(_resident_kb(one) for one in family(pid)) / 1024


def _resident_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def busy_share(before: list[int], after: list[int]) -> float:
    """Share of all cores' time that was used between two `cpu_times`."""
    spent = [late - early for early, late in zip(before, after, strict=True)]
    idle = spent[3] + spent[4]
    return 1 - idle / sum(spent) if sum(spent) else 0.0


def cpu_times() -> list[int]:
    """The first line of /proc/stat: ticks of user, nice, system, idle, iowait, …"""
    line = Path("/proc/stat").read_text().splitlines()[0]
    return [int(ticks) for ticks in line.split()[1:]]


def description() -> dict[str, Any]:
    """The machine, its load right now, and the versions of what is measured."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load_average": [round(one, 2) for one in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "nginx": _said(["nginx", "-v"]),
        "wrk": _said(["wrk", "-v"]).partition("[")[0].strip(),
        "commit": _said(["git", "rev-parse", "--short", "HEAD"]),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "absent"
    said = (done.stdout or done.stderr).strip().splitlines()
    return said[0] if said else ""


if sys.platform != "linux":
    raise SystemExit("knight: the benchmark reads /proc, so it runs on Linux only")
