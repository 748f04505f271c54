"""Connections to upstreams, kept open between calls: one pool for each origin."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from knight_tw.addresses import AddressGuard
from knight_tw.errors import KnightError
from knight_tw.protocols.client import Call, ClientConnection, failed
from knight_tw.protocols.proxy import Proxy
from knight_tw.protocols.transport import Sweep

log = Logger()

MAX_POOLS = 1000
"""Pools that are kept; beyond it those without a connection are forgotten."""


@frozen(cache_hash=True)
class Origin:
    """What a connection leads to. Equal origins share connections.

    Attributes:
        tls: The upstream speaks TLS.
        tunnel: The proxy passes bytes on; else it reads the requests.
        guard: Every address must pass it. None = no guard.
        own_proxy: The proxy was named with the call, so it must pass the guard, too.
    """

    tls: bool
    host: str
    port: int
    proxy: Proxy | None = None
    tunnel: bool = False
    guard: AddressGuard | None = None
    own_proxy: bool = False

    def __str__(self) -> str:
        """For the log: no credentials of the proxy."""
        via = f" via {self.proxy.host}:{self.proxy.port}" if self.proxy else ""
        return f"{self.host}:{self.port}{via}"


@frozen(kw_only=True)
class PoolLimits:
    """Bounds of all pools. Times are seconds.

    Attributes:
        connections: Open connections of one pool, busy and idle.
        waiting: Calls of one pool that wait for a connection.
        idle: Idle connections of all pools; `idle_per_pool` of one.
        idle_timeout: Longest time a connection stays unused.
    """

    connections: int = 1000
    waiting: int = 10_000
    idle: int = 500
    idle_per_pool: int = 100
    idle_timeout: float = 90.0


Connect = Callable[[Origin, "Pool", float], Awaitable[ClientConnection]]
"""Opens a connection to an origin for a pool, within some seconds."""


@define(eq=False)
class Pool:
    """The connections of one origin.

    Attributes:
        idle: Those that can be used at once, the most recent one last.
        connecting: How many are being opened.
    """

    origin: Origin
    _pools: Pools
    idle: list[ClientConnection] = field(factory=list)
    connecting: int = 0
    _open: set[ClientConnection] = field(factory=set)
    _waiting: deque[Call] = field(factory=deque)

    @property
    def empty(self) -> bool:
        """True when nothing would be lost with the pool."""
        return not (self._open or self._waiting or self.connecting)

    @property
    def load(self) -> tuple[int, int]:
        """Open connections, and calls that wait for one."""
        return len(self._open), len(self._waiting) + self.connecting

    def run(self, call: Call) -> None:
        """Send `call` as soon as there is a connection for it."""
        pools = self._pools
        while self.idle:
            connection = self.idle.pop()
            pools.idle -= 1
            if connection.alive():
                connection.start(call)
                return
            connection.close()
        if pools.closed:
            call.fail(failed("the gateway is stopping"))
        elif self._may_open():
            self._connect_for(call)
        elif len(self._waiting) >= pools.limits.waiting:
            call.fail(failed(f"too many calls wait for {self.origin}"))
        else:
            call.holder = self
            call.waiting_since = pools.sweep.now
            self._waiting.append(call)
            pools.sweep.add(self)

    def released(self, connection: ClientConnection, *, reusable: bool) -> None:
        """A connection's call is over: the next call has it, or it rests."""
        pools = self._pools
        if reusable and not pools.closed:
            if self._waiting:
                connection.start(self._next_waiting())
                return
            limits = pools.limits
            if pools.idle < limits.idle and len(self.idle) < limits.idle_per_pool:
                self.idle.append(connection)
                pools.idle += 1
                return
        connection.retire()

    def gone(self, connection: ClientConnection) -> None:
        """A connection is closed."""
        if connection in self.idle:
            self.idle.remove(connection)
            self._pools.idle -= 1
        self._open.discard(connection)
        self._freed()

    def drop(self, call: Call) -> None:
        """A call that waits is cancelled."""
        if call in self._waiting:
            self._waiting.remove(call)
            self._rest()

    def swept(self, now: float) -> None:
        """Fail the calls that have waited for too long."""
        late = now - self._pools.sweep.period
        while self._waiting:
            call = self._waiting[0]
            if call.connect and late - call.waiting_since > call.connect:
                self._waiting.popleft()
                call.fail(failed(f"no connection to {self.origin} came free"))
            else:
                break
        self._rest()

    def shut(self) -> None:
        """Close what is idle, fail what waits."""
        while self._waiting:
            self._next_waiting().fail(failed("the gateway is stopping"))
        for connection in tuple(self.idle):
            connection.retire()

    def abort(self) -> None:
        """Close everything; calls in flight fail."""
        for connection in tuple(self._open):
            connection.transport.abortConnection()

    def _may_open(self) -> bool:
        taken = len(self._open) + self.connecting
        return taken < self._pools.limits.connections

    def _connect_for(self, call: Call) -> None:
        self.connecting += 1
        self._pools.live.add(self)
        call.holder = holder = _Connecting()
        holder.attempt = Deferred.fromCoroutine(self._connected(call))

    async def _connected(self, call: Call) -> None:
        try:
            connection = await self._pools.connect(self.origin, self, call.connect)
        except CancelledError:
            self.connecting -= 1
        except KnightError as error:
            self.connecting -= 1
            call.fail(error)
        except Exception as error:  # noqa: BLE001 - the call must not hang on a bug
            log.failure("connecting failed")
            self.connecting -= 1
            call.fail(failed(f"{self.origin}: {error!r}"))
        else:
            self.connecting -= 1
            self._open.add(connection)
            connection.start(call)
            return
        self._freed()

    def _freed(self) -> None:
        """A place is free: the next call may open a connection."""
        if self._waiting and self._may_open():
            self._connect_for(self._next_waiting())
        if self.empty:
            self._pools.settled(self)

    def _next_waiting(self) -> Call:
        call = self._waiting.popleft()
        self._rest()
        return call

    def _rest(self) -> None:
        if not self._waiting:
            self._pools.sweep.discard(self)


class _Connecting:
    """Holds a call while a connection is opened for it."""

    attempt: Deferred[None] | None = None

    def drop(self, call: Call) -> None:
        """The call is cancelled: so is the attempt."""
        if self.attempt is not None:
            self.attempt.cancel()


@define(eq=False)
class Pools:
    """All pools of a process.

    Attributes:
        live: The pools that have connections, or calls that wait for one.
        idle: Idle connections of all of them.
        closed: Nothing is sent any more.
    """

    limits: PoolLimits
    sweep: Sweep
    connect: Connect
    _clock: IReactorTime
    live: set[Pool] = field(factory=set)
    idle: int = 0
    closed: bool = False
    _known: dict[Origin, Pool] = field(factory=dict)
    _closing: list[Deferred[None]] = field(factory=list)

    def of(self, origin: Origin) -> Pool:
        """The pool of an origin."""
        pool = self._known.get(origin)
        if pool is None:
            if len(self._known) >= MAX_POOLS:
                self._known = {o: p for o, p in self._known.items() if not p.empty}
            pool = self._known[origin] = Pool(origin, self)
        return pool

    def load(self) -> tuple[int, int, int]:
        """Connections that are idle, those that are busy, calls that wait for one."""
        loads = [pool.load for pool in self.live]
        opened, waiting = (sum(column) for column in zip((0, 0), *loads, strict=True))
        return self.idle, opened - self.idle, waiting

    def close(self, grace: float) -> Deferred[None]:
        """Send nothing more; fires when every connection is closed.

        Args:
            grace: Seconds that calls in flight may still take.
        """
        self.closed = True
        for pool in tuple(self.live):
            pool.shut()
        if not self.live:
            return succeed(None)
        closing: Deferred[None] = Deferred()
        self._closing.append(closing)
        timer = self._clock.callLater(grace, self._abort)

        def over(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            return result

        return closing.addBoth(over)

    def settled(self, pool: Pool) -> None:
        """A pool is empty: perhaps it was the last one."""
        self.live.discard(pool)
        if self.closed and not self.live:
            closing, self._closing = self._closing, []
            for waiting in closing:
                waiting.callback(None)

    def _abort(self) -> None:
        for pool in tuple(self.live):
            pool.abort()
