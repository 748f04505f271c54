"""Reads what SQL_DSN, LOG_SQL_DSN and SQLITE_PATH may say.

Operators bring the strings of the Go programs, so their spellings are taken as they
are: the MySQL driver's `user:pw@tcp(host:3306)/db?parseTime=true`, PostgreSQL URLs and
`key=value` lists, SQLite paths with a query; SQLAlchemy's URLs as well. Parameters that
only the Go drivers know are dropped when they change nothing for us.

No message of this module quotes the string: it holds a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, unquote

import sqlalchemy as sa

DEFAULT_SQLITE_PATH = "one-api.db?_busy_timeout=30000"

ZONE, TLS, PREPARE = "loc", "tls", "prepare_threshold"
"""Keys in the query of a parsed URL that are ours, not the driver's: the zone of
MySQL's times (an IANA name), `verify` or `skip`, and `off` for a pooler's sake."""

_MYSQL = re.compile(
    r"(?:(?P<login>.*)@)?(?P<net>[a-z0-9]+)?(?:\((?P<address>[^)]*)\))?"
    r"/(?P<database>[^/?]*)(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_URL_REST = r"(?P<hosts>[^@/?]*)(?:/(?P<database>[^?@/]*))?(?:\?(?P<query>.*))?"
_URL = re.compile(rf"(?:(?P<login>[^@/?]*)@)?{_URL_REST}", re.DOTALL)
_LOOSE_URL = re.compile(rf"(?:(?P<login>.*)@)?{_URL_REST}", re.DOTALL)
_PAIR = re.compile(r"\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}

_LIBPQ = frozenset(
    {
        "application_name",
        "channel_binding",
        "connect_timeout",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "krbsrvname",
        "options",
        "passfile",
        "require_auth",
        "service",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslpassword",
        "sslrootcert",
        "sslsni",
        "target_session_attrs",
        "tcp_user_timeout",
    }
)
_PG_SESSION = frozenset(
    {"search_path", "statement_timeout", "lock_timeout", "timezone", "role"}
)
_PG_SIMPLE = frozenset({"simple_protocol", "exec"})
_PYMYSQL = frozenset({"ssl_ca", "ssl_cert", "ssl_key", "ssl_check_hostname"})


class DsnError(ValueError):
    """A connection string that cannot be used; the message says what to write."""


def parse(
    text: str, *, sqlite_path: str = DEFAULT_SQLITE_PATH, data_dir: str = "."
) -> sa.URL:
    """The SQLAlchemy URL that a connection string means.

    Args:
        text: SQL_DSN; empty or `local` means the SQLite file.
        sqlite_path: SQLITE_PATH, relative to `data_dir`.

    Raises:
        DsnError: the string has no known form, or names an engine we do not speak.
    """
    text = text.strip()
    if text in ("", "local"):
        return sqlite(sqlite_path, data_dir)
    # A password may hold `://` too, but then a colon comes before it.
    found = re.match(r"([A-Za-z][\w+.-]*)://", text)
    if found is None:
        return _bare(text)
    scheme, rest = found[1], text[found.end() :]
    match scheme.lower().partition("+")[0]:
        case "postgres" | "postgresql":
            return _postgres_url(rest)
        case "mysql" | "mariadb":
            return _mysql_url(rest)
        case "sqlite":
            return sqlite(rest.removeprefix("/"), data_dir)
        case "clickhouse" | "clickhouses":
            raise DsnError(
                "ClickHouse is not supported: leave LOG_SQL_DSN empty, or give a"
                " MySQL or PostgreSQL database for the logs"
            )
        case _:
            raise DsnError(f"unknown database kind {scheme[:20]!r}; {_FORMS}")


_FORMS = (
    "expected user:password@tcp(host:3306)/name (MySQL),"
    " postgres://user:password@host:5432/name, or local (SQLite)"
)


def _bare(text: str) -> sa.URL:
    """A string without `scheme://`: the Go MySQL form or libpq's `key=value` list."""
    if pairs := _pairs(text):
        return _postgres(pairs)
    if match := _MYSQL.fullmatch(text):
        return _mysql_go(match)
    raise DsnError(f"this is no database address; {_FORMS}")


def sqlite(path: str, data_dir: str = ".") -> sa.URL:
    """The URL of a SQLite file; its query is read for the busy timeout (ms).

    `timeout` in the result is in seconds, as `sqlite3.connect` takes it.
    """
    path, _, query = path.removeprefix("file:").partition("?")
    if not path:
        raise DsnError("SQLITE_PATH names no file")
    wait = 30_000.0
    for key, value in parse_qsl(query):
        if key == "_pragma":
            key, value = (*value.rstrip(")").split("("), "")[:2]
        if key.lower() in ("_busy_timeout", "_timeout", "busy_timeout"):
            wait = _milliseconds(value)
    if path != ":memory:":
        path = os.path.abspath(os.path.join(data_dir, path))
    query_part = {"timeout": f"{wait / 1000:g}"}
    return sa.URL.create("sqlite", database=path, query=query_part)


def _milliseconds(value: str) -> float:
    try:
        return max(0.0, float(value))
    except ValueError:
        raise DsnError(
            "_busy_timeout in SQLITE_PATH is not a number of milliseconds"
        ) from None


def _login(text: str | None) -> tuple[str | None, str | None]:
    """User and password; a password may hold any character, colons included."""
    if not text:
        return None, None
    user, colon, password = text.partition(":")
    return user, password if colon else None


def _address(text: str, default: int) -> tuple[str, int]:
    """Host and port of `host`, `host:port`, `[v6]` and `[v6]:port`."""
    match = re.fullmatch(r"(?:\[([^\]]*)\]|([^:]*))(?::(\d*))?", text)
    if match is None:
        raise DsnError("the database host is not host, host:port or [address]:port")
    port = int(match[3] or default)
    if not 0 < port < 65536:
        raise DsnError("the database port is not between 1 and 65535")
    return match[1] or match[2] or "127.0.0.1", port


# MySQL


def _mysql_go(match: re.Match[str]) -> sa.URL:
    """The URL of the Go driver's `[user[:password]@][net[(address)]]/name[?query]`."""
    user, password = _login(match["login"])
    net, address = match["net"] or "tcp", match["address"] or ""
    query = dict(_mysql_options(parse_qsl(match["query"] or "")))
    host, port = None, None
    if net == "unix":
        query["unix_socket"] = address or "/tmp/mysql.sock"  # noqa: S108  # Go's default
    elif net.startswith("tcp"):
        host, port = _address(address, 3306)
    else:
        raise DsnError("a MySQL address is tcp(host:port) or unix(/path)")
    return _mysql_made(user, password, host, port, unquote(match["database"]), query)


def _mysql_url(rest: str) -> sa.URL:
    if go := re.search(r"@(tcp|unix)\(", rest):
        # `mysql://` in front of the Go form: seen in the wild, means the same.
        match = _MYSQL.fullmatch(rest) if go else None
        if match:
            return _mysql_go(match)
    login, hosts, database, pairs = _url_parts(rest)
    query = dict(_mysql_options(pairs))
    host, port = _address(hosts, 3306)
    return _mysql_made(*login, host, port, database, query)


def _mysql_made(
    user: str | None,
    password: str | None,
    host: str | None,
    port: int | None,
    database: str,
    query: Mapping[str, str],
) -> sa.URL:
    if not database:
        raise DsnError("the MySQL address names no database")
    return sa.URL.create(
        "mysql+pymysql", user, password, host, port, database, query=query
    )


def _mysql_options(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """The parameters that mean something to us; the Go driver's own are dropped."""
    yield "charset", "utf8mb4"
    for key, value in pairs:
        match key:
            case "loc" if value.lower() != "local":
                yield ZONE, value
            case "timeout":
                yield "connect_timeout", str(max(1, round(_seconds(value))))
            case "readTimeout" | "writeTimeout":
                name = "read_timeout" if key == "readTimeout" else "write_timeout"
                yield name, str(max(1, round(_seconds(value))))
            case "tls":
                yield from _mysql_tls(value)
            case "unix_socket" | "socket":
                yield "unix_socket", value
            case _ if key in _PYMYSQL:
                yield key, value


def _mysql_tls(value: str) -> Iterable[tuple[str, str]]:
    match value.lower():
        case "true" | "1":
            yield TLS, "verify"
        case "skip-verify":
            yield TLS, "skip"
        case "false" | "0" | "preferred" | "":
            return
        case _:
            raise DsnError("tls in the MySQL address is true, false or skip-verify")


def _seconds(text: str) -> float:
    """Seconds of a Go duration such as `1m30s`."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise DsnError("a timeout in the database address is not like 10s or 500ms")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


# PostgreSQL


def _postgres_url(rest: str) -> sa.URL:
    (user, password), hosts, database, query = _url_parts(rest)
    pairs = dict(query)
    named = {"user": user, "password": password, "dbname": database, "host": hosts}
    pairs.update({key: value for key, value in named.items() if value})
    return _postgres(pairs)


def _postgres(pairs: Mapping[str, str]) -> sa.URL:
    """The URL of libpq's parameters, session variables put into `options`."""
    if not pairs.get("dbname"):
        raise DsnError("the PostgreSQL address names no database")
    query: dict[str, str | tuple[str, ...]] = {
        key: value for key, value in pairs.items() if key in _LIBPQ
    }
    session = [
        f"-c {key}={_option_value(value)}"
        for key, value in pairs.items()
        if key.lower() in _PG_SESSION
    ]
    if session:
        query["options"] = " ".join([pairs.get("options", ""), *session]).strip()
    if pairs.get("default_query_exec_mode") in _PG_SIMPLE:
        query[PREPARE] = "off"
    host, port = pairs.get("host", ""), pairs.get("port", "")
    if "," in host or host.startswith("/"):
        query["host"] = tuple(_pg_hosts(host, port))
        address: tuple[str | None, int | None] = (None, None)
    else:
        address = _address(f"{host}:{port}" if port else host, 5432)
    return sa.URL.create(
        "postgresql+psycopg",
        pairs.get("user"),
        pairs.get("password"),
        *address,
        pairs["dbname"],
        query=query,
    )


def _pg_hosts(hosts: str, ports: str) -> Iterable[str]:
    """`host:port` for each of libpq's comma-separated hosts, socket directories too."""
    names = hosts.split(",")
    numbers = ports.split(",") if "," in ports else [ports] * len(names)
    for name, number in zip(names, numbers, strict=False):
        if name.startswith("/"):
            yield f"{name}:{number or 5432}"
        else:
            host, port = _address(f"{name}:{number}" if number else name, 5432)
            yield f"{host}:{port}"


def _option_value(value: str) -> str:
    """A value for libpq's `options`, blanks and backslashes escaped."""
    return re.sub(r"([\\\s])", r"\\\1", value)


def _pairs(text: str) -> dict[str, str]:
    """libpq's `key=value` list, or nothing when the text is not one."""
    pairs: dict[str, str] = {}
    place = 0
    while match := _PAIR.match(text, place):
        value = match[2] if match[2] is not None else match[3]
        pairs[match[1]] = re.sub(r"\\(.)", r"\1", value)
        place = match.end()
    whole = not text[place:].strip()
    return pairs if whole and pairs.keys() & {"host", "dbname", "user"} else {}


def _url_parts(
    rest: str,
) -> tuple[tuple[str | None, str | None], str, str, list[tuple[str, str]]]:
    """Login, hosts, database and query of what follows `scheme://`, decoded.

    A password with characters that a URL forbids is taken when that is possible at all.
    """
    match = _URL.fullmatch(rest) or _LOOSE_URL.fullmatch(rest)
    if match is None:
        raise DsnError(f"this is no database address; {_FORMS}")
    user, password = _login(match["login"])
    return (
        (user and unquote(user), password and unquote(password)),
        unquote(match["hosts"]),
        unquote(match["database"] or ""),
        parse_qsl(match["query"] or "", keep_blank_values=True),
    )
