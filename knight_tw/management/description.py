"""The surface that describes all others."""

from __future__ import annotations

from collections.abc import Sequence

from knight_tw.management.parts import Parts
from knight_tw.web.api.description import DescriptionApi
from knight_tw.web.root import Surface
from knight_tw.web.route_table import entries


def described(parts: Parts, surfaces: Sequence[Surface]) -> list[Surface]:
    """The surfaces, and one more that describes them and itself."""
    page = DescriptionApi(lambda: entries([*surfaces, page]), parts.version)
    return [*surfaces, page]
