"""Rows of our tables for tests, with what a test does not name filled in."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")

NOW = 1_795_604_332
"""The moment of most tests, in unix seconds."""


def result(work: Awaitable[T]) -> T:
    """What a coroutine gave that needed no turn of the reactor; failures are raised."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(outcome.append)  # type: ignore[arg-type]
    if not outcome:
        raise AssertionError("the coroutine is still waiting")
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    found: T = outcome[0]
    return found


def token_row(**columns: Any) -> dict[str, Any]:
    """Columns of a token."""
    return {
        "user_id": 1,
        "key": "k" * 48,
        "status": 1,
        "name": "name",
        "created_time": NOW,
        "accessed_time": NOW,
        "expired_time": -1,
        "remain_quota": 500_000,
        "unlimited_quota": False,
        **columns,
    }


def channel_row(**columns: Any) -> dict[str, Any]:
    """Columns of a channel."""
    return {
        "type": 1,
        "key": "sk-example-key",
        "status": 1,
        "name": "example",
        "models": "pt-ok,pt-other",
        "group": "default",
        "priority": 5,
        "weight": 1,
        "created_time": NOW,
        **columns,
    }


def log_row(**columns: Any) -> dict[str, Any]:
    """Columns of a log row."""
    return {
        "user_id": 11,
        "created_at": NOW,
        "type": 2,
        "username": "caller",
        "token_name": "logkey",
        "model_name": "pt-ok",
        "quota": 15,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "channel_id": 7,
        "token_id": 5,
        "group": "default",
        "request_id": "20261125105907",
        "other": {"model_ratio": 1, "admin_info": {"use_channel": ["7"]}},
        **columns,
    }
