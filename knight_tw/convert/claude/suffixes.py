"""Endings of Claude model names that ask for reasoning (relay specification, 10).

`-thinking` asks for much of it; an effort (`-low` to `-max`) is understood for models
that think adaptively. The ending is not part of what is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from knight_tw.convert import effort
from knight_tw.convert.claude import models
from knight_tw.convert.context import Context

THINKING = "-thinking"
SHARE = Decimal("0.8")
LEAST_MAX_TOKENS = 1280
"""Smallest `max_tokens` in which the least budget is a share of 0.8."""

ENABLED = "claude.thinking_adapter_enabled"
PERCENTAGE = "claude.thinking_adapter_budget_tokens_percentage"
KEPT = "global.thinking_model_blacklist"

Body = dict[str, Any]


def apply_suffix(x: Mapping[str, Any], context: Context) -> Body:
    """The request of the middle form as its model's name asks for it.

    The ending is cut off `context.model`, in place; call it before `request_from_x`,
    and not for names that the channel maps to themselves. A request that says itself
    how Claude shall think (`thinking`) keeps that.
    """
    name, strength = _split(context)
    if not strength:
        return dict(x)
    context.model = name
    if x.get("thinking") is not None:
        return dict(x)
    asked = {k: v for k, v in x.items() if k not in ("reasoning_effort", "reasoning")}
    if strength != THINKING:
        return {**asked, "reasoning_effort": strength}
    if models.is_adaptive(context):
        return {**asked, "reasoning_effort": "high"}
    most = max(models.max_tokens(x, context), LEAST_MAX_TOKENS)
    budget = max(int(most * _share(context)), models.LEAST_BUDGET)
    asked.pop("max_completion_tokens", None)
    return {**asked, "max_tokens": most, "reasoning": {"max_tokens": budget}}


def apply_to_body(body: Mapping[str, Any], context: Context) -> Body:
    """The same for a native Claude request, whose own `thinking` wins.

    `output_config` keeps its other members; sampling fields, which go with no thinking,
    are removed.
    """
    name, strength = _split(context)
    if not strength:
        return dict(body)
    context.model = name
    changed: Body = {**body, "model": name}
    if body.get("thinking") is not None:
        return changed
    for field in ("temperature", "top_p", "top_k"):
        changed.pop(field, None)
    if models.is_adaptive(context):
        level = "high" if strength == THINKING else strength
        config = body.get("output_config")
        known = config if isinstance(config, Mapping) else {}
        level = effort.nearest(level, effort.levels(context, effort.CLAUDE_EFFORTS))
        changed["output_config"] = {**known, "effort": level}
        changed["thinking"] = {"type": "adaptive", "display": "summarized"}
        return changed
    most = max(models.max_tokens(body, context), LEAST_MAX_TOKENS)
    budget = max(int(most * _share(context)), models.LEAST_BUDGET)
    changed["max_tokens"] = most
    changed["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return changed


def _split(context: Context) -> tuple[str, str]:
    """The name without its ending, and the ending: `-thinking` or an effort."""
    name = context.model
    if name.endswith(THINKING):
        kept = context.options.get(KEPT) or ()
        if context.options.get(ENABLED, True) and name not in kept:
            return name.removesuffix(THINKING), THINKING
        return name, ""
    stem, _, strength = name.rpartition("-")
    if strength == "none" or strength not in effort.EFFORTS:
        return name, ""
    return (stem, strength) if models.is_adaptive(context) else (name, "")


def _share(context: Context) -> Decimal:
    try:
        share = Decimal(str(context.options.get(PERCENTAGE, SHARE)))
    except InvalidOperation:
        return SHARE
    return share if 0 < share < 1 else SHARE
