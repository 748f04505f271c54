"""Hands what attempts came to on to those who take channels out of service."""

from __future__ import annotations

from collections import Counter

from attrs import define, field

from knight_tw.background import Background
from knight_tw.channels.health import ChannelHealth
from knight_tw.errors import KnightError
from knight_tw.relay.call import Attempt


@define(eq=False)
class ChannelWatch:
    """Implements `relay.Watch`; the decision is made off the request path.

    Attributes:
        outcomes: Attempts by (channel id, `ok` or `failed`), for metrics.
    """

    _health: ChannelHealth
    _background: Background
    outcomes: Counter[tuple[int, str]] = field(factory=Counter)

    def failed(self, attempt: Attempt, error: KnightError) -> None:
        """An attempt failed."""
        channel = attempt.channel
        self.outcomes[channel.id, "failed"] += 1
        if self._health.fatal(channel, error):
            self._background.spawn("disable a channel", self._judge(attempt, error))

    def answered(self, attempt: Attempt, seconds: float) -> None:
        """An attempt succeeded."""
        self.outcomes[attempt.channel.id, "ok"] += 1

    async def _judge(self, attempt: Attempt, error: KnightError) -> None:
        await self._health.failed(attempt.channel, attempt.key_index, error)
