"""What an option is: its kind, how its text is read, and the shapes of JSON values.

The option table of the database holds text only. `Option.read` turns a text into the
value that the program uses; whatever it refuses is treated as if the row were absent.
Limits that only a new value must keep (`Option.check`) are not asked when reading, so
that an old database keeps its settings.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from attrs import frozen

from knight_tw.status_ranges import StatusRanges

Shape = Callable[[Any], None]
"""Raises ValueError, with a text for the administrator, unless the value fits."""

MAX_TEXT = 1_048_576
"""Characters that one option may hold."""

_LARGEST = 10**18
_PLACES = 30

_json = msgspec.json.Decoder(float_hook=Decimal)


class Kind(enum.Enum):
    """How an option's text is read; the value is the catalogue's name of the type."""

    FLAG = "bool"
    WHOLE = "int"
    NUMBER = "float"
    TEXT = "text"
    URL = "url"
    CHOICE = "choice"
    LINES = "lines"
    COMMAS = "csv"
    CODES = "status codes"
    JSON = "json"


@frozen
class Option:
    """One known key of the option table.

    Attributes:
        default: The text that stands for an absent row.
        area: Where the console shows it.
        help: One phrase for the administrator.
        secret: Never shown, whatever the key is called.
        unlisted: Not among the rows until one is stored, as in the reference.
        least, most: Bounds of a number, inclusive.
        values: The texts a choice may have.
        shape: Structure that the JSON must have to be usable at all.
        check: What a new value must keep beyond that, asked on save only.
        needs: The key that must be filled before this flag may be switched on.
        refused: Why the key cannot be saved like the others; empty when it can.
    """

    key: str
    kind: Kind
    default: str
    area: str
    help: str = ""
    secret: bool = False
    unlisted: bool = False
    least: Decimal | int | None = None
    most: Decimal | int | None = None
    values: tuple[str, ...] = ()
    shape: Shape | None = None
    check: Shape | None = None
    needs: str = ""
    refused: str = ""

    def read(self, text: str) -> Any:
        """The value of a text: bool, int, Decimal, str, tuple of str, StatusRanges, or
        what the JSON holds (fractions as Decimal; None for a blank text).

        Raises:
            ValueError: the text has no value of this kind; bounds are not looked at.
        """
        if self.kind is Kind.JSON and not text.strip():
            return None
        value = _READ[self.kind](text)
        if self.kind is Kind.CHOICE:
            one_of(*self.values)(value)
        if self.shape is not None:
            self.shape(value)
        return value

    def bounded(self, value: Any) -> Any:
        """The value; a number above `most` is cut to it.

        Raises:
            ValueError: the number is below `least`.
        """
        if self.least is not None and value < self.least:
            raise ValueError(f"must be at least {self.least}")
        if self.most is not None and value > self.most:
            return type(value)(self.most)
        return value


def switch(
    key: str,
    default: bool,
    area: str,
    help: str = "",
    needs: str = "",
    unlisted: bool = False,
) -> Option:
    """A flag's row of the table."""
    text = "true" if default else "false"
    return Option(key, Kind.FLAG, text, area, help, needs=needs, unlisted=unlisted)


def integer(
    key: str,
    default: int,
    area: str,
    help: str = "",
    *,
    least: int | None = None,
    most: int | None = None,
    unlisted: bool = False,
) -> Option:
    """A whole number's row of the table."""
    return Option(
        key,
        Kind.WHOLE,
        str(default),
        area,
        help,
        least=least,
        most=most,
        unlisted=unlisted,
    )


def fractional(
    key: str,
    default: str,
    area: str,
    help: str = "",
    *,
    least: Decimal | int = 0,
    most: Decimal | int | None = None,
) -> Option:
    """A decimal number's row of the table; not below zero unless said otherwise."""
    return Option(key, Kind.NUMBER, default, area, help, least=least, most=most)


def structure(
    key: str,
    default: Any,
    area: str,
    help: str,
    shape: Shape,
    check: Shape | None = None,
) -> Option:
    """A JSON value's row of the table; `default` is the value itself."""
    text = msgspec.json.encode(default).decode()
    return Option(key, Kind.JSON, text, area, help, shape=shape, check=check)


def read_number(text: str) -> Decimal:
    """A finite decimal of sane size; `1e+06` is read too, which Go programs write.

    Raises:
        ValueError: it is not one.
    """
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError("must be a number") from None
    if not number.is_finite():
        raise ValueError("must be a number")
    _check_size(number)
    return number


def read_json(text: str) -> Any:
    """What a JSON text holds, fractions as Decimal.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return _json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not valid JSON: {error}") from None


def _read_flag(text: str) -> bool:
    folded = text.strip().lower()
    if folded in ("true", "1", "t"):
        return True
    if folded in ("false", "0", "f", ""):
        return False
    raise ValueError("must be true or false")


def _read_whole(text: str) -> int:
    number = read_number(text)
    if number != number.to_integral_value():
        raise ValueError("must be a whole number")
    return int(number)


def _split(separator: str) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        return tuple(part for raw in text.split(separator) if (part := raw.strip()))

    return read


_READ: dict[Kind, Callable[[str], Any]] = {
    Kind.FLAG: _read_flag,
    Kind.WHOLE: _read_whole,
    Kind.NUMBER: read_number,
    Kind.TEXT: str,
    Kind.URL: lambda text: text.strip().rstrip("/"),
    Kind.CHOICE: str.strip,
    Kind.LINES: _split("\n"),
    Kind.COMMAS: _split(","),
    Kind.CODES: StatusRanges.parse,
    Kind.JSON: read_json,
}


def _check_size(number: Decimal) -> None:
    exponent = number.as_tuple().exponent
    small = isinstance(exponent, int) and exponent >= -_PLACES
    if not small or number.adjusted() > _PLACES or abs(number) > _LARGEST:
        raise ValueError("is too large, or has too many decimal places")


def text(value: Any) -> None:
    """Fits a JSON string."""
    if not isinstance(value, str):
        raise ValueError("must be a text")


def flag(value: Any) -> None:
    """Fits true and false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")


def number(value: Any) -> None:
    """Fits a number of sane size, not below zero."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("must be a number")
    _check_size(Decimal(value))
    if value < 0:
        raise ValueError("must not be below 0")


def whole(least: int, most: int = 2**53) -> Shape:
    """Fits an integer from `least` to `most`."""

    def check(value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("must be a whole number")
        if not least <= value <= most:
            raise ValueError(f"must be from {least} to {most}")

    return check


def one_of(*values: str) -> Shape:
    """Fits one of some texts."""

    def check(value: Any) -> None:
        if value not in values:
            raise ValueError(f"must be one of {', '.join(filter(None, values))}")

    return check


def anything(value: Any) -> None:
    """Fits every value."""


def map_of(of: Shape) -> Shape:
    """Fits an object whose every value fits `of`; the message names the key."""

    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise ValueError("must be a JSON object")
        for key, item in value.items():
            _within(key, of, item)

    return check


def list_of(of: Shape) -> Shape:
    """Fits an array whose every element fits `of`; the message names the place."""

    def check(value: Any) -> None:
        if not isinstance(value, list):
            raise ValueError("must be a JSON array")
        for place, item in enumerate(value, 1):
            _within(f"item {place}", of, item)

    return check


def fields(required: tuple[str, ...] = (), **shapes: Shape) -> Shape:
    """Fits an object with the `required` members; members not named are let through."""

    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise ValueError("must be a JSON object")
        for name in required:
            if name not in value:
                raise ValueError(f"{name} is missing")
        for name, shape in shapes.items():
            if value.get(name) is not None:
                _within(name, shape, value[name])

    return check


def _within(where: str, shape: Shape, value: Any) -> None:
    try:
        shape(value)
    except ValueError as error:
        raise ValueError(f"{where[:100]}: {error}") from None
