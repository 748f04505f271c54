"""`knight`, the command for people who do not know twistd."""

# twistd's services, options and runners are untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from twisted.application.service import ServiceMaker
from twisted.python import usage
from twisted.scripts import twistd

import knight_tw
from knight_tw import tap

USAGE = """\
Usage: knight COMMAND [options]

Knight Omega, a gateway between API clients and model providers.

Commands:
  run        start the gateway in the foreground (knight run --help)
  import     open a database of new-api or one-api, or look what that would change
             (knight import --help)

  --version  print the version
  --help     print this text

First start: knight run, then open http://localhost:3000 or read docs/first-call.md.
As a system service: docs/running.md. From new-api or one-api: docs/moving.md.
"""

MISUSED = 2
"""Exit status when the command line makes no sense."""

OBSERVERS = {
    "text": "knight_tw.logging.text_observer",
    "json": "knight_tw.logging.json_observer",
}


class RunOptions(tap.Options):
    """What `knight run` takes: the flags of the gateway and the form of its log."""

    optParameters: ClassVar[list[list[Any]]] = [
        ["log-format", None, "text", "form of the log lines: text or json"],
    ]

    def postOptions(self) -> None:
        """Refuse a form of log lines that does not exist."""
        if self["log-format"] not in OBSERVERS:
            raise usage.UsageError("--log-format is text or json")


class Foreground(twistd.ServerOptions):  # type: ignore[name-defined,misc]
    """twistd's options with the gateway as the one thing it can run.

    twistd would look for plugins in every folder of `sys.path`; we know ours.
    """

    @property
    def subCommands(self) -> Any:
        """The gateway, in the form in which twistd lists its plugins."""
        gateway = ServiceMaker("Knight Omega", "knight_tw.tap", "", "knight")
        self.loadedPlugins = {"knight": gateway}
        return [("knight", None, RunOptions, "")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = words.pop(0) if words else ""
    if command in ("--version", "version"):
        return _say(f"Knight Omega {knight_tw.__version__}\n")
    if command in ("--help", "-h", "help"):
        return _say(USAGE)
    if command not in COMMANDS:
        complaint = f"knight: no command {command!r}\n\n" if command else ""
        sys.stderr.write(complaint + USAGE)
        return MISUSED
    return COMMANDS[command](words)


def run(words: list[str]) -> int:
    """Start the gateway in the foreground; returns when it has stopped."""
    options = RunOptions()
    try:
        options.parseOptions(words)
    except usage.UsageError as error:
        sys.stderr.write(f"knight run: {error} (knight run --help lists the options)\n")
        return MISUSED
    _install_reactor()
    observer = OBSERVERS[options["log-format"]]
    config = Foreground()
    config.parseOptions(
        ["--nodaemon", "--pidfile=", f"--logger={observer}", "knight", *words]
    )
    twistd.runApp(config)
    return 0


def _install_reactor() -> None:
    """Our reactor, where it exists and there is none yet."""
    if sys.platform == "linux" and "twisted.internet.reactor" not in sys.modules:
        from knight_tw import reactor

        reactor.install()


def bring(words: list[str]) -> int:
    """Open a database of new-api or one-api, or say what that would change."""
    from knight_tw import importing

    return importing.run(words)


COMMANDS: dict[str, Callable[[list[str]], int]] = {"run": run, "import": bring}


def _say(text: str) -> int:
    sys.stdout.write(text)
    return 0
