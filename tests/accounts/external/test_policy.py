"""Access policies: reading them, deciding by them, telling people."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.external import policy
from knight_tw.accounts.external.policy import OPS, Condition, Policy, PolicyError

CLAIMS: dict[str, Any] = {
    "trust_level": 2,
    "score": "10.0",
    "name": "octo",
    "active": True,
    "nothing": None,
    "groups": ["staff", "eu", 7],
    "org": {"id": 5, "roles": [{"name": "admin"}]},
    "https://id.example/plan": "pro",
}


def rule(field: str, op: str, value: Any = None) -> str:
    """A policy of one condition."""
    return json.dumps({"conditions": [{"field": field, "op": op, "value": value}]})


def admits(text: str, claims: dict[str, Any] = CLAIMS) -> bool:
    """Whether a policy lets somebody in."""
    parsed = policy.parse(text)
    return parsed is None or parsed.failing(claims) is None


VALUES = st.sampled_from(
    [None, True, "true", 1, 1.0, "1", " 1.00", "1e0", "", "a", "A", [], ["a"], {}, "{}"]
)
"""Claims that are equal in unexpected ways."""


class Operators(SynchronousTestCase):
    """Each operator, with a claim that fits, one that does not, and none."""

    def check(self, op: str, *cases: tuple[str, Any, bool]) -> None:
        """Each case is field, value and verdict."""
        for field, value, expected in cases:
            verdict = admits(rule(field, op, value))
            self.assertIs(verdict, expected, (field, op, value))

    def test_equality(self) -> None:
        """Numbers equal by value, truth values by their words, texts by letter."""
        self.check(
            "eq",
            ("trust_level", 2, True),
            ("trust_level", "2.0", True),
            ("score", 10, True),
            ("active", True, True),
            ("active", "true", True),
            ("active", 1, False),
            ("name", "Octo", False),
            ("missing", "", False),
            ("nothing", None, False),
        )
        self.check("ne", ("trust_level", 3, True), ("missing", 1, True))
        self.check("ne", ("score", "10", False))

    def test_order(self) -> None:
        """Ten is more than nine, as a number and as the text of one."""
        self.check(
            "gt", ("score", 9, True), ("score", "10", False), ("missing", 0, False)
        )
        self.check("gte", ("trust_level", 2, True), ("trust_level", 3, False))
        self.check(
            "lt", ("score", 11, True), ("score", 10, False), ("missing", 9, False)
        )
        self.check(
            "lte", ("score", 10, True), ("name", "z", True), ("name", "a", False)
        )

    def test_membership(self) -> None:
        """One of the claims must be one of the values."""
        self.check(
            "in",
            ("trust_level", [1, "2"], True),
            ("groups", ["us", "eu"], True),
            ("groups", ["us"], False),
            ("missing", ["a"], False),
        )
        self.check("not_in", ("groups", ["eu"], False), ("missing", ["a"], True))

    def test_containment(self) -> None:
        """Lists contain elements, texts parts, objects members."""
        self.check(
            "contains",
            ("groups", "staff", True),
            ("groups", "sta", False),
            ("groups", "7", True),
            ("name", "ct", True),
            ("org", "id", True),
            ("missing", "", False),
        )
        self.check("not_contains", ("name", "ct", False), ("missing", "x", True))

    def test_existence(self) -> None:
        """A null claim is none."""
        self.check("exists", ("name", None, True), ("nothing", None, False))
        self.check("not_exists", ("missing", None, True), ("active", None, False))

    def test_paths(self) -> None:
        """Paths go through objects and lists; a member of the whole name wins."""
        self.check(
            "eq",
            ("org.id", 5, True),
            ("org.roles.0.name", "admin", True),
            ("org.roles.1.name", "admin", False),
            ("org.roles.x", "admin", False),
            ("name.0", "o", False),
            ("https://id.example/plan", "pro", True),
        )


class Groups(SynchronousTestCase):
    """Conditions together."""

    def test_and_or(self) -> None:
        """All of `and`, one of `or`, groups within groups."""
        yes, no = Condition("name", "exists"), Condition("missing", "exists")
        for parts, every, expected in (
            ((yes, yes), True, True),
            ((yes, no), True, False),
            ((no, yes), False, True),
            ((no, no), False, False),
        ):
            verdict = Policy(parts, every=every).failing(CLAIMS) is None
            self.assertIs(verdict, expected, (parts, every))
        nested = Policy((yes,), (Policy((no, yes), every=False),))
        self.assertIsNone(nested.failing(CLAIMS))
        nested = Policy((yes,), (Policy((no,)),))
        self.assertEqual(nested.failing(CLAIMS), no)

    def test_parsed(self) -> None:
        """The written form means the same."""
        text = json.dumps(
            {
                "logic": "or",
                "conditions": [{"field": "missing", "op": "exists"}],
                "groups": [
                    {"conditions": [{"field": "trust_level", "op": "gte", "value": 2}]}
                ],
            }
        )
        self.assertTrue(admits(text))
        self.assertFalse(admits(text, {"trust_level": 1}))

    def test_empty(self) -> None:
        """No policy lets everybody in."""
        self.assertTrue(admits(""))
        self.assertTrue(admits("  "))

    def test_refused(self) -> None:
        """What is no policy is refused with the reason."""
        deep: dict[str, Any] = {"conditions": [{"field": "a", "op": "exists"}]}
        for _ in range(policy.DEEPEST):
            deep = {"groups": [deep]}
        one = {"field": "a", "op": "exists"}
        for text, why in (
            ("{", "JSON"),
            ("[" * 100_000, "JSON"),
            ("[]", "object"),
            ("{}", "needs a condition"),
            ('{"logic":"xor","conditions":[{"field":"a","op":"exists"}]}', "logic"),
            ('{"conditions":{}}', "needs a condition"),
            ('{"conditions":{"a":1}}', "list"),
            ('{"conditions":[5]}', "object"),
            ('{"groups":[{}]}', "needs a condition"),
            (rule("", "eq"), "field"),
            (rule("a", "like"), "op is"),
            (rule("a", "in", "b"), "needs a list"),
            (json.dumps(deep), "groups within"),
            (json.dumps({"conditions": [one] * 101}), "more than 100"),
        ):
            with self.assertRaises(PolicyError) as refused:
                policy.parse(text)
            self.assertIn(why, str(refused.exception))

    @given(
        st.sampled_from(sorted(OPS)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    )
    @settings(max_examples=60, deadline=None)
    def test_any_claim(self, op: str, claim: Any, wanted: Any) -> None:
        """Whatever a provider says is decided, and `not` is the opposite."""
        value = [wanted] if op in ("in", "not_in") else wanted
        verdict = Condition("a", op, value).holds({"a": claim})
        opposite = {"eq": "ne", "in": "not_in", "contains": "not_contains"}.get(op)
        if opposite:
            other = Condition("a", opposite, value).holds({"a": claim})
            self.assertIsNot(verdict, other)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=4))
    def test_membership_is_equality(self, claims: list[Any], wanted: list[Any]) -> None:
        """A list meets another one when something in both is equal."""
        met = any(OPS["eq"](one, other) for one in claims for other in wanted)
        self.assertEqual(OPS["in"](claims, wanted), met)
        self.assertEqual(OPS["not_in"](claims, wanted), not met)
        for other in wanted:
            met = any(OPS["eq"](one, other) for one in claims)
            self.assertEqual(OPS["contains"](claims, other), met)

    def test_long_lists(self) -> None:
        """Somebody in many groups does not hold up the others who log in."""
        wanted = list(map(str, range(20_000)))
        self.assertTrue(OPS["not_in"]([f"g{n}" for n in range(20_000)], wanted))


class Messages(SynchronousTestCase):
    """What people are told."""

    def told(self, template: str, field: str = "trust_level") -> str:
        """The message for a person with too little trust."""
        failed = Condition(field, "gte", 3)
        return policy.message(template, "Forum", failed, CLAIMS)

    def test_placeholders(self) -> None:
        """Every placeholder of the specification is filled in."""
        text = "{{provider}}: {{field}} {{op}} {{required}}, not {{current}}"
        self.assertEqual(self.told(text), "Forum: trust_level gte 3, not 2")
        self.assertEqual(self.told("{{ current.org.id }}/{{current.no}}"), "5/")

    def test_unknown_placeholders_stay(self) -> None:
        """What is no placeholder is text."""
        self.assertEqual(self.told("{{x}} {{field.y}} {a}"), "{{x}} {{field.y}} {a}")

    def test_claims_are_not_templates(self) -> None:
        """A claim that looks like a placeholder is not filled in again."""
        failed = Condition("a", "eq", "")
        told = policy.message("{{current}}", "", failed, {"a": "{{provider}}"})
        self.assertEqual(told, "{{provider}}")

    def test_bounded(self) -> None:
        """Long claims are cut."""
        failed = Condition("a", "eq", "")
        told = policy.message("{{current}}" * 50, "", failed, {"a": "x" * 10_000})
        self.assertLessEqual(len(told), policy.LONGEST_MESSAGE)
