"""`.env` files: variables in a file beside the program."""

from __future__ import annotations

import re

from knight_tw.variables import SettingsError

_LINE = re.compile(
    r"""[ \t]*
    (?: (?:export[ \t]+)? (?P<name>[A-Za-z_][A-Za-z0-9_.]*) [ \t]* = [ \t]*
        (?: '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)"
          | (?P<plain> (?![ \t]*['"]) (?:[^\n\#] | (?<![ \t=])\#)* ) )
    )?
    [ \t]* (?:\#[^\n]*)? (?:\n|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def dotenv(source: str) -> dict[str, str]:
    """The variables of a `.env` file.

    `NAME=value`, `export` in front allowed; `#` begins a comment at the start of a
    line or after a blank; 'single quotes' keep everything, "double quotes" know
    `\\n`, `\\t`, `\\r`, `\\"`, `\\\\` and `\\$`; quoted values may span lines. Nothing
    is expanded: a `$` is a `$`.

    Raises:
        SettingsError: names the first line that is none of these.
    """
    found: dict[str, str] = {}
    source = source.removeprefix("\ufeff").replace("\r\n", "\n")
    position = 0
    while position < len(source):
        line = _LINE.match(source, position)
        if line is None:
            number = source.count("\n", 0, position) + 1
            raise SettingsError(f".env line {number}", "NAME=value or a # comment")
        if line["name"]:
            found[line["name"]] = _unquoted(line)
        position = line.end()
    return found


def _unquoted(line: re.Match[str]) -> str:
    if line["single"] is not None:
        return line["single"]
    if line["double"] is not None:
        return re.sub(r"\\(.)", _escaped, line["double"], flags=re.DOTALL)
    return line["plain"].strip()


def _escaped(escape: re.Match[str]) -> str:
    if escape[1] in '"\\$':
        return escape[1]
    return _ESCAPES.get(escape[1], escape[0])
