"""How one environment variable is read: its kind, its default, what it means.

`settings.Settings` is a table of these: each field is made by one of the functions
below (`whole`, `seconds`, `flag`, …) and named after its variable in lower case. A kind
turns text into a value or says what it expected; nothing is guessed and nothing falls
back. An empty value counts as unset, as container tools write it.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from attrs import Factory, field, frozen

T = TypeVar("T")

TRUE, FALSE = frozenset({"1", "t", "true"}), frozenset({"0", "f", "false"})
NOBODY = "none"
"""The value of an address list that trusts no address at all."""
AUTO = "auto"
"""The number of processes that follows the number of cores."""
PLACEHOLDER = "random_string"
"""What public examples write for a secret, and everybody knows."""


class SettingsError(ValueError):
    """A variable that cannot be used; the text names it and says what was expected.

    Args:
        variable: The name as it was spelled, or a place in the `.env` file.
        expected: What a good value looks like.
        given: The refused text; absent for secrets.
    """

    def __init__(self, variable: str, expected: str, given: str | None = None) -> None:
        got = "" if given is None else f", got {given[:60]!r}"
        super().__init__(f"{variable}: expected {expected}{got}")
        self.variable = variable
        self.expected = expected


@frozen
class Kind:
    """A way to read text: `read` raises ValueError when it is not as `expected`."""

    expected: str
    read: Callable[[str], Any]


@frozen
class Variable:
    """One row of the settings table.

    Attributes:
        example: A value one might give, for the manual.
        shown: The default as one would write it; a phrase when it is computed.
        name: Upper-case spelling; the field's name when empty.
        aliases: Other spellings that are read when `name` is not set.
        begins: The heading of the manual that starts with this variable.
        secret: The value never appears in an error or a `repr`.
    """

    kind: Kind
    example: str
    meaning: str
    shown: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    begins: str = ""
    secret: bool = False

    def value(self, environment: Mapping[str, str]) -> Any:
        """The value set in `environment`, or None when no spelling is set.

        Raises:
            SettingsError: a spelling is set to something of another kind.
        """
        for spelling in (self.name, *self.aliases):
            if text := environment.get(spelling, ""):
                return self._read(spelling, text)
        return None

    def _read(self, spelling: str, text: str) -> Any:
        try:
            return self.kind.read(text)
        except ValueError:
            given = None if self.secret else text
            raise SettingsError(spelling, self.kind.expected, given) from None


def whole(
    default: int,
    example: str,
    meaning: str,
    *,
    least: int = 0,
    most: int = 2**53,
    **row: Any,
) -> int:
    """A field that holds a whole number from `least` to `most`."""
    upper = f" to {most}" if most < 2**53 else " up"
    kind = Kind(f"a whole number from {least}{upper}", _whole(least, most))
    return _field(kind, default, example, meaning, str(default), **row)


def seconds(
    default: float, example: str, meaning: str, *, least: float = 0.0, **row: Any
) -> float:
    """A field that holds a time in seconds; fractions are allowed."""
    kind = Kind(f"a number of seconds from {least:g} up", _number(least))
    return _field(kind, float(default), example, meaning, f"{default:g}", **row)


def number_or_none(
    example: str, meaning: str, *, shown: str, **row: Any
) -> float | None:
    """A field that holds a number, or None when the variable is unset."""
    return _field(
        Kind("a number from 0 up", _number(0.0)), None, example, meaning, shown, **row
    )


def flag(default: bool, meaning: str, **row: Any) -> bool:
    """A field that holds a boolean: 1, t, true, 0, f or false in either case."""
    example = "false" if default else "true"
    return _field(BOOLEAN, default, example, meaning, str(default).lower(), **row)


def flag_or_none(meaning: str, *, shown: str, **row: Any) -> bool | None:
    """A field that holds a boolean, or None when the variable is unset."""
    return _field(BOOLEAN, None, "true", meaning, shown, **row)


def choice(
    default: str, example: str, meaning: str, options: tuple[str, ...], **row: Any
) -> str:
    """A field that holds one of a few words, whatever their case was."""
    kind = Kind(f"one of {', '.join(options)}", _choice(options))
    return _field(kind, default, example, meaning, default, **row)


def text(
    default: str, example: str, meaning: str, *, shown: str = "", **row: Any
) -> str:
    """A field that holds any text, without the blanks around it."""
    return _field(
        Kind("text", str.strip), default, example, meaning, shown or default, **row
    )


def opaque(example: str, meaning: str, **row: Any) -> str:
    """A field that holds a secret, taken as it stands."""
    return _field(Kind("text", str), "", example, meaning, "", secret=True, **row)


def web(
    default: str, example: str, meaning: str, *, shown: str = "", **row: Any
) -> str:
    """A field that holds an http or https URL."""
    kind = Kind("an http or https URL", _matching(r"https?://\S+"))
    return _field(kind, default, example, meaning, shown or default, **row)


def proxy(example: str, meaning: str, **row: Any) -> str:
    """A field that holds a proxy's URL, which may carry a password."""
    return _field(PROXY, "", example, meaning, "", secret=True, **row)


def words(
    default: str, example: str, meaning: str, *, shown: str = "", **row: Any
) -> tuple[str, ...]:
    """A field that holds names separated by commas or blanks."""
    kind = Kind("names separated by commas", _words)
    return _field(kind, _words(default), example, meaning, shown or default, **row)


def addresses(default: str, example: str, meaning: str, **row: Any) -> tuple[str, ...]:
    """A field that holds networks in CIDR form; `none` gives the empty list."""
    kind = Kind(
        "addresses and networks such as 10.0.0.0/8 separated by commas, or none",
        _networks,
    )
    return _field(kind, _networks(default), example, meaning, default, **row)


def computed(
    kind: Kind, default: Callable[[Any], T], example: str, meaning: str, **row: Any
) -> T:
    """A field whose default follows from the fields before it."""
    made: Any = Factory(default, takes_self=True)
    return cast(T, _field(kind, made, example, meaning, **row))


def _field(
    kind: Kind, default: T, example: str, meaning: str, shown: str, **row: Any
) -> T:
    variable = Variable(kind, example, meaning, shown, **row)
    return field(
        default=default, repr=not variable.secret, metadata={Variable: variable}
    )


def _boolean(given: str) -> bool:
    word = given.strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError(word)
    return word in TRUE


BOOLEAN = Kind("true or false", _boolean)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(given: str) -> int:
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", given):
            raise ValueError(given)
        number = int(given)
        if not least <= number <= most:
            raise ValueError(given)
        return number

    return read


def _number(least: float) -> Callable[[str], float]:
    def read(given: str) -> float:
        if not re.fullmatch(r"\s*\+?[0-9]{1,12}(\.[0-9]{1,12})?\s*", given):
            raise ValueError(given)
        number = float(given)
        if number < least or not math.isfinite(number):
            raise ValueError(given)
        return number

    return read


def _choice(options: tuple[str, ...]) -> Callable[[str], str]:
    def read(given: str) -> str:
        word = given.strip().lower()
        if word not in options:
            raise ValueError(word)
        return word

    return read


def _matching(pattern: str) -> Callable[[str], str]:
    def read(given: str) -> str:
        if not re.fullmatch(pattern, given.strip()):
            raise ValueError
        return given.strip()

    return read


def _words(given: str) -> tuple[str, ...]:
    return tuple(given.replace(",", " ").split())


def _networks(given: str) -> tuple[str, ...]:
    if given.strip().lower() == NOBODY:
        return ()
    return tuple(str(ipaddress.ip_network(one, strict=False)) for one in _words(given))


def _workers(given: str) -> int:
    if given.strip().lower() == AUTO:
        return 0
    return _whole(1, 256)(given)


def _secret(given: str) -> str:
    if given == PLACEHOLDER:
        raise ValueError
    return given


def _dsn(given: str) -> str:
    return "" if given.strip() == "local" else given.strip()


def _endpoints(given: str) -> tuple[str, ...]:
    return tuple(given.split())


PROCESSES = Kind("a number of processes from 1 to 256, or auto", _workers)
SECRET = Kind(f"a secret of your own, not {PLACEHOLDER}", _secret)
ADDRESS = Kind("a database address", _dsn)
ENDPOINTS = Kind("Twisted endpoint strings separated by blanks", _endpoints)
ANYTHING = Kind("text", str)
PROXY = Kind(
    "an http, https, socks5 or socks5h URL", _matching(r"(https?|socks5h?)://\S+")
)
REDIS = Kind("redis://user:password@host:6379/0", _matching(r"rediss?://\S+"))
