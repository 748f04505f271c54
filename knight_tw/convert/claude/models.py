"""What Claude models take, told by their names.

Names come as Anthropic writes them, and as Bedrock (`us.anthropic.claude-…-v1:0`),
Vertex (`claude-…@2025`) and gateways (`anthropic/claude-opus-4.7`) do; prefixes in
options are compared with the part from `claude-` on, dots written as dashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from knight_tw.convert.context import Context
from knight_tw.options.groups import ADAPTIVE_MODELS, NO_SAMPLING_MODELS

LEAST_BUDGET: Final = 1024
"""Smallest `budget_tokens` that the API takes."""

DEFAULT_MAX_TOKENS: Final = 8192

UNSTRUCTURED = (
    *("claude-2", "claude-3", "claude-instant"),
    *("claude-opus-4-0", "claude-opus-4-2025", "claude-sonnet-4-0"),
    "claude-sonnet-4-2025",
)
"""Prefixes of models from before structured output and strict tools."""


def bare(model: str) -> str:
    """The name without what Bedrock, Vertex and gateways put around it."""
    at = model.find("claude-")
    return (model[at:] if at > 0 else model).replace(".", "-")


def is_adaptive(context: Context) -> bool:
    """True when the model thinks adaptively, by an effort instead of a budget."""
    return _is_one(context, context.prefixed("claude.adaptive_models", ADAPTIVE_MODELS))


def takes_sampling(context: Context) -> bool:
    """True when the model takes `temperature`, `top_p` and `top_k`."""
    prefixes = context.prefixed("claude.no_sampling_models", NO_SAMPLING_MODELS)
    return not _is_one(context, prefixes)


def takes_inline_system(context: Context) -> bool:
    """True when a system message may stand between others."""
    return _is_one(context, context.prefixed("claude.inline_system_models"))


def takes_structure(context: Context) -> bool:
    """True when the model takes an output schema and strict tools."""
    named = context.prefixed("claude.no_structured_output_models")
    return not _is_one(context, (*UNSTRUCTURED, *named))


def max_tokens(request: Mapping[str, Any], context: Context) -> int:
    """The limit of an answer: what the request says, else the default.

    Claude requires one. Both forms of a request can be asked.
    """
    for name in ("max_completion_tokens", "max_tokens"):
        limit = request.get(name)
        if isinstance(limit, int | float) and limit >= 1:
            return int(limit)
    table = context.options.get("claude.default_max_tokens")
    if isinstance(table, Mapping):
        for name in (context.model, "default"):
            limit = table.get(name)
            if isinstance(limit, int) and limit > 0:
                return limit
    return DEFAULT_MAX_TOKENS


def _is_one(context: Context, prefixes: tuple[str, ...]) -> bool:
    name = bare(context.model)
    return any(name.startswith(prefix.replace(".", "-")) for prefix in prefixes)
