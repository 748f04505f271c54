"""What is measured, and what each figure must be (`docs/architecture.md`, budgets)."""

from __future__ import annotations

import json

from attrs import frozen

PLAIN_MODEL, TLS_MODEL = "gpt-4o-mini", "gpt-4o"
"""The models of the upstream without and with TLS; both are priced as shipped."""


@frozen
class Budget:
    """The least that counts as good: absolute, and as a share of nginx."""

    must: float
    aim: float
    share_must: float
    share_aim: float


@frozen
class Limit:
    """The most that counts as good, of what is added to the provider's own figure."""

    figure: str
    what: str
    must: float
    aim: float


@frozen
class Workload:
    """One way of calling.

    Attributes:
        name: What `--only` selects by.
        figure: The member of the load's outcome that is compared.
        unit: Of the figure, for the table.
        prompt: Characters of the prompt.
        events: Events of a stream; 0 is an answer that is not streamed.
        gap: Microseconds between two events; 0 is as fast as it goes.
        direct: Also measure the provider itself, to subtract it.
    """

    name: str
    title: str
    connections: int
    figure: str
    unit: str
    prompt: int = 60
    events: int = 0
    gap: int = 0
    tls: bool = False
    direct: bool = False
    budget: Budget | None = None
    limits: tuple[Limit, ...] = ()

    def body(self) -> str:
        """The JSON of the request."""
        order = f"bench/{self.events}/{self.gap}/ " if self.events else ""
        prompt = (order + "Say hello to the world, and to everybody in it. " * 9000)[
            : max(self.prompt, len(order))
        ]
        call: dict[str, object] = {
            "model": TLS_MODEL if self.tls else PLAIN_MODEL,
            "messages": [{"role": "user", "content": prompt}],
        }
        if self.events:
            call["stream"] = True
        return json.dumps(call)


WORKLOADS = (
    Workload(
        "chat",
        "chat, not streamed, 32 connections",
        32,
        "per_second",
        "calls/s",
        budget=Budget(8000, 12000, 0.3, 0.5),
    ),
    Workload(
        "tls",
        "the same, TLS upstream",
        32,
        "per_second",
        "calls/s",
        tls=True,
        budget=Budget(6000, 9000, 0.24, 0.36),
    ),
    Workload(
        "latency",
        "chat, one connection: latency",
        1,
        "call_ms.p50",
        "ms p50",
        direct=True,
        limits=(
            Limit("call_ms.p50", "added at p50, ms", 0.3, 0.15),
            Limit("call_ms.p99", "added at p99, ms", 1.5, 0.6),
        ),
    ),
    Workload(
        "long",
        "400 kB prompt, 8 connections",
        8,
        "per_second",
        "calls/s",
        prompt=400_000,
        budget=Budget(600, 1500, 0.1, 0.25),
    ),
    Workload(
        "streams",
        "200 streams of 50 events at 10 ms: how late an event is",
        200,
        "late_ms.p99",
        "ms p99",
        events=50,
        gap=10_000,
        direct=True,
        limits=(Limit("late_ms.p99", "an event late at p99, ms", 10, 10),),
    ),
    Workload(
        "events",
        "32 streams of 500 events without pause",
        32,
        "events_per_second",
        "events/s",
        events=500,
        direct=True,
        budget=Budget(25000, 35000, 0.2, 0.3),
    ),
)

MEMORY_LIMITS = (
    Limit("idle_mb", "idle, MB", 90, 70),
    Limit("streams_mb", "1,000 open streams, MB", 250, 150),
)
COLD_START = Limit("cold_start", "cold start, s", 2, 1)
