"""Endings of Claude model names."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import claude
from knight_tw.convert.context import Context

Body = dict[str, Any]

OPUS, SONNET = "claude-opus-4-8", "claude-sonnet-4-5"
SHARE = "claude.thinking_adapter_budget_tokens_percentage"


def converted(x: Body, model: str, **options: Any) -> tuple[Body, str]:
    """A converted request with its ending applied, and the model's name."""
    context = Context(model, 14, options)
    applied = claude.apply_suffix(x, context)
    messages = [{"role": "user", "content": "hi"}]
    body = claude.request_from_x({"messages": messages} | applied, context)
    return body, context.model


def native(body: Body, model: str, **options: Any) -> tuple[Body, str]:
    """A native request with its ending applied, and the model's name."""
    context = Context(model, 14, options)
    return claude.apply_to_body(body, context), context.model


class Suffixes(SynchronousTestCase):
    """What a name asks for."""

    def test_thinking_by_a_budget(self) -> None:
        """A share of the limit, which is raised if it is too small."""
        for ask in (converted, native):
            for limit, (most, budget) in {
                1000: (1280, 1024),
                10000: (10000, 8000),
                None: (8192, 6553),
            }.items():
                x = {} if limit is None else {"max_tokens": limit}
                body, name = ask(x, f"{SONNET}-thinking")
                self.assertEqual(name, SONNET)
                wanted = {"type": "enabled", "budget_tokens": budget}
                got = body["max_tokens"], body["thinking"]
                self.assertEqual(got, (most, wanted))
            halved = ask({"max_tokens": 4000}, f"{SONNET}-thinking", **{SHARE: "0.5"})
            self.assertEqual(halved[0]["thinking"]["budget_tokens"], 2000)
            for odd in ("x", "7"):
                body, _ = ask(
                    {"max_tokens": 4000}, f"{SONNET}-thinking", **{SHARE: odd}
                )
                self.assertEqual(body["thinking"]["budget_tokens"], 3200)

    def test_adaptive_models(self) -> None:
        """`-thinking` is `high`, efforts are understood, and nothing is sampled."""
        shown = {"type": "adaptive", "display": "summarized"}
        for ending, level in {
            "thinking": "high",
            "low": "low",
            "max": "max",
            "minimal": "low",
        }.items():
            for ask in (converted, native):
                body, name = ask({"temperature": 0.5}, f"{OPUS}-{ending}")
                got = name, body["thinking"], body["output_config"]
                self.assertEqual(got, (OPUS, shown, {"effort": level}))
                self.assertNotIn("temperature", body)

    def test_the_ending_beats_a_strength(self) -> None:
        """The name is the administrator's or the client's last word."""
        body, _ = converted({"reasoning_effort": "low"}, f"{OPUS}-max")
        self.assertEqual(body["output_config"]["effort"], "max")

    def test_other_members_stay(self) -> None:
        """A native request keeps its output format."""
        config = {"output_config": {"format": {"type": "json_schema"}}}
        body, _ = native(config, f"{OPUS}-low")
        wanted = {"format": {"type": "json_schema"}, "effort": "low"}
        self.assertEqual(body["output_config"], wanted)

    def test_explicit_thinking_wins(self) -> None:
        """Only the name is cut then."""
        own = {"thinking": {"type": "disabled"}, "temperature": 0.5}
        body, name = native(own, f"{OPUS}-thinking")
        self.assertEqual((body, name), (own | {"model": OPUS}, OPUS))
        body, name = converted(own, f"{OPUS}-thinking")
        self.assertEqual((body["thinking"], name), (own["thinking"], OPUS))

    def test_names_without_an_ending(self) -> None:
        """Efforts are only understood for adaptive models, `-none` never; the adapter
        may be off, and names may be kept."""
        off = {"claude.thinking_adapter_enabled": False}
        kept = {"global.thinking_model_blacklist": [f"{SONNET}-thinking"]}
        table: list[tuple[str, Body]] = [
            (SONNET, {}),
            (f"{SONNET}-high", {}),
            (f"{OPUS}-none", {}),
            (f"{SONNET}-thinking", off),
            (f"{SONNET}-thinking", kept),
        ]
        for model, options in table:
            for ask in (converted, native):
                body, name = ask({"max_tokens": 5}, model, **options)
                self.assertEqual(name, model)
                self.assertNotIn("thinking", body)
