"""Who is at the other end: the client's address and scheme behind trusted proxies.

Pure. `X-Forwarded-*` is believed only when the peer is in `TRUSTED_PROXIES` (relay
specification, 15): anybody else could write any address into it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from attrs import frozen

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@frozen
class Proxies:
    """The addresses whose `X-Forwarded-*` headers are believed."""

    _networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> Proxies:
        """From the texts of `TRUSTED_PROXIES`, addresses and CIDRs."""
        return cls(tuple(ipaddress.ip_network(text, strict=False) for text in networks))

    def trusts(self, address: str) -> bool:
        """True when a proxy of ours has the address."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """The client's address: the right-most forwarded one that is not a proxy's.

        Args:
            peer: Address of the connection.
            forwarded: Values of `X-Forwarded-For`, as sent.
        """
        if not self.trusts(peer):
            return peer
        client = peer
        for entry in reversed(",".join(forwarded).split(",")):
            address = _bare(entry)
            if address is None:
                break
            client = address
            if not self.trusts(address):
                break
        return client


def _bare(entry: str) -> str | None:
    """An address without port and brackets; None when it is not one."""
    text = entry.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
