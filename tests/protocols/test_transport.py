"""`protocols.transport` and `heads`: eager writes, the sweep, header lines."""

from __future__ import annotations

import socket
from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Server
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.protocols.heads import BadHeader, encoded, lines, safe
from knight_tw.protocols.transport import (
    Sweep,
    eager,
    period_for,
    socket_of,
    unsent,
)


class Eager(SynchronousTestCase):
    """Writes that do not wait for the reactor."""

    def setUp(self) -> None:
        """A transport on one end of a socket pair."""
        ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.transport = Server(
            ours,
            Protocol(),
            ("127.0.0.1", 1),
            _NoPort(),  # type: ignore[arg-type]  # as much as is looked at
            1,
            reactor,
        )

        def close() -> None:
            self.transport.stopReading()
            self.transport.stopWriting()
            ours.close()

        self.addCleanup(close)
        self.write = eager(self.transport)

    def test_sent_at_once(self) -> None:
        """An empty transport gives bytes to the kernel at once."""
        self.write(b"hello")
        self.assertEqual(self.theirs.recv(9), b"hello")
        self.assertEqual(unsent(self.transport), 0)

    def test_what_the_kernel_does_not_take(self) -> None:
        """The rest waits in the transport, and later bytes wait behind it."""
        data = b"x" * 50_000_000
        self.write(data)
        waiting = unsent(self.transport)
        self.assertTrue(0 < waiting < len(data))
        self.write(b"y")
        self.assertEqual(unsent(self.transport), waiting + 1)
        self.theirs.recv(1_000_000)
        self.write(b"z")
        self.assertEqual(unsent(self.transport), waiting + 2)

    def test_a_closed_socket(self) -> None:
        """A lost connection is the transport's to find out."""
        self.theirs.close()
        self.write(b"a")
        self.write(b"b")
        self.assertTrue(unsent(self.transport))

    def test_other_transports(self) -> None:
        """A transport that is no socket is written to its own way."""
        transport = StringTransport()
        eager(transport)(b"abc")
        self.assertEqual(transport.value(), b"abc")
        self.assertIsNone(socket_of(transport))
        self.assertEqual(unsent(None), 0)


class _NoPort:
    """As much of a listening port as a connection looks at."""

    _realPortNumber = 1


@define(eq=False)
class Member:
    """Something swept, that may fail."""

    times: list[float] = field(factory=list)
    bug: bool = False

    def swept(self, now: float) -> None:
        """Noted."""
        self.times.append(now)
        if self.bug:
            raise ValueError("bug")


class Sweeping(SynchronousTestCase):
    """One timer for all."""

    def test_runs_while_there_are_members(self) -> None:
        """The timer begins with the first member and ends with the last."""
        clock, member = Clock(), Member()
        clock.advance(5)
        sweep = Sweep(clock, 2.0)
        self.assertEqual(clock.getDelayedCalls(), [])
        sweep.add(member)
        self.assertEqual(sweep.now, 5)
        clock.pump([1] * 5)
        self.assertEqual(member.times, [7, 9])
        self.assertEqual(sweep.now, 9)
        sweep.discard(member)
        self.assertEqual(clock.getDelayedCalls(), [])
        sweep.discard(member)

    def test_a_member_that_fails(self) -> None:
        """One member's bug does not keep the others from being swept."""
        clock, members = Clock(), [Member(bug=True), Member(bug=True), Member()]
        sweep = Sweep(clock)
        for member in members:
            sweep.add(member)
        clock.pump([1, 1])
        self.assertEqual([len(member.times) for member in members], [2, 2, 2])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 4)

    def test_period(self) -> None:
        """The period fits the shortest limit, and is a second at most."""
        self.assertEqual(period_for(30, 0, 120), 1.0)
        self.assertEqual(period_for(30, 0.4), 0.1)
        self.assertEqual(period_for(0), 1.0)


class HeaderLines(SynchronousTestCase):
    """Headers as text."""

    def test_lines(self) -> None:
        """One line each, without those that are left out."""
        headers = [("A", "b"), ("C-D", "e"), ("A", "")]
        self.assertEqual(lines(headers), "A: b\r\nC-D: e\r\nA: \r\n")
        self.assertEqual(lines(headers, {"a"}), "C-D: e\r\n")

    def test_line_breaks(self) -> None:
        """No name and no value breaks out of its line."""
        bad: list[Any] = [
            ("A\r\nB", "c"),
            ("A", "b\r\nC: d"),
            ("A", "b\nc"),
            ("A", "\r"),
        ]
        for header in [*bad, ("A", "b\0")]:
            self.assertRaises(BadHeader, lines, [("X", "y"), header])
            self.assertFalse(safe(*header))
        self.assertTrue(safe("A", "b"))

    def test_bytes(self) -> None:
        """Latin-1 goes back as it came; what is beyond it is UTF-8."""
        self.assertEqual(encoded("\xe9"), b"\xe9")
        self.assertEqual(encoded("\u4e2d"), b"\xe4\xb8\xad")
        self.assertEqual(encoded("\ud800"), b"?")
