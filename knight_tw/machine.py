"""What the machine and this process say about themselves, as far as Linux tells.

Every function reads a few small files of the kernel and may be called in a thread.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import shutil
from pathlib import Path
from typing import Any

from attrs import define, field

PROC = Path("/proc")
_KILOBYTE = 1024


@define(eq=False)
class Processors:
    """How busy the processors are between two questions."""

    _stat: Path = PROC / "stat"
    _last: tuple[int, int] = field(default=(0, 0))

    def __attrs_post_init__(self) -> None:
        self._last = self._times()

    def percent(self) -> float:
        """The share of the time since the last question in which they worked."""
        (idle, total), before = self._times(), self._last
        self._last = (idle, total)
        passed = total - before[1]
        if passed <= 0:
            return 0.0
        return round(100.0 * (1 - (idle - before[0]) / passed), 2)

    def _times(self) -> tuple[int, int]:
        """Idle and total time since the start of the machine, in ticks."""
        try:
            first = self._stat.read_text().partition("\n")[0]
        except OSError:
            return 0, 0
        # user nice system idle iowait irq softirq steal; guests are part of user
        ticks = [int(one) for one in first.split()[1:9]]
        return sum(ticks[3:5]), sum(ticks)


def memory_percent() -> float:
    """The share of the machine's memory that is not available."""
    try:
        lines = (PROC / "meminfo").read_text().splitlines()
    except OSError:
        return 0.0
    found = {
        name: rest.split() for name, _, rest in (it.partition(":") for it in lines)
    }
    try:
        total, left = int(found["MemTotal"][0]), int(found["MemAvailable"][0])
    except (KeyError, IndexError, ValueError):
        return 0.0
    return round(100.0 * (total - left) / total, 2) if total else 0.0


def storage(folder: str) -> dict[str, Any]:
    """Room on the file system of a folder, in bytes; zeros when it is not there."""
    try:
        total, used, free = shutil.disk_usage(folder)
    except OSError:
        return {"total": 0, "free": 0, "used": 0, "used_percent": 0}
    share = 100.0 * used / total if total else 0.0
    return {"total": total, "free": free, "used": used, "used_percent": share}


def process_memory() -> dict[str, int]:
    """This process: bytes in use now and at most, address space, and the rounds of the
    collector of cycles."""
    resident, space = _pages()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTE
    return {
        "alloc": resident,
        "total_alloc": max(most, resident),
        "sys": space,
        "num_gc": sum(one["collections"] for one in gc.get_stats()),
    }


def _pages() -> tuple[int, int]:
    try:
        space, resident = (PROC / "self/statm").read_text().split()[:2]
    except OSError:
        return 0, 0
    size = os.sysconf("SC_PAGE_SIZE")
    return int(resident) * size, int(space) * size


def in_container() -> bool:
    """True when something says that this is a container."""
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return True
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def kind() -> tuple[str, str]:
    """Operating system and processor, in the words of the reference."""
    machine = platform.machine().lower()
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    return platform.system().lower(), names.get(machine, machine)
