"""Column types and constructors that read the same on three engines.

The originals' tables give each kind of column a different type per engine; the
constructors here spell those kinds (the type codes of the data model, section 1), and
the types translate values so that the rest of the program sees one form:

=========  ===========================  ==========================================
kind       Python value                 stored as (SQLite / MySQL / PostgreSQL)
=========  ===========================  ==========================================
i64        int                          integer / bigint / bigint
text       str                          text / longtext or text / text
short      str                          text / varchar(191) / text
fixed      str, blank padding removed   char(n)
flag       bool                         numeric / tinyint(1) / boolean
real       Decimal                      real / double / numeric
moment     datetime, aware, UTC         datetime text with offset / datetime(3) in the
                                        program's zone / timestamptz
document   JSON text (str)              BLOB in `json` / json or longtext / json
=========  ===========================  ==========================================

A column that is not marked `null` gets its zero value ("", 0, False) written when an
insert leaves it out, as the originals do. Every column may nevertheless be read as
None: rows older than the column hold NULL.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

ZONE_ATTRIBUTE = "knight_zone"
"""Attribute of a dialect: the zone of MySQL's zoneless times, when it is not local."""

ENGINES = "engines"
"""Member of a table's or index's `info`: options for one engine, which SQLAlchemy takes
by name only after loading that engine's dialects (`completion`)."""

_RESERVED = frozenset({"group", "key"})
_FRACTION = re.compile(r"\.(\d+)")


class OnMysql(sa.types.UserDefinedType[Any]):
    """A type by its name in MySQL; the driver's value passes as it is.

    SQLAlchemy has these types, too, in modules that load every driver's dialect: 4 MB
    that few processes need.
    """

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_options: Any) -> str:
        return self.name


class Flag(sa.Boolean):
    """A boolean whose SQLite column type is `numeric`, like the originals'."""


@compiles(Flag, "sqlite")
def _flag_on_sqlite(_type: Flag, _compiler: Any, **_options: Any) -> str:
    return "NUMERIC"


class Fixed(sa.types.TypeDecorator[str]):
    """char(n) without the blanks that PostgreSQL pads it with."""

    impl = sa.CHAR
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(_BlankPadded(self.length))
        return dialect.type_descriptor(sa.CHAR(self.length))

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else str(value).rstrip(" ")


class _BlankPadded(sa.types.UserDefinedType[str]):
    """PostgreSQL's char(n); no cast on the parameter, so that its index is used."""

    cache_ok = True

    def __init__(self, length: int) -> None:
        self.length = length

    def get_col_spec(self, **_options: Any) -> str:
        return f"CHAR({self.length})"


class Real(sa.types.TypeDecorator[Decimal]):
    """A fractional number, always a Decimal in Python.

    Args:
        precision: Total and fractional digits of `decimal(p, s)`; a plain float column
            when absent.
    """

    impl = sa.Float
    cache_ok = True

    def __init__(self, precision: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.precision = precision

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(_SqliteReal(self.precision))
        if self.precision:
            return dialect.type_descriptor(sa.Numeric(*self.precision))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.Numeric())
        return dialect.type_descriptor(sa.Double(asdecimal=False))

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        return value if dialect.name == "postgresql" else float(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Decimal | None:
        if value is None:
            return None
        return value if isinstance(value, Decimal) else Decimal(str(value))


class _SqliteReal(sa.types.UserDefinedType[float]):
    """`real`, or `decimal(p, s)` in name; SQLite stores a float either way."""

    cache_ok = True

    def __init__(self, precision: tuple[int, int] | None) -> None:
        self.precision = precision

    def get_col_spec(self, **_options: Any) -> str:
        return "DECIMAL({},{})".format(*self.precision) if self.precision else "REAL"


class Moment(sa.types.TypeDecorator[datetime]):
    """A point in time, always an aware UTC datetime in Python.

    SQLite text carries an offset and up to nine decimals; MySQL's value carries no zone
    and means the program's own one, or the DSN's `loc`. On SQLite the text of two zones
    does not sort by time: compare such columns in Python.
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(_SqliteMoment())
        if dialect.name == "mysql":
            return dialect.type_descriptor(OnMysql("DATETIME(3)"))
        return dialect.type_descriptor(sa.TIMESTAMP(timezone=True))

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        if dialect.name == "postgresql":
            return value
        local = value.astimezone(_zone(dialect))
        if dialect.name == "sqlite":
            return local.isoformat(sep=" ")
        return local.replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        if isinstance(value, str):
            value = parse_moment(value)
        if value is None:
            return None
        if value.tzinfo is None and (zone := _zone(dialect)) is not None:
            value = value.replace(tzinfo=zone)
        return value.astimezone(UTC)  # type: ignore[no-any-return]  # a datetime by now


class _SqliteMoment(sa.types.UserDefinedType[str]):
    """`datetime` in name; the value is text and passes as it is."""

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        return "DATETIME"


def _zone(dialect: sa.Dialect) -> tzinfo | None:
    """The zone of zoneless times; None means the program's local zone."""
    return getattr(dialect, ZONE_ATTRIBUTE, None)


def parse_moment(text: str) -> datetime | None:
    """The time that a SQLite text means, zone included when it has one; else None.

    Takes Go's forms: a blank or `T` in the middle, up to nine decimals, `Z`, and the
    monotonic or zone name that `time.String()` leaves behind.
    """
    cut = re.match(
        r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(\s?(Z|[+-]\d\d:?\d\d))?", text
    )
    if cut is None:
        return None
    short = _FRACTION.sub(lambda hit: "." + hit[1][:6].ljust(6, "0"), cut[0])
    return datetime.fromisoformat(short.replace(" +", "+").replace(" -", "-"))


class Document(sa.types.TypeDecorator[str]):
    """A JSON column: text when read; text, bytes, a dict or a list when written.

    What is stored is not checked: rows may hold plain text, so readers parse it
    leniently (`sql.json_object`). SQLite keeps a BLOB, since the originals cannot read
    anything else; MariaDB refuses an empty text, so nothing is written as NULL.
    """

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "mysql":
            return dialect.type_descriptor(OnMysql("LONGTEXT"))
        return dialect.type_descriptor(_PlainJson())

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        if isinstance(value, dict | list):
            value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        elif isinstance(value, bytes):
            value = value.decode()
        if not value:
            return None
        return value.encode() if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str | None:
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        if value is None or isinstance(value, str):
            return value
        # psycopg parses `json` unless told otherwise, numeric affinity makes numbers.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _PlainJson(sa.types.UserDefinedType[Any]):
    """`json` in name; the driver's value passes as it is."""

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        return "JSON"


@compiles(Document, "mysql")
def _document_on_mysql(_type: Document, _compiler: Any, **_options: Any) -> str:
    return "JSON"


metadata = sa.MetaData(naming_convention={"ix": "idx_%(table_name)s_%(column_0_name)s"})
"""Every table of the program; index names follow the originals'."""

I64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNSIGNED = (
    sa.BigInteger()
    .with_variant(sa.Integer(), "sqlite")
    .with_variant(OnMysql("BIGINT UNSIGNED"), "mysql")
)
UNSIGNED32 = (
    sa.BigInteger()
    .with_variant(sa.Integer(), "sqlite")
    .with_variant(OnMysql("INTEGER UNSIGNED"), "mysql")
)
LONG_TEXT = sa.Text().with_variant(OnMysql("LONGTEXT"), "mysql")
TEXT_64K = sa.Text()
SHORT = sa.Text().with_variant(sa.String(191), "mysql")


def identity(kind: sa.types.TypeEngine[Any] = I64) -> sa.Column[Any]:
    """The primary key `id`, numbered by the database."""
    return sa.Column("id", kind, primary_key=True, autoincrement=True)


def _column(
    name: str,
    kind: sa.types.TypeEngine[Any],
    zero: Any,
    stored: Any,
    null: bool,
    **options: Any,
) -> sa.Column[Any]:
    """A column with the zero value for inserts and the server default `stored`."""
    if stored is not None:
        options["server_default"] = _literal(stored)
    # A unique column has none: two rows that leave it out must not collide.
    if not (null or options.get("primary_key") or options.get("unique")):
        options["default"] = zero if stored is None else stored
    return sa.Column(name, kind, quote=name in _RESERVED or None, **options)


def _literal(value: Any) -> Any:
    if isinstance(value, bool):
        return sa.true() if value else sa.false()
    return sa.text(str(value)) if isinstance(value, int) else value


def i64(
    name: str, stored: int | None = None, *, null: bool = False, **options: Any
) -> sa.Column[Any]:
    """A whole number."""
    return _column(name, I64, 0, stored, null, **options)


def unsigned(
    name: str, stored: int | None = None, *, null: bool = False, **options: Any
) -> sa.Column[Any]:
    """A whole number that MySQL stores without a sign."""
    return _column(name, UNSIGNED, 0, stored, null, **options)


def text(name: str, *, null: bool = False, **options: Any) -> sa.Column[Any]:
    """A text of any length."""
    return _column(name, LONG_TEXT, "", None, null, **options)


def text_64k(name: str, *, null: bool = False, **options: Any) -> sa.Column[Any]:
    """A text that MySQL limits to 64 KB."""
    return _column(name, TEXT_64K, "", None, null, **options)


def short(
    name: str, stored: str | None = None, *, null: bool = False, **options: Any
) -> sa.Column[Any]:
    """A text that can be indexed; 191 characters on MySQL."""
    return _column(name, SHORT, "", stored, null, **options)


def varchar(
    name: str,
    length: int,
    stored: str | None = None,
    *,
    null: bool = False,
    **options: Any,
) -> sa.Column[Any]:
    """A text of at most `length` characters."""
    return _column(name, sa.String(length), "", stored, null, **options)


def fixed(
    name: str, length: int, *, null: bool = False, **options: Any
) -> sa.Column[Any]:
    """A text of exactly `length` characters."""
    return _column(name, Fixed(length), "", None, null, **options)


def flag(
    name: str, stored: bool | None = None, *, null: bool = False, **options: Any
) -> sa.Column[Any]:
    """A boolean."""
    return _column(name, Flag(), False, stored, null, **options)


def real(name: str, *, null: bool = False, **options: Any) -> sa.Column[Any]:
    """A fractional number."""
    return _column(name, Real(), Decimal(0), None, null, **options)


def moment(name: str, **options: Any) -> sa.Column[Any]:
    """A point in time, null when it has not come."""
    return sa.Column(name, Moment(), **options)


def document(name: str) -> sa.Column[Any]:
    """A JSON column, null when empty."""
    return sa.Column(name, Document())


def deleted_at() -> sa.Column[Any]:
    """The mark of soft deletion, with its index `idx_<table>_deleted_at`."""
    return sa.Column("deleted_at", Moment(), index=True)
