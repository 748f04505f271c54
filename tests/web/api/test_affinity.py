"""The routes about conversations that stay on one channel."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.cache import MemoryCache
from knight_tw.options import Options
from knight_tw.records import Caller, Head, Usage, User
from knight_tw.relay.affinity import Affinity
from knight_tw.relay.affinity_entries import AffinityEntries
from knight_tw.relay.affinity_usage import AffinityUsage
from knight_tw.routing_affinity import AffinityRules, Match
from knight_tw.web.api.affinity import AffinityPages
from knight_tw.web.api.audit import Audit
from tests.web.api.shapes import misfit
from tests.web.gateway import NOW, Gateway

CACHE = "/api/option/channel_affinity_cache"
USAGE = "/api/log/channel_affinity_usage_cache"
COUNTS = {
    "enabled": True,
    "total": 0,
    "unknown": 0,
    "by_rule_name": {"claude cli trace": 0, "codex cli trace": 0},
    "cache_capacity": 100000,
    "cache_algo": "lru",
}
"""What a fresh reference answers."""

SUMS = {
    "rule_name": str,
    "using_group": str,
    "key_fp": str,
    "cached_token_rate_mode": str,
    "hit": int,
    "total": int,
    "window_seconds": int,
    "prompt_tokens": int,
    "completion_tokens": int,
    "total_tokens": int,
    "cached_tokens": int,
    "prompt_cache_hit_tokens": int,
    "last_seen_at": int,
}


class RouteTests(SynchronousTestCase):
    """Counting, forgetting, sums; who may."""

    def setUp(self) -> None:
        """A gateway with the routes, a root user and an administrator."""
        self.gateway = gateway = Gateway()
        self.memory = MemoryCache(gateway.clock)
        self.affinity = Affinity(
            self.memory, AffinityUsage(MemoryCache(gateway.clock), gateway.clock)
        )
        audit = Audit(gateway.notes.append, gateway.clock)
        gateway.extra.append(
            AffinityPages(
                gateway.guard, self.affinity, gateway.view, audit, gateway.changed
            )
        )
        gateway.site = gateway._site()
        gateway.set_up()
        gateway.add_user("adm", 10)
        self.root, self.adm = gateway.bearer("root"), gateway.bearer("adm")
        gateway.notes.clear()

    def remember(self, *names: str) -> None:
        """Conversations by the parts of their keys."""
        for number, name in enumerate(names):
            self.memory.set(f"channel_affinity:v1:{name}:{number:064x}", "1", 60)

    def rules(self, *rules: dict[str, Any]) -> None:
        """Other rules than the built-in ones."""
        text = json.dumps(
            [{"model_regex": [".*"], "key_sources": [], **r} for r in rules]
        )
        rows = {"channel_affinity_setting.rules": text}
        self.gateway.options = Options.from_rows(rows)

    def test_nothing_remembered(self) -> None:
        """The answer of a fresh reference, member for member."""
        self.assertEqual(self.root.get(CACHE).data, COUNTS)

    def test_counts_by_rule(self) -> None:
        """Entries count under the rule that their key begins with, or as unknown."""
        self.remember("codex cli trace:default", "codex cli trace:vip", "gone:default")
        self.memory.set("session:1", "x", 60)
        data = self.root.get(CACHE).data
        self.assertEqual((data["total"], data["unknown"]), (3, 1))
        self.assertEqual(
            data["by_rule_name"], {"claude cli trace": 0, "codex cli trace": 2}
        )

    def test_off(self) -> None:
        """What is remembered is shown when the feature is off, too."""
        self.remember("codex cli trace:default")
        rows = {"channel_affinity_setting.enabled": "false"}
        self.gateway.options = Options.from_rows(rows)
        data = self.root.get(CACHE).data
        self.assertEqual((data["enabled"], data["total"]), (False, 1))

    def test_forget_all(self) -> None:
        """Every conversation goes, nothing else does; the record says who did it."""
        self.remember("codex cli trace:default", "gone")
        self.memory.set("session:1", "x", 60)
        self.assertEqual(self.root.delete(f"{CACHE}?all=true").data, {"deleted": 2})
        self.assertEqual(self.memory.get("session:1"), "x")
        self.assertEqual(self.root.delete(f"{CACHE}?all=true").data, {"deleted": 0})
        op = self.gateway.notes[0]["other"]["op"]
        self.assertEqual(op["action"], "channel_affinity.clear")
        self.assertEqual(op["params"], {"rule_name": "all", "deleted": 2})
        self.assertIn(("affinity", ""), self.gateway.changes)

    def test_forget_one_rule(self) -> None:
        """Only its own go, even if another rule's name begins with its name."""
        self.rules(
            {"name": "a", "include_rule_name": True},
            {"name": "a:b", "include_rule_name": True},
        )
        self.remember("a:default", "a:b:default", "a:b")
        self.assertEqual(self.root.get(CACHE).data["by_rule_name"], {"a": 1, "a:b": 2})
        answer = self.root.delete(f"{CACHE}?rule_name=a")
        self.assertEqual(answer.data, {"deleted": 1})
        self.assertEqual(self.root.get(CACHE).data["by_rule_name"], {"a": 0, "a:b": 2})

    def test_forget_a_rule_that_is_gone(self) -> None:
        """Its conversations are still known by its name."""
        self.remember("gone:default", "other:default")
        answer = self.root.delete(f"{CACHE}?rule_name=gone")
        self.assertEqual(answer.data, {"deleted": 1})
        self.assertIn(("affinity", "gone"), self.gateway.changes)

    def test_long_name(self) -> None:
        """A name that cannot be told whole makes the others forget everything."""
        self.root.delete(f"{CACHE}?rule_name={'n' * 65}")
        self.assertEqual(self.gateway.changes, [("affinity", "")])

    def test_shared_cache(self) -> None:
        """What all processes share is forgotten once."""
        self.patch(MemoryCache, "shared", True)
        self.root.delete(f"{CACHE}?all=true")
        self.assertEqual(self.gateway.changes, [])

    def test_rule_without_its_name(self) -> None:
        """Whose entries cannot be told apart, cannot be cleared alone."""
        self.rules({"name": "r"})
        answer = self.root.delete(f"{CACHE}?rule_name=r")
        self.assertEqual((answer.status, answer.code), (400, "invalid_field"))

    def test_missing_arguments(self) -> None:
        """Refused with 400, as the reference does."""
        for client, method, path in (
            (self.root, "DELETE", CACHE),
            (self.root, "DELETE", f"{CACHE}?all=false"),
            (self.adm, "GET", USAGE),
            (self.adm, "GET", f"{USAGE}?rule_name=x"),
        ):
            answer = client.ask(method, path)
            self.assertEqual((answer.status, answer.code), (400, "missing_field"), path)
        self.assertEqual(
            self.adm.get(USAGE).json["message"], "missing param: rule_name"
        )

    def test_unknown_conversation(self) -> None:
        """Zeros, as the reference answers."""
        path = f"{USAGE}?rule_name=x&key_fp=y&using_group=default"
        data = self.adm.get(path).data
        self.assertEqual(misfit(data, SUMS), "")
        named = {"rule_name": "x", "key_fp": "y", "using_group": "default"}
        zeros = {name: kind() for name, kind in SUMS.items()}
        self.assertEqual(data, zeros | named)

    def test_sums(self) -> None:
        """What the calls of a conversation used, and when the latest was."""
        usage = Usage(prompt=100, completion=20, total=120, cached=60)
        self.affinity.usage.charged(match(), "vip", usage, False)
        self.gateway.clock.advance(5)
        self.affinity.usage.charged(match(), "vip", Usage(50, 5, total=55), False)
        path = f"{USAGE}?rule_name=r&key_fp={match().fingerprint}&using_group=vip"
        data = self.adm.get(path).data
        self.assertEqual(misfit(data, SUMS), "")
        self.assertEqual((data["hit"], data["total"]), (1, 2))
        self.assertEqual((data["prompt_tokens"], data["cached_tokens"]), (150, 60))
        self.assertEqual((data["completion_tokens"], data["total_tokens"]), (25, 175))
        self.assertEqual(data["cached_token_rate_mode"], "cached_over_prompt")
        self.assertEqual((data["last_seen_at"], data["window_seconds"]), (NOW + 5, 600))

    def test_roles(self) -> None:
        """The cache is for root, sums are for administrators."""
        self.gateway.add_user("ann")
        ann = self.gateway.bearer("ann")
        for client, method, path in (
            (self.adm, "GET", CACHE),
            (self.adm, "DELETE", f"{CACHE}?all=true"),
            (ann, "GET", USAGE),
        ):
            self.assertEqual(client.ask(method, path).status, 403)


def match() -> Match:
    """A match of a conversation by the header `x-talk`."""
    source = {"type": "request_header", "key": "X-Talk"}
    rule = {"name": "r", "model_regex": [".*"], "key_sources": [source]}
    rows = {"channel_affinity_setting.rules": json.dumps([rule | {"ttl_seconds": 600}])}
    rules = AffinityRules.read(Options.from_rows(rows))
    assert rules is not None
    caller = Caller(User(1, "u", 1, 1, "vip", 0), None, "vip")
    head = Head("POST", "/v1/messages", "", [("x-talk", "1")], "", "")
    found = rules.match("m", "/v1/messages", head, caller, {})
    assert found is not None
    return found


class UsageTests(SynchronousTestCase):
    """How Claude's prompts, which count no cache, are told."""

    def sums(self, *usages: tuple[Usage, bool]) -> dict[str, Any]:
        """After some calls."""
        clock = Clock()
        usage = AffinityUsage.over(MemoryCache(clock), clock)
        for used, claude in usages:
            usage.charged(match(), "g", used, claude)
        asked = Deferred.fromCoroutine(usage.sums("r", "g", match().fingerprint))
        return self.successResultOf(asked)

    def test_beside(self) -> None:
        """The prompt is without the cache, and the mode says so."""
        used = Usage(prompt=100, completion=1, cached=60, write=10)
        found = self.sums((used, True))
        self.assertEqual(found["prompt_tokens"], 30)
        self.assertEqual(found["total_tokens"], 101)
        self.assertEqual(
            found["cached_token_rate_mode"], "cached_over_prompt_plus_cached"
        )

    def test_mixed(self) -> None:
        """A conversation may have been on channels of both kinds."""
        found = self.sums((Usage(10, 1), True), (Usage(10, 1), False))
        self.assertEqual(found["cached_token_rate_mode"], "mixed")


class EntriesTests(SynchronousTestCase):
    """Looks at a cache that answers step by step."""

    def test_steps(self) -> None:
        """Keys that come twice count once, and every step is asked for."""
        cache: Any = Steps()
        counts = Deferred.fromCoroutine(AffinityEntries(cache).counts(()))
        self.assertEqual(self.successResultOf(counts).total, 1)
        self.assertEqual(cache.asked, ["", "1", "2"])


class Steps:
    """A cache with one key, that answers in three steps."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def scan(self, prefix: str, cursor: str = "") -> tuple[list[str], str]:
        """One step."""
        self.asked.append(cursor)
        key = f"{prefix}r:0"
        return {"": ([key], "1"), "1": ([], "2"), "2": ([key], "")}[cursor]
