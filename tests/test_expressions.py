"""Tests of knight_tw.expressions."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.expression_terms import (
    ExpressionFailed,
    ExpressionInvalid,
    Request,
)
from knight_tw.expressions import MAX_TEXT, parse, smoke, smoke_all

SUNDAY = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)

REQUEST = Request(
    body={
        "model": "m",
        "n": 2,
        "ratio": 0.5,
        "on": True,
        "tools": msgspec.Raw(b'[{"type":"web"},{"type":"code"}]'),
        "nested": {"deep": msgspec.Raw(b'{"x":"y"}')},
    },
    header={"anthropic-beta": "fast-mode-2026"}.get,  # type: ignore[arg-type]
    now=SUNDAY,
)


def value(text: str, request: Request = REQUEST, **counts: int) -> Decimal:
    return parse(text).evaluate(counts, request).amount


class ArithmeticTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Precedence, associativity and functions are the usual ones."""
        for text, result in (
            ("1 + 2 * 3", "7"),
            ("(1 + 2) * 3", "9"),
            ("10 - 4 - 3", "3"),
            ("12 / 4 / 3", "1"),
            ("7 % 4", "3"),
            ("2 ** 3 ** 2", "512"),
            ("2 ^ 3", "8"),
            ("--4", "4"),
            ("10 + -3", "7"),
            ("2 ** -1", "0.5"),
            ("1_000 + .5 + 1e3", "2000.5"),
            ("max(1, 5, 3) - min(4, 2)", "3"),
            ("abs(0 - 2)", "2"),
            ("ceil(1.2) + floor(1.8)", "3"),
            ("0.1 + 0.2", "0.3"),
        ):
            self.assertEqual(value(text), Decimal(result), text)

    def test_variables(self) -> None:
        """Variables are counts; absent ones are 0, and the used ones are known."""
        expression = parse("p*3 + c*15 + cr*0.3")
        self.assertEqual(expression.uses, {"p", "c", "cr"})
        self.assertEqual(expression.evaluate({"p": 2, "c": 1}).amount, 21)

    def test_failures(self) -> None:
        """Division by zero, a negative price, overflow and non-numbers fail."""
        for text in (
            "1 / 0",
            "0 - 1",
            "10 ** 999 ** 9",
            '"a" + 1',
            "true + 1",
            "nil * 2",
            "-nil",
            "1 ? 2 : 3",
            '"text"',
            "p > 0",
            "!5 ? 1 : 2",
        ):
            with self.assertRaises(ExpressionFailed, msg=text):
                value(text)


class LogicTests(SynchronousTestCase):
    def test_conditions(self) -> None:
        """Comparison, and, or, not, in and the text tests."""
        for text, result in (
            ("1 < 2 && 2 <= 2 && 3 > 2 && 2 >= 2", True),
            ("1 == 1.0 and 1 != 2", True),
            ("false or not false", True),
            ("!(1 == 2) || 1 / 0 > 1", True),
            ("1 == 2 && 1 / 0 > 1", False),
            ('"a" < "b"', True),
            ('"2" < 3', False),
            ("nil < 3", False),
            ("true == 1", False),
            ("nil == nil", True),
            ('param("model") in ["m", \'n\']', True),
            ("3 in [1, 2]", False),
            ("3 in []", False),
            ("3 in 3", False),
            ('"fast-mode" contains "fast"', True),
            ('has("abc", "b")', True),
            ('"abc" startsWith "ab"', True),
            ('"abc" endsWith "ab"', False),
            (r'"a\"b\n" == ' + "'a\"b\n'", True),
        ):
            self.assertEqual(value(f"{text} ? 1 : 0"), int(result), text)

    def test_choices_nest(self) -> None:
        """A choice may stand in the branch of another."""
        text = "p < 1 ? 1 : p < 10 ? 2 : 3"
        self.assertEqual([value(text, p=p) for p in (0, 5, 50)], [1, 2, 3])


class RequestTests(SynchronousTestCase):
    def test_param(self) -> None:
        """Fields are found by dotted path, also in members nobody has decoded."""
        for text, result in (
            ('param("n")', 2),
            ('param("ratio") * 2', 1),
            ('param("tools.#")', 2),
            ('param("tools.1.type") == "code" ? 1 : 0', 1),
            ('param("tools.7.type") == nil ? 1 : 0', 1),
            ('param("tools.x") == nil ? 1 : 0', 1),
            ('param("nested.deep.x") == "y" ? 1 : 0', 1),
            ('param("model.x") == nil ? 1 : 0', 1),
            ('param("absent") == nil ? 1 : 0', 1),
            ('has(param("tools"), "web") ? 1 : 0', 1),
            ('param("on") ? 1 : 0', 1),
            ('has(param("absent"), "x") ? 1 : 0', 0),
        ):
            self.assertEqual(value(text), result, text)

    def test_header(self) -> None:
        """Headers are found whatever the case of the name."""
        self.assertEqual(value('header("Anthropic-Beta") has "fast" ? 1 : 0'), 1)

    def test_clock(self) -> None:
        """The time functions read the clock of the given zone; Sunday is 0."""
        for text, result in (
            ("weekday()", 0),
            ('weekday("Asia/Shanghai")', 1),
            ('hour("UTC")', 23),
            ('hour("Asia/Kolkata")', 5),
            ('minute("Asia/Kolkata")', 0),
            ('month("UTC") * 100 + day("UTC")', 301),
        ):
            self.assertEqual(value(text), result, text)
        for zone in ("Nowhere/Land", "../../etc/passwd", "/etc"):
            with self.assertRaises(ExpressionFailed):
                value(f'hour("{zone}")')

    def test_without_a_request(self) -> None:
        """Without a request fields are nil, headers empty and the year is 1970."""
        text = 'param("n") == nil && header("x") == "" && month() == 1 ? 1 : 0'
        self.assertEqual(value(text, Request()), 1)


class TierTests(SynchronousTestCase):
    TEXT = 'v1: len <= 200000 ? tier("base", p*3) : tier("long", p*6)'

    def test_named_tier(self) -> None:
        """The tier that priced the call is told."""
        for length, tier, amount in ((10, "base", 30), (300_000, "long", 60)):
            outcome = parse(self.TEXT).evaluate({"p": 10, "len": length})
            self.assertEqual((outcome.tier, outcome.amount), (tier, amount))

    def test_rules(self) -> None:
        """A request rule multiplies the price when its condition holds."""
        rule = '|||when(header("anthropic-beta") has "fast-mode") * 6'
        self.assertEqual(value(f"p*2{rule}", p=5), 60)
        self.assertEqual(value(f"p*2{rule}", Request(), p=5), 10)

    def test_several_rules(self) -> None:
        """Rules may follow each other with or without commas and bars."""
        both = "when(true) * 2 when(false) * 100, when(true) * (1 + 2) ||| when(true)*5"
        self.assertEqual(value(f"1 ||| {both}"), 30)


class ParsingTests(SynchronousTestCase):
    def test_invalid(self) -> None:
        """What is not an expression is refused, with the place."""
        for text in (
            "",
            "1 +",
            "1 2",
            "(1",
            "max()",
            "tier(1)",
            "hour(1, 2)",
            "__import__('os')",
            "p.__class__",
            "unknown",
            "p; c",
            "1 < 2 < 3",
            "x ? 1",
            "[1, 2",
            "max(1 2)",
            "1 ||| 2",
            "1 ||| when(true)",
            "1 ||| when true * 2",
            '"open',
            "lambda: 1",
            "p @ c",
            "tier",
            "1 = 1",
        ):
            with self.assertRaises(ExpressionInvalid, msg=text):
                parse(text)

    def test_limits(self) -> None:
        """Size, depth and the length of lists are bounded; long sums are fine."""
        for text in (
            "1" * (MAX_TEXT + 1),
            "(" * 500 + "1" + ")" * 500,
            "-" * 500 + "1",
            "!" * 500 + "true",
            "2 ** " * 500 + "1",
            f"max({','.join('1' * 30)})",
        ):
            with self.assertRaises(ExpressionInvalid, msg=text[:20]):
                parse(text)
        self.assertEqual(value(" + ".join(["1"] * 4000)), 4000)
        self.assertEqual(value(" || ".join(["false"] * 1500) + " ? 1 : 2"), 2)
        self.assertEqual(value(" && ".join(["true"] * 1500) + " ? 1 : 2"), 1)

    @settings(max_examples=100, deadline=None)
    @given(st.text(alphabet="pc12.+-*/()<>=!&|?:,\"' tierhas[]^%", max_size=30))
    def test_nothing_else_escapes(self, text: str) -> None:
        """Any text is a price, or refused, or fails, and nothing else happens."""
        with contextlib.suppress(ExpressionInvalid, ExpressionFailed):
            parse(text).evaluate({"p": 1, "c": 1}, REQUEST)


class SmokeTests(SynchronousTestCase):
    def test_passes(self) -> None:
        """Ordinary expressions pass."""
        smoke(TierTests.TEXT)
        smoke_all({"m": 'tier("base", p*5 + c*25)|||when(param("n") == 2) * 2'})

    def test_refuses(self) -> None:
        """Expressions that fail or go negative somewhere are refused by model."""
        for text in ("p - 2000", "1 / p", 'param("stream") ? 0 - 1 : 1', "?"):
            with self.assertRaisesRegex(ValueError, "^m: "):
                smoke_all({"m": text})
