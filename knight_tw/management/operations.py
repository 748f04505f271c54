"""The surfaces for those who run the machine, and the lists of long work."""

from __future__ import annotations

from attrs import frozen

from knight_tw.channels.codex import Codex
from knight_tw.chores import Chore
from knight_tw.ledger import Ledger
from knight_tw.management.parts import Parts, Tools
from knight_tw.metrics import Meter
from knight_tw.storage import job_queries, node_queries
from knight_tw.web.api.codex import CodexPages
from knight_tw.web.api.operations import Operations
from knight_tw.web.api.works import Works
from knight_tw.web.root import Surface

DAY = 86_400.0
KEPT_NODES_DAYS, KEPT_JOBS_DAYS = 30, 90
"""How long silent nodes, and jobs that are over, are remembered."""


@frozen(eq=False)
class Traffic:
    """What is going on in this process."""

    _meter: Meter
    _ledger: Ledger

    def calls(self) -> int:
        """Calls answered since the process began."""
        return sum(self._meter.calls.values())

    def open(self) -> int:
        """Calls under way."""
        return self._ledger.figures.holds_open


def surfaces(parts: Parts, tools: Tools) -> list[Surface]:
    """Memory, files and nodes; drawings and tasks; logins of subscriptions."""
    return [
        Operations(
            tools.guard,
            parts.db,
            parts.reactor,
            parts.options,
            parts.in_thread,
            Traffic(parts.relaying.meter, parts.ledger),
            tools.audit,
            parts.settings.data_dir,
            parts.log_folder,
        ),
        Works(tools.guard, parts.db, parts.options),
        CodexPages(
            tools.guard,
            parts.db,
            parts.reactor,
            parts.cache,
            tools.limits,
            Codex(parts.upstream.send),
            parts.snapshots.changed,
            tools.audit,
        ),
    ]


def chores(parts: Parts) -> tuple[Chore, ...]:
    """What forgets nodes and jobs that nobody asks about any more."""
    db, clock = parts.db, parts.reactor

    async def prune() -> None:
        now = clock.seconds()
        await db.run(node_queries.prune, int(now - KEPT_NODES_DAYS * DAY))
        await db.run(job_queries.prune, int(now - KEPT_JOBS_DAYS * DAY))

    return (Chore("prune nodes and jobs", DAY, prune),)
