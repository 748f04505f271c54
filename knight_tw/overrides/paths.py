"""Paths into a JSON body, and the document that they are followed in.

A path is steps between dots: a name, an index of an array (`-1` counts from the end),
or `*` for every element or member; `\\.` is a dot in a name. Members of the body that
nobody follows a path into stay `msgspec.Raw`, byte for byte.
Source: relay specification, section 9.1.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec

Steps = tuple[str, ...]
Slot = tuple[Any, Any]
"""A container and the key or index of one thing in it."""

MAX_STEPS = 50
MAX_GAP = 100
"""How far beyond the end of an array a value may be written."""

MAX_ADDED = 64_000_000
"""Bytes, roughly, that the operations on one body may add to it, all together."""

_NODE = 64
"""What any JSON value weighs, beside its text."""

_SPLIT = re.compile(r"(?<!\\)\.")
_INDEX = re.compile(r"-?\d{1,9}", re.ASCII)
_json = msgspec.json.Decoder()


class TooMuch(ValueError):
    """The operations would make the body larger than any body may be."""


@lru_cache(maxsize=2048)
def parse(path: str) -> Steps:
    """The steps of a path.

    Raises:
        ValueError: it has none, or too many.
    """
    steps = tuple(step.replace("\\.", ".") for step in _SPLIT.split(path))
    if not path or not all(steps):
        raise ValueError("a path must not be empty, nor have an empty step")
    if len(steps) > MAX_STEPS:
        raise ValueError(f"a path must have at most {MAX_STEPS} steps")
    return steps


def plain(value: Any) -> Any:
    """The value itself, decoded if nobody has done so yet."""
    return _json.decode(value) if isinstance(value, msgspec.Raw) else value


class Document:
    """A body under change. `read` leaves members as they are; `slots` decodes those
    that are about to be changed, in place."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self._seen: dict[str, tuple[Any, Any]] = {}
        self._added = 0

    def read(self, steps: Steps) -> list[Any]:
        """Every value at a path; none when something on the way is missing."""
        values: list[Any] = [self.body]
        for depth, step in enumerate(steps):
            found: list[Any] = []
            for value in values:
                for key in _keys(value, step):
                    found.append(
                        plain(value[key]) if depth else self._top(key, value[key])
                    )
            values = found
        return values

    def slots(self, steps: Steps) -> list[Slot]:
        """Where the values at a path stand, ready to be changed; later ones first, so
        that removing one does not move the next."""
        containers: list[Any] = [self.body]
        for step in steps[:-1]:
            containers = [
                opened
                for container in containers
                for key in _keys(container, step)
                if isinstance(opened := _open(container, key), dict | list)
            ]
        return [
            (container, key)
            for container in reversed(containers)
            for key in reversed(_keys(container, steps[-1]))
        ]

    def assign(self, steps: Steps, value: Any, *, keep: bool = False) -> bool:
        """Write a value at a path, making what is missing on the way; False when
        there was nowhere to write it.

        Args:
            keep: Leave values that are there.
        """
        containers: list[Any] = [self.body]
        for step, following in pairwise(steps):
            containers = [
                opened
                for container in containers
                for key in _places(container, step)
                if isinstance(opened := _open(container, key, following), dict | list)
            ]
        written = False
        for container in containers:
            for key in _places(container, steps[-1]):
                if not keep or not _has(container, key):
                    _put(container, key, self.copied(value))
                    written = True
        return written

    def copied(self, value: Any) -> Any:
        """A copy that shares nothing with the value, which others may hold too.

        Raises:
            TooMuch: more was added than `MAX_ADDED`.
        """
        value = plain(value)
        self.grown(_NODE + len(value) if isinstance(value, str) else _NODE)
        if isinstance(value, dict):
            return {key: self.copied(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.copied(item) for item in value]
        return value

    def grown(self, by: int) -> None:
        """Account for what is being added to the body.

        Raises:
            TooMuch: it is more than `MAX_ADDED`.
        """
        self._added += by
        if self._added > MAX_ADDED:
            raise TooMuch("the overrides make the body too large")

    @property
    def room(self) -> int:
        """How much may still be added."""
        return MAX_ADDED - self._added

    def _top(self, key: str, value: Any) -> Any:
        """A member of the body, decoded once however often it is read."""
        if not isinstance(value, msgspec.Raw):
            return value
        raw, seen = self._seen.get(key, (None, None))
        if raw is not value:
            seen = plain(value)
            self._seen[key] = value, seen
        return seen


def _keys(container: Any, step: str) -> list[Any]:
    """The keys or indexes that a step names among what is there."""
    if isinstance(container, dict):
        if step == "*":
            return list(container)
        return [step] if step in container else []
    if isinstance(container, list):
        if step == "*":
            return list(range(len(container)))
        index = _index(container, step)
        return [] if index is None or index >= len(container) else [index]
    return []


def _places(container: Any, step: str) -> list[Any]:
    """As `_keys`, and where a new value may be written."""
    if step == "*":
        return _keys(container, step)
    if isinstance(container, dict):
        return [step]
    index = _index(container, step)
    if index is None or index > len(container) + MAX_GAP:
        return []
    return [index]


def _index(container: list[Any], step: str) -> int | None:
    if not _INDEX.fullmatch(step):
        return None
    index = int(step)
    if index < 0:
        index += len(container)
    return index if index >= 0 else None


def _has(container: Any, key: Any) -> bool:
    if isinstance(container, list):
        return bool(key < len(container))
    return key in container


def _open(container: Any, key: Any, following: str | None = None) -> Any:
    """What stands at a place, decoded in place; made when it is missing or null and
    `following` says which step comes next."""
    value = plain(container[key]) if _has(container, key) else None
    if value is None and following is not None and not _needs_something(following):
        value = [] if following.isdecimal() else {}
    if value is not None:
        _put(container, key, value)
    return value


def _needs_something(step: str) -> bool:
    """True for steps that name nothing in an empty container."""
    return step == "*" or (step.startswith("-") and _INDEX.fullmatch(step) is not None)


def _put(container: Any, key: Any, value: Any) -> None:
    if isinstance(container, list):
        container.extend([None] * (key + 1 - len(container)))
    container[key] = value
