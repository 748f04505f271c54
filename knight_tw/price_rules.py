"""Rules that model names alone decide: look-up names, completion ratios, audio prices.

Source: billing specification, sections 2, 3 and 5; relay specification, 7.2. The
numbers, and the spelling of endless fractions, are the reference's: bills are equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

from attrs import frozen

COMPACT = "-openai-compact"
ANY_COMPACT = "*-openai-compact"

_THINKING = re.compile(
    r"(gemini-2\.5-flash-lite|gemini-2\.5-flash|gemini-2\.5-pro).*-thinking-\d+"
)
_SUFFIX = re.compile(
    r"(.+)-(?:thinking(?:-\d+)?|nothinking|none|minimal|low|medium|high|xhigh|max"
    r"|search|online|internet)"
)


@lru_cache(maxsize=4096)
def normalise(model: str) -> str:
    """The name under which a family of names is listed; most names are their own."""
    if model.startswith("gpt-4-gizmo"):
        return "gpt-4-gizmo-*"
    if model.startswith("gpt-4o-gizmo"):
        return "gpt-4o-gizmo-*"
    if match := _THINKING.fullmatch(model):
        return f"{match[1]}-thinking-*"
    return model


def without_suffix(model: str) -> str:
    """The name without one suffix that asks for effort, thinking or search, or ""."""
    match = _SUFFIX.fullmatch(model)
    return match[1] if match else ""


@frozen
class CompletionRule:
    """A completion ratio by name; a locked one beats the administrator's entry."""

    ratio: Decimal
    locked: bool


_Test = Callable[[str], bool]
_Rule = tuple[_Test, str, bool]


def _starts(*prefixes: str) -> _Test:
    return lambda name: name.startswith(prefixes)


def _ends(*suffixes: str) -> _Test:
    return lambda name: name.endswith(suffixes)


def _is(*names: str) -> _Test:
    return lambda name: name in names


def _contains(*parts: str) -> _Test:
    return lambda name: any(part in name for part in parts)


def _all(*tests: _Test) -> _Test:
    return lambda name: all(test(name) for test in tests)


def _any(*tests: _Test) -> _Test:
    return lambda name: any(test(name) for test in tests)


_NO_DOT: _Test = lambda name: "." not in name  # noqa: E731 - a test like the others
_CLAUDE = ("claude-3", "claude-sonnet-4", "claude-opus-4", "claude-haiku-4")
_ERNIE = ("ERNIE-Speed-", "ERNIE-Lite-", "ERNIE-Character", "ERNIE-Functions")

_COMPLETION: tuple[_Rule, ...] = (
    (_ends("-all", "-gizmo-*"), "2", False),
    (_is("gpt-4o-2024-05-13"), "3", True),
    (_starts("gpt-4o-mini-tts"), "20", False),
    (_starts("gpt-4o"), "4", False),
    (_all(_starts("gpt-5"), _NO_DOT), "8", True),
    (_starts("gpt-5.4-nano"), "6.25", True),
    (_starts("gpt-5.4"), "6", True),
    (_starts("gpt-5"), "6", False),
    (_starts("gpt-4.5-preview"), "2", True),
    (_any(_starts("gpt-4-turbo"), _ends("gpt-4-1106", "gpt-4-1105")), "3", True),
    (_starts("gpt-"), "2", False),
    (_starts("o1", "o3"), "4", True),
    (_is("chatgpt-4o-latest"), "3", True),
    (_contains(*_CLAUDE), "5", True),
    (_starts("mistral-"), "3", True),
    (_starts("gemini-1.5", "gemini-2.0"), "4", True),
    (_starts("gemini-2.5-pro"), "8", False),
    (
        _all(_starts("gemini-2.5-flash-preview"), _ends("-nothinking")),
        "4",
        False,
    ),
    (_starts("gemini-2.5-flash-preview"), "23.333333333333336", False),
    (_starts("gemini-2.5-flash-lite"), "4", False),
    (_starts("gemini-2.5-flash", "gemini-robotics-er-1.5"), "8.333333333333334", False),
    (_starts("gemini-3-pro-image"), "60", False),
    (_starts("gemini-3-pro"), "6", False),
    (_starts("gemini-"), "4", False),
    (_is("command-r"), "3", True),
    (_is("command-r-plus"), "5", True),
    (_is("command-r-08-2024", "command-r-plus-08-2024"), "4", True),
    (_starts("command"), "4", False),
    (_starts(*_ERNIE), "2", True),
    (_is("llama2-70b-4096"), "1.25", True),
    (_is("llama3-8b-8192"), "2", True),
    (_is("llama3-70b-8192"), "1.3389830508474578", True),
)
_OTHERWISE = CompletionRule(Decimal(1), False)


@lru_cache(maxsize=4096)
def completion_rule(model: str) -> CompletionRule:
    """The completion ratio that the name alone gives."""
    for applies, ratio, locked in _COMPLETION:
        if applies(model):
            return CompletionRule(Decimal(ratio), locked)
    return _OTHERWISE


_AUDIO_INPUT = (
    ("gemini-2.5-flash-preview-native-audio", Decimal("3.00")),
    ("gemini-2.5-flash-preview-lite", Decimal("0.50")),
    ("gemini-2.5-flash", Decimal("1.00")),
    ("gemini-2.0-flash", Decimal("0.70")),
    ("gemini-robotics-er-1.5", Decimal("1.00")),
)


def audio_input_price(model: str) -> Decimal | None:
    """US dollars per million audio input tokens of models that price them apart."""
    for prefix, price in _AUDIO_INPUT:
        if model.startswith(prefix):
            return price
    return None
