"""Names of fields in Google's JSON, which takes `camelCase` and `snake_case` alike.

Everything here works on camel case; what a client sent is brought into it first. What
lies in the members that hold the user's own things (arguments, results, schemas) is
not touched.
"""

from __future__ import annotations

import re
from typing import Any, Final

_OWN = frozenset(
    {
        "args",
        "response",
        "parameters",
        "parametersJsonSchema",
        "responseSchema",
        "responseJsonSchema",
        "labels",
        "partMetadata",
    }
)
"""Members whose content belongs to the user. Schemas have their own reader."""

_SNAKE = re.compile(r"_([a-z0-9])")
_DEEPEST: Final = 64


def camel_name(name: str) -> str:
    """One name in camel case."""
    return _SNAKE.sub(lambda found: found[1].upper(), name) if "_" in name else name


def camel(value: Any, depth: int = 0) -> Any:
    """A copy with all field names in camel case; the user's own content as it is.

    Members that are null are left out: in Google's JSON they are absent.
    """
    if depth > _DEEPEST:
        return value
    if isinstance(value, list):
        return [camel(entry, depth + 1) for entry in value]
    if not isinstance(value, dict):
        return value
    named = ((camel_name(name), inner) for name, inner in value.items())
    return {
        name: inner if name in _OWN else camel(inner, depth + 1)
        for name, inner in named
        if inner is not None
    }
