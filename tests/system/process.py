"""The gateway as users run it: `twistd knight` in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
NAME, PASSWORD = "root", "a-Good-password-1"


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@define(eq=False)
class Process:
    """A gateway in a folder of its own. `start` may be called again after `kill`."""

    folder: Path
    environment: dict[str, str] = field(factory=dict)
    port: int = field(factory=free_port)
    cookie: str = ""
    _child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it until it answers."""
        limits = ("GLOBAL_API", "GLOBAL_WEB", "CRITICAL", "SEARCH")
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("KNIGHT_")},
            **{f"{name}_RATE_LIMIT_ENABLE": "false" for name in limits},
            "LISTEN": f"tcp:{self.port}:interface=127.0.0.1",
            "DATA_DIR": str(self.folder / "data"),
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
            ),
            **self.environment,
        }
        command = [
            str(Path(sys.executable).with_name("twistd")),
            "--nodaemon",
            "--pidfile=",
            "knight",
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "gateway.log").open("ab") as log:
            self._child = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self._child is not None
            if self._child.poll() is not None:
                raise RuntimeError(f"it ended at start:\n{self.log[-3000:]}")
            try:
                if self.ask("GET", "/api/status")[0] == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"it does not answer:\n{self.log[-3000:]}")

    @property
    def log(self) -> str:
        """What it has printed."""
        return (self.folder / "gateway.log").read_text(errors="replace")

    def kill(self) -> None:
        """`kill -9`."""
        assert self._child is not None
        self._child.send_signal(signal.SIGKILL)
        self._child.wait(PATIENCE)

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        """Its exit status, once it is over."""
        assert self._child is not None
        return self._child.wait(PATIENCE)

    def stop(self) -> None:
        """End it, whatever its state."""
        if self._child is not None and self._child.poll() is None:
            self.terminate()
            try:
                self._child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()

    # its API ------------------------------------------------------------------

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON and headers of one request."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=PATIENCE
        )
        told = {"Content-Type": "application/json", "New-Api-User": "1", **headers}
        if self.cookie:
            told.setdefault("Cookie", self.cookie)
        data = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, data, told)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        value = json.loads(content) if content[:1] in (b"{", b"[") else content
        found = dict(answer.getheaders())
        cookies = answer.headers.get_all("Set-Cookie") or []
        found["Cookies"] = "; ".join(c.partition(";")[0] for c in cookies)
        return answer.status, value, found

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """`data` of a management answer that must succeed."""
        status, value, _ = self.ask(method, path, body)
        if status != 200 or not value["success"]:
            raise AssertionError(f"{method} {path}: {status} {value}")
        return value.get("data")

    def set_up(self) -> str:
        """Root user, session and an unlimited token; the token's key."""
        self.call(
            "POST",
            "/api/setup",
            {
                "username": NAME,
                "password": PASSWORD,
                "confirmPassword": PASSWORD,
                "SelfUseModeEnabled": False,
                "DemoSiteEnabled": False,
            },
        )
        login = {"username": NAME, "password": PASSWORD}
        _, _, headers = self.ask("POST", "/api/user/login", login)
        self.cookie = headers["Cookies"]
        self.call(
            "POST",
            "/api/token/",
            {"name": "t", "unlimited_quota": True, "expired_time": -1},
        )
        (token,) = self.call("GET", "/api/token/")["items"]
        return "sk-" + str(self.call("POST", f"/api/token/{token['id']}/key")["key"])

    def channel(self, url: str, **values: Any) -> None:
        """Makes a channel at `url`."""
        channel = {
            "name": "c",
            "type": 1,
            "key": "sk-upstream",
            "base_url": url,
            "models": "gpt-4o",
            "group": "default",
            **values,
        }
        self.call("POST", "/api/channel/", {"mode": "single", "channel": channel})

    def options(self, values: Mapping[str, str]) -> Callable[[], None]:
        """Sets options; what is returned sets them as they were."""
        before = {row["key"]: row["value"] for row in self.call("GET", "/api/option/")}

        def put(wanted: Mapping[str, str | None]) -> None:
            told = [{"key": key, "value": value} for key, value in wanted.items()]
            self.call("PUT", "/api/option/batch", {"changes": told})

        put(values)
        return lambda: put({key: before.get(key) for key in values})

    def logs(self, kind: int = 2) -> list[dict[str, Any]]:
        """All log rows of one type."""
        rows: list[dict[str, Any]] = []
        page = 1
        while True:
            path = f"/api/log/?type={kind}&p={page}&page_size=100"
            found = self.call("GET", path)
            rows += found["items"]
            if len(rows) >= found["total"] or not found["items"]:
                return rows
            page += 1

    def quota(self) -> int:
        """The root user's balance."""
        return int(self.call("GET", "/api/user/self")["quota"])
