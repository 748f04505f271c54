"""The same measurement as `load`, by `wrk` where it is installed: a tenth of the cost.

A load generator in Python needs as much of its core as nginx needs of the other one, so
that nginx would look slower than it is. wrk does not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

SCRIPT = """
wrk.method = "POST"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"

function done(summary, latency, requests)
  local failed = summary.errors
  print(string.format(
    'outcome {{"calls":%d,"microseconds":%d,"failures":%d,' ..
    '"p50":%f,"p90":%f,"p99":%f,"max":%f}}',
    summary.requests, summary.duration,
    failed.connect + failed.read + failed.write + failed.status + failed.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99),
    latency.max))
end
"""


def installed() -> bool:
    """True when wrk is there."""
    return shutil.which("wrk") is not None


def command(order: dict[str, Any], folder: Path) -> list[str]:
    """The call of wrk that carries out an order of `load`."""
    body, script = folder / "wrk-body.json", folder / "wrk.lua"
    body.write_text(order["body"])
    script.write_text(SCRIPT.format(body=body, key=order["key"]))
    return [
        *("wrk", "-t1", f"-c{order['connections']}", f"-d{order['seconds']:.0f}s"),
        *("--timeout", "10s", "-s", str(script)),
        f"http://127.0.0.1:{order['port']}{order['path']}",
    ]


def outcome(said: str) -> dict[str, Any]:
    """What wrk said, in the form of `load`.

    Raises:
        ValueError: it did not come to its end.
    """
    for line in said.splitlines():
        if line.startswith("outcome "):
            found = json.loads(line.removeprefix("outcome "))
            return _in_our_form(found)
    raise ValueError(f"wrk said: {said[-500:]}")


def _in_our_form(found: dict[str, Any]) -> dict[str, Any]:
    seconds = found["microseconds"] / 1e6
    good = found["calls"] - found["failures"]
    marks = ("p50", "p90", "p99", "max")
    return {
        "seconds": seconds,
        "calls": good,
        "per_second": good / seconds,
        "failures": found["failures"],
        "reason": "",
        "events": 0,
        "events_per_second": 0.0,
        "call_ms": {mark: found[mark] / 1000 for mark in marks},
        "late_ms": {},
    }


def run(order: dict[str, Any], folder: Path, core: Any) -> dict[str, Any]:
    """Carry out an order; `core` is a `preexec_fn` that pins the child."""
    done = subprocess.run(
        command(order, folder),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=core,
    )
    return outcome(done.stdout + done.stderr)
