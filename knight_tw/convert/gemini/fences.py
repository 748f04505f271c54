"""Code that Gemini ran, and its output, as fenced text (specification, 8.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FENCE = "```"


def fenced(part: Mapping[str, Any]) -> str | None:
    """The fenced text of a code part; None for other parts."""
    code = part.get("executableCode")
    if isinstance(code, Mapping):
        language = str(code.get("language") or "python").lower()
        known = "python" if language == "language_unspecified" else language
        return _block(known, code.get("code"))
    result = part.get("codeExecutionResult")
    if isinstance(result, Mapping):
        return _block("output", result.get("output"))
    return None


def _block(language: str, content: Any) -> str:
    text = content if isinstance(content, str) else ""
    end = "" if text.endswith("\n") else "\n"
    return f"{_FENCE}{language}\n{text}{end}{_FENCE}"


def joined(before: str, block: str) -> str:
    """What to write for a block after `before`: on a line of its own."""
    return block if not before or before.endswith("\n") else f"\n{block}"
