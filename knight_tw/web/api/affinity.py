"""The conversations that stay on one channel: how many, what they used, forget them
(management API, sections 8 and 9)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.options import Options
from knight_tw.relay.affinity import FORGET, Affinity
from knight_tw.routing_affinity import Rule, rules_of
from knight_tw.web.api.answers import Refusal, install, ok, query, query_flag
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow

BAD_REQUEST = 400
"""These routes say so with the HTTP status too, as the reference does."""

LONGEST = 256
"""Characters of a rule's name, a group or a fingerprint that are looked at."""

LONGEST_REF = 64
"""Characters that one process can tell the others; of a longer name they forget all."""


@frozen
class AffinityPages:
    """The affinity cache."""

    _guard: Guard
    _affinity: Affinity
    _options: Callable[[], Options]
    _audit: Audit
    _changed: Callable[[str, str], Awaitable[None]]

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/option/channel_affinity_cache", methods=["GET"])
    @allow(Who.ROOT)
    async def counts(self, request: Request, viewer: Viewer) -> bytes:
        """How many conversations are remembered, by rule."""
        options = self._options()
        found = await self._affinity.entries.counts(rules_of(options))
        return ok(
            {
                "enabled": options.flag("channel_affinity_setting.enabled"),
                "total": found.total,
                "unknown": found.unknown,
                "by_rule_name": found.by_rule,
                "cache_capacity": options.integer(
                    "channel_affinity_setting.max_entries"
                ),
                "cache_algo": "lru",
            }
        )

    @app.route("/api/option/channel_affinity_cache", methods=["DELETE"])
    @allow(Who.ROOT)
    async def forget(self, request: Request, viewer: Viewer) -> bytes:
        """Forgets the conversations of the rule `rule_name`, or with `all=true` all."""
        name = query(request, "rule_name")[:LONGEST]
        if query_flag(request, "all"):
            name = ""
        elif not name:
            raise _missing("rule_name", "rule_name is required, or all=true")
        deleted = await self._affinity.forget(name, self._rules(name))
        if not self._affinity.shared:
            await self._changed(FORGET, name if len(name) <= LONGEST_REF else "")
        told = {"rule_name": name or "all", "deleted": deleted}
        self._audit.write(request, viewer, "channel_affinity.clear", told)
        return ok({"deleted": deleted})

    @app.route("/api/log/channel_affinity_usage_cache", methods=["GET"])
    @allow(Who.ADMIN)
    async def usage(self, request: Request, viewer: Viewer) -> bytes:
        """What the calls of one conversation used; the log row names it."""
        rule, fingerprint, group = (
            query(request, name)[:LONGEST]
            for name in ("rule_name", "key_fp", "using_group")
        )
        for field, value in (("rule_name", rule), ("key_fp", fingerprint)):
            if not value:
                raise _missing(field, f"missing param: {field}")
        return ok(await self._affinity.usage.sums(rule, group, fingerprint))

    def _rules(self, name: str) -> tuple[Rule, ...]:
        """The rules in force, if the entries of the named one can be told apart."""
        rules = rules_of(self._options())
        if any(rule.name == name and not rule.named for rule in rules):
            raise Refusal(
                f"the rule {name} leaves its name out of its keys: use all=true",
                BAD_REQUEST,
                params={"field": "rule_name", "rule": "include_rule_name"},
            )
        return rules


def _missing(field: str, message: str) -> Refusal:
    return Refusal(message, BAD_REQUEST, code="missing_field", params={"field": field})
