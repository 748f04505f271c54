"""Starting well or stopping with one clear line.

`from_environment` gathers the settings, `ready_folder` makes sure of the data folder,
`Startup` runs the gateway's service under `twistd` and ends the process with exit
status 1, without a traceback, when the start fails for a reason a person can act on.
"""

# twistd's services, options and runners are untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import atexit
import errno
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger
from twisted.python.failure import Failure

from knight_tw.errors import KnightError
from knight_tw.settings import Settings, SettingsError, dotenv

log = Logger()

OLDEST_PYTHON = (3, 11)

PORT_TROUBLE = {
    errno.EADDRINUSE: (
        "port {port} is taken: another program listens on it. "
        "Stop that program or choose another port (--port, PORT)"
    ),
    errno.EACCES: (
        "port {port} may not be opened: ports below 1024 need the right to bind them. "
        "Choose another port (--port, PORT)"
    ),
    errno.EADDRNOTAVAIL: (
        "port {port}: the address {interface} does not belong to this machine"
    ),
}


class CannotStart(Exception):
    """The start is impossible for a reason a person can act on; the text says which."""


def from_environment(
    environment: Mapping[str, str], flags: Mapping[str, str], folder: Path
) -> Settings:
    """The settings from `folder`/.env, the environment and the flags, later ones win.

    Raises:
        SettingsError: a value is malformed or a variable of ours is unknown.
        CannotStart: there is a `.env` that cannot be read.
    """
    variables = {**_env_file(folder / ".env"), **environment}
    if "PORT" in flags and "LISTEN" not in flags:
        variables.pop("LISTEN", None)
    return Settings.from_env({**variables, **flags})


def _env_file(path: Path) -> dict[str, str]:
    try:
        return dotenv(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"cannot read {path}: {_reason(error)}") from None


def ready_folder(path: str) -> str:
    """The absolute path of the data folder, which exists and can be written.

    Raises:
        CannotStart: it cannot be made or written.
    """
    folder = Path(path).absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CannotStart(
            f"cannot write to the data folder {folder}: {_reason(error)}. "
            "Choose another (--data, DATA_DIR) or give this user the right to write"
        ) from None
    return str(folder)


def supported_python(version: tuple[int, ...] = sys.version_info[:2]) -> None:
    """Raises CannotStart when this Python is too old."""
    if version < OLDEST_PYTHON:
        have, need = (".".join(map(str, v)) for v in (version, OLDEST_PYTHON))
        raise CannotStart(f"Python {need} or later is needed, this is {have}")


def explain(error: BaseException | None) -> str | None:
    """One line that says why the start failed, or None when nobody foresaw it."""
    if isinstance(error, CannotListenError):
        return _port_trouble(error)
    if isinstance(error, (CannotStart, SettingsError)):
        return str(error)
    if isinstance(error, KnightError):
        return f"{error.message}: {error.detail}" if error.detail else error.message
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {_reason(error)}"
    return None


def _port_trouble(error: CannotListenError) -> str:
    number = getattr(error.socketError, "errno", None)
    sentence = PORT_TROUBLE.get(number) if number is not None else None
    if sentence is None:
        sentence = "cannot listen on port {port}: {reason}"
    return sentence.format(
        port=error.port, interface=error.interface, reason=error.socketError
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class Startup(Service):
    """The gateway as `twistd` runs it.

    `gateway.startService()` may return a Deferred that fires when the gateway serves;
    when it fails, or raises, the process logs one line and stops with status 1.
    `gateway.stopService()` may return a Deferred that the process waits for.
    """

    def __init__(
        self,
        gateway: IService,
        reactor: IReactorCore,
        exit_with: Callable[[int], None] | None = None,
    ) -> None:
        self._gateway = gateway
        self._reactor = reactor
        self._exit_with = exit_with or exit_status
        self._failed = False

    def privilegedStartService(self) -> None:
        """Begin what may need more rights than the process keeps."""
        super().privilegedStartService()
        self._attempt(self._gateway.privilegedStartService)

    def startService(self) -> None:
        """Start the gateway."""
        super().startService()
        self._attempt(self._gateway.startService)

    def stopService(self) -> Deferred[Any]:
        """Fires when the gateway has stopped."""
        super().stopService()
        return maybeDeferred(self._gateway.stopService)

    def _attempt(self, step: Callable[[], Any]) -> None:
        if not self._failed:
            maybeDeferred(step).addErrback(self._give_up)

    def _give_up(self, failure: Failure) -> None:
        self._failed = True
        if (reason := explain(failure.value)) is not None:
            log.critical("cannot start: {reason}", reason=reason)
        else:
            log.failure("cannot start, and nobody foresaw why", failure)
        self._exit_with(1)
        self._reactor.callWhenRunning(self._reactor.stop)


def exit_status(status: int) -> None:
    """Make the process end with `status`.

    twistd ends with 0 whenever its reactor stopped in order, and the reactor swallows
    SystemExit, so the status is set by the last thing a Python process does.
    """

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    atexit.register(leave)
