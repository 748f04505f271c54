"""What a `tool_choice` asks for."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.tool_choice import ToolChoice, read_choice
from knight_tw.errors import InvalidRequest


def function(name: str) -> dict[str, Any]:
    """The choice of one function."""
    return {"type": "function", "function": {"name": name}}


class Choices(SynchronousTestCase):
    """`read_choice`."""

    def test_forms(self) -> None:
        """Every form of the reference, and `allowed_tools` as Responses has it."""
        some = [function("a"), {"type": "function", "name": "b"}]
        only = {"mode": "required", "tools": some}
        table: list[tuple[Any, ToolChoice | None]] = [
            (None, None),
            ("none", ToolChoice("none")),
            ("auto", ToolChoice("auto")),
            ("required", ToolChoice("required")),
            (function("f"), ToolChoice("required", "f")),
            ({"type": "custom", "custom": {"name": "c"}}, ToolChoice("required", "c")),
            (
                {"type": "allowed_tools", "allowed_tools": only},
                ToolChoice("required", allowed=("a", "b")),
            ),
            (
                {"type": "allowed_tools", "mode": "other", "tools": some},
                ToolChoice("auto", allowed=("a", "b")),
            ),
        ]
        for choice, read in table:
            self.assertEqual(read_choice(choice), read, choice)

    def test_nonsense(self) -> None:
        """What cannot be read names the field."""
        for choice in ("some", 3, ["auto"], {"type": "function"}, function("")):
            error = self.assertRaises(InvalidRequest, read_choice, choice)
            self.assertEqual(error.param, "tool_choice", choice)
