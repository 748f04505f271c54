"""Message heads as text: header lines that cannot break out of their line. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Set

MAX_HEAD = 65536
"""Most bytes of a message's head, request or answer."""

MAX_HEADERS = 100
"""Most headers of a request."""


class BadHeader(ValueError):
    """A header name or value with a character that would end its line."""


def lines(headers: Iterable[tuple[str, str]], without: Set[str] = frozenset()) -> str:
    """The header lines, each with its CRLF.

    Args:
        without: Lower-case names to leave out.

    Raises:
        BadHeader: a CR, LF or NUL is in one of them.
    """
    found = [f"{n}: {v}\r\n" for n, v in headers if n.lower() not in without]
    text = "".join(found)
    # One count over the whole is cheaper than a look at each name and value.
    if text.count("\n") != len(found) or text.count("\r") != len(found) or "\0" in text:
        raise BadHeader("a header holds a line break")
    return text


def safe(name: str, value: str) -> bool:
    """True when the header fits into one line."""
    return not any(c in part for c in "\r\n\0" for part in (name, value))


def encoded(text: str) -> bytes:
    """A head's bytes: Latin-1 as it was decoded, UTF-8 for what is beyond it."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
