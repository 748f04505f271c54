"""The outbound address guard: where users may make the gateway connect to.

A URL that a user had a hand in (an image to fetch, a webhook, a base URL) must not
reach the network behind the gateway. A name says nothing: it is resolved once, every
address is checked, and the connection goes to a checked address, so that no second
answer of the name server can lead elsewhere. Relay specification, 15; options
`fetch_setting.*` and `ADDRESS_GUARD_ALLOW`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

from knight_tw.errors import InvalidRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


class AddressRefused(InvalidRequest):
    """The guard does not allow the address; the reason is for the log alone."""

    def __init__(self, why: str) -> None:
        super().__init__("the address is not allowed", detail=why)


class FetchOptions(Protocol):
    """The administrator's options, as far as the guard reads them."""

    def flag(self, key: str) -> bool:
        """A switch."""
        ...

    def json(self, key: str) -> Any:
        """A list."""
        ...


@frozen
class Allowed:
    """One entry of `ADDRESS_GUARD_ALLOW`: a name or a network, on one port or any."""

    name: str
    network: Network | None
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Allowed:
        """From `host`, `*.host`, an address or a CIDR, each with or without `:port`.

        Raises:
            ValueError: the port is none.
        """
        host, port = _split_port(text.strip())
        try:
            network = ipaddress.ip_network(host, strict=False)
        except ValueError:
            return cls(_plain(host), None, port)
        return cls("", network, port)

    def admits(self, host: str, address: Address | None, port: int) -> bool:
        """True when the entry lets a host, or one of its addresses, through."""
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return address is not None and address in self.network
        return _matches(host, self.name)


@frozen(kw_only=True, cache_hash=True)
class AddressGuard:
    """Decides about destinations. `AddressGuard()` refuses everything private.

    Attributes:
        enabled: False: only the scheme is checked.
        private: Private, link-local and other special addresses may be reached, too.
        domains, domains_only: Names refused, or the only ones allowed.
        networks, networks_only: The same for addresses.
        networks_for_names: The networks count for addresses that a name has, too.
        ports: Ranges, both ends included; none = every port.
        allow: What passes whatever else is set.
    """

    enabled: bool = True
    private: bool = False
    domains: tuple[str, ...] = ()
    domains_only: bool = False
    networks: tuple[Network, ...] = ()
    networks_only: bool = False
    networks_for_names: bool = True
    ports: tuple[tuple[int, int], ...] = (
        (80, 80),
        (443, 443),
        (8080, 8080),
        (8443,) * 2,
    )
    allow: tuple[Allowed, ...] = ()

    @classmethod
    def from_options(
        cls, options: FetchOptions, allow: Iterable[str] = ()
    ) -> AddressGuard:
        """From `fetch_setting.*` and the entries of `ADDRESS_GUARD_ALLOW`.

        Raises:
            ValueError: an entry cannot be read (options are checked when saved).
        """

        def flag(name: str) -> bool:
            return options.flag(f"fetch_setting.{name}")

        def items(name: str) -> list[str]:
            return [str(item) for item in options.json(f"fetch_setting.{name}") or ()]

        return cls(
            enabled=flag("enable_ssrf_protection"),
            private=flag("allow_private_ip"),
            domains=tuple(_plain(name) for name in items("domain_list")),
            domains_only=flag("domain_filter_mode"),
            networks=tuple(
                ipaddress.ip_network(text.strip(), strict=False)
                for text in items("ip_list")
            ),
            networks_only=flag("ip_filter_mode"),
            networks_for_names=flag("apply_ip_filter_for_domain"),
            ports=tuple(_range(text) for text in items("allowed_ports")),
            allow=tuple(Allowed.parse(text) for text in allow if text.strip()),
        )

    def needs_addresses(self, scheme: str, host: str, port: int) -> bool:
        """True when the host's addresses must be known and checked.

        Raises:
            AddressRefused: not HTTP.
        """
        if scheme not in ("http", "https"):
            raise AddressRefused(f"scheme {scheme!r}")
        if not self.enabled:
            return False
        return not any(entry.admits(_plain(host), None, port) for entry in self.allow)

    def check(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Nothing, when every one of a host's addresses may be connected to.

        Args:
            addresses: What the name resolved to, or the address itself.

        Raises:
            AddressRefused: one of them may not, or there is none.
        """
        if not addresses:
            raise AddressRefused(f"{host} has no address")
        name = "" if is_address(host) else _plain(host)
        for text in addresses:
            address = _unmapped(text)
            if not any(entry.admits(name, address, port) for entry in self.allow):
                self._check_one(name, address, port)

    def _check_one(self, name: str, address: Address, port: int) -> None:
        if self.ports and not any(low <= port <= high for low, high in self.ports):
            raise AddressRefused(f"port {port}")
        if name:
            listed = any(_matches(name, pattern) for pattern in self.domains)
            if listed != self.domains_only:
                raise AddressRefused(f"name {name}")
        if not self.private and not is_public(address):
            raise AddressRefused(f"{name or 'the host'} is at {address}")
        if not name or self.networks_for_names:
            listed = any(address in network for network in self.networks)
            if listed != self.networks_only:
                raise AddressRefused(f"address {address}")


def is_public(address: Address) -> bool:
    """True for an address that belongs to one host on the public internet.

    IPv6 addresses that carry an IPv4 address are as public as that is.
    """
    if isinstance(address, ipaddress.IPv6Address):
        carried = _carried(address)
        if carried:
            return all(is_public(inner) for inner in carried)
    return address.is_global and not (address.is_multicast or address.is_reserved)


def is_address(host: str) -> bool:
    """True for an IP address, as opposed to a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _carried(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that traffic to an IPv6 address may end up at."""
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return list(address.teredo)
    if address in _NAT64 or address in _COMPATIBLE:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return []


def _unmapped(text: str) -> Address:
    """An address; an IPv4 one that comes in IPv6's clothes as itself.

    Raises:
        AddressRefused: it is none, or it names an interface.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise AddressRefused(f"not an address: {text[:80]!r}") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise AddressRefused("an address of one interface")
        return address.ipv4_mapped or address
    return address


def _plain(host: str) -> str:
    return host.strip().lower().rstrip(".")


def _matches(host: str, pattern: str) -> bool:
    """True for the name itself, or with `*.` for every name below it."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


def _range(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    return int(low), int(high if dash else low)


def _split_port(text: str) -> tuple[str, int | None]:
    """Host and port of `host:port`, `[v6]:port`, or either without a port."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest[1:]) if rest.startswith(":") else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, int(port)
    return text, None


def resolve(
    reactor: IReactorPluggableNameResolver, host: str, port: int
) -> Deferred[list[str]]:
    """The addresses of a name, in the resolver's order; none when it is unknown."""
    resolved: Deferred[list[str]] = Deferred()
    reactor.nameResolver.resolveHostName(_Addresses(resolved), host, portNumber=port)
    return resolved


@implementer(IResolutionReceiver)
class _Addresses:
    def __init__(self, resolved: Deferred[list[str]]) -> None:
        self._resolved = resolved
        self._found: list[str] = []

    def resolutionBegan(self, resolution: IHostResolution) -> None:
        """Nothing to prepare."""

    def addressResolved(self, address: IAddress) -> None:
        """One of them."""
        host = getattr(address, "host", None)
        if host is not None:
            self._found.append(host)

    def resolutionComplete(self) -> None:
        """That was all."""
        if not self._resolved.called:
            self._resolved.callback(self._found)
