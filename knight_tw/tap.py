"""`twistd knight`: its options, and the service they describe."""

# twistd's services, options and runners are untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import attrs
from twisted.application.service import IService
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger, globalLogPublisher
from twisted.python import usage

import knight_tw
from knight_tw import logging, startup
from knight_tw.settings import Settings, SettingsError, without_effect

log = Logger()

FLAGS = {"port": "PORT", "data": "DATA_DIR", "workers": "WORKERS"}
"""Flag to the variable that it sets."""


class Options(usage.Options):
    """The flags of the gateway; each wins over its environment variable."""

    longdesc = (
        "Knight Omega is a gateway between API clients and model providers. "
        "Everything else is set by environment variables or a .env file in this "
        "folder (PORT, SQL_DSN, REDIS_CONN_STRING, ...): see docs/configuration.md. "
        "Endpoints look like tcp:3000:interface=127.0.0.1, unix:/run/knight.sock, "
        "ssl:443:privateKey=key.pem:certKey=cert.pem or systemd:domain=INET:index=0. "
        "On the first start, open the address it prints to set up an administrator."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["port", "p", None, "TCP port to listen on, on all addresses [default: 3000]"],
        [
            "data",
            "d",
            None,
            "folder for the SQLite file, the journal and the generated secret; made "
            "when it does not exist [default: data]",
        ],
        [
            "workers",
            "w",
            None,
            "processes that share the port; this version runs 1 [default: 1]",
        ],
        [
            "log-dir",
            None,
            None,
            "also write the log to knight.log in this folder, rotated by size",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """a Twisted endpoint to listen on instead of --port; may be given repeatedly"""
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def opt_version(self) -> None:
        """print the version and exit"""
        print(f"Knight Omega {knight_tw.__version__}")  # noqa: T201  # the answer
        raise SystemExit(0)

    def getSynopsis(self) -> str:
        """The line that shows how the command is called."""
        return f"Usage: {'twistd knight' if self.parent else 'knight run'} [options]"

    def flags(self) -> dict[str, str]:
        """The variables that were set by flags."""
        return {
            variable: self[flag]
            for flag, variable in FLAGS.items()
            if self[flag] is not None
        }


def makeService(options: Options) -> IService:
    """The gateway that the options, the environment and `.env` describe.

    Raises:
        SystemExit: with one line that says what is wrong.
    """
    try:
        settings = _settings(options)
        return _gateway(settings, options["log-dir"])
    except (SettingsError, startup.CannotStart) as error:
        raise SystemExit(f"knight: {error}") from None


def _settings(options: Options) -> Settings:
    startup.supported_python()
    settings = startup.from_environment(os.environ, options.flags(), Path.cwd())
    if settings.workers != 1:
        raise startup.CannotStart(
            "WORKERS: this version runs one process. "
            "Leave --workers away or set it to 1"
        )
    listen = tuple(options["listen"]) or settings.listen
    folder = startup.ready_folder(settings.data_dir)
    return attrs.evolve(settings, listen=listen, data_dir=folder)


def _gateway(settings: Settings, log_folder: str | None) -> IService:
    from twisted.internet import reactor

    for endpoint in settings.listen:
        _checked(reactor, endpoint)
    if log_folder:
        _also_log_to(log_folder)
    # Imported here so that --help and a bad setting answer at once.
    from knight_tw.service import build

    logging.verbose(settings.debug)
    if ignored := without_effect(os.environ):
        log.info("without effect here: {names}", names=", ".join(ignored))
    return startup.Startup(build(settings, log_folder or ""), reactor)


def _checked(reactor: Any, endpoint: str) -> None:
    """Raises CannotStart when `endpoint` is no endpoint; its port is not opened."""
    try:
        serverFromString(reactor, endpoint)
    except Exception as error:  # noqa: BLE001
        # Endpoint parsers let through whatever int(), open() or OpenSSL raises.
        raise startup.CannotStart(
            f"LISTEN: {endpoint!r} is not an endpoint that can be opened: {error}"
        ) from None


def _also_log_to(folder: str) -> None:
    try:
        globalLogPublisher.addObserver(logging.folder_observer(folder))
    except OSError as error:
        raise startup.CannotStart(
            f"cannot write the log to {folder}: {error.strerror}"
        ) from None
