"""Text conditions of list filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

Condition = sa.ColumnElement[bool]

_ESCAPE = "!"


def literal(text: str) -> str:
    """`text` for a LIKE pattern in which nothing but a `%` of our own is special."""
    for special in (_ESCAPE, "%", "_"):
        text = text.replace(special, _ESCAPE + special)
    return text


def contains(column: sa.ColumnElement[Any], text: str) -> Condition:
    """The column holds `text` somewhere, in upper or lower case."""
    return column.ilike(f"%{literal(text)}%", escape=_ESCAPE)


def matches(column: sa.ColumnElement[Any], text: str) -> Condition:
    """The column equals `text`, in which each `%` stands for anything."""
    if "%" not in text:
        return column == text
    pattern = "%".join(literal(part) for part in text.split("%"))
    return column.like(pattern, escape=_ESCAPE)


def any_of(column: sa.ColumnElement[Any], texts: Sequence[str]) -> Condition:
    """The column matches one of `texts`."""
    exact = [text for text in texts if "%" not in text]
    patterns = [matches(column, text) for text in texts if "%" in text]
    if len(exact) == 1:
        patterns.append(column == exact[0])
    elif exact:
        patterns.append(column.in_(exact))
    return sa.or_(*patterns) if len(patterns) != 1 else patterns[0]
