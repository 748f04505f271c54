"""Known and required fields of request objects, read from the official SDKs' types.

What these types do not name, a strict provider refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Required, get_origin

import pydantic
from attrs import frozen
from typing_extensions import get_type_hints


@frozen
class Shape:
    """The fields of one kind of object."""

    known: frozenset[str]
    required: frozenset[str] = frozenset()

    def faults(self, value: Mapping[str, Any], where: str) -> Iterator[str]:
        """What is wrong with the fields of `value`."""
        for name in value:
            if name not in self.known:
                yield f"{where}: unknown field {name}"
        for name in self.required:
            if value.get(name) is None:
                yield f"{where}: {name} is required"


@cache
def typed(kind: type, *more: str, optional: frozenset[str] = frozenset()) -> Shape:
    """The shape of a `TypedDict`; `more` are fields the type has left out.

    Args:
        optional: Fields that the service does not insist on, though the type does.
    """
    hints = get_type_hints(kind, include_extras=True)
    marker: object = Required
    required = {name for name, hint in hints.items() if get_origin(hint) is marker}
    return Shape(frozenset(hints) | frozenset(more), frozenset(required) - optional)


@cache
def modelled(kind: type[pydantic.BaseModel], *more: str) -> Shape:
    """The shape of a pydantic model, by the names on the wire."""
    names = {f.alias or name for name, f in kind.model_fields.items()}
    return Shape(frozenset(names) | frozenset(more))
