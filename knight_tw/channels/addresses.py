"""Asks the outbound address guard about a channel's address before it is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from knight_tw.addresses import AddressGuard, AddressRefused, resolve

_PORTS = {"http": 80, "https": 443}


@frozen(eq=False)
class AddressCheck:
    """Implements the channel pages' `CheckAddress`."""

    _reactor: Any
    _guard: Callable[[], AddressGuard]

    async def __call__(self, url: str) -> None:
        """Returns when a connection to `url` is allowed.

        Raises:
            AddressRefused: it is not. UpstreamFailed: the name has no address.
        """
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            port = parts.port or _PORTS.get(parts.scheme, 80)
        except ValueError:
            raise AddressRefused("not a URL") from None
        guard = self._guard()
        if guard.needs_addresses(parts.scheme, host, port):
            guard.check(host, port, await resolve(self._reactor, host, port))
