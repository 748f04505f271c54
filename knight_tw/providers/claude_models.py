"""Names of Anthropic's models, as its own API spells them."""

from __future__ import annotations

_EFFORTS = ("max", "xhigh", "high", "medium", "low")

CLAUDE_MODELS: tuple[str, ...] = (
    "claude-3-haiku-20240307",
    "claude-3-sonnet-20240229",
    "claude-3-opus-20240229",
    "claude-3-5-haiku-20241022",
    "claude-3-5-sonnet-20240620",
    "claude-3-5-sonnet-20241022",
    "claude-3-7-sonnet-20250219",
    "claude-3-7-sonnet-20250219-thinking",
    "claude-sonnet-4-20250514",
    "claude-sonnet-4-20250514-thinking",
    "claude-opus-4-20250514",
    "claude-opus-4-20250514-thinking",
    "claude-opus-4-1-20250805",
    "claude-opus-4-1-20250805-thinking",
    "claude-sonnet-4-5-20250929",
    "claude-sonnet-4-5-20250929-thinking",
    "claude-haiku-4-5-20251001",
    "claude-opus-4-5-20251101",
    "claude-opus-4-5-20251101-thinking",
    "claude-sonnet-4-6",
    "claude-opus-4-6",
    *(f"claude-opus-4-6-{e}" for e in _EFFORTS if e != "xhigh"),
    *(
        f"{name}{end}"
        for name in ("claude-opus-4-7", "claude-opus-4-8")
        for end in ("", *(f"-{e}" for e in _EFFORTS), "-thinking")
    ),
)
"""The list of the console; endings ask for reasoning (relay specification, 10)."""
