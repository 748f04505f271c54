"""Which dialect an attempt speaks, and the conversions of each.

A channel that speaks the client's dialect gets it unchanged. Otherwise the middle form
is OpenAI chat when the channel has it, else what the channel prefers (relay
specification, section 9, step 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from attrs import frozen

from knight_tw.convert import chat, claude, gemini, responses
from knight_tw.errors import UnsupportedEndpoint
from knight_tw.patterns import Pattern, PatternInvalid, compiled
from knight_tw.records import Channel, Dialect, Mode

SIDES: Mapping[Dialect, ModuleType] = {
    Dialect.CHAT: chat,
    Dialect.CLAUDE: claude,
    Dialect.GEMINI: gemini,
    Dialect.RESPONSES: responses,
}
"""Each has `request_to_x`, `request_from_x`, `response_to_x`, `response_from_x`,
`StreamToX`, `StreamFromX` and `media_urls`."""

CONVERTED = frozenset({Mode.CHAT, Mode.MESSAGES, Mode.RESPONSES, Mode.GEMINI})
"""Kinds of work that exist in every dialect."""


@frozen(eq=False)
class ResponsesPolicy:
    """Option `global.chat_completions_to_responses_policy`: which calls go to a
    channel's Responses endpoint although it has chat."""

    enabled: bool = False
    all_channels: bool = True
    channel_ids: frozenset[int] = frozenset()
    channel_types: frozenset[int] = frozenset()
    patterns: tuple[Pattern, ...] = ()

    @classmethod
    def read(cls, value: Any) -> ResponsesPolicy:
        """The policy in the option; patterns that do not compile are left out."""
        if not isinstance(value, Mapping) or not value.get("enabled"):
            return cls()
        return cls(
            True,
            value.get("all_channels") is True,
            frozenset(value.get("channel_ids") or ()),
            frozenset(value.get("channel_types") or ()),
            tuple(_compiled(value.get("model_patterns") or ())),
        )

    def wants(self, channel: Channel, model: str) -> bool:
        """True when a call for `model` on the channel shall be a Responses call."""
        if not self.enabled:
            return False
        named = (
            self.all_channels
            or channel.id in self.channel_ids
            or channel.type in self.channel_types
        )
        return named and any(pattern.found_in(model) for pattern in self.patterns)


def _compiled(patterns: Any) -> list[Pattern]:
    found = []
    for pattern in patterns:
        try:
            found.append(compiled(str(pattern)))
        except PatternInvalid:
            continue
    return found


def choose(
    client: Dialect,
    native: tuple[Dialect, ...],
    wants_responses: Callable[[], bool],
) -> Dialect:
    """The dialect to speak to a channel.

    Raises:
        UnsupportedEndpoint: the channel has none for this.
    """
    other = client is not Dialect.RESPONSES and Dialect.RESPONSES in native
    if other and wants_responses():
        return Dialect.RESPONSES
    if client in native:
        return client
    if Dialect.CHAT in native:
        return Dialect.CHAT
    if not native:
        raise UnsupportedEndpoint(
            "the channel does not serve this endpoint", retryable=True
        )
    return native[0]
