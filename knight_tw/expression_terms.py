"""Words of price expressions: the tokens, the operators and the functions.

Values are Decimal, str, bool, None and lists of them; `expressions` has the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from attrs import define, field, frozen

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ExpressionInvalid(ValueError):
    """The text is not an expression; the message says where."""


class ExpressionFailed(ValueError):
    """The expression has no value for these quantities."""


@frozen(eq=False)
class Request:
    """What `param`, `header` and the clock functions look at.

    Attributes:
        body: Top level of the JSON body; members may be `msgspec.Raw`.
        header: Gives a header's value by lower-case name, or an empty text.
        now: The moment, with a time zone.
    """

    body: Mapping[str, Any] = field(factory=dict)
    header: Callable[[str], str] = lambda name: ""
    now: datetime = EPOCH


@define(eq=False)
class Scope:
    """One evaluation: what it reads, and the tier that it names."""

    counts: Mapping[str, int]
    request: Request
    tier: str = ""


Token = tuple[str, str]
"""Kind (`number`, `name`, `text` or `sign`) and spelling."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d[\d_]*(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,3})?)
      | (?P<name>[A-Za-z_][A-Za-z_0-9]*)
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<sign>\*\*|\|\||&&|[=!<>]=|[-+*/%^<>!?:(),;\[\]])
    )""",
    re.X | re.S | re.ASCII,
)
_ESCAPE = re.compile(r"\\(.)", re.S)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
_SIGNS = {
    "and": "&&",
    "or": "||",
    "not": "!",
    "contains": "has",
    "^": "**",
    "startsWith": "startsWith",
    "endsWith": "endsWith",
    "in": "in",
}


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a text; operators that are words come as signs.

    Raises:
        ExpressionInvalid: something in the text is no token.
    """
    place = 0
    text = text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ExpressionInvalid(f"cannot read {text[place : place + 20]!r}")
        place = match.end()
        kind = str(match.lastgroup)
        word = match[kind]
        if kind in ("name", "sign") and word in _SIGNS:
            yield "sign", _SIGNS[word]
        elif kind == "text":
            body = _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]), word[1:-1])
            yield kind, body
        else:
            yield kind, word


def number(value: Any) -> Decimal:
    """The value, which must be a number."""
    if isinstance(value, Decimal):
        return value
    raise ExpressionFailed("a number is needed")


def truth(value: Any) -> bool:
    """The value of a condition; nil is false."""
    if value is None or isinstance(value, bool):
        return bool(value)
    raise ExpressionFailed("a condition is needed")


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def order(left: Any, right: Any) -> bool:
        kinds = {type(left), type(right)}
        return kinds in ({Decimal}, {str}) and compare(left, right)

    return order


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": _same,
    "!=": lambda left, right: not _same(left, right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
    "has": lambda left, right: _text(right) in _text(left),
    "startsWith": lambda left, right: _text(left).startswith(_text(right)),
    "endsWith": lambda left, right: _text(left).endswith(_text(right)),
    "in": lambda left, right: (
        isinstance(right, list) and any(_same(left, item) for item in right)
    ),
}
SUMS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": lambda left, right: number(left) + number(right),
    "-": lambda left, right: number(left) - number(right),
}
PRODUCTS: Mapping[str, Callable[[Any, Any], Any]] = {
    "*": lambda left, right: number(left) * number(right),
    "/": lambda left, right: number(left) / number(right),
    "%": lambda left, right: number(left) % number(right),
}


def _tier(scope: Scope, name: Any, value: Any) -> Any:
    scope.tier = _text(name)
    return value


def _plain(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


def _param(scope: Scope, path: Any) -> Any:
    found: Any = scope.request.body
    for step in _text(path).split("."):
        found = _member(_plain(found), step)
    return _scalar(_plain(found))


def _member(value: Any, step: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, list):
        if step == "#":
            return len(value)
        if step.isdecimal() and len(step) < 10 and int(step) < len(value):
            return value[int(step)]
    return None


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float | Decimal):
        return Decimal(str(value))
    return msgspec.json.encode(value).decode()


def _clock(read: Callable[[datetime], int]) -> Callable[..., Decimal]:
    def look(scope: Scope, zone: Any = "UTC") -> Decimal:
        try:
            there = scope.request.now.astimezone(ZoneInfo(_text(zone)))
        except (KeyError, ValueError, OSError):
            raise ExpressionFailed(f"unknown time zone {_text(zone)[:40]}") from None
        return Decimal(read(there))

    return look


def _rounded(rounding: str) -> Callable[..., Decimal]:
    return lambda scope, value: number(value).to_integral_value(rounding)


FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., Any]]] = {
    "tier": (2, 2, _tier),
    "param": (1, 1, _param),
    "header": (1, 1, lambda scope, name: scope.request.header(_text(name).lower())),
    "has": (2, 2, lambda scope, text, part: _text(part) in _text(text)),
    "hour": (0, 1, _clock(lambda now: now.hour)),
    "minute": (0, 1, _clock(lambda now: now.minute)),
    "weekday": (0, 1, _clock(lambda now: now.isoweekday() % 7)),
    "month": (0, 1, _clock(lambda now: now.month)),
    "day": (0, 1, _clock(lambda now: now.day)),
    "max": (1, 20, lambda scope, *values: max(map(number, values))),
    "min": (1, 20, lambda scope, *values: min(map(number, values))),
    "abs": (1, 1, lambda scope, value: abs(number(value))),
    "ceil": (1, 1, _rounded(ROUND_CEILING)),
    "floor": (1, 1, _rounded(ROUND_FLOOR)),
}
"""Least and most arguments, and what is called with the scope and their values.
`weekday` counts from Sunday = 0."""
