"""How hard to think, in all vocabularies."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import effort
from knight_tw.convert.context import Context
from knight_tw.convert.effort import Reasoning
from knight_tw.errors import InvalidRequest


class Read(SynchronousTestCase):
    """What a request says."""

    def test_table(self) -> None:
        """Exact numbers and explicit objects beat names."""
        enabled = {"type": "enabled", "budget_tokens": 3000}
        adaptive = {"type": "adaptive"}
        off = {"type": "disabled"}
        between = {"type": "between_tools"}
        table = [
            ({}, Reasoning()),
            ({"reasoning_effort": "low"}, Reasoning("low")),
            ({"reasoning": {"effort": "max"}}, Reasoning("max")),
            (
                {"reasoning_effort": "low", "reasoning": {"max_tokens": 5000}},
                Reasoning("high", 5000),
            ),
            ({"reasoning": {"max_tokens": -1}}, Reasoning(None, -1)),
            ({"reasoning": {"enabled": False}}, Reasoning("none")),
            ({"reasoning": {"enabled": True}}, Reasoning(enabled=True)),
            (
                {"reasoning_effort": "low", "reasoning": {"exclude": True}},
                Reasoning("low", exclude=True),
            ),
            ({"thinking": off}, Reasoning("none", thinking=off)),
            ({"thinking": between}, Reasoning("low", thinking=between)),
            ({"thinking": enabled}, Reasoning("medium", 3000, thinking=enabled)),
            (
                {"thinking": adaptive, "reasoning_effort": "max"},
                Reasoning("max", thinking=adaptive),
            ),
            ({"reasoning": {"max_tokens": True}}, Reasoning()),
        ]
        for x, wanted in table:
            self.assertEqual(effort.read(x), wanted)

    def test_asked(self) -> None:
        """A request that says nothing asks for nothing."""
        self.assertFalse(Reasoning(exclude=True).asked)
        for asked in (Reasoning("none"), Reasoning(budget=0), Reasoning(enabled=True)):
            self.assertTrue(asked.asked)

    def test_wrong_types(self) -> None:
        """Unknown names and wrong types are refused by their path."""
        table = [
            ({"reasoning_effort": "huge"}, "reasoning_effort"),
            ({"reasoning": {"effort": 3}}, "reasoning.effort"),
            ({"reasoning": "low"}, "reasoning"),
            ({"thinking": "yes"}, "thinking"),
        ]
        for x, param in table:
            error = self.assertRaises(InvalidRequest, effort.read, x)
            self.assertEqual(error.param, param)


class Names(SynchronousTestCase):
    """From numbers to names, and to those that a model knows."""

    def test_bounds_of_budgets(self) -> None:
        """Each bound begins the next name."""
        table = {
            -1: None,
            0: "none",
            1: "low",
            2047: "low",
            2048: "medium",
            4096: "high",
            16384: "xhigh",
            31999: "xhigh",
            32000: "max",
        }
        for budget, name in table.items():
            self.assertEqual(effort.from_budget(budget), name)

    def test_nearest_is_downward_first(self) -> None:
        """A name that is not known goes down, and only then up."""
        table = [
            ("xhigh", ("low", "high"), "high"),
            ("medium", ("low", "high"), "low"),
            ("minimal", effort.CLAUDE_EFFORTS, "low"),
            ("none", effort.GEMINI_LEVELS, "minimal"),
            ("max", effort.GEMINI_LEVELS, "xhigh"),
            ("low", ("unheard of",), "low"),
        ]
        for name, known, wanted in table:
            self.assertEqual(effort.nearest(name, known), wanted)

    def test_levels_of_a_model(self) -> None:
        """The option's longest prefix of the name counts, else the default."""
        table = {"gpt": ["low"], "gpt-5": ["low", "high"], "gpt-6": []}
        options = {"relay.effort_levels": table}
        wanted = {"gpt-5.2": ["low", "high"], "gpt-4": ["low"], "o3": ("x",)}
        for model, names in (wanted | {"gpt-6": ("x",)}).items():
            context = Context(model=model, options=options)
            self.assertEqual(effort.levels(context, ("x",)), names)
        self.assertEqual(effort.levels(Context(model="m"), ("x",)), ("x",))
