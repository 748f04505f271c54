"""The surface about conversations that stay on one channel."""

from __future__ import annotations

from knight_tw.management.parts import Parts, Tools
from knight_tw.web.api.affinity import AffinityPages
from knight_tw.web.root import Surface


def surfaces(parts: Parts, tools: Tools) -> list[Surface]:
    """The affinity cache."""
    affinity, changed = parts.relaying.affinity, parts.snapshots.changed
    return [AffinityPages(tools.guard, affinity, parts.options, tools.audit, changed)]
