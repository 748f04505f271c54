"""The state that the operations of a parameter override share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen

from knight_tw.overrides.conditions import Context
from knight_tw.overrides.paths import Document

Operation = Mapping[str, Any]
Check = Callable[[Operation], None]
"""Raises ValueError, for the administrator, when an operation cannot be carried out."""


@define(eq=False)
class Work:
    """One request being changed.

    Attributes:
        headers: What the channel sets on the request; None removes a header.
    """

    document: Document
    context: Context
    headers: dict[str, str | None] = field(factory=dict)

    def header(self, name: str) -> str | None:
        """The header as it stands: the channel's, else the client's."""
        if name in self.headers:
            return self.headers[name]
        return self.context.client.get(name)


Apply = Callable[[Work, Operation], bool]
"""Carries an operation out; tells whether it changed anything."""


@frozen
class Mode:
    """One kind of operation."""

    check: Check
    apply: Apply


def text_of(operation: Operation, name: str, default: str | None = None) -> str:
    """A text member of an operation.

    Raises:
        ValueError: it is missing or no text.
    """
    value = operation.get(name, default)
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text")
    return value
