"""What a racer's outlet lets through."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.protocols.body import Outlet
from knight_tw.relay.race_outlet import RacerOutlet, RacerReply


class Recorder:
    """A reply that notes what it is asked."""

    begun = gone = False

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.asked.append((name, *args))


class ReplyTests(SynchronousTestCase):
    """`RacerReply`."""

    def drive(self, won: bool) -> list[str]:
        """Everything asked of it; what the client's reply was asked."""
        real: Any = Recorder()
        reply = RacerReply(real, lambda: won)
        if won:
            reply.joined()
        self.assertFalse(reply.begun or reply.gone)
        producer: Any = object()
        reply.attach(producer)
        reply.begin(200, [])
        reply.write(b"x")
        reply.end()
        reply.whole(200, [], b"")
        reply.abort()
        return [name for name, *_ in real.asked]

    def test_won(self) -> None:
        """Everything goes to the client."""
        self.assertEqual(
            self.drive(True), ["attach", "begin", "write", "end", "whole", "abort"]
        )

    def test_lost(self) -> None:
        """Nothing does."""
        self.assertEqual(self.drive(False), [])

    def test_gone(self) -> None:
        """Whoever wants to hear of the client's leaving hears of it."""
        real: Any = Recorder()
        RacerReply(real, lambda: False).on_gone(lambda: None)
        self.assertEqual(real.asked[0][0], "on_gone")


class OutletTests(SynchronousTestCase):
    """`RacerOutlet`."""

    def test_lost(self) -> None:
        """A loser's pieces and end are nobody's, and its keep-alive is the call's."""
        clock, real = Clock(), Recorder()
        reply: Any = real
        outlet = Outlet(reply, list, clock, 10.0)
        racer = RacerOutlet.over(outlet, lambda: False, clock)
        racer.write(b"x")
        racer.end()
        self.assertEqual(real.asked, [])
        racer.start()
        racer.stop()
        clock.advance(10)
        self.assertEqual([name for name, *_ in real.asked], ["begin", "write"])
        outlet.stop()
