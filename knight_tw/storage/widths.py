"""Which existing columns hold less than ours, and the type that holds both.

Only lengths of texts, sizes of whole numbers and digits of decimals are compared, and
the wider of the two always wins. SQLite enforces no widths, so nothing is narrow there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from attrs import frozen

_UNLIMITED = 1 << 32
_TEXTS = {
    "TINYTEXT": 255,
    "TEXT": 65_535,
    "MEDIUMTEXT": 16_777_215,
    "LONGTEXT": _UNLIMITED,
}
_INTEGERS = {
    "TINYINT": 1,
    "SMALLINT": 2,
    "MEDIUMINT": 3,
    "INT": 4,
    "INTEGER": 4,
    "BIGINT": 8,
}


@frozen
class Narrow:
    """A column to widen.

    Attributes:
        type: The new type.
        definition: The same with nullability and default, as MySQL's MODIFY wants it.
    """

    column: str
    type: str
    definition: str


def narrow(
    dialect: sa.Dialect, table: sa.Table, existing: Mapping[str, Any]
) -> Iterator[Narrow]:
    """The columns of `existing` (reflected, by name) that hold less than ours."""
    if dialect.name == "sqlite":
        return
    for column in table.columns:
        found = existing.get(column.name)
        if found is None or column.name == "id":
            continue
        has = found["type"].compile(dialect=dialect).upper()
        wants = column.type.compile(dialect=dialect).upper()
        if wider := wider_type(has, wants, dialect.name):
            definition = _definition(wider, found)
            yield Narrow(column.name, wider, definition)


def wider_type(has: str, wants: str, dialect: str) -> str | None:
    """The type that holds what both hold, or None when `has` is wide enough."""
    if (old := _integer(has)) and (new := _integer(wants)):
        return wants if old < new else None
    if (length := _length(has, dialect)) and (needed := _length(wants, dialect)):
        return wants if length < needed else None
    if (digits := _digits(has)) and (required := _digits(wants)):
        whole = max(digits[0] - digits[1], required[0] - required[1])
        places = max(digits[1], required[1])
        wide = (whole + places, places)
        return None if wide == digits else "NUMERIC({}, {})".format(*wide)
    return None


def _integer(kind: str) -> int | None:
    """Bytes of a whole number's type; MySQL's tinyint(1) is a boolean."""
    name = re.match(r"[A-Z]+", kind)
    if name is None or kind.startswith("TINYINT(1)"):
        return None
    return _INTEGERS.get(name[0])


def _length(kind: str, dialect: str) -> int | None:
    """Characters (bytes for MySQL's texts) that a text type holds."""
    if sized := re.match(r"(?:VAR)?CHAR\((\d+)\)", kind):
        return int(sized[1])
    name = kind.partition(" ")[0]
    if name in ("TEXT", "VARCHAR") and dialect != "mysql":
        return _UNLIMITED
    return _TEXTS.get(name)


def _digits(kind: str) -> tuple[int, int] | None:
    match = re.match(r"(?:NUMERIC|DECIMAL)\((\d+), ?(\d+)\)", kind)
    return (int(match[1]), int(match[2])) if match else None


def _definition(kind: str, found: Mapping[str, Any]) -> str:
    """MODIFY restates everything; a text type cannot keep a default there."""
    null = "NULL" if found["nullable"] else "NOT NULL"
    default = found.get("default")
    if default is None or "TEXT" in kind:
        return f"{kind} {null}"
    return f"{kind} {null} DEFAULT {default}"
