"""Channel tests: a real small call through the relay's own way, without a caller.

Nothing is held or charged; what the answer would have cost is told.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from attrs import define
from twisted.internet.interfaces import IReactorTime

from knight_tw import pricing
from knight_tw.channels.probes import TestRequest
from knight_tw.channels.testing import ProbeAnswer
from knight_tw.errors import KnightError, UnsupportedEndpoint
from knight_tw.price_book import PriceBook
from knight_tw.records import ROLE_ROOT, Caller, Channel, Head, Usage, User
from knight_tw.relay import reading
from knight_tw.relay.attempt import Wire
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.knobs import Knobs

PREVIEW = 200
"""Characters of the answer that are shown."""

_NOBODY = Caller(User(0, "", ROLE_ROOT, 1, "default", 0), None, "default")


@define(eq=False)
class RelayProbe:
    """Implements `channels.testing.Probe`."""

    _wire: Wire
    _knobs: Callable[[], Knobs]
    _prices: Callable[[], PriceBook]
    _clock: IReactorTime

    async def __call__(
        self, channel: Channel, key_index: int, request: TestRequest
    ) -> ProbeAnswer:
        """See `Probe`."""
        call = self._call(request)
        group = channel.groups[0] if channel.groups else "default"
        attempt = Attempt(channel, key_index, group, self._clock.seconds())
        call.attempts.append(attempt)
        usage, text = await self._wire.ask(call, attempt, self._knobs())
        return ProbeAnswer(usage, self._told(call, group, usage), text[:PREVIEW])

    def _call(self, request: TestRequest) -> Call:
        if request.mode not in reading.KINDS:
            raise UnsupportedEndpoint(f"{request.endpoint} cannot be tested")
        head = Head("POST", request.path, "", (), "127.0.0.1", "127.0.0.1")
        call = Call(
            "",
            head,
            request.mode,
            request.dialect,
            request.path,
            _NOBODY,
            self._clock.seconds(),
            msgspec.json.encode(request.body),
            is_test=True,
        )
        reading.read_model(call)
        return call

    def _told(self, call: Call, group: str, usage: Usage) -> dict[str, object]:
        """What the log row of the test says of the price."""
        try:
            price = self._prices().price(
                call.model, user_group=group, using_group=group, accept_unset=True
            )
        except KnightError:
            return {}
        return pricing.explain(price, usage)
