"""The rules that keep a conversation on one channel."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.options import Options
from knight_tw.records import Caller, Head, Token, User
from knight_tw.routing_affinity import AffinityRules, Match, steps_of, text_at
from knight_tw.wire import top

CALLER = Caller(
    User(7, "ann", 1, 1, "default", 0),
    Token(9, 7, "k", "laptop", 1, -1, 0, True),
    "vip",
)
PREFIX = "channel_affinity_setting."


def head(**headers: str) -> Head:
    """A request's head."""
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Head("POST", "/v1/chat/completions", "", pairs, "", "")


def rules(*entries: Any, **options: str) -> AffinityRules | None:
    """The rules of an option table."""
    rows = {f"{PREFIX}{name}": value for name, value in options.items()}
    if entries:
        rows[f"{PREFIX}rules"] = json.dumps(entries)
    return AffinityRules.read(Options.from_rows(rows))


def rule(**members: Any) -> dict[str, Any]:
    """A rule for every model, keyed by the header `x-key`."""
    source = {"type": "request_header", "key": "X-Key"}
    return {"name": "r", "model_regex": [".*"], "key_sources": [source], **members}


class Rules(SynchronousTestCase):
    """Which calls match, and under which key."""

    def match(
        self,
        found: AffinityRules | None,
        model: str = "gpt-5",
        path: str = "/v1/chat/completions",
        body: bytes = b"{}",
        **headers: str,
    ) -> Match | None:
        """What a call matches."""
        assert found is not None
        headers.setdefault("x_key", "1")
        return found.match(model, path, head(**headers), CALLER, top.read_top(body))

    def test_shipped_rules(self) -> None:
        """Codex by its cache key, Claude Code by its user id; nothing else."""
        body = b'{"prompt_cache_key":"c","metadata":{"user_id":"u"}}'
        for model, path, name in (
            ("gpt-5", "/v1/responses", "codex cli trace"),
            ("claude-opus-5", "/v1/messages", "claude cli trace"),
            ("gpt-5", "/v1/chat/completions", None),
            ("gpt-5", "/v1/messages", None),
            ("o3", "/v1/responses", None),
        ):
            found = self.match(rules(), model, path, body)
            self.assertEqual(found and found.rule.name, name, (model, path))
        found = self.match(rules(), "gpt-5", "/v1/responses", b"{}")
        self.assertIsNone(found)

    def test_shipped_rules_settings(self) -> None:
        """They skip retries, live an hour, and tell rules and groups apart."""
        body = b'{"metadata": {"user_id": "u"}}'
        found = self.match(rules(), "claude-x", "/v1/messages", body)
        assert found is not None
        self.assertTrue(found.rule.skip_retry)
        self.assertEqual(found.rule.ttl, 3600)
        begin = "channel_affinity:v1:claude cli trace:vip:"
        self.assertTrue(found.key.startswith(begin), found.key)
        self.assertEqual(len(found.key), len(begin) + 64)
        self.assertNotIn(":u", found.key)

    def test_nothing_to_match(self) -> None:
        """Switched off, or without rules, there is nothing to ask."""
        self.assertIsNone(rules(enabled="false"))
        self.assertIsNone(rules(rules="[]"))

    def test_malformed_rules(self) -> None:
        """They are left out; the others work."""
        bad = (
            rule(model_regex=["("]),
            rule(key_sources=[{}]),
            rule(key_sources=3),
            rule(param_override_template={"operations": [{"mode": "dance"}]}),
            rule(ttl_seconds="long"),
            {},
        )
        found = rules(*bad, rule(name="good"))
        assert found is not None
        self.assertEqual([one.name for one in found.rules], ["good"])

    def test_conditions(self) -> None:
        """A model, a path, a part of the agent's name, and a value."""
        for members, matches in (
            ({}, True),
            ({"model_regex": []}, False),
            ({"model_regex": ["^x", "gpt"]}, True),
            ({"path_regex": ["^/v1/chat"]}, True),
            ({"path_regex": ["^/v1/messages", "^/pg"]}, False),
            ({"user_agent_include": ["CLI", "x"]}, True),
            ({"user_agent_include": ["codex"]}, False),
            ({"value_regex": "^\\d$"}, True),
            ({"value_regex": "^\\d\\d$"}, False),
            ({"key_sources": []}, False),
        ):
            found = self.match(rules(rule(**members)), user_agent="My-cli/1")
            self.assertEqual(found is not None, matches, members)

    def test_first_rule_and_first_value(self) -> None:
        """The first rule that has a value wins, and in it the first source."""
        body = {"type": "gjson", "path": "user"}
        number = {"type": "context_int", "key": "token_id"}
        name = {"type": "context_string", "key": "username"}
        found = rules(
            rule(name="a", key_sources=[body]),
            rule(name="b", key_sources=[body, number, name]),
        )
        match = self.match(found)
        assert match is not None
        self.assertEqual((match.rule.name, match.source.key), ("b", "token_id"))
        match = self.match(found, body=b'{"user":"x"}')
        assert match is not None
        self.assertEqual((match.rule.name, match.source.key), ("a", "user"))

    def test_parts_of_the_key(self) -> None:
        """Names stand in the key only when the rule says so, in this order."""
        for members, parts in (
            ({}, ""),
            ({"include_model_name": True}, ":gpt-5"),
            (
                {
                    "include_model_name": True,
                    "include_rule_name": True,
                    "include_using_group": True,
                },
                ":r:gpt-5:vip",
            ),
        ):
            match = self.match(rules(rule(**members)))
            assert match is not None
            self.assertEqual(match.key[:-65], f"channel_affinity:v1{parts}")

    def test_long_names_are_not_remembered(self) -> None:
        """They match like others."""
        self.assertIsNotNone(self.match(rules(rule()), model="m" * 500))

    def test_playground(self) -> None:
        """A caller without a token has no token id."""
        source = {"type": "context_int", "key": "token_id"}
        found = rules(rule(key_sources=[source]))
        assert found is not None
        caller = Caller(CALLER.user, None, "vip")
        self.assertIsNone(found.match("m", "/", head(), caller, {}))


class Paths(SynchronousTestCase):
    """Values inside a body."""

    def test_values(self) -> None:
        """Strings as they are, other values as JSON, nothing for null and absent."""
        body = top.read_top(
            b'{"a":{"b.c":[{"d":"x\\u00e9"},1.50,{"e": null}]},"n":0,"s":"","t":true}'
        )
        for path, text in (
            (r"a.b\.c.0.d", "x\u00e9"),
            (r"a.b\.c.1", "1.50"),
            (r"a.b\.c.2", '{"e": null}'),
            (r"a.b\.c.2.e", ""),
            (r"a.b\.c.3", ""),
            (r"a.b\.c.x", ""),
            ("a.b.c", ""),
            ("n", "0"),
            ("n.x", ""),
            ("s", ""),
            ("t", "true"),
            ("missing.x", ""),
            ("", ""),
        ):
            self.assertEqual(text_at(body, steps_of(path)), text, path)

    def test_decoded_members(self) -> None:
        """Members that something has decoded already are read too."""
        self.assertEqual(text_at({"a": [{"b": 5}]}, ("a", "0", "b")), "5")
        self.assertEqual(text_at({"a": {"b": [1]}}, ("a", "b")), "[1]")

    def test_too_deep(self) -> None:
        """What cannot be read has no value."""
        deep = {"a": msgspec.Raw(b"[" * 100_000)}
        self.assertEqual(text_at(deep, ("a", "0")), "")

    @given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
    @settings(max_examples=50, deadline=None)
    def test_escaped_names(self, names: list[str]) -> None:
        """Every name can be written in a path."""
        path = ".".join(n.replace("\\", "\\\\").replace(".", "\\.") for n in names)
        self.assertEqual(steps_of(path), tuple(names))
