"""`python -m benchmarks`: start, measure in alternation, print, write."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks import machine, report, subjects, wrk
from benchmarks.measure import measure, memory
from benchmarks.subjects import Subject, Unavailable, Upstreams
from benchmarks.workloads import WORKLOADS, Workload

RESULTS = Path(__file__).resolve().parent / "results"
SUBJECTS = ("fast lane", "general lane", "nginx", "naive")


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures the gateway beside nginx and a naive proxy, one core "
        "for the subject, one for load and provider. Takes about ten minutes.",
    )
    parser.add_argument("--quick", action="store_true", help="about two minutes")
    names = ", ".join(one.name for one in WORKLOADS)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help=f"a workload ({names}, memory); may be repeated",
    )
    parser.add_argument(
        "--subject",
        action="append",
        default=[],
        metavar="NAME",
        help=f"a subject ({', '.join(SUBJECTS)}); may be repeated",
    )
    parser.add_argument("--rounds", type=int, help="rounds of each workload")
    parser.add_argument("--seconds", type=float, help="length of one round")
    parser.add_argument(
        "--keep", action="store_true", help="keep the folder with data and logs"
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Run everything; returns 1 when the gateway could not be measured or failed."""
    wanted = arguments(words)
    known = {one.name for one in WORKLOADS} | {"memory"}
    if unknown := set(wanted.only) - known:
        print(f"knight: no such workload: {', '.join(sorted(unknown))}")
        return 2
    install_tools()
    folder = Path(tempfile.mkdtemp(prefix="knight-bench-"))
    upstreams = subjects.provider(folder, certificate(folder))
    everyone: list[Subject] = []
    try:
        found = report.Report(
            machine.description(),
            {
                "quick": wanted.quick,
                "rounds": wanted.rounds or (1 if wanted.quick else 3),
                "seconds": wanted.seconds or (2.0 if wanted.quick else 5.0),
            },
        )
        everyone = start(folder, upstreams, wanted.subject or SUBJECTS, found)
        run(found, everyone, upstreams, set(wanted.only), folder)
    finally:
        for child in [upstreams.child, *(one.child for one in everyone)]:
            if child is not None:
                child.stop()
        if wanted.keep:
            print(f"Data and logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return conclude(found)


def start(
    folder: Path,
    upstreams: Upstreams,
    names: Sequence[str],
    found: report.Report,
) -> list[Subject]:
    """Every subject that can take part; the others become notes."""
    makers: dict[str, Callable[[], Subject]] = {
        "fast lane": lambda: subjects.gateway(folder, upstreams, True),
        "general lane": lambda: subjects.gateway(folder, upstreams, False),
        "nginx": lambda: subjects.nginx(folder, upstreams),
        "naive": lambda: subjects.naive(folder, upstreams),
    }
    started = []
    for name in names:
        print(f"starting: {name}", flush=True)
        try:
            subject = makers[name]()
        except Unavailable as reason:
            found.notes.append(f"{name} is left out: {reason}")
            print(f"left out: {name}: {reason}", flush=True)
            continue
        if subject.child is not None:
            time.sleep(1)
            subject.idle_mb = machine.resident_mb(subject.child.pid)
        if subject.cold_start:
            found.cold_start[name] = subject.cold_start
        started.append(subject)
    return started


def run(
    found: report.Report,
    everyone: Sequence[Subject],
    upstreams: Upstreams,
    only: set[str],
    folder: Path,
) -> None:
    """Measure each workload, round by round, one subject after the other."""
    for workload in WORKLOADS:
        if only and workload.name not in only:
            continue
        taking_part = [one for one in everyone if one.takes(workload)]
        if workload.direct:
            taking_part.append(subjects.direct(upstreams))
        run_workload(found, workload, taking_part, folder)
    if not only or "memory" in only:
        for subject in everyone:
            print(f"memory: {subject.name}", flush=True)
            found.memory[subject.name] = memory(subject)
    found.machine["load_after"] = [round(one, 2) for one in os.getloadavg()]


def run_workload(
    found: report.Report,
    workload: Workload,
    taking_part: Sequence[Subject],
    folder: Path,
) -> None:
    """All rounds of one workload, after a second that is not counted."""
    for subject in taking_part:
        measure(workload, subject, 1, folder)
    for number in range(found.settings["rounds"]):
        for subject in taking_part:
            outcome = measure(workload, subject, found.settings["seconds"], folder)
            found.add(workload, subject.name, outcome)
            figure = found.outcomes[workload.name][subject.name].middle(workload.figure)
            print(
                f"{workload.name} {number + 1}: {subject.name}: "
                f"{figure or 0:,.2f} {workload.unit}, {outcome['failures']} failed",
                flush=True,
            )
            if outcome["failures"]:
                note = f"{workload.name}, {subject.name}: {outcome['reason'][:200]!r}"
                found.notes.append(note)


def conclude(found: report.Report) -> int:
    """Print and write the report; returns the exit status."""
    if not wrk.installed():
        found.notes.append(
            "without wrk (apt-get install wrk) the load generator limits nginx, "
            "so the shares of nginx look better than they are"
        )
    text = report.lines(found, WORKLOADS)
    print("\n".join(["", *text, ""]))
    path = report.write(found, text, RESULTS)
    print(f"Written: {path} and .json")
    measured = any(
        report.LANE in outcomes and not outcomes[report.LANE].failures
        for outcomes in found.outcomes.values()
    )
    return 0 if measured else 1


def install_tools() -> None:
    """nginx and wrk from Debian's packages, where this user may install them."""
    missing = []
    if not (shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")):
        missing.append("nginx-light")
    if not wrk.installed():
        missing.append("wrk")
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {' and '.join(missing)}", flush=True)
        for command in (["update"], ["install", "-y", *missing]):
            subprocess.run(
                ["apt-get", "-qq", *command],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for loopback, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
