"""Tests of knight_tw.patterns."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.patterns import PatternInvalid, compiled


class PatternTests(SynchronousTestCase):
    def test_search(self) -> None:
        """A pattern is looked for anywhere, with or without regard to case."""
        self.assertTrue(compiled("^gpt-.*$").found_in("gpt-4o"))
        self.assertFalse(compiled("^GPT").found_in("gpt-4o"))
        self.assertTrue(compiled("^GPT", ignore_case=True).found_in("gpt-4o"))

    def test_replace(self) -> None:
        """Groups stand in the replacement by number or name, unknown ones empty."""
        pattern = compiled(r"(?P<word>[a-z])(\d)?")
        for template, result in (
            ("$2$1", "1a"),
            ("${word}!", "a!"),
            ("$$1", "$1"),
            ("[$9$none]", "[]"),
        ):
            self.assertEqual(pattern.replaced("a1", template, 100), result)
        self.assertEqual(pattern.replaced("a", "<$2>", 100), "<>")
        self.assertEqual(compiled("é+").replaced("caféé", "e", 100), "cafe")

    def test_bounded(self) -> None:
        """A replacement that would grow the text too much is given up."""
        with self.assertRaises(OverflowError):
            compiled("").replaced("a" * 100, "b" * 100, 1000)

    def test_linear(self) -> None:
        """A pattern that makes other engines hang does not."""
        self.assertFalse(compiled("^(a+)+$").found_in("a" * 50_000 + "b"))

    def test_invalid(self) -> None:
        """Broken, unsupported and too long patterns are refused."""
        for text in ("(", "(?<=a)b", "x" * 501):
            with self.assertRaises(PatternInvalid):
                compiled(text)
