"""What is measured, and what each figure must be (`docs/architecture.md`, budgets)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from attrs import frozen

PLAIN_MODEL, TLS_MODEL, CHAT_MODEL = "gpt-4o-mini", "gpt-4o", "gpt-4.1-mini"
"""The models of the upstream without and with TLS, and of the channels that speak
nothing but OpenAI chat; all are priced as shipped."""

OPENAI, CHAT_ONLY = 1, 40
"""Types of the channels: with Responses and without."""


@frozen
class Budget:
    """The least that counts as good: absolute, and as a share of nginx, which decides
    where there is one (0 = there is none)."""

    must: float
    aim: float
    share_must: float = 0.0
    share_aim: float = 0.0


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
        dialect: What the client speaks; the provider speaks chat.
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
    dialect: str = "chat"

    @property
    def model(self) -> str:
        """The model that is asked for."""
        if self.dialect != "chat":
            return CHAT_MODEL
        return TLS_MODEL if self.tls else PLAIN_MODEL

    @property
    def path(self) -> str:
        """The request target."""
        if self.dialect != "gemini":
            return PATHS[self.dialect]
        action = "streamGenerateContent?alt=sse" if self.events else "generateContent"
        return f"/v1beta/models/{self.model}:{action}"

    def body(self) -> str:
        """The JSON of the request."""
        order = f"bench/{self.events}/{self.gap}/ " if self.events else ""
        prompt = (order + "Say hello to the world, and to everybody in it. " * 9000)[
            : max(self.prompt, len(order))
        ]
        call = BODIES[self.dialect](prompt)
        if self.dialect != "gemini":
            call["model"] = self.model
            if self.events:
                call["stream"] = True
        return json.dumps(call)


PATHS = {
    "chat": "/v1/chat/completions",
    "claude": "/v1/messages",
    "responses": "/v1/responses",
}

BODIES: Mapping[str, Callable[[str], dict[str, object]]] = {
    "chat": lambda text: {"messages": [{"role": "user", "content": text}]},
    "claude": lambda text: {
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 1024,
    },
    "responses": lambda text: {"input": text},
    "gemini": lambda text: {"contents": [{"role": "user", "parts": [{"text": text}]}]},
}
"""What a client of each dialect asks, without model and stream."""

CONVERTED = Budget(4000, 6000, 0.15, 0.25)
CONVERTED_EVENTS = Budget(12000, 20000)
LATE = Limit("late_ms.p99", "an event late at p99, ms", 10, 10)


def _converted(name: str, dialect: str, title: str) -> tuple[Workload, Workload]:
    """A client of another dialect than the provider's, not streamed and streamed."""
    return (
        Workload(
            name,
            f"{title} in, chat out, not streamed, 32 connections",
            32,
            "per_second",
            "calls/s",
            budget=CONVERTED,
            dialect=dialect,
        ),
        Workload(
            f"{name}-events",
            f"{title} in, chat out: 32 streams of 500 events without pause",
            32,
            "events_per_second",
            "events/s",
            events=500,
            budget=CONVERTED_EVENTS,
            dialect=dialect,
        ),
    )


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
        limits=(LATE,),
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
    *_converted("converted", "claude", "Claude"),
    Workload(
        "converted-streams",
        "Claude in, chat out: 200 streams of 50 events at 10 ms",
        200,
        "late_ms.p99",
        "ms p99",
        events=50,
        gap=10_000,
        direct=True,
        limits=(LATE,),
        dialect="claude",
    ),
    *_converted("responses", "responses", "Responses"),
    *_converted("gemini", "gemini", "Gemini"),
)

MEMORY_LIMITS = (
    Limit("idle_mb", "idle, MB", 90, 70),
    Limit("streams_mb", "1,000 open streams, MB", 250, 150),
)
COLD_START = Limit("cold_start", "cold start, s", 2, 1)
