"""How hard Gemini shall think: `thinkingConfig` (conversion specification, 2.2).

Gemini 3 takes a level, 2.5 a number of tokens; either shows its thoughts when
`includeThoughts` is set. What a chat client says in `extra_body.google.thinking_config`
is Google's own form and beats everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import effort
from knight_tw.convert.context import Context
from knight_tw.convert.effort import Reasoning
from knight_tw.convert.gemini import models

Config = dict[str, Any]


def thinking_config(
    x: Mapping[str, Any], google: Mapping[str, Any], context: Context
) -> Config | None:
    """The `thinkingConfig` for a request, None when it says nothing.

    Args:
        google: The request's `extra_body.google`, in camel case.
    """
    own = google.get("thinkingConfig")
    if isinstance(own, Mapping):
        return dict(own)
    asked = effort.read(x)
    if not asked.asked:
        return None
    if not models.thinks(context):
        if asked.effort != "none":
            context.drop("reasoning_effort" if asked.effort else "reasoning")
        return None
    return config_for(asked, context)


def config_for(asked: Reasoning, context: Context) -> Config:
    """The `thinkingConfig` that says what is asked for, as the model takes it."""
    config: Config = {}
    if models.is_third(context):
        if asked.effort is not None:
            config["thinkingLevel"] = _level(asked.effort, context)
    elif (budget := _budget(asked, context.model)) is not None:
        config["thinkingBudget"] = budget
    if asked.effort != "none" and not asked.exclude:
        config["includeThoughts"] = True
    return config


def _level(name: str, context: Context) -> str:
    return effort.nearest(name, effort.levels(context, effort.GEMINI_LEVELS)).upper()


def _budget(asked: Reasoning, model: str) -> int | None:
    """Tokens to think with; None when only the model can say."""
    if asked.effort == "none":
        return models.no_budget(model)
    if asked.budget is not None and asked.budget > 0:
        return models.clamped(asked.budget, model)
    if asked.effort is None:
        return None
    share = effort.GEMINI_PERCENT[asked.effort]
    return models.clamped(models.budgets(model)[1] * share // 100, model)
