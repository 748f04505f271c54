"""The command `knight` and the options of `twistd knight`."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

import knight_tw
from knight_tw import cli, tap

ROOT = Path(__file__).resolve().parent.parent

STAND_IN = """
import sys, types
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol

class Gateway(Service):
    def __init__(self, settings, log_folder):
        self.settings = settings
    def startService(self):
        print("settings", self.settings.listen, self.settings.data_dir, flush=True)
        if "once" in sys.argv:
            reactor.callWhenRunning(reactor.stop)
        endpoint = serverFromString(reactor, self.settings.listen[0])
        return endpoint.listen(Factory.forProtocol(Protocol))

service = types.ModuleType("knight_tw.service")
service.build = Gateway
sys.modules["knight_tw.service"] = service
from knight_tw.cli import main
sys.exit(main([word for word in sys.argv[1:] if word != "once"]))
"""
"""The command with a gateway that only listens, or stops at once when told `once`."""


class Words(SynchronousTestCase):
    """What the command answers without starting anything."""

    def knight(self, *words: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = cli.main(words)
        return status, out.getvalue(), err.getvalue()

    def test_version(self) -> None:
        """The product's name and the package's version."""
        expected = (0, f"Knight Omega {knight_tw.__version__}\n", "")
        self.assertEqual(self.knight("--version"), expected)

    def test_help(self) -> None:
        """Every command is listed."""
        status, out, _ = self.knight("--help")
        self.assertEqual(status, 0)
        for command in cli.COMMANDS:
            self.assertIn(f"  {command} ", out)

    def test_an_unknown_command(self) -> None:
        """Named, with the usage, on the error stream, status 2."""
        status, out, err = self.knight("fly")
        self.assertEqual((status, out), (2, ""))
        self.assertTrue(err.startswith("knight: no command 'fly'\n\nUsage: knight"))

    def test_no_command(self) -> None:
        """The usage alone, status 2."""
        status, _, err = self.knight()
        self.assertEqual((status, err), (2, cli.USAGE))

    def test_an_unknown_option(self) -> None:
        """One line, not the whole usage."""
        status, _, err = self.knight("run", "--fast")
        self.assertEqual((status, err.count("\n")), (2, 1))
        self.assertIn("fast", err)

    def test_an_unknown_log_format(self) -> None:
        """One line that names the forms."""
        status, _, err = self.knight("run", "--log-format", "xml")
        self.assertEqual(status, 2)
        self.assertIn("text or json", err)


class Flags(SynchronousTestCase):
    """The options of `twistd knight`."""

    def parsed(self, *words: str) -> tap.Options:
        options = tap.Options()
        options.parseOptions(list(words))
        return options

    def test_only_given_flags_become_variables(self) -> None:
        """So that `.env` and the environment keep their say."""
        self.assertEqual(self.parsed().flags(), {})
        self.assertEqual(
            self.parsed("--port", "1", "--data=d", "--workers", "1").flags(),
            {"PORT": "1", "DATA_DIR": "d", "WORKERS": "1"},
        )

    def test_listen_may_be_repeated(self) -> None:
        """Blanks within an endpoint survive."""
        options = self.parsed("--listen", "unix:/a b", "--listen", "tcp:1")
        self.assertEqual(options["listen"], ["unix:/a b", "tcp:1"])

    def test_nothing_else_is_taken(self) -> None:
        """A stray word is a mistake."""
        self.assertRaises(usage.UsageError, self.parsed, "3000")

    def test_each_flag_is_explained(self) -> None:
        """`--help` has a text beside every flag."""
        text = tap.Options().getUsage()
        for flag in ("--port", "--listen", "--data", "--workers", "--log-dir"):
            line = next(line for line in text.splitlines() if flag in line)
            self.assertGreater(len(line), 40)


class Processes(SynchronousTestCase):
    """The command as a process, with a stand-in for the gateway."""

    def run_knight(self, *words: str, **environment: str) -> tuple[int, str, str]:
        folder = Path(self.mktemp())
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", STAND_IN, *words],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def test_a_run_that_ends_in_order(self) -> None:
        """Status 0; the flags have arrived; the data folder was made."""
        status, out, err = self.run_knight(
            "run", "once", "--listen", "tcp:0:interface=127.0.0.1", "--data", "d"
        )
        self.assertEqual((status, err), (0, ""))
        self.assertIn("settings ('tcp:0:interface=127.0.0.1',) /", out)

    def test_a_port_that_is_taken(self) -> None:
        """One line says so, without a traceback; status 1."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            status, out, err = self.run_knight(
                "run", "--listen", f"tcp:{port}:interface=127.0.0.1"
            )
        self.assertEqual((status, err), (1, ""))
        said = [line for line in out.splitlines() if f"port {port} is taken" in line]
        self.assertEqual(len(said), 1)
        self.assertNotIn("Traceback", out)

    def test_json_lines(self) -> None:
        """`--log-format json` reaches the observer."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            _, out, _ = self.run_knight(
                "run",
                "--log-format=json",
                f"--listen=tcp:{port}:interface=127.0.0.1",
            )
        self.assertIn('"level": "critical"', out)

    def one_line(self, expected: str, *words: str, **environment: str) -> None:
        status, out, err = self.run_knight("run", *words, **environment)
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("knight: "), err)
        self.assertIn(expected, err)

    def test_bad_values_stop_with_one_line(self) -> None:
        """Settings, processes, endpoints, folders: status 1, no traceback."""
        self.one_line("PORT: expected a whole number", PORT="http")
        self.one_line("KNIGHT_FOO", KNIGHT_FOO="1")
        self.one_line("--workers", "--workers=2")
        self.one_line("'tcp:nowhere' is not an endpoint", LISTEN="tcp:nowhere")
        self.one_line("'ssl:1:", "--listen", "ssl:1:privateKey=missing.pem")
        self.one_line("cannot write to the data folder", DATA_DIR="/dev/null/data")
        self.one_line("cannot write the log to", "--log-dir=/dev/null/log")

    def test_a_log_folder(self) -> None:
        """The log is also written to a file there."""
        folder = Path(self.mktemp()).absolute()
        self.run_knight("run", "once", "--port=0", f"--log-dir={folder}")
        self.assertIn("Main loop terminated", (folder / "knight.log").read_text())
