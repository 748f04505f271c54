"""Chromium without a window, told what to do by its debugging protocol over a pipe."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from unittest import SkipTest

from attrs import define

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0
_FIRST_FREE = 20
"""A descriptor above those that the browser's pipe must have (3 and 4)."""


@define(eq=False)
class Browser:
    """One page of one browser; `close` ends it."""

    _child: subprocess.Popen[bytes]
    _outgoing: int
    _incoming: int
    _number: int = 0
    _rest: bytes = b""
    _session: str = ""

    @classmethod
    def start(cls, folder: Path) -> Browser:
        """A browser with an empty profile in `folder`.

        Raises:
            SkipTest: there is none on this machine.
        """
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if program is None:
            raise SkipTest("no Chromium on this machine")
        their_in, our_out = map(_lifted, os.pipe())
        our_in, their_out = map(_lifted, os.pipe())
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={folder}",
        ]
        shell = ["bash", "-c", f'exec "$@" 3<&{their_in} 4>&{their_out}', "-"]
        child = subprocess.Popen(
            [*shell, program, *flags, "about:blank"],
            pass_fds=(their_in, their_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        browser = cls(child, our_out, our_in)
        browser._attach()
        return browser

    def _attach(self) -> None:
        made = self.tell("Target.createTarget", url="about:blank")
        target = {"targetId": made["targetId"], "flatten": True}
        self._session = self.tell("Target.attachToTarget", **target)["sessionId"]

    def open(self, url: str) -> None:
        """Go to a page, until it has an origin."""
        self.tell("Page.enable")
        self.tell("Page.navigate", url=url)
        end = time.monotonic() + PATIENCE
        while self.run("location.href + document.readyState") != f"{url}complete":
            if time.monotonic() > end:
                raise AssertionError(f"{url} does not load")
            time.sleep(0.05)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        wanted = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = self.tell("Runtime.evaluate", expression=script, **wanted)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def tell(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one command."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._outgoing, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") != self._number:
                continue
            if "error" in message:
                raise AssertionError(f"{method}: {message['error']}")
            found: dict[str, Any] = message["result"]
            return found

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._incoming], [], [], PATIENCE)
            piece = os.read(self._incoming, 65_536) if ready else b""
            if not piece:
                raise AssertionError("the browser does not answer")
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def close(self) -> None:
        """End it."""
        self._child.kill()
        self._child.wait(PATIENCE)
        os.close(self._outgoing)
        os.close(self._incoming)


def _lifted(handle: int) -> int:
    """The same pipe at a higher descriptor."""
    moved = fcntl.fcntl(handle, fcntl.F_DUPFD, _FIRST_FREE)
    os.close(handle)
    return moved
