"""Which surface answers a management path: a tree of all their routes.

Each surface is a class with its own `Klein()` that writes its routes in full; nothing
else lists them. `Routes` reads the patterns of all surfaces once and answers, purely,
by method and path. A path with and without its trailing slash is the same, unless two
surfaces claim one form each (`/api/models` and `/api/models/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from attrs import define, field

T = TypeVar("T")

ANY = "*"
"""A segment of a pattern that stands for one segment of any text."""

REST = "**"
"""The last segment of a pattern that stands for one or more segments."""


@define
class _Node(Generic[T]):
    """A place in the tree; `ends` is keyed by (trailing slash, method)."""

    children: dict[str, _Node[T]] = field(factory=dict)
    ends: dict[tuple[bool, str], T] = field(factory=dict)


@define
class Routes(Generic[T]):
    """Patterns and what each leads to."""

    _root: _Node[T] = field(factory=_Node)

    def add(self, rule: str, methods: Iterable[str], target: T) -> None:
        """Let `rule`, a pattern like `/api/user/<int:user_id>`, lead to `target`.

        Raises:
            ValueError: another target has the same method and pattern.
        """
        node = self._root
        for segment in _segments(rule):
            name = _kind(segment)
            node = node.children.setdefault(name, _Node())
            if name == REST:
                break
        for method in methods:
            known = node.ends.setdefault((rule.endswith("/"), method), target)
            if known is not target:
                raise ValueError(f"{method} {rule} belongs to two surfaces")

    def find(self, method: str, path: str) -> T | None:
        """What a request leads to; None when no pattern has the path.

        A path that is known with other methods only leads to one of those, which then
        answers 405.
        """
        other: T | None = None
        slash = path.endswith("/")
        for node in self._nodes(self._root, _segments(path), 0):
            for form in (slash, not slash):
                found = node.ends.get((form, method))
                if found is not None:
                    return found
            if other is None:
                other = next(iter(node.ends.values()), None)
        return other

    def _nodes(
        self, node: _Node[T], segments: list[str], place: int
    ) -> Iterator[_Node[T]]:
        """The ends that match, exact segments before variable ones."""
        if place == len(segments):
            if node.ends:
                yield node
            return
        for name in (segments[place], ANY):
            child = node.children.get(name)
            if child is not None and (name != ANY or segments[place]):
                yield from self._nodes(child, segments, place + 1)
        rest = node.children.get(REST)
        if rest is not None:
            yield rest


def _segments(path: str) -> list[str]:
    """The parts between slashes; one trailing slash makes no part."""
    return path.removesuffix("/").split("/")[1:]


def _kind(segment: str) -> str:
    if not segment.startswith("<"):
        return segment
    return REST if segment.startswith("<path:") else ANY
