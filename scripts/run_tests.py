"""Runs the tests with trial and ends with one line: `N passed, N failed, N skipped`.

Says first which database engines take part. With KNIGHT_TEST_REQUIRED=1 a missing one
stops the run. Arguments are names of test modules, classes or methods; none means all.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 2

ENGINES = {
    "PostgreSQL": ("KNIGHT_TEST_POSTGRES", 5432),
    "MariaDB": ("KNIGHT_TEST_MYSQL", 3306),
    "Redis": ("KNIGHT_TEST_REDIS", 6379),
}
"""Engine to the variable with its address and the port without one."""

SUMMARY = re.compile(r"^(PASSED|FAILED)(?: \((?P<counts>.*)\))?\s*$")


def main(names: list[str]) -> int:
    """Run the tests; returns trial's exit status."""
    environment = {**os.environ, **running_services()}
    missing = left_out(environment)
    if missing and environment.get("KNIGHT_TEST_REQUIRED") == "1":
        print(f"knight: required and not there: {', '.join(missing)}")
        return 1
    if missing:
        print(
            f"Left out: {', '.join(missing)} (make services starts them). "
            "SQLite takes part.",
            flush=True,
        )
    return trial(names or ["tests"], environment)


def running_services() -> dict[str, str]:
    """The addresses of the services that `make services` started, if it did."""
    answer = subprocess.run(
        [str(ROOT / "scripts" / "services.sh"), "env"],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        return {}
    lines = (line.removeprefix("export ") for line in answer.stdout.splitlines())
    pairs = (shlex.split(line)[0].partition("=") for line in lines if "=" in line)
    return {name: value for name, _, value in pairs if name not in os.environ}


def left_out(environment: Mapping[str, str]) -> list[str]:
    """The engines that nobody answers for."""
    return [
        engine
        for engine, (variable, port) in ENGINES.items()
        if not (variable in environment and answers(environment[variable], port))
    ]


def answers(address: str, port: int) -> bool:
    """True when a connection to the host and port of `address` is accepted."""
    if found := re.search(r"tcp\(([^:)]+):?(\d*)\)", address):
        host, number = found[1], int(found[2] or port)
    else:
        parts = urlsplit(address)
        host, number = parts.hostname or "127.0.0.1", parts.port or port
    try:
        socket.create_connection((host, number), timeout=1).close()
    except OSError:
        return False
    return True


def trial(names: list[str], environment: Mapping[str, str]) -> int:
    """Run trial, show what it says, and add the closing line."""
    command = [sys.executable, "-m", "twisted.trial", f"-j{WORKERS}", *names]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        closing = ""
        for line in running.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            if found := SUMMARY.match(line):
                closing = counts(found["counts"] or "")
    if closing:
        print(closing)
    return running.returncode


def counts(text: str) -> str:
    """`12 passed, 0 failed, 1 skipped` from trial's `skips=1, successes=12`."""
    found = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", text)}
    passed = found.get("successes", 0) + found.get("expectedFailures", 0)
    failed = sum(
        found.get(kind, 0) for kind in ("failures", "errors", "unexpectedSuccesses")
    )
    return f"{passed} passed, {failed} failed, {found.get('skips', 0)} skipped"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
