"""Setting up the gateway as an administrator would: through its own API."""

from __future__ import annotations

import http.client
import json
from http.cookies import SimpleCookie
from typing import Any

from attrs import define, field

ROOT = {"username": "benchroot", "password": "bench-Pass-1234"}
TIERS = ((30, 8), (20, 6), (10, 6))
"""Priority and number of channels; twenty in three tiers."""


class Refused(Exception):
    """The management API said no; the text holds the call and its answer."""


@define
class Management:
    """One administrator's session."""

    _port: int
    _headers: dict[str, str] = field(factory=dict)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The `data` of one call.

        Raises:
            Refused: a status from 400 up, or `success: false`.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            sent = None if body is None else json.dumps(body)
            headers = {"Content-Type": "application/json", **self._headers}
            connection.request(method, path, sent, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            self._keep(answer.headers.get_all("Set-Cookie") or [])
        finally:
            connection.close()
        said = json.loads(text) if text.startswith("{") else {}
        if answer.status >= 400 or said.get("success") is False:
            raise Refused(f"{method} {path}: {answer.status} {text[:300]}")
        return said.get("data")

    def _keep(self, cookies: list[str]) -> None:
        for cookie in cookies:
            for name, morsel in SimpleCookie(cookie).items():
                if name == "session":
                    self._headers["Cookie"] = f"session={morsel.value}"

    def first_login(self) -> None:
        """Go through the setup wizard and log in as root."""
        wizard = {
            **ROOT,
            "confirmPassword": ROOT["password"],
            "SelfUseModeEnabled": False,
            "DemoSiteEnabled": False,
        }
        self.call("POST", "/api/setup", wizard)
        who = self.call("POST", "/api/user/login", ROOT)
        self._headers["New-Api-User"] = str(who["id"])

    def add_channels(self, model: str, base_url: str, channel_type: int) -> None:
        """Twenty channels for one model, in three tiers of priority."""
        number = 0
        for priority, count in TIERS:
            for _ in range(count):
                number += 1
                channel = {
                    "type": channel_type,
                    "name": f"{model} {number}",
                    "key": f"sk-bench-{number}",
                    "models": model,
                    "group": "default",
                    "base_url": base_url,
                    "priority": priority,
                    "weight": number,
                }
                self.call(
                    "POST", "/api/channel/", {"mode": "single", "channel": channel}
                )

    def add_token(self) -> str:
        """A token with a limit of its own; returns the key with `sk-`."""
        wanted = {
            "name": "bench",
            "remain_quota": 100_000_000_000,
            "unlimited_quota": False,
            "expired_time": -1,
            "model_limits_enabled": False,
            "group": "",
        }
        made = self.call("POST", "/api/token/", wanted)
        number = made["id"] if made else self._newest_token()
        key: str = self.call("POST", f"/api/token/{number}/key")["key"]
        return "sk-" + key.removeprefix("sk-")

    def _newest_token(self) -> int:
        rows = self.call("GET", "/api/token/?p=1&size=10")["items"]
        return int(rows[0]["id"])
