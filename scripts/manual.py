"""The tables of the manual that are made from the code.

Each stands in a page between `<!-- made from: NAME -->` and `<!-- end -->`.
`python -m scripts.manual` (or `make manual`) rewrites them; a test fails when one is
stale, so that no setting, option or provider is left undocumented. What the routes of
the management API read (`scripts.reads`) is written beside the code in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

from knight_tw import providers
from knight_tw.options.kinds import Option
from knight_tw.options.table import OPTIONS
from knight_tw.settings import VARIABLES, WITHOUT_EFFECT
from knight_tw.variables import Variable
from scripts import reads

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
FIELDS = ROOT / "knight_tw" / "web" / "fields.json"
MADE = re.compile(
    r"(<!-- made from: (?P<name>\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL
)
LONGEST = 60
"""Characters of a default that a table shows."""

BAR = r"\|"
"""A bar within a cell."""

HIDDEN = ("Token", "Secret", "Key", "secret", "api_key")
"""Ends of option keys that no answer ever shows."""


def settings() -> Iterator[str]:
    """Every environment variable, by part."""
    parts: list[tuple[str, list[Variable]]] = []
    for variable in VARIABLES.values():
        if variable.begins:
            parts.append((variable.begins, []))
        parts[-1][1].append(variable)
    for title, members in parts:
        yield from ("", f"### {title}", "")
        yield from table(
            ("Variable", "Default", "Example", "Meaning"), map(setting, members)
        )


def setting(variable: Variable) -> tuple[str, ...]:
    """The row of one variable."""
    meaning = variable.meaning
    if variable.aliases:
        meaning += f" Also read as {', '.join(map(code, variable.aliases))}."
    return code(variable.name), code(variable.shown), code(variable.example), meaning


def ignored() -> Iterator[str]:
    """The variables that have no effect."""
    yield ", ".join(map(code, WITHOUT_EFFECT)) + "."


def options() -> Iterator[str]:
    """Every option, by the area in which the console shows it."""
    by_area = sorted(OPTIONS.values(), key=lambda one: (one.area == "unused", one.area))
    for area, members in groupby(by_area, key=lambda one: one.area):
        yield from ("", f"## {area.capitalize()}", "")
        yield from table(("Key", "Kind", "Default", "Meaning"), map(option, members))


def option(one: Option) -> tuple[str, ...]:
    """The row of one option."""
    default = one.default.replace("\n", " ")
    shown = code(default) if len(default) <= LONGEST else "a long list"
    meaning = one.help
    if one.values:
        meaning += f" ({', '.join(map(code, filter(None, one.values)))})"
    if one.secret or one.key.endswith(HIDDEN):
        meaning += " (never shown)"
    return code(one.key), one.kind.value, shown, meaning.strip()


def channel_types() -> Iterator[str]:
    """Every provider that a channel can be of."""
    known = filter(None, map(providers.find, range(1000)))
    yield from table(
        ("Type", "Provider", "Default address"),
        ((str(one.type_id), one.name, code(one.base_url)) for one in known),
    )


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "settings": settings,
    "ignored": ignored,
    "options": options,
    "channel_types": channel_types,
}


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |"


def code(text: str) -> str:
    """`text` as code, or nothing when it is empty."""
    return f"`{text}`" if text else ""


def renewed(page: str) -> str:
    """The page with its tables made anew."""

    def made(found: re.Match[str]) -> str:
        lines = "\n".join(TABLES[found["name"]]())
        return f"{found[1]}{lines.strip()}\n{found[3]}"

    return MADE.sub(made, page)


def stale() -> list[str]:
    """The names of the pages whose tables are not what the code says."""
    return [page.name for page in sorted(DOCS.glob("*.md")) if _differs(page)]


def fields_stale() -> bool:
    """Whether `fields.json` is not what the routes read."""
    return not FIELDS.exists() or FIELDS.read_text(encoding="utf-8") != reads.text()


def _differs(page: Path) -> bool:
    text = page.read_text(encoding="utf-8")
    return renewed(text) != text


def main() -> None:
    """Rewrite what is stale."""
    for name in stale():
        page = DOCS / name
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"rewritten: docs/{name}")
    if fields_stale():
        FIELDS.write_text(reads.text(), encoding="utf-8")
        print(f"rewritten: {FIELDS.name}")


if __name__ == "__main__":
    main()
