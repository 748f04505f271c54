"""Request limits of the management API, by address or user (authentication spec, 16).

Sliding windows in the cache: Redis when configured, else the memory of this process.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Mapping
from typing import Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from knight_tw.errors import RateLimited
from knight_tw.settings import Settings


class Mark(enum.Enum):
    """A family of limits; the value is its name in the cache."""

    GLOBAL_API = "GA"
    GLOBAL_WEB = "GW"
    CRITICAL = "CT"
    ACCESS_TOKEN = "UC:access-token"  # noqa: S105 - a name, not a secret
    AFF_TRANSFER = "UC:aff-transfer"
    SEARCH = "SR"
    UPLOAD = "UP"
    DOWNLOAD = "DW"
    EMAIL_CODE = "EV"


Verdict = tuple[bool, float]
"""Whether a request is allowed, and else after how many seconds one would be."""


class Counter(Protocol):
    """What is needed of `cache.Cache`."""

    def allow(
        self, key: str, limit: int, window_seconds: float, now: float
    ) -> Verdict | Deferred[Verdict]:
        """Count a request in a sliding window unless it is full."""
        ...


@frozen
class Window:
    """At most `limit` requests within `seconds`."""

    limit: int
    seconds: int


def windows(settings: Settings) -> dict[Mark, Window]:
    """The limits that the process settings switch on."""
    found = {
        Mark.UPLOAD: Window(10, 60),
        Mark.DOWNLOAD: Window(10, 60),
        Mark.EMAIL_CODE: Window(2, 30),
    }
    if settings.global_api_rate_limit_enable:
        found[Mark.GLOBAL_API] = Window(
            settings.global_api_rate_limit, settings.global_api_rate_limit_duration
        )
    if settings.global_web_rate_limit_enable:
        found[Mark.GLOBAL_WEB] = Window(
            settings.global_web_rate_limit, settings.global_web_rate_limit_duration
        )
    if settings.critical_rate_limit_enable:
        critical = Window(
            settings.critical_rate_limit, settings.critical_rate_limit_duration
        )
        for mark in (Mark.CRITICAL, Mark.ACCESS_TOKEN, Mark.AFF_TRANSFER):
            found[mark] = critical
    if settings.search_rate_limit_enable:
        found[Mark.SEARCH] = Window(
            settings.search_rate_limit, settings.search_rate_limit_duration
        )
    return found


@frozen
class Limits:
    """Counts requests and refuses those above a limit."""

    _cache: Counter
    _clock: IReactorTime
    _windows: Mapping[Mark, Window] = field(factory=dict)

    async def check(self, mark: Mark, who: str | int) -> None:
        """Count a request of `who`, an address or a user id.

        Raises:
            RateLimited: over the limit; `retry_after` says when one is free again.
        """
        window = self._windows.get(mark)
        if window is None:
            return
        key = f"limit:{mark.value}:{_counted(who)}"
        now = self._clock.seconds()
        answer = self._cache.allow(key, window.limit, window.seconds, now)
        allowed, wait = await answer if isinstance(answer, Deferred) else answer
        if not allowed:
            raise RateLimited("too many requests, try again later", retry_after=wait)


def _counted(who: str | int) -> str | int:
    """Whom a caller counts as: an IPv6 address as the network of 64 bits that any of
    its customers has to itself, all else as it is."""
    if not isinstance(who, str) or ":" not in who:
        return who
    try:
        address = ipaddress.IPv6Address(who.partition("%")[0])
    except ValueError:
        return who
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
