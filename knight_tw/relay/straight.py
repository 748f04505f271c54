"""The upstream request of the usual call, which nothing on its way changes.

A chat call that is not streamed, on a channel with OpenAI's own API and no overrides,
goes on as the bytes it came in, to an address and with headers that depend only on the
channel, its key and the model. Those are made once; `plan` has every other case.
"""

from __future__ import annotations

from attrs import define, evolve, field, frozen

from knight_tw import providers, routing
from knight_tw.providers import openai_family, outgoing
from knight_tw.providers.provider import Headers, Provider, Target
from knight_tw.records import Channel, Dialect, Head, Mode
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.knobs import Knobs
from knight_tw.relay.plan import Prepared, plan
from knight_tw.relay.same import SameChat

KNOWN = 4096
"""Lanes that are remembered; clients choose the models, so all go when it is full."""

_ACCEPTED = frozenset({"", "*/*", "application/json"})
_NOBODY = Head("POST", "", "", (), "", "")


@frozen(eq=False)
class _Way:
    """What all usual calls for one model with one key of a channel have in common."""

    url: str
    headers: Headers
    proxy: str
    guarded: bool
    forward_limits: bool
    target: Target
    provider: Provider


@frozen(eq=False)
class _Lane:
    """A way, or that there is none, as long as channel and options stay these."""

    channel: Channel
    knobs: Knobs
    way: _Way | None


@define(eq=False)
class Straight:
    """Remembers lanes by channel, key and model."""

    _known: dict[tuple[int, int, str], _Lane] = field(factory=dict)

    def prepared(self, call: Call, attempt: Attempt, knobs: Knobs) -> Prepared | None:
        """The request of a usual call, None for every other: `plan` decides.

        Gives, and notes on the attempt, what `plan(...).prepared({}, now)` does.
        """
        if not _is_usual(call):
            return None
        channel = attempt.channel
        key = (channel.id, attempt.key_index, call.model)
        lane = self._known.get(key)
        if lane is None or lane.channel is not channel or lane.knobs is not knobs:
            if len(self._known) >= KNOWN:
                self._known.clear()
            lane = _Lane(channel, knobs, _way(call, attempt, knobs))
            self._known[key] = lane
        way = lane.way
        if way is None:
            return None
        attempt.model, attempt.dialect = call.model, Dialect.CHAT
        return Prepared(
            way.url,
            way.headers,
            call.body,
            SameChat(call, way.target, way.provider),
            way.proxy,
            way.guarded,
            way.forward_limits,
        )


def _is_usual(call: Call) -> bool:
    head = call.head
    return (
        call.mode is Mode.CHAT
        and call.dialect is Dialect.CHAT
        and not call.stream
        and call.sticky is None
        and not head.query
        and head.get("accept") in _ACCEPTED
        and "model" in call.top
        and outgoing.REMOVABLE.isdisjoint(call.top)
    )


def _way(call: Call, attempt: Attempt, knobs: Knobs) -> _Way | None:
    """The way, None when something on it depends on more than a lane's key."""
    channel, model = attempt.channel, call.model
    provider = providers.for_channel(channel)
    if (
        provider is None
        or provider.prepare is not openai_family.prepare
        or provider.sign
        or provider.exchange
        or provider.conversion
        or provider.speaks_for
        or channel.header_override
        or channel.param_override
        or channel.setting.get("system_prompt")
        or knobs.responses_policy.enabled
        or attempt.key_index == routing.NO_KEY
        or routing.map_model(channel.model_mapping, model) != model
        or openai_family.REASONING.match(model)
    ):
        return None
    made = plan(call, attempt, knobs, 0)
    usual = made.prepared({}, 0)
    if usual.body is not call.body or not isinstance(usual.translation, SameChat):
        return None
    # Nothing of the call that happened to be the first may stay.
    target = evolve(made.target, head=_NOBODY, path="", asked={})
    return _Way(
        usual.url,
        usual.headers,
        usual.proxy,
        usual.guarded,
        usual.forward_limits,
        target,
        provider,
    )
