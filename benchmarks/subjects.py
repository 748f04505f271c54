"""What is measured: the gateway in both lanes, nginx, the naive proxy, the provider.

Each is one child process pinned to the first core; provider and load stand on the
second, so that a subject's core is its own.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

from benchmarks.management import Management, Refused
from benchmarks.workloads import (
    CHAT_MODEL,
    CHAT_ONLY,
    OPENAI,
    PLAIN_MODEL,
    TLS_MODEL,
    Workload,
)

SUBJECT_CORE, LOAD_CORE = 0, 1
PATIENCE = 60
"""Seconds until a subject must answer."""

ROOT = Path(__file__).resolve().parent.parent

NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 10m; client_body_buffer_size 1m;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream plain {{ server 127.0.0.1:{plain}; keepalive 1024;
                    keepalive_requests 1000000000; }}
  upstream tls {{ server 127.0.0.1:{tls}; keepalive 1024;
                  keepalive_requests 1000000000; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
  proxy_request_buffering off;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://plain; }} }}
  server {{ listen 127.0.0.1:{tls_port}; location / {{ proxy_pass https://tls; }} }}
}}
"""


class Unavailable(Exception):
    """A subject that cannot take part; the text says why."""


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def pinned(core: int) -> Callable[[], None]:
    """For `preexec_fn`: keep the child on one core, when there are several."""

    def pin() -> None:
        if (os.cpu_count() or 1) > core:
            os.sched_setaffinity(0, {core})

    return pin


@define
class Child:
    """A process that we started and only we end."""

    command: list[str]
    log: Path
    core: int = SUBJECT_CORE
    environment: dict[str, str] = field(factory=dict)
    cwd: Path = ROOT
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; the child must have been started."""
        if self.process is None:
            raise RuntimeError("not started")
        return self.process.pid

    def start(self) -> None:
        """Start it, with its output in the log file."""
        self.process = subprocess.Popen(
            self.command,
            cwd=self.cwd,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=self.log.open("ab"),
            stderr=subprocess.STDOUT,
            preexec_fn=pinned(self.core),
        )

    def stop(self) -> None:
        """End it and wait."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tail(self) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace")[-1500:]


@define
class Subject:
    """Something that can be called like a provider.

    Attributes:
        ports: Where it is called: for the plain and for the TLS upstream.
        key: The credential to call it with.
        dialects: What it understands; empty = it does not look.
    """

    name: str
    child: Child | None
    ports: tuple[int, int]
    key: str = "none"
    cold_start: float = 0.0
    idle_mb: float = 0.0
    dialects: tuple[str, ...] = ()

    def takes(self, workload: Workload) -> bool:
        """True when it can be called that way."""
        spoken = not self.dialects or workload.dialect in self.dialects
        return spoken and self.port(workload.tls) > 0

    def port(self, tls: bool) -> int:
        """Where calls of a workload go."""
        return self.ports[1 if tls else 0]


@define
class Upstreams:
    """The provider's process and ports."""

    child: Child
    plain: int
    tls: int
    certificate: Path


def provider(folder: Path, certificate: tuple[Path, Path]) -> Upstreams:
    """The mock provider, started on the load's core."""
    plain, tls = free_port(), free_port()
    command = [
        *(sys.executable, "-m", "benchmarks.provider"),
        *(str(plain), str(tls), str(certificate[0]), str(certificate[1])),
    ]
    child = Child(command, folder / "provider.log", LOAD_CORE)
    child.start()
    wait_for_port(child, plain)
    return Upstreams(child, plain, tls, certificate[0])


def nginx(folder: Path, upstreams: Upstreams) -> Subject:
    """nginx as a plain reverse proxy with one worker.

    Raises:
        Unavailable: it is not installed.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise Unavailable("nginx is not installed (apt-get install nginx-light)")
    port, tls_port = free_port(), free_port()
    home = folder / "nginx"
    home.mkdir()
    (home / "nginx.conf").write_text(
        NGINX.format(
            folder=home,
            plain=upstreams.plain,
            tls=upstreams.tls,
            port=port,
            tls_port=tls_port,
        )
    )
    child = Child([program, "-c", str(home / "nginx.conf")], folder / "nginx.log")
    child.start()
    wait_for_port(child, port)
    return Subject("nginx", child, (port, tls_port))


def naive(folder: Path, upstreams: Upstreams) -> Subject:
    """Klein in front and treq behind; for the plain upstream only."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "benchmarks.naive"),
        *(str(port), f"http://127.0.0.1:{upstreams.plain}"),
    ]
    child = Child(command, folder / "naive.log")
    child.start()
    wait_for_port(child, port)
    return Subject("naive", child, (port, 0), dialects=("chat",))


def direct(upstreams: Upstreams) -> Subject:
    """The provider itself, with nothing in between."""
    return Subject("direct", None, (upstreams.plain, 0))


def gateway(folder: Path, upstreams: Upstreams, fast_lane: bool) -> Subject:
    """The gateway with everything on, set up through its own API.

    Raises:
        Unavailable: it does not start, or refuses to be set up.
    """
    name = "fast lane" if fast_lane else "general lane"
    port = free_port()
    home = folder / name.replace(" ", "-")
    home.mkdir()
    child = Child(
        [str(Path(sys.executable).parent / "knight"), "run"],
        folder / f"{home.name}.log",
        environment=gateway_environment(port, home, fast_lane, upstreams.certificate),
        cwd=home,
    )
    began = time.monotonic()
    child.start()
    wait_for_answer(child, port, "/api/status")
    subject = Subject(name, child, (port, port), cold_start=time.monotonic() - began)
    try:
        subject.key = set_up(Management(port), upstreams)
    except (Refused, OSError, ValueError, KeyError) as error:
        child.stop()
        raise Unavailable(f"the set-up failed: {error}") from error
    return subject


def gateway_environment(
    port: int, home: Path, fast_lane: bool, certificate: Path
) -> dict[str, str]:
    """Defaults but for the port, the guard and the limits that a load would meet; the
    provider's certificate is verified, as it would be in earnest."""
    return {
        "LISTEN": f"tcp:{port}:interface=127.0.0.1:backlog=2048",
        "DATA_DIR": str(home / "data"),
        "SQL_DSN": "",
        "LOG_SQL_DSN": "",
        "REDIS_CONN_STRING": "",
        "FAST_LANE": "true" if fast_lane else "false",
        "ADDRESS_GUARD_ALLOW": "127.0.0.0/8",
        "SSL_CERT_FILE": str(certificate),
        "GLOBAL_API_RATE_LIMIT_ENABLE": "false",
        "GLOBAL_WEB_RATE_LIMIT_ENABLE": "false",
        "CRITICAL_RATE_LIMIT_ENABLE": "false",
    }


def set_up(management: Management, upstreams: Upstreams) -> str:
    """Root, channels for both upstreams, a token; returns its key."""
    management.first_login()
    plain = f"http://127.0.0.1:{upstreams.plain}"
    management.add_channels(PLAIN_MODEL, plain, OPENAI)
    management.add_channels(CHAT_MODEL, plain, CHAT_ONLY)
    management.add_channels(TLS_MODEL, f"https://127.0.0.1:{upstreams.tls}", OPENAI)
    return management.add_token()


def wait_for_port(child: Child, port: int) -> None:
    """Returns when a connection is accepted.

    Raises:
        Unavailable: the child ended, or took too long.
    """

    def accepts() -> bool:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True

    _wait(child, accepts)


def wait_for_answer(child: Child, port: int, path: str) -> None:
    """Returns when a GET is answered with 200; as `wait_for_port`."""

    def answers() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        status = connection.getresponse().status
        connection.close()
        return status == 200

    _wait(child, answers)


def _wait(child: Child, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if child.process is not None and child.process.poll() is not None:
            raise Unavailable(f"it ended at once: {child.tail()}")
        try:
            if ready():
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.02)
    child.stop()
    raise Unavailable(f"no answer within {PATIENCE} s: {child.tail()}")
