"""Calls and connections leave nothing to the garbage collector.

A collection of everything stops a process of this size for tens of milliseconds. It is
due when enough objects were made that only the collector can free; so the transport
makes none.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols import test_client
from tests.protocols.support import Bench, RecordingSurface, echo, get, leave, post


class Garbage(SynchronousTestCase):
    """Objects that hold each other."""

    def left_by(self, work: Callable[[], None]) -> int:
        """Objects that `work` leaves to the collector."""
        work()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        work()
        return gc.collect()

    def test_requests(self) -> None:
        """Requests of every kind, on one connection."""
        bench = Bench(RecordingSurface(on_body=echo))
        lane, line = bench.connect()

        def work() -> None:
            for _ in range(10):
                lane.dataReceived(post("/v1/x", b"body"))
                lane.dataReceived(get())
                lane.dataReceived(
                    post("/v1/x", b"1\r\nx\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
                )
            line.clear()
            bench.surface.seen.clear()

        self.assertEqual(self.left_by(work), 0)

    def test_clients_that_leave(self) -> None:
        """Connections that close, before a request, in it, and before its answer."""
        bench = Bench(RecordingSurface())

        def work() -> None:
            for data in (b"", get()[:9], get(), post("/v1/x", b"xx")[:-1]):
                lane, line = bench.connect()
                lane.dataReceived(data)
                # Twisted's transports let go of their protocol, and it of them.
                lane.transport = line.protocol = None  # type: ignore[attr-defined]
                leave(lane)
            bench.surface.seen.clear()

        self.assertEqual(self.left_by(work), 0)

    def test_upstream_calls(self) -> None:
        """Calls on one upstream connection, read whole and piece by piece."""
        bench = test_client.Bench()

        def work() -> None:
            for _ in range(10):
                for deliver in (False, True):
                    call = bench.ask()
                    bench.hear(test_client.HELLO[:-2])
                    answer = self.successResultOf(call.told)
                    if deliver:
                        answer.deliver(test_client.Taker(), 10)
                    else:
                        answer.read(10)
                    bench.hear(b"lo")
                    bench.clock.advance(0)
            bench.line.clear()

        self.assertEqual(self.left_by(work), 0)
