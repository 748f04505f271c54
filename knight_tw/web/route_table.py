"""All routes of the management API, as their surfaces wrote them down.

Nothing lists the routes a second time: what they are, who may call them and what they
say of themselves is read from the surfaces.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import frozen
from klein import Klein

from knight_tw.web.auth import Who
from knight_tw.web.root import Surface

_PART = re.compile(r"<(?:(?P<kind>[a-z]+):)?(?P<name>\w+)>")
_IMPLIED = frozenset({"HEAD", "OPTIONS"})
"""Methods that Werkzeug adds to every GET."""


@frozen
class Part:
    """A variable part of a path.

    Attributes:
        kind: Werkzeug's converter: `int`, `path`, `string`.
    """

    name: str
    kind: str


@frozen
class Entry:
    """One method of one path.

    Attributes:
        rule: Werkzeug's pattern, e.g. `/api/user/<int:user_id>`.
        who: Who may call it; None when its surface forgot to say.
        route: The function as it is written in its surface's class.
        gives: The type of `data` in its success; None when it declares none.
    """

    method: str
    rule: str
    who: Who | None
    surface: type
    route: Callable[..., Any]
    gives: Any = None

    @property
    def parts(self) -> list[Part]:
        """The variable parts, from left to right."""
        return [
            Part(found["name"], found["kind"] or "string")
            for found in _PART.finditer(self.rule)
        ]

    @property
    def path(self) -> str:
        """The path with `{name}` for its variable parts."""
        return _PART.sub(r"{\g<name>}", self.rule)

    def at(self, value: Callable[[Part], str]) -> str:
        """The path with a value for each variable part."""
        return _PART.sub(
            lambda found: value(Part(found["name"], found["kind"] or "string")),
            self.rule,
        )


def entries(surfaces: Iterable[Surface]) -> list[Entry]:
    """Every route of the surfaces, by path and method."""
    found = [entry for each in surfaces for entry in written(type(each), each.app)]
    return sorted(found, key=lambda entry: (entry.rule, entry.method))


def written(surface: type, app: Klein) -> Iterator[Entry]:
    """The routes that a surface's class wrote down."""
    for rule in app.url_map.iter_rules():
        endpoint = app.endpoints[rule.endpoint]
        who = getattr(endpoint, "who", None)
        route = inspect.unwrap(endpoint)
        for method in sorted((rule.methods or {"GET"}) - _IMPLIED):
            gives = getattr(route, "gives", None)
            yield Entry(method, rule.rule, who, surface, route, gives)
