"""Calls that Vertex streams in pieces, put together (conversion specification, 8.2).

The first piece has the name, the following ones values for places in the arguments:
`{"jsonPath": "$.recipe.steps[2]", "stringValue": "Stir", "willContinue": true}`. Texts
for one place are joined; a piece that does not say `willContinue` is the last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

from knight_tw.errors import BadUpstreamBody
from knight_tw.wire.answers import UNREADABLE, objects

Path = tuple[str | int, ...]

LONGEST: Final = 100_000
"""Most entries of a list in the arguments."""
DEEPEST: Final = 100

_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d{1,9})\]|\[(?:'([^']*)'|"([^"]*)")\]""")


@define(eq=False)
class PartialCall:
    """The arguments of one call as they grow.

    Attributes:
        place: Index of the call among those of the answer.
    """

    place: int
    args: dict[str, Any] = field(factory=dict)
    _open: Path | None = None

    def feed(self, call: Mapping[str, Any]) -> None:
        """Take in one piece.

        Raises:
            BadUpstreamBody: it names a place that cannot be.
        """
        whole = call.get("args")
        if isinstance(whole, Mapping):
            self.args.update(whole)
        for piece in objects(call.get("partialArgs")):
            path = read_path(piece.get("jsonPath"))
            found, value = _value(piece)
            if not path or not found:
                continue
            known = get(self.args, path) if path == self._open else None
            if isinstance(known, str) and isinstance(value, str):
                value = known + value
            put(self.args, path, value)
            self._open = path if piece.get("willContinue") is True else None


def _value(piece: Mapping[str, Any]) -> tuple[bool, Any]:
    for name in ("stringValue", "numberValue", "boolValue"):
        if name in piece:
            return True, piece[name]
    return "nullValue" in piece, None


def read_path(text: Any) -> Path:
    """The steps of a path that begins with `$`; none when it cannot be read."""
    if not isinstance(text, str) or not text.startswith("$"):
        return ()
    steps: list[str | int] = []
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            return ()
        name, number, single, double = found.groups()
        steps.append(int(number) if number is not None else name or single or double)
        at = found.end()
    return tuple(steps)


def get(value: Any, path: Path) -> Any:
    """What stands at a place, None when there is nothing."""
    for step in path:
        if isinstance(step, int):
            there = isinstance(value, list) and step < len(value)
            value = value[step] if there else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def put(root: dict[str, Any], path: Path, value: Any) -> None:
    """Write a value to a place; objects and lists on the way are made.

    Raises:
        BadUpstreamBody: the place does not fit what is there, or is too far.
    """
    place: Any = root
    if len(path) > DEEPEST:
        raise BadUpstreamBody(UNREADABLE)
    for step, following in zip(path, (*path[1:], None), strict=True):
        _make_room(place, step)
        if following is None:
            place[step] = value
        else:
            wanted: type = list if isinstance(following, int) else dict
            if not isinstance(place[step], wanted):
                place[step] = wanted()
            place = place[step]


def _make_room(place: Any, step: str | int) -> None:
    if isinstance(step, str) and isinstance(place, dict):
        place.setdefault(step, None)
    elif isinstance(step, int) and isinstance(place, list) and step < LONGEST:
        place.extend([None] * (step + 1 - len(place)))
    else:
        raise BadUpstreamBody(UNREADABLE)
