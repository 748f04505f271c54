"""`protocols.client_pool`: which connection a call gets, and when."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import UpstreamFailed
from knight_tw.protocols.client import Call, ClientConnection, failed
from knight_tw.protocols.client_pool import (
    MAX_POOLS,
    Origin,
    Pool,
    PoolLimits,
    Pools,
)
from knight_tw.protocols.proxy import Proxy
from knight_tw.protocols.transport import Sweep
from tests.protocols.support import Line

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@define(eq=False)
class Network:
    """Opens connections when the test says so."""

    limits: PoolLimits = field(factory=PoolLimits)
    clock: Clock = field(factory=Clock)
    wanted: list[tuple[Pool, Deferred[ClientConnection]]] = field(factory=list)
    lines: dict[ClientConnection, Line] = field(factory=dict)
    pools: Pools = field(init=False)

    @pools.default
    def _make_pools(self) -> Pools:
        return Pools(self.limits, Sweep(self.clock), self._connect, self.clock)

    def _connect(
        self, origin: Origin, pool: Pool, timeout: float
    ) -> Deferred[ClientConnection]:
        opening: Deferred[ClientConnection] = Deferred()
        self.wanted.append((pool, opening))
        return opening

    def pool(self, host: str = "a") -> Pool:
        """The pool of a host."""
        return self.pools.of(Origin(False, host, 80))

    def open(self) -> ClientConnection:
        """Let the oldest attempt succeed."""
        pool, opening = self.wanted.pop(0)
        connection = ClientConnection(
            pool, self.pools.sweep, self.clock, tls=False, idle=90.0
        )
        self.lines[connection] = line = Line()
        connection.makeConnection(line)
        opening.callback(connection)
        return connection

    def close(self, connection: ClientConnection) -> None:
        """The upstream closes."""
        connection.connectionLost(Failure(ConnectionDone()))


def call(connect: float = 30.0) -> Call:
    """A call."""
    return Call(b"GET / HTTP/1.1\r\n\r\n", b"", True, False, connect, 0.0)


class Choosing(SynchronousTestCase):
    """Old connections before new ones."""

    def test_a_new_connection(self) -> None:
        """The first call opens a connection and is sent on it."""
        network, first = Network(), call()
        network.pool().run(first)
        connection = network.open()
        self.assertEqual(network.lines[connection].value(), first.request)
        connection.dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(first.told).status, 200)

    def test_a_kept_connection(self) -> None:
        """The next call uses it; the most recent one first."""
        network = Network()
        pool = network.pool()
        calls = [call(), call()]
        for one in calls:
            pool.run(one)
        connections = [network.open(), network.open()]
        for connection in connections:
            connection.dataReceived(ANSWER)
        self.assertEqual((pool.idle, network.pools.idle), (connections, 2))
        pool.run(call())
        self.assertEqual(pool.idle, connections[:1])
        self.assertEqual(network.wanted, [])

    def test_not_a_closed_one(self) -> None:
        """A connection that the upstream closed is not used."""
        network = Network()
        pool = network.pool()
        pool.run(call())
        connection = network.open()
        connection.dataReceived(ANSWER)
        network.close(connection)
        self.assertEqual((pool.idle, network.pools.idle, pool.empty), ([], 0, True))
        pool.run(call())
        self.assertEqual(len(network.wanted), 1)

    def test_not_one_that_looks_dead(self) -> None:
        """A connection whose end the reactor has not told yet is not used, either."""
        network = Network()
        pool = network.pool()
        pool.run(call())
        connection = network.open()
        connection.dataReceived(ANSWER)
        connection.alive = lambda: False  # type: ignore[method-assign]  # the kernel
        pool.run(call())
        self.assertTrue(network.lines[connection].cut)
        self.assertEqual((len(network.wanted), network.pools.idle), (1, 0))

    def test_another_origin(self) -> None:
        """Connections belong to one origin."""
        network = Network()
        network.pool("a").run(call())
        network.open().dataReceived(ANSWER)
        network.pool("b").run(call())
        self.assertEqual(len(network.wanted), 1)
        self.assertIs(network.pool("a"), network.pool("a"))

    def test_idle_connections_are_bounded(self) -> None:
        """Beyond the limits, of one pool and of all, a free connection is closed."""
        for limits in (PoolLimits(idle=1), PoolLimits(idle_per_pool=1)):
            network = Network(limits)
            pool = network.pool()
            for _ in range(2):
                pool.run(call())
            connections = [network.open(), network.open()]
            for connection in connections:
                connection.dataReceived(ANSWER)
            self.assertEqual(pool.idle, connections[:1])
            self.assertTrue(network.lines[connections[1]].disconnecting)

    def test_forgotten_pools(self) -> None:
        """Pools without connections are forgotten when there are too many."""
        network = Network()
        kept = network.pool("kept")
        kept.run(call())
        network.open()
        for number in range(MAX_POOLS + 5):
            network.pool(str(number))
        self.assertIs(network.pool("kept"), kept)
        self.assertLess(len(network.pools._known), MAX_POOLS)


class Waiting(SynchronousTestCase):
    """More calls than connections."""

    def setUp(self) -> None:
        """A pool with one connection, which is busy."""
        self.network = Network(PoolLimits(connections=1, waiting=2))
        self.pool = self.network.pool()
        self.first = call()
        self.pool.run(self.first)
        self.connection = self.network.open()

    def test_first_come_first_served(self) -> None:
        """A free connection goes to the call that waits longest."""
        second, third = call(), call()
        self.pool.run(second)
        self.pool.run(third)
        self.assertEqual(self.network.wanted, [])
        self.connection.dataReceived(ANSWER)
        self.connection.dataReceived(ANSWER)
        self.successResultOf(second.told)
        self.assertNoResult(third.told)
        self.connection.dataReceived(ANSWER)
        self.successResultOf(third.told)

    def test_a_closed_connection_makes_room(self) -> None:
        """When the busy connection closes, the next call opens one."""
        second = call()
        self.pool.run(second)
        self.network.close(self.connection)
        self.failureResultOf(self.first.told, UpstreamFailed)
        self.network.open().dataReceived(ANSWER)
        self.successResultOf(second.told)

    def test_a_failed_attempt_makes_room(self) -> None:
        """So does an attempt that fails; it fails its own call alone."""
        second, third = call(), call()
        self.pool.run(second)
        self.pool.run(third)
        self.network.close(self.connection)
        self.failureResultOf(self.first.told, UpstreamFailed)
        _, opening = self.network.wanted.pop()
        opening.errback(failed("no route"))
        self.assertEqual(
            self.failureResultOf(second.told, UpstreamFailed).value.detail, "no route"
        )
        self.network.open().dataReceived(ANSWER)
        self.successResultOf(third.told)

    def test_too_many(self) -> None:
        """The queue is bounded."""
        for _ in range(2):
            self.pool.run(call())
        late = call()
        self.pool.run(late)
        self.failureResultOf(late.told, UpstreamFailed)

    def test_too_long(self) -> None:
        """Waiting counts as connecting and ends with its timeout."""
        second = call(connect=5)
        self.pool.run(second)
        self.network.clock.pump([1] * 4)
        self.assertNoResult(second.told)
        self.network.clock.pump([1] * 4)
        error = self.failureResultOf(second.told, UpstreamFailed).value
        self.assertEqual((error.code, error.retryable), ("do_request_failed", True))

    def test_cancelled(self) -> None:
        """A cancelled call leaves the queue."""
        second, third = call(), call()
        self.pool.run(second)
        self.pool.run(third)
        second.told.cancel()
        self.failureResultOf(second.told, CancelledError)
        self.connection.dataReceived(ANSWER)
        self.connection.dataReceived(ANSWER)
        self.successResultOf(third.told)


class Connecting(SynchronousTestCase):
    """Attempts that do not succeed."""

    def test_cancelled(self) -> None:
        """Cancelling a call cancels its attempt."""
        network, first = Network(), call()
        network.pool().run(first)
        first.told.cancel()
        self.failureResultOf(first.told, CancelledError)
        self.assertTrue(network.wanted[0][1].called)
        self.assertTrue(network.pool().empty)

    def test_a_bug(self) -> None:
        """A bug while connecting fails the call, which must not hang."""
        network, first = Network(), call()
        network.pool().run(first)
        network.wanted[0][1].errback(ZeroDivisionError())
        self.failureResultOf(first.told, UpstreamFailed)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(network.pool().empty)


class Closing(SynchronousTestCase):
    """The end of all pools."""

    def test_without_connections(self) -> None:
        """Nothing to close is closed at once."""
        self.successResultOf(Network().pools.close(0))

    def test_idle_and_busy(self) -> None:
        """Idle connections close at once, busy ones after the grace period."""
        network, calls = Network(), [call(), call()]
        for one in calls:
            network.pool().run(one)
        idle, busy = network.open(), network.open()
        idle.dataReceived(ANSWER)
        closed = network.pools.close(10)
        self.assertTrue(network.lines[idle].disconnecting)
        network.close(idle)
        network.clock.advance(9)
        self.assertFalse(network.lines[busy].cut)
        self.assertNoResult(closed)
        network.clock.advance(2)
        self.assertTrue(network.lines[busy].cut)
        network.close(busy)
        self.failureResultOf(calls[1].told, UpstreamFailed)
        self.successResultOf(closed)
        self.assertEqual(network.clock.getDelayedCalls(), [])

    def test_a_call_that_ends_in_time(self) -> None:
        """A call in flight may end; its connection is not kept."""
        network, first = Network(), call()
        network.pool().run(first)
        connection = network.open()
        closed = network.pools.close(10)
        connection.dataReceived(ANSWER)
        self.successResultOf(first.told)
        self.assertTrue(network.lines[connection].disconnecting)
        network.close(connection)
        self.successResultOf(closed)
        self.assertEqual(network.clock.getDelayedCalls(), [])

    def test_no_new_calls(self) -> None:
        """What waits, and what comes, fails."""
        network = Network(PoolLimits(connections=1))
        pool = network.pool()
        pool.run(call())
        waiting, late = call(), call()
        pool.run(waiting)
        network.open()
        network.pools.close(0)
        pool.run(late)
        for one in (waiting, late):
            self.failureResultOf(one.told, UpstreamFailed)


class Origins(SynchronousTestCase):
    """What makes connections different."""

    def test_shown_without_secrets(self) -> None:
        """The log sees where a connection leads, not the proxy's password."""
        proxy = Proxy.parse("http://user:secret@proxy:3128")
        origin = Origin(True, "api.example.com", 443, proxy, True)
        self.assertEqual(str(origin), "api.example.com:443 via proxy:3128")
        self.assertNotIn("secret", repr(proxy))
