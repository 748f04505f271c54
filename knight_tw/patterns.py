"""Regular expressions that administrators write, run in linear time (RE2).

Python's own engine backtracks: a pattern such as `(a+)+$` lets one request stop the
process. RE2 never does, and its syntax is what Go programs accept, so that patterns
of an existing database keep their meaning.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from attrs import frozen

MAX_PATTERN = 500
MAX_STEPS = 100_000
"""Matches, and groups filled in, in one text: each costs a microsecond or more."""

_GROUP = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)


class PatternInvalid(ValueError):
    """The text is no pattern; the message is for the administrator."""


@frozen(eq=False)
class Pattern:
    """A compiled pattern."""

    _compiled: Any

    def found_in(self, text: str) -> bool:
        """True when the pattern matches somewhere in the text."""
        return self._compiled.search(text) is not None

    def replaced(self, text: str, template: str, limit: int) -> str:
        """The text with every match replaced; `$1`, `${1}` and `${name}` are groups.

        Raises:
            OverflowError: the result would have more than `limit` characters, or take
                more than `MAX_STEPS`.
        """
        parts, rest = _parts(template)
        length, steps = len(text), 0

        def filled(match: Any) -> str:
            nonlocal length, steps
            steps += 1 + len(parts)
            if steps > MAX_STEPS:
                raise OverflowError
            found = "".join(text + _group(match, name) for text, name in parts) + rest
            length += len(found) - (match.end() - match.start())
            if length > limit:
                raise OverflowError
            return found

        return str(self._compiled.sub(filled, text))


@lru_cache(maxsize=1024)
def compiled(text: str, *, ignore_case: bool = False) -> Pattern:
    """The pattern of a text; lately used ones are not compiled again.

    Raises:
        PatternInvalid: it is too long or no pattern.
    """
    if len(text) > MAX_PATTERN:
        raise PatternInvalid(f"a pattern must have at most {MAX_PATTERN} characters")
    re2, options = _re2()
    try:
        return Pattern(re2.compile(f"(?i){text}" if ignore_case else text, options))
    except (re2.error, UnicodeEncodeError) as error:
        raise PatternInvalid(f"invalid pattern: {_said(error)}") from None


@cache
def _re2() -> tuple[Any, Any]:
    """RE2 and our options for it, loaded with the first pattern: it takes 4 MB."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2, options


def _said(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _parts(template: str) -> tuple[list[tuple[str, str]], str]:
    """A replacement as pairs of plain text and group name, and the text at its end."""
    parts: list[tuple[str, str]] = []
    end = 0
    for reference in _GROUP.finditer(template):
        parts.append((template[end : reference.start()], reference[0].strip("${}")))
        end = reference.end()
    return parts, template[end:]


def _group(match: Any, name: str) -> str:
    if not name:
        return "$"
    try:
        return str(match.group(int(name) if name.isdecimal() else name) or "")
    except IndexError:
        return ""
