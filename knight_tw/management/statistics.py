"""The surfaces about what was and is going on: numbers, streams, search."""

from __future__ import annotations

from knight_tw.chores import Chore
from knight_tw.feeds import BalanceFeed, JobFeed
from knight_tw.management.parts import Parts, Tools
from knight_tw.storage import perf_queries, usage_queries
from knight_tw.storage.usage_queries import DAY, HOUR
from knight_tw.web.api.live import Live, News
from knight_tw.web.api.performance import Performance
from knight_tw.web.api.search import SearchPages
from knight_tw.web.api.stats import Stats
from knight_tw.web.root import Surface

KEPT_DAYS = 400
"""How long hourly sums are kept."""

MOST_HOURS = 500
"""Hours that are deleted in one round; each is a transaction of its own."""


def surfaces(parts: Parts, tools: Tools) -> list[Surface]:
    """Statistics, models' performance, streams of events, search."""
    db, view, clock, guard = parts.db, parts.snapshots, parts.reactor, tools.guard
    news = News()
    view.on_change(news.changed)

    def ended(kind: str, ref: str) -> None:
        """An account that changed must show again who it is."""
        if kind == "user" and ref.isdecimal():
            tools.streams.end_of(int(ref))

    view.on_change(ended)
    parts.ledger.watch = tools.tail.seen
    return [
        Stats(guard, db, clock),
        Performance(guard, db, view, clock, parts.in_thread),
        Live(
            guard,
            tools.streams,
            tools.tail,
            JobFeed(db, clock),
            BalanceFeed(db, clock),
            news,
            view,
        ),
        SearchPages(guard, db, parts.logs, view),
    ]


def chores(parts: Parts) -> tuple[Chore, ...]:
    """What keeps the tables of the statistics from growing without end."""
    db, clock = parts.db, parts.reactor

    async def prune() -> None:
        now = int(clock.seconds())
        await db.run(usage_queries.prune_minutes, now - DAY - HOUR)
        for _ in range(MOST_HOURS):
            if not await db.run(usage_queries.prune, now - KEPT_DAYS * DAY):
                break
        days = parts.options().integer("perf_metrics_setting.retention_days")
        if days:
            await db.run(perf_queries.prune, now - days * DAY)

    return (Chore("prune statistics", float(HOUR), prune),)
