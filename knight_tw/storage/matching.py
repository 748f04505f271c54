"""Text conditions and orders of lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

Condition = sa.ColumnElement[bool]

_ESCAPE = "!"


def literal(text: str) -> str:
    """`text` for a LIKE pattern in which nothing but a `%` of our own is special."""
    for special in (_ESCAPE, "%", "_"):
        text = text.replace(special, _ESCAPE + special)
    return text


def contains(column: sa.ColumnElement[Any], text: str) -> Condition:
    """The column holds `text` somewhere, in upper or lower case."""
    return _CaselessLike(column, sa.literal(f"%{literal(text)}%"))


class _CaselessLike(FunctionElement[bool]):
    """`column LIKE pattern` in upper or lower case."""

    name = "caseless_like"
    type = sa.Boolean()
    inherit_cache = True


@compiles(_CaselessLike)
def _ilike(element: _CaselessLike, compiler: SQLCompiler, **options: Any) -> str:
    column, pattern = element.clauses
    return compiler.process(column.ilike(pattern, escape=_ESCAPE), **options)


@compiles(_CaselessLike, "sqlite")
def _like(element: _CaselessLike, compiler: SQLCompiler, **options: Any) -> str:
    # LIKE is caseless there, as far as lower() is; without it a search takes a quarter.
    column, pattern = element.clauses
    return compiler.process(column.like(pattern, escape=_ESCAPE), **options)


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


def order(
    sort: tuple[str, bool],
    fields: Mapping[str, sa.Column[Any]],
    key: sa.Column[Any],
) -> tuple[sa.UnaryExpression[Any], ...]:
    """What a list is ordered by: a field up or down, then the newest first.

    Args:
        sort: One of `fields` or empty, and whether the largest comes first.
        key: The table's number, which makes the order certain.
    """
    name, down = sort
    newest = key.desc()
    if not name:
        return (newest,)
    column = fields[name]
    return (column.desc() if down else column.asc(), newest)
