"""Endings of Gemini model names that ask for reasoning (relay specification, 10).

`-thinking`, `-thinking-N` and `-nothinking` are understood when the administrator
wants it; an effort (`-minimal` to `-xhigh`) always. The ending is not part of what is
sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from attrs import frozen

from knight_tw.convert import effort
from knight_tw.convert.context import Context
from knight_tw.convert.effort import Reasoning
from knight_tw.convert.gemini import models
from knight_tw.convert.gemini.names import camel
from knight_tw.convert.gemini.outgoing_thinking import config_for
from knight_tw.wire import top

SHARE = Decimal("0.6")
ENABLED = "gemini.thinking_adapter_enabled"
PERCENTAGE = "gemini.thinking_adapter_budget_tokens_percentage"
KEPT = "global.thinking_model_blacklist"

UNBUDGETED = frozenset({"gemini-2.5-pro-preview-05-06", "gemini-2.5-pro-preview-03-25"})
"""Models that think but take no budget."""

_BUDGET = re.compile(r"-thinking-(\d{1,9})$")
_EFFORTS = ("minimal", "low", "medium", "high", "xhigh")

Body = dict[str, Any]


@frozen
class Suffix:
    """What an ending asks for; one of the members is set.

    Attributes:
        budget: Exactly so many tokens, 0 for none.
        effort: A strength.
        share: A share of the answer's limit.
    """

    budget: int | None = None
    effort: str | None = None
    share: Decimal | None = None


def split(context: Context) -> tuple[str, Suffix | None]:
    """The model's name without its ending, and what the ending asks for."""
    name = context.model
    if "gemini-" not in name:
        return name, None
    if context.options.get(ENABLED) is True and name not in _kept(context):
        found = _BUDGET.search(name)
        if found:
            return name[: found.start()], Suffix(budget=int(found[1]))
        if name.endswith("-nothinking"):
            return name.removesuffix("-nothinking"), Suffix(budget=0)
        if name.endswith("-thinking"):
            return name.removesuffix("-thinking"), Suffix(share=_share(context))
    stem, _, strength = name.rpartition("-")
    return (stem, Suffix(effort=strength)) if strength in _EFFORTS else (name, None)


def apply_suffix(x: Mapping[str, Any], context: Context) -> Body:
    """The request of the middle form as its model's name asks for it.

    The ending is cut off `context.model`, in place; call it before `request_from_x`,
    and not for names that the channel maps to themselves.
    """
    name, suffix = split(context)
    if suffix is None:
        return dict(x)
    context.model = name
    if suffix.share is not None:
        return _with_share(x, suffix.share, context)
    asked = {k: v for k, v in x.items() if k not in _ASKING}
    if suffix.effort is not None:
        return {**asked, "reasoning_effort": suffix.effort}
    if not suffix.budget:
        return {**asked, "reasoning_effort": "none"}
    return {**asked, "reasoning": {"max_tokens": suffix.budget}}


_ASKING = ("reasoning_effort", "reasoning", "thinking")


def _with_share(x: Mapping[str, Any], share: Decimal, context: Context) -> Body:
    """A share of the limit, else what the client asked for, else as the model likes."""
    limit = x.get("max_completion_tokens") or x.get("max_tokens")
    asked = {k: v for k, v in x.items() if k not in _ASKING}
    if context.model in UNBUDGETED:
        return {**asked, "reasoning": {"enabled": True}}
    if isinstance(limit, int) and not models.is_third(context):
        return {**asked, "reasoning": {"max_tokens": max(int(limit * share), 1)}}
    if effort.read(x).asked:
        return dict(x)
    return {**asked, "reasoning": {"enabled": True}}


def apply_to_body(body: Mapping[str, Any], context: Context) -> Body:
    """The same for a native Gemini request, whose own budget or level wins.

    Args:
        body: The request's top level; members may be undecoded.

    Raises:
        InvalidRequest: `generationConfig` is no object.
    """
    name, suffix = split(context)
    if suffix is None:
        return dict(body)
    context.model = name
    changed: Body = dict(body)
    field = "generation_config" if "generation_config" in body else "generationConfig"
    config = camel(top.read_object(changed, field) or {})
    said = config.get("thinkingConfig")
    own = dict(said) if isinstance(said, dict) else {}
    own = {name: value for name, value in own.items() if value is not None}
    if not (own.keys() & {"thinkingBudget", "thinkingLevel"}):
        own = {**config_for(_asked(suffix, config, context), context), **own}
    elif suffix.budget != 0:
        own.setdefault("includeThoughts", True)
    changed[field] = {**config, "thinkingConfig": own}
    return changed


def _asked(suffix: Suffix, config: Mapping[str, Any], context: Context) -> Reasoning:
    """The ending in the words of the middle form."""
    if suffix.effort is not None:
        return Reasoning(effort=suffix.effort)
    if suffix.budget is not None:
        return Reasoning(effort.from_budget(suffix.budget), suffix.budget)
    limit = config.get("maxOutputTokens")
    if not isinstance(limit, int) or context.model in UNBUDGETED:
        return Reasoning(enabled=True)
    if models.is_third(context):
        return Reasoning(enabled=True)
    return Reasoning(budget=max(int(limit * (suffix.share or SHARE)), 1))


def _kept(context: Context) -> tuple[str, ...]:
    return context.prefixed(KEPT)


def _share(context: Context) -> Decimal:
    try:
        share = Decimal(str(context.options.get(PERCENTAGE, SHARE)))
    except InvalidOperation:
        return SHARE
    return share if 0 < share < 1 else SHARE
