"""The reactor without log contexts, in a process of its own: there is one in each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent

ECHO = """
from knight_tw import reactor
reactor.install()
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.python import log

log.startLogging(__import__("sys").stdout, setStdout=False)

class Echo(Protocol):
    def dataReceived(self, data):
        if data == b"fail":
            raise ValueError("a bug")
        self.transport.write(data * 100_000)

class Client(Protocol):
    heard = 0
    def connectionMade(self):
        self.transport.write(b"0123456789")
    def dataReceived(self, data):
        self.heard += len(data)
        if self.heard == 1_000_000:
            print("HEARD", self.heard)
            self.transport.write(b"fail")
    def connectionLost(self, reason):
        print("LOST", reason.type.__name__)
        reactor.callLater(0.01, reactor.stop)

async def main():
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
        Factory.forProtocol(Echo))
    where = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    await connectProtocol(where, Client())

from twisted.internet.defer import Deferred
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()))
reactor.callLater(30, reactor.stop)
reactor.run()
print("NAME", type(reactor).__name__)
"""


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class ReactorTests(SynchronousTestCase):
    """It is Twisted's own in all that matters."""

    def test_reads_writes_and_failures(self) -> None:
        """Bytes go to and fro; an exception is logged and closes the connection."""
        done = subprocess.run(
            [sys.executable, "-c", ECHO],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        said = done.stdout
        for word in ("HEARD 1000000", "ValueError: a bug", "LOST ConnectionDone"):
            self.assertIn(word, said)
        self.assertIn("NAME KnightReactor", said)
