"""Endings of model names that ask for reasoning."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.context import Context
from knight_tw.convert.gemini import apply_suffix, apply_to_body, request_from_x
from knight_tw.errors import InvalidRequest

ADAPTER = {"gemini.thinking_adapter_enabled": True}
SHOWN = {"includeThoughts": True}


def context_of(model: str, **options: Any) -> Context:
    """A channel on which the endings are understood."""
    named = {f"gemini.{name}": value for name, value in options.items()}
    return Context(model=model, provider_type=24, options=ADAPTER | named)


def converted(context: Context, **x: Any) -> Any:
    """The `thinkingConfig` for a converted request."""
    body = request_from_x(apply_suffix({"messages": [], **x}, context), context)
    return body.get("generationConfig", {}).get("thinkingConfig")


def native(context: Context, **config: Any) -> Any:
    """The `thinkingConfig` for a native request, whose members are undecoded."""
    body = {"generationConfig": msgspec.Raw(msgspec.json.encode(config))}
    found = apply_to_body(body, context)["generationConfig"]
    return found.get("thinkingConfig") if isinstance(found, dict) else None


class Endings(SynchronousTestCase):
    """What each ending does, converted and native."""

    def test_table(self) -> None:
        """Name, limit and effort to the name that is sent and the config."""
        flash, pro, third = "gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-pro"
        for name, limit, sent, wanted in (
            (f"{flash}-thinking-5000", None, flash, {"thinkingBudget": 5000, **SHOWN}),
            (f"{pro}-thinking-5", None, pro, {"thinkingBudget": 128, **SHOWN}),
            (f"{third}-thinking-5000", None, third, {"thinkingLevel": "HIGH", **SHOWN}),
            (f"{flash}-thinking-0", None, flash, {"thinkingBudget": 0}),
            (f"{flash}-thinking", 1000, flash, {"thinkingBudget": 600, **SHOWN}),
            (f"{flash}-thinking", None, flash, SHOWN),
            (f"{third}-thinking", 1000, third, SHOWN),
            (f"{pro}-preview-05-06-thinking", 1000, f"{pro}-preview-05-06", SHOWN),
            (f"{flash}-nothinking", None, flash, {"thinkingBudget": 0}),
            (f"{pro}-nothinking", None, pro, {"thinkingBudget": 128}),
            (f"{third}-nothinking", None, third, {"thinkingLevel": "MINIMAL"}),
            (f"{flash}-high", None, flash, {"thinkingBudget": 19660, **SHOWN}),
            (f"{third}-xhigh", None, third, {"thinkingLevel": "XHIGH", **SHOWN}),
            (flash, None, flash, None),
            ("gemma-high", None, "gemma-high", None),
        ):
            context = context_of(name)
            x = {} if limit is None else {"max_tokens": limit}
            self.assertEqual(converted(context, **x), wanted, name)
            self.assertEqual(context.model, sent)
            context = context_of(name)
            config = {} if limit is None else {"maxOutputTokens": limit}
            self.assertEqual(native(context, **config), wanted, name)
            self.assertEqual(context.model, sent)

    def test_efforts_need_no_adapter(self) -> None:
        """With the adapter off only the efforts are endings."""
        off = {"gemini.thinking_adapter_enabled": False}
        for name, sent in (
            ("gemini-2.5-pro-low", "gemini-2.5-pro"),
            ("gemini-2.5-pro-thinking", "gemini-2.5-pro-thinking"),
        ):
            context = Context(model=name, options=off)
            apply_suffix({}, context)
            self.assertEqual(context.model, sent)

    def test_names_that_are_kept(self) -> None:
        """The administrator may exempt names."""
        name = "gemini-2.5-flash-thinking"
        context = context_of(name)
        context.options = {**ADAPTER, "global.thinking_model_blacklist": [name]}
        apply_suffix({}, context)
        self.assertEqual(context.model, name)

    def test_share(self) -> None:
        """The share is the administrator's; nonsense is the default."""
        for share, budget in ((Decimal("0.5"), 500), ("x", 600), (7, 600)):
            context = context_of(
                "gemini-2.5-flash-thinking",
                thinking_adapter_budget_tokens_percentage=share,
            )
            config = converted(context, max_completion_tokens=1000)
            self.assertEqual(config["thinkingBudget"], budget)

    def test_what_the_client_says(self) -> None:
        """Without a limit `-thinking` goes by the effort; an effort's ending wins."""
        context = context_of("gemini-2.5-flash-thinking")
        config = converted(context, reasoning_effort="low")
        self.assertEqual(config, {"thinkingBudget": 4915, **SHOWN})
        context = context_of("gemini-2.5-flash-low")
        config = converted(context, reasoning_effort="high")
        self.assertEqual(config["thinkingBudget"], 4915)

    def test_native_requests_win(self) -> None:
        """Their own budget or level stays, and what they say about showing."""
        own = {"thinking_budget": 7}
        for name, said, wanted in (
            ("gemini-2.5-flash-high", own, {"thinkingBudget": 7, **SHOWN}),
            ("gemini-2.5-flash-nothinking", own, {"thinkingBudget": 7}),
            (
                "gemini-2.5-flash-high",
                {"includeThoughts": False, "thinkingBudget": None},
                {"thinkingBudget": 19660, "includeThoughts": False},
            ),
        ):
            context = context_of(name)
            self.assertEqual(native(context, thinking_config=said), wanted)
        body = {"generation_config": {"max_output_tokens": 1000}}
        changed = apply_to_body(body, context_of("gemini-2.5-flash-thinking"))
        config = {
            "maxOutputTokens": 1000,
            "thinkingConfig": {"thinkingBudget": 600, **SHOWN},
        }
        self.assertEqual(changed, {"generation_config": config})
        self.assertRaises(
            InvalidRequest,
            apply_to_body,
            {"generationConfig": 5},
            context_of("gemini-2.5-pro-low"),
        )
