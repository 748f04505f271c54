"""How hard a model shall think: the names, and what they mean elsewhere (2.2).

OpenAI names a strength, Claude takes a strength or a number of tokens, Gemini a level
or a number. In the middle form a strength is `reasoning_effort`, an exact number
`reasoning.max_tokens`; an explicit Claude object is `thinking`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from knight_tw.convert.context import Context
from knight_tw.errors import InvalidRequest

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All strengths, low to high."""

CLAUDE_EFFORTS = ("low", "medium", "high", "xhigh", "max")
GEMINI_LEVELS = ("minimal", "low", "medium", "high", "xhigh")

CLAUDE_BUDGETS: Mapping[str, int] = {
    "minimal": 1024,
    "low": 1280,
    "medium": 2048,
    "high": 4096,
    "xhigh": 16384,
    "max": 32000,
}
"""`budget_tokens` of Claude models that think by a budget."""

GEMINI_PERCENT: Mapping[str, int] = {
    "minimal": 5,
    "low": 20,
    "medium": 50,
    "high": 80,
    "xhigh": 100,
    "max": 100,
}
"""Share of a Gemini 2.5 model's largest thinking budget."""

_BOUNDS = ((2048, "low"), (4096, "medium"), (16384, "high"), (32000, "xhigh"))


@frozen
class Reasoning:
    """What a request in the middle form says about reasoning.

    Attributes:
        effort: A name of `EFFORTS`, None when absent.
        budget: Tokens asked for exactly; None when only a name is given, or nothing.
        exclude: The client does not want to see the reasoning.
        thinking: An explicit Claude object, which Claude gets unchanged.
        enabled: Asked for without a strength.
    """

    effort: str | None = None
    budget: int | None = None
    exclude: bool = False
    thinking: Mapping[str, Any] | None = None
    enabled: bool = False

    @property
    def asked(self) -> bool:
        """True when the request says anything about reasoning."""
        return (
            self.effort is not None
            or self.budget is not None
            or self.thinking is not None
            or self.enabled
        )


def read(x: Mapping[str, Any]) -> Reasoning:
    """What `reasoning_effort`, `reasoning` and `thinking` of a request say together.

    `reasoning.max_tokens` and an explicit `thinking` beat the strength's name; both are
    given as a strength too, for targets that know nothing else.

    Raises:
        InvalidRequest: one of them has a wrong type or name.
    """
    reasoning = _object(x, "reasoning")
    thinking = x.get("thinking")
    if thinking is not None and not isinstance(thinking, Mapping):
        raise InvalidRequest("thinking must be an object", param="thinking")
    effort = _name(x.get("reasoning_effort"), "reasoning_effort")
    if effort is None:
        effort = _name(reasoning.get("effort"), "reasoning.effort")
    budget = _budget(reasoning.get("max_tokens"))
    if thinking:
        budget, effort = _of_thinking(thinking, effort)
    elif budget is not None and budget >= 0:
        effort = from_budget(budget)
    elif reasoning.get("enabled") is False and effort is None:
        effort = "none"
    return Reasoning(
        effort,
        budget,
        reasoning.get("exclude") is True,
        thinking or None,
        reasoning.get("enabled") is True,
    )


def _of_thinking(
    thinking: Mapping[str, Any], effort: str | None
) -> tuple[int | None, str | None]:
    """Budget and strength of a Claude `thinking` object."""
    kind = thinking.get("type")
    if kind == "disabled":
        return None, "none"
    if kind == "between_tools":
        return None, "low"
    budget = _budget(thinking.get("budget_tokens"))
    if kind == "enabled" and budget:
        return budget, from_budget(budget)
    return None, effort


def from_budget(budget: int) -> str | None:
    """The strength that a number of thinking tokens comes to; -1 means none given."""
    if budget < 0:
        return None
    if budget == 0:
        return "none"
    return next((name for bound, name in _BOUNDS if budget < bound), "max")


def nearest(effort: str, supported: Sequence[str]) -> str:
    """The supported strength nearest to `effort`, downward first."""
    place = EFFORTS.index(effort)
    known = [EFFORTS.index(name) for name in supported if name in EFFORTS]
    if not known:
        return effort
    below = [index for index in known if index <= place]
    return EFFORTS[max(below) if below else min(known)]


def levels(context: Context, default: Sequence[str]) -> Sequence[str]:
    """The strengths that the model knows: `relay.effort_levels`, else `default`.

    The longest prefix of the model's name counts.
    """
    table = context.options.get("relay.effort_levels")
    if not isinstance(table, Mapping):
        return default
    fitting = [prefix for prefix in table if context.model.startswith(prefix)]
    names = table[max(fitting, key=len)] if fitting else None
    return names if isinstance(names, list) and names else default


def _object(x: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = x.get(name)
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    raise InvalidRequest(f"{name} must be an object", param=name)


def _name(value: Any, param: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and value in EFFORTS:
        return value
    raise InvalidRequest(f"{param} must be one of {', '.join(EFFORTS)}", param=param)


def _budget(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value)
