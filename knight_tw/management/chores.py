"""What one process does in the background for the management side."""

from __future__ import annotations

from knight_tw.channels import balance
from knight_tw.channels.schedule import TestSchedule
from knight_tw.chores import Chore
from knight_tw.jobs import JobRunning
from knight_tw.management.parts import Parts, Tools


def chores(parts: Parts, tools: Tools) -> tuple[Chore, ...]:
    """The chores of the process that holds the lease."""
    settings = parts.settings
    schedule = TestSchedule(parts.snapshots, tools.tester, tools.jobs, parts.reactor)

    async def tidy() -> None:
        await tools.sessions.tidy(
            settings.user_session_revoked_retention_days,
            settings.user_session_hourly_alert_threshold,
        )

    async def update_balances() -> None:
        try:
            await tools.jobs.start(balance.JOB, tools.balances.run)
        except JobRunning:
            return

    chores = [
        Chore("channel tests", 30.0, schedule.tick),
        Chore("tidy sessions", 3600.0, tidy),
        Chore("tidy flows", 3600.0, tools.flows.tidy),
    ]
    if settings.channel_upstream_model_update_task_enabled:
        minutes = settings.channel_upstream_model_update_task_interval_minutes
        chores.append(
            Chore(
                "watch model lists",
                60.0 * minutes,
                lambda: tools.updates.watch(tools.jobs),
            )
        )
    if settings.channel_update_frequency:
        seconds = 60.0 * settings.channel_update_frequency
        chores.append(Chore("channel balances", seconds, update_balances))
    return tuple(chores)
