"""How hard Claude shall think: `thinking` and `output_config.effort` (2.1, 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import effort
from knight_tw.convert.claude import models
from knight_tw.convert.claude.outgoing_messages import lacks_thinking
from knight_tw.convert.context import Context
from knight_tw.convert.effort import Reasoning

Body = dict[str, Any]

SHARE = 0.8
"""Most of `max_tokens` that may go into thinking."""


def add_thinking(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """Put the reasoning that `x` asks for into a Claude request that is otherwise done.

    Thinking is left out, and reported, where the API would refuse it: when a tool is
    forced, or when the last assistant turn calls tools without its thinking blocks.
    """
    asked = effort.read(x)
    if not asked.asked:
        return
    thinking, level = _form(asked, body["max_tokens"], context)
    if level is not None:
        body["output_config"] = {**body.get("output_config", {}), "effort": level}
    if thinking is None:
        context.drop("thinking")
        return
    if thinking.get("type") != "disabled" and _impossible(body):
        context.drop("thinking")
        return
    body["thinking"] = thinking


def _form(
    asked: Reasoning, max_tokens: int, context: Context
) -> tuple[Mapping[str, Any] | None, str | None]:
    """The `thinking` object and the effort, None for what is not sent."""
    if asked.thinking is not None:
        level = None
        if asked.thinking.get("type") == "adaptive" and asked.effort not in NOT_LEVELS:
            level = asked.effort
        return asked.thinking, level
    if asked.effort == "none":
        return {"type": "disabled"}, None
    if models.is_adaptive(context):
        display = "omitted" if asked.exclude else "summarized"
        return {"type": "adaptive", "display": display}, _level(asked.effort, context)
    budget = _budget(asked, max_tokens)
    if budget < models.LEAST_BUDGET:
        return None, None
    thinking: dict[str, Any] = {"type": "enabled", "budget_tokens": budget}
    if asked.exclude:
        thinking["display"] = "omitted"
    return thinking, None


NOT_LEVELS = (None, "none")


def _level(name: str | None, context: Context) -> str | None:
    if name is None:
        return None
    return effort.nearest(name, effort.levels(context, effort.CLAUDE_EFFORTS))


def _budget(asked: Reasoning, max_tokens: int) -> int:
    """Tokens to think with; the API wants fewer than `max_tokens`."""
    most = int(max_tokens * SHARE)
    if asked.budget is not None and asked.budget >= 0:
        return asked.budget if asked.budget < max_tokens else most
    return min(effort.CLAUDE_BUDGETS[asked.effort or "medium"], most)


def _impossible(body: Body) -> bool:
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    return forced or lacks_thinking(body["messages"])
