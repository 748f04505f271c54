"""Other gateways of the family (59, 60): every dialect natively, every kind of work."""

from __future__ import annotations

from knight_tw.providers.addresses import (
    CLAUDE_PATHS,
    OPENAI_PATHS,
    addresses,
    channel_root,
    gemini_path,
    sent_kind,
)
from knight_tw.providers.credentials import by_dialect
from knight_tw.providers.openai_family import OPENAI_MODES, openai_provider
from knight_tw.providers.provider import Provider, Target
from knight_tw.records import Dialect, Mode

_OTHERS = addresses("", {**OPENAI_PATHS, **CLAUDE_PATHS})


def url(target: Target) -> str:
    """The path the client would use there itself."""
    if sent_kind(target) is Mode.GEMINI:
        return channel_root(target.channel, "") + gemini_path(target)
    return _OTHERS(target)


def _gateway(type_id: int, name: str) -> Provider:
    return openai_provider(
        type_id,
        name,
        "",
        url=url,
        speaks=(Dialect.CHAT, Dialect.RESPONSES, Dialect.CLAUDE, Dialect.GEMINI),
        modes=OPENAI_MODES | {Mode.ALPHA_SEARCH},
        authorize=by_dialect,
        stream_options=True,
    )


SUB2API = _gateway(59, "Sub2API")
NEW_API = _gateway(60, "New API")
