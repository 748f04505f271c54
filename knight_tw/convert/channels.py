"""Facts about channel types that decide what a conversion may send.

The numbers are the type ids of the providers specification, section 3. This layer
cannot ask the providers themselves, which stand above it.
"""

from __future__ import annotations

import re
from typing import Final

from knight_tw.convert.context import Context

OPENAI: Final = 1
AZURE: Final = 3
ANTHROPIC: Final = 14
ZHIPU: Final = 16
ALI: Final = 17
OPENROUTER: Final = 20
MOONSHOT: Final = 25
ZHIPU_V4: Final = 26
AWS: Final = 33
MINIMAX: Final = 35
VERTEX: Final = 41
DEEPSEEK: Final = 43
SUB2API: Final = 59
NEW_API: Final = 60

STRICT = frozenset({OPENAI, AZURE})
"""Channels that speak OpenAI's own API and refuse what it does not name."""

_REASONING = frozenset({DEEPSEEK, MOONSHOT, ZHIPU, ZHIPU_V4, ALI, MINIMAX, OPENROUTER})
"""Channels that take `reasoning_content` back."""

_CACHING = frozenset({OPENROUTER, ALI, SUB2API, NEW_API})
"""Channels that take `cache_control` on parts: Claude's marker, passed on."""

_DATA_ONLY = frozenset({AWS, VERTEX})
"""Channels whose Claude models do not fetch URLs."""

_O_SERIES = re.compile(r"o[1-9]")
_GPT = re.compile(r"gpt-(\d+)(?:\.(\d+))?")
_OLD_O1 = ("o1-mini", "o1-preview")
_NOT_REASONING = re.compile(r"(?:ft:)?(?:gpt-[34]|chatgpt-)")


def is_strict(context: Context) -> bool:
    """True for a channel that speaks OpenAI's own API."""
    return context.provider_type in STRICT


def takes_reasoning(context: Context) -> bool:
    """True when an assistant message may carry its reasoning."""
    said = context.accepts("reasoning_content")
    return context.provider_type in _REASONING if said is None else said


def takes_cache_control(context: Context) -> bool:
    """True when parts may carry Claude's cache marker."""
    said = context.accepts("cache_control")
    return context.provider_type in _CACHING if said is None else said


def takes_breakpoints(context: Context) -> bool:
    """True when parts may carry OpenAI's cache marker: its models from gpt-5.6 on."""
    found = _GPT.match(context.model)
    if not is_strict(context) or found is None:
        return False
    return (int(found[1]), int(found[2] or 0)) >= (5, 6)


def needs_bytes(context: Context) -> bool:
    """True when a Claude channel takes media only as bytes, not as URLs."""
    forced = context.settings.get("download_media") is True
    return forced or context.provider_type in _DATA_ONLY


def takes_developer(context: Context) -> bool:
    """True when the system prompt's role is `developer`: OpenAI's reasoning models."""
    return is_strict(context) and reasons(context.model)


def reasons(model: str) -> bool:
    """True for OpenAI's reasoning models, which refuse some fields of the others."""
    if _O_SERIES.match(model):
        return not model.startswith(_OLD_O1)
    found = _GPT.match(model)
    return found is not None and int(found[1]) >= 5


def never_reasons(model: str) -> bool:
    """True for OpenAI models that refuse to be told how hard to think."""
    return _NOT_REASONING.match(model) is not None
