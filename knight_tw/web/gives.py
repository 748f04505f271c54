"""What a route's success holds, declared as a type for the description of the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def gives(data: Any) -> Callable[[F], F]:
    """Declare that `data` of the route's envelope is of that type.

    Stands below `allow` or `mark`, directly above the route. The type is a `TypedDict`
    or anything else that `msgspec` makes a JSON schema of; a test holds the answers to
    it. Routes that declare nothing are described with any data.
    """

    def declared(route: F) -> F:
        route.gives = data  # type: ignore[attr-defined]
        return route

    return declared
