"""Giving up on an answer that does not begin (providers specification, 2.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from knight_tw.errors import FirstTokenTimeout

T = TypeVar("T")


async def begun_by(
    until: float, work: Deferred[T], begun: Callable[[], bool], clock: IReactorTime
) -> T:
    """The result of `work`, which is cancelled when nothing has begun by a moment.

    Args:
        until: Reactor seconds.
        begun: True once there is no more reason to give up.

    Raises:
        FirstTokenTimeout: it was cancelled here.
    """
    late = False

    def expired() -> None:
        nonlocal late
        if not begun():
            late = True
            work.cancel()

    timer = clock.callLater(max(until - clock.seconds(), 0), expired)
    try:
        return await work
    except CancelledError:
        if late:
            raise FirstTokenTimeout("the channel's answer did not begin") from None
        raise
    finally:
        if timer.active():
            timer.cancel()
