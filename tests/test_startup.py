"""Starting, and stopping with one clear line."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import DatabaseAway
from knight_tw.settings import SettingsError
from knight_tw.startup import (
    CannotStart,
    Startup,
    explain,
    from_environment,
    ready_folder,
    supported_python,
)


class Environment(SynchronousTestCase):
    """Where settings come from."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def env_file(self, text: str) -> None:
        (self.folder / ".env").write_text(text)

    def test_the_later_wins(self) -> None:
        """Flags beat the environment, which beats `.env`."""
        self.env_file("PORT=1\nDATA_DIR=file\nNODE_NAME=file\n")
        found = from_environment(
            {"PORT": "2", "DATA_DIR": "env"}, {"PORT": "3"}, self.folder
        )
        self.assertEqual(
            (found.port, found.data_dir, found.node_name), (3, "env", "file")
        )

    def test_a_port_flag_beats_a_listen_variable(self) -> None:
        """Who types --port means it."""
        found = from_environment({"LISTEN": "tcp:1"}, {"PORT": "3"}, self.folder)
        self.assertEqual(found.listen, ("tcp:3",))

    def test_no_file_is_fine(self) -> None:
        """`.env` is optional."""
        self.assertEqual(from_environment({}, {}, self.folder).port, 3000)

    def test_an_unreadable_file_stops_the_start(self) -> None:
        """Silently running without its secrets would be worse."""
        (self.folder / ".env").write_bytes(b"A=\xff")
        error = self.assertRaises(CannotStart, from_environment, {}, {}, self.folder)
        self.assertIn(".env", str(error))

    def test_a_bad_value_in_the_file_is_named(self) -> None:
        """As from anywhere else."""
        self.env_file("PORT=many\n")
        self.assertRaises(SettingsError, from_environment, {}, {}, self.folder)


class Folder(SynchronousTestCase):
    """The data folder."""

    def test_it_is_made(self) -> None:
        """With its parents, for this user alone, and its path is absolute."""
        path = os.path.join(self.mktemp(), "deep")
        made = ready_folder(path)
        self.assertTrue(os.path.isabs(made))
        self.assertEqual(os.stat(made).st_mode & 0o777, 0o700)
        self.assertEqual(os.listdir(made), [])

    def test_an_existing_one_is_kept(self) -> None:
        """Its mode is its owner's matter."""
        path = Path(self.mktemp())
        path.mkdir(mode=0o755)
        ready_folder(str(path))
        self.assertEqual(path.stat().st_mode & 0o777, 0o755)

    def test_one_that_cannot_be_made_is_explained(self) -> None:
        """The line names the folder and what to do."""
        blocker = Path(self.mktemp())
        blocker.write_text("a file")
        error = self.assertRaises(CannotStart, ready_folder, str(blocker / "data"))
        self.assertIn(str(blocker / "data"), str(error))
        self.assertIn("--data", str(error))

    def test_one_that_cannot_be_written_is_explained(self) -> None:
        """A folder of somebody else, found before anything is started."""
        if os.geteuid() == 0:
            path = "/proc"
        else:
            path = self.mktemp()
            Path(path).mkdir(mode=0o500)
        error = self.assertRaises(CannotStart, ready_folder, path)
        self.assertIn("cannot write to the data folder", str(error))


class Reasons(SynchronousTestCase):
    """What a failed start says."""

    def test_a_port_that_is_taken(self) -> None:
        """The port and the way out."""
        taken = OSError(errno.EADDRINUSE, "Address already in use")
        text = explain(CannotListenError("", 3000, taken)) or ""
        self.assertIn("port 3000 is taken", text)
        self.assertIn("--port", text)

    def test_a_port_that_needs_rights(self) -> None:
        """Ports below 1024."""
        denied = OSError(errno.EACCES, "Permission denied")
        self.assertIn("1024", explain(CannotListenError("", 80, denied)) or "")

    def test_an_address_of_another_machine(self) -> None:
        """An interface that is not here."""
        text = explain(
            CannotListenError("10.9.9.9", 80, OSError(errno.EADDRNOTAVAIL, "x"))
        )
        self.assertIn("10.9.9.9", text or "")

    def test_any_other_trouble_with_a_port(self) -> None:
        """The system's own words."""
        text = explain(CannotListenError("", 80, socket.gaierror(-2, "unknown name")))
        self.assertIn("unknown name", text or "")

    def test_errors_that_explain_themselves(self) -> None:
        """Settings, database, files."""
        self.assertEqual(explain(SettingsError("PORT", "x")), "PORT: expected x")
        self.assertEqual(
            explain(DatabaseAway("the database is away", detail="refused")),
            "the database is away: refused",
        )
        self.assertEqual(
            explain(FileNotFoundError(errno.ENOENT, "No such file", "key.pem")),
            "key.pem: No such file",
        )

    def test_what_nobody_foresaw(self) -> None:
        """Programming errors keep their traceback."""
        self.assertIsNone(explain(ZeroDivisionError()))
        self.assertIsNone(explain(OSError("no name")))

    def test_an_old_python(self) -> None:
        """Both versions are named."""
        error = self.assertRaises(CannotStart, supported_python, (3, 9))
        self.assertIn("Python 3.11 or later is needed, this is 3.9", str(error))
        self.assertIsNone(supported_python())


class Scripted(Service):
    """A gateway whose start ends as told."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome
        self.stopped: Deferred[None] = Deferred()
        self.starts = 0

    def startService(self) -> Any:
        self.starts += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def stopService(self) -> Deferred[None]:
        return self.stopped


class Starting(SynchronousTestCase):
    """The gateway under twistd."""

    def started(self, gateway: Scripted) -> Startup:
        self.reactor = MemoryReactorClock()
        self.statuses: list[int] = []
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        startup = Startup(gateway, self.reactor, self.statuses.append)
        startup.privilegedStartService()
        startup.startService()
        return startup

    def lines(self) -> list[str]:
        return [e["reason"] for e in self.events if "reason" in e]

    def test_a_good_start_leaves_the_process_alone(self) -> None:
        """No status, no stop."""
        self.started(Scripted())
        self.assertEqual((self.statuses, self.reactor.hasStopped), ([], False))

    def test_a_start_that_raises(self) -> None:
        """One line, status 1, the reactor stops once it runs."""
        self.started(Scripted(CannotStart("no way")))
        self.assertEqual((self.statuses, self.lines()), ([1], ["no way"]))
        self.reactor.run()
        self.assertTrue(self.reactor.hasStopped)

    def test_a_start_that_fails_later(self) -> None:
        """The same for a Deferred that fails."""
        self.started(Scripted(fail(CannotStart("no way"))))
        self.assertEqual((self.statuses, self.lines()), ([1], ["no way"]))

    def test_a_start_that_nobody_foresaw(self) -> None:
        """The traceback is logged."""
        self.started(Scripted(ZeroDivisionError("x")))
        self.assertEqual(self.statuses, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stopping_waits_for_the_gateway(self) -> None:
        """twistd keeps the reactor until everything is flushed."""
        gateway = Scripted()
        stopping = self.started(gateway).stopService()
        self.assertNoResult(stopping)
        gateway.stopped.callback(None)
        self.successResultOf(stopping)
