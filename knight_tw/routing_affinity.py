"""Which calls stay on one channel, so that the provider's prompt cache hits.

A rule says which calls it concerns and where the value stands that names their
conversation. Whoever holds the rules remembers, under the key of a `Match`, the channel
that served. Rules are compiled once per reading of the options.
Source: relay specification, section 8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from attrs import define, field, frozen

from knight_tw import overrides, patterns
from knight_tw.options import Options
from knight_tw.patterns import Pattern
from knight_tw.records import Caller, Head

GJSON, HEADER = "gjson", "request_header"
"""Kinds of key sources; the others read the call's context."""

MAX_NAME = 200
"""Longest model name whose rules are remembered."""

PREFIX = "channel_affinity:v1"
"""What the keys of all conversations begin with."""

_KNOWN_NAMES = 1024
_GROUP = "channel_affinity_setting."
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@frozen(eq=False)
class Source:
    """Where a value is looked for.

    Attributes:
        key: A header's or context name, or the path as it was written.
        steps: The path, one member name or index each.
    """

    kind: str
    key: str
    steps: tuple[str, ...] = ()

    def value(self, head: Head, caller: Caller, body: Mapping[str, Any]) -> str:
        """The text there, empty when there is none."""
        if self.kind == GJSON:
            return text_at(body, self.steps)
        if self.kind == HEADER:
            return head.get(self.key)
        return _context(caller).get(self.key, "")


@frozen(eq=False)
class Rule:
    """One rule, compiled.

    Attributes:
        ttl: Seconds that an entry lives.
        template: A parameter override that goes under the channel's own.
        skip_retry: A failure of the remembered channel is final.
    """

    name: str
    sources: tuple[Source, ...]
    ttl: float
    template: Mapping[str, Any] | None
    skip_retry: bool
    _models: tuple[Pattern, ...]
    _paths: tuple[Pattern, ...]
    _agents: tuple[str, ...]
    _values: Pattern | None
    _parts: tuple[bool, bool, bool]

    @classmethod
    def read(cls, rule: Mapping[str, Any], ttl: int) -> Rule:
        """The rule of an option's entry.

        Args:
            ttl: Of rules that name none.

        Raises:
            ValueError, TypeError, AttributeError: it is malformed.
        """
        template = rule.get("param_override_template") or None
        if template is not None:
            overrides.validate(template)
        wanted = rule.get("value_regex")
        return cls(
            name=str(rule["name"]),
            sources=tuple(_source(one) for one in rule.get("key_sources") or ()),
            ttl=float(rule.get("ttl_seconds") or ttl),
            template=template,
            skip_retry=bool(rule.get("skip_retry_on_failure")),
            models=_compiled(rule.get("model_regex")),
            paths=_compiled(rule.get("path_regex")),
            agents=tuple(a.lower() for a in rule.get("user_agent_include") or () if a),
            values=patterns.compiled(wanted) if wanted else None,
            parts=(
                bool(rule.get("include_rule_name")),
                bool(rule.get("include_model_name")),
                bool(rule.get("include_using_group")),
            ),
        )

    @property
    def named(self) -> bool:
        """True when the keys of its conversations begin with its name."""
        return self._parts[0]

    def concerns(self, model: str, path: str) -> bool:
        """True when calls of this model and path may match."""
        return any(p.found_in(model) for p in self._models) and (
            not self._paths or any(p.found_in(path) for p in self._paths)
        )

    def match(
        self, model: str, head: Head, caller: Caller, body: Mapping[str, Any]
    ) -> Match | None:
        """The match of a call that the rule concerns, None without a value."""
        if self._agents:
            agent = head.get("user-agent").lower()
            if not any(part in agent for part in self._agents):
                return None
        for source in self.sources:
            value = source.value(head, caller, body)
            if value:
                return self._matched(model, caller.group, source, value)
        return None

    def _matched(
        self, model: str, group: str, source: Source, value: str
    ) -> Match | None:
        if self._values is not None and not self._values.found_in(value):
            return None
        mark = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        names = zip((self.name, model, group), self._parts, strict=True)
        parts = (name for name, included in names if included)
        return Match(self, ":".join((PREFIX, *parts, mark)), source, mark[:8])


@frozen(eq=False)
class Match:
    """A call that a rule matches.

    Attributes:
        key: Of the cache; the same for every call of the conversation.
        fingerprint: Tells conversations apart in the log without naming them.
    """

    rule: Rule
    key: str
    source: Source
    fingerprint: str


@define(eq=False)
class AffinityRules:
    """The rules in force.

    Attributes:
        switch: A channel that served after a retry takes the remembered one's place.
        keep: An entry outlives its channel's being out of service.
        max_entries: Most entries in memory.
    """

    rules: tuple[Rule, ...]
    switch: bool
    keep: bool
    max_entries: int
    _concerning: Callable[[str, str], tuple[Rule, ...]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._concerning = lru_cache(_KNOWN_NAMES)(self._find)

    @classmethod
    def read(cls, options: Options) -> AffinityRules | None:
        """The rules of an options snapshot, None when no call can match. A malformed
        rule, which only another program can have stored, is left out."""
        if not options.flag(f"{_GROUP}enabled"):
            return None
        rules = rules_of(options)
        if not rules:
            return None
        return cls(
            rules,
            options.flag(f"{_GROUP}switch_on_success"),
            options.flag(f"{_GROUP}keep_on_channel_disabled"),
            options.integer(f"{_GROUP}max_entries"),
        )

    def match(
        self,
        model: str,
        path: str,
        head: Head,
        caller: Caller,
        body: Mapping[str, Any],
    ) -> Match | None:
        """The first rule that matches. Calls that no rule concerns cost a look-up.

        Args:
            body: The top level of the request; members may be `msgspec.Raw`.
        """
        known = len(model) <= MAX_NAME and len(path) <= 2 * MAX_NAME
        for rule in (self._concerning if known else self._find)(model, path):
            found = rule.match(model, head, caller, body)
            if found is not None:
                return found
        return None

    def _find(self, model: str, path: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.concerns(model, path))


def rules_of(options: Options) -> tuple[Rule, ...]:
    """The rules of an options snapshot, whether they are in force or not."""
    ttl = options.integer(f"{_GROUP}default_ttl_seconds")
    return tuple(_readable(options.text(f"{_GROUP}rules"), ttl))


def text_at(body: Mapping[str, Any], steps: Sequence[str]) -> str:
    """The text at a path of a body: a string as it is, anything else as its JSON; empty
    when nothing is there, or null. Only what the path leads through is decoded."""
    try:
        value: Any = body.get(steps[0]) if steps else None
        for step in steps[1:]:
            value = _inside(value, step)
        return _text(value)
    except _UNREADABLE:
        return ""


def steps_of(path: str) -> tuple[str, ...]:
    r"""The steps of a path: member names and indexes between dots; `\.` is no dot."""
    steps, step, escaped = [], "", False
    for character in path:
        if escaped or character not in "\\.":
            step, escaped = step + character, False
        elif character == "\\":
            escaped = True
        else:
            steps.append(step)
            step = ""
    return (*steps, step) if path else ()


def _inside(value: Any, step: str) -> Any:
    """A member of an object or an element of a list, None when there is none."""
    if isinstance(value, msgspec.Raw):
        first = bytes(memoryview(value)[:1])
        if first == b"{":
            value = _OBJECT.decode(value)
        elif first == b"[":
            value = _ARRAY.decode(value)
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, list) and step.isdecimal() and len(step) < 10:
        place = int(step)
        return value[place] if place < len(value) else None
    return None


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raw = bytes(value if isinstance(value, msgspec.Raw) else msgspec.json.encode(value))
    if raw == b"null":
        return ""
    return str(msgspec.json.decode(raw)) if raw[:1] == b'"' else raw.decode()


def _context(caller: Caller) -> dict[str, str]:
    """What `context_int` and `context_string` may name."""
    user, token = caller.user, caller.token
    found = {
        "id": str(user.id),
        "user_id": str(user.id),
        "username": user.username,
        "role": str(user.role),
        "user_group": user.group,
        "group": caller.group,
        "using_group": caller.group,
    }
    if token is not None:
        found |= {
            "token_id": str(token.id),
            "token_name": token.name,
            "token_group": token.group,
        }
    return found


def _readable(text: str, ttl: int) -> Iterator[Rule]:
    """The rules in the option's text, fractions in templates as floats."""
    for entry in msgspec.json.decode(text):
        try:
            yield Rule.read(entry, ttl)
        except (ValueError, TypeError, AttributeError, KeyError):
            continue


def _source(entry: Mapping[str, Any]) -> Source:
    kind = str(entry["type"])
    path, key = str(entry.get("path") or ""), str(entry.get("key") or "")
    if kind == GJSON:
        return Source(kind, path, steps_of(path))
    return Source(kind, key.lower() if kind == HEADER else key)


def _compiled(texts: Any) -> tuple[Pattern, ...]:
    return tuple(patterns.compiled(text) for text in texts or ())
