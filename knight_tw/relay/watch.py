"""Hands what attempts came to on to those who take channels out of service."""

from __future__ import annotations

from attrs import define

from knight_tw.background import Background
from knight_tw.channels.health import ChannelHealth
from knight_tw.errors import KnightError
from knight_tw.metrics import Meter
from knight_tw.relay.call import Attempt


@define(eq=False)
class ChannelWatch:
    """Implements `relay.Watch`; the decision is made off the request path."""

    _health: ChannelHealth
    _background: Background
    _meter: Meter

    def failed(self, attempt: Attempt, error: KnightError) -> None:
        """An attempt failed."""
        channel = attempt.channel
        self._meter.failed(channel)
        if self._health.fatal(channel, error):
            self._background.spawn("disable a channel", self._judge(attempt, error))

    def answered(self, attempt: Attempt, seconds: float) -> None:
        """An attempt succeeded."""
        self._meter.succeeded(attempt.channel)

    def retried(self, attempt: Attempt, error: KnightError) -> None:
        """An attempt that has `failed` is followed by another one."""
        self._meter.retried(attempt.channel, error.code)

    async def _judge(self, attempt: Attempt, error: KnightError) -> None:
        await self._health.failed(attempt.channel, attempt.key_index, error)
