"""Opens connections to upstreams: TCP, perhaps through a proxy, perhaps with TLS."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferTimeout
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint

from knight_tw.addresses import AddressGuard, is_address, resolve
from knight_tw.errors import KnightError
from knight_tw.protocols.client import ClientConnection, Owner, failed
from knight_tw.protocols.client_pool import Origin
from knight_tw.protocols.proxy import Proxy, Tunnel
from knight_tw.protocols.tls import ClientTLS, Once
from knight_tw.protocols.transport import Sweep

T = TypeVar("T")


class Connector:
    """Opens connections that are ready to be used, or says why it could not."""

    def __init__(
        self,
        reactor: Any,
        sweep: Sweep,
        *,
        idle_timeout: float,
        tls: ClientTLS,
    ) -> None:
        self._reactor = reactor
        self._sweep = sweep
        self._idle_timeout = idle_timeout
        self._tls = tls

    async def open(
        self, origin: Origin, owner: Owner, timeout: float
    ) -> ClientConnection:
        """A connection to `origin` that belongs to `owner`.

        Args:
            timeout: Seconds for everything: name, TCP, proxy, TLS; 0 = any.

        Raises:
            UpstreamFailed: it could not be had; `detail` says why.
            AddressRefused: the origin's guard does not allow it.
        """
        return await self._in_time(
            origin, self._opened(origin, owner, timeout), timeout
        )

    async def attach(self, origin: Origin, protocol: IProtocol, timeout: float) -> None:
        """Connects a protocol to `origin`; TLS goes on shaking hands behind it.

        Args:
            timeout: Seconds for name, TCP and proxy; 0 = any.

        Raises:
            UpstreamFailed, AddressRefused: as `open`.
        """
        await self._in_time(origin, self._attached(origin, protocol, timeout), timeout)

    async def _in_time(
        self, origin: Origin, work: Coroutine[Deferred[Any], Any, T], timeout: float
    ) -> T:
        """The result of `work`, or in words for the log why there is none."""
        opening = Deferred.fromCoroutine(work)
        if timeout:
            opening.addTimeout(timeout, self._reactor)
        try:
            return await opening
        except (KnightError, CancelledError):
            raise
        except DeferTimeout:
            raise failed(f"{origin}: no connection in {timeout:g} s") from None
        except Exception as error:  # noqa: BLE001 - TLS and sockets have dozens
            raise failed(f"{origin}: {_words(error)}") from None

    async def _opened(
        self, origin: Origin, owner: Owner, timeout: float
    ) -> ClientConnection:
        connection = ClientConnection(
            owner,
            self._sweep,
            self._reactor,
            tls=origin.tls or _proxy_tls(origin),
            idle=self._idle_timeout,
        )
        await self._attached(origin, connection, timeout)
        return await connection.ready

    async def _attached(
        self, origin: Origin, protocol: IProtocol, timeout: float
    ) -> None:
        host, port, guard = origin.host, origin.port, origin.guard
        addresses = await self._addresses(guard, origin.tls, host, port)
        if origin.tls:
            protocol = self._tls.secured(host, protocol)
        if origin.proxy is None:
            await self._connect(addresses or [host], port, protocol, timeout)
        else:
            await self._through(origin, addresses, protocol, timeout)

    async def _through(
        self, origin: Origin, addresses: Sequence[str], inner: IProtocol, timeout: float
    ) -> None:
        """Reach a proxy, and let it open a tunnel where one is needed."""
        proxy = origin.proxy
        if proxy is None:
            return
        guard = origin.guard if origin.own_proxy else None
        known = await self._addresses(guard, proxy.tls, proxy.host, proxy.port)
        if not origin.tunnel:
            outer = self._tls.secured(proxy.host, inner) if proxy.tls else inner
            await self._connect(known or [proxy.host], proxy.port, outer, timeout)
            return
        target = addresses[0] if addresses else origin.host
        tunnel = Tunnel(proxy.handshake(target, origin.port), inner)
        outer = self._tls.secured(proxy.host, tunnel) if proxy.tls else tunnel
        await self._connect(known or [proxy.host], proxy.port, outer, timeout)
        await tunnel.opened

    async def _addresses(
        self, guard: AddressGuard | None, tls: bool, host: str, port: int
    ) -> list[str]:
        """The checked addresses of a host; none when they need no check."""
        scheme = "https" if tls else "http"
        if guard is None or not guard.needs_addresses(scheme, host, port):
            return []
        if is_address(host):
            found = [host]
        else:
            found = await resolve(self._reactor, host, port)
        guard.check(host, port, found)
        return found

    async def _connect(
        self, hosts: Sequence[str], port: int, protocol: IProtocol, timeout: float
    ) -> None:
        """Connect `protocol` to the first of some hosts that takes it."""
        factory = Once(protocol)
        share = timeout / len(hosts) if timeout else 3600.0
        for host in hosts[:-1]:
            try:
                await self._endpoint(host, port, share).connect(factory)
                return
            except CancelledError:
                raise
            except Exception:  # noqa: BLE001, S112 - the next address may do
                continue
        await self._endpoint(hosts[-1], port, share).connect(factory)

    def _endpoint(self, host: str, port: int, timeout: float) -> IStreamClientEndpoint:
        if isIPAddress(host):
            return TCP4ClientEndpoint(self._reactor, host, port, timeout)
        if isIPv6Address(host):
            return TCP6ClientEndpoint(self._reactor, host, port, timeout)  # type: ignore[no-untyped-call]
        return HostnameEndpoint(self._reactor, host, port, timeout)


def _proxy_tls(origin: Origin) -> bool:
    """True when requests go to the proxy itself, over TLS."""
    proxy: Proxy | None = origin.proxy
    return proxy is not None and proxy.tls and not origin.tunnel


def _words(error: BaseException) -> str:
    """An error in words for the log; OpenSSL's errors are lists."""
    text = str(error) or type(error).__name__
    return f"{type(error).__name__}: {text}"[:500]
