"""Who may come in: conditions on what a provider says about a person.

A policy is JSON, as administrators write it::

    {"logic": "and", "conditions": [{"field": "trust_level", "op": "gte", "value": 2}],
     "groups": [{"logic": "or", "conditions": [...]}]}

`field` is a dotted path into the provider's answer. Numbers compare as numbers when
both sides are some, else both sides compare as text. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from attrs import frozen

DEEPEST, MOST_CONDITIONS = 8, 100
"""Groups within groups, and conditions in all, that a policy may have."""

LONGEST_VALUE, LONGEST_MESSAGE = 200, 1_000
_PLACEHOLDER = re.compile(r"\{\{\s*([a-z]+)(?:\.([^{}\s]+))?\s*\}\}")


class PolicyError(ValueError):
    """A text that is no policy; the message says why."""


@frozen
class Condition:
    """One comparison; `value` is what the administrator wrote."""

    field: str
    op: str
    value: Any = None

    def holds(self, claims: Mapping[str, Any]) -> bool:
        """True when the claim is as asked."""
        return OPS[self.op](claim(claims, self.field), self.value)


@frozen
class Policy:
    """Conditions and groups of which all (`every`) or one must hold."""

    conditions: tuple[Condition, ...] = ()
    groups: tuple[Policy, ...] = ()
    every: bool = True

    def failing(self, claims: Mapping[str, Any]) -> Condition | None:
        """The first condition that keeps a person out; None lets them in."""
        first: Condition | None = None
        parts: tuple[Condition | Policy, ...] = (*self.conditions, *self.groups)
        for part in parts:
            missed = _missed(part, claims)
            if missed is None and not self.every:
                return None
            first = first or missed
            if missed is not None and self.every:
                break
        return first


def _missed(part: Condition | Policy, claims: Mapping[str, Any]) -> Condition | None:
    if isinstance(part, Policy):
        return part.failing(claims)
    return None if part.holds(claims) else part


def parse(text: str) -> Policy | None:
    """The policy in a JSON text; None for an empty one, which lets everybody in.

    Raises:
        PolicyError.
    """
    if not text.strip():
        return None
    try:
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise PolicyError("not JSON") from None
    policy = _group(given, 1)
    if _size(policy) > MOST_CONDITIONS:
        raise PolicyError(f"more than {MOST_CONDITIONS} conditions")
    return policy


def _group(given: Any, depth: int) -> Policy:
    if not isinstance(given, Mapping):
        raise PolicyError("a policy is an object")
    if depth > DEEPEST:
        raise PolicyError(f"more than {DEEPEST} groups within groups")
    logic = given.get("logic", "and")
    if logic not in ("and", "or"):
        raise PolicyError("logic is and or or")
    conditions = tuple(map(_condition, _list(given, "conditions")))
    groups = tuple(_group(one, depth + 1) for one in _list(given, "groups"))
    if not conditions and not groups:
        raise PolicyError("a policy needs a condition or a group")
    return Policy(conditions, groups, logic == "and")


def _list(given: Mapping[str, Any], name: str) -> list[Any]:
    found = given.get(name) or []
    if not isinstance(found, list):
        raise PolicyError(f"{name} is a list")
    return found


def _condition(given: Any) -> Condition:
    if not isinstance(given, Mapping):
        raise PolicyError("a condition is an object")
    path, op = given.get("field"), given.get("op")
    if not isinstance(path, str) or not path.strip():
        raise PolicyError("a condition needs a field")
    if not isinstance(op, str) or op not in OPS:
        raise PolicyError(f"op is one of {', '.join(OPS)}")
    value = given.get("value")
    if op in ("in", "not_in") and not isinstance(value, list):
        raise PolicyError(f"{op} needs a list")
    return Condition(path.strip(), op, value)


def _size(policy: Policy) -> int:
    return len(policy.conditions) + sum(map(_size, policy.groups))


def claim(claims: Any, path: str) -> Any:
    """What stands at a dotted path (`data.emails.0`); None when nothing does.

    A member that is called like the whole path comes first: some providers name claims
    by addresses.
    """
    if isinstance(claims, Mapping) and path in claims:
        return claims[path]
    found = claims
    for name in path.split("."):
        if isinstance(found, Mapping):
            found = found.get(name)
        elif isinstance(found, list) and name.isascii() and name.isdigit():
            place = int(name[:9])
            found = found[place] if place < len(found) else None
        else:
            return None
    return found


def text_of(value: Any) -> str:
    """A claim as text: numbers and truth values as JSON writes them, nothing as ``."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def message(
    template: str, provider: str, failed: Condition, claims: Mapping[str, Any]
) -> str:
    """What to tell the person; placeholders of section 10.3 are filled in."""
    values = {
        "provider": provider,
        "field": failed.field,
        "op": failed.op,
        "required": text_of(failed.value),
        "current": text_of(claim(claims, failed.field)),
    }

    def filled(found: re.Match[str]) -> str:
        name, path = found.groups()
        if path is None:
            return values.get(name, found[0])[:LONGEST_VALUE]
        if name != "current":
            return found[0]
        return text_of(claim(claims, path))[:LONGEST_VALUE]

    return _PLACEHOLDER.sub(filled, template)[:LONGEST_MESSAGE]


def _number(value: Any) -> Decimal | None:
    """A value as a number, when it is one or a text that reads as one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _compared(current: Any, wanted: Any) -> int | None:
    """-1, 0 or 1 as `current` is below, at or above `wanted`; None without a claim."""
    if current is None:
        return None
    left, right = _number(current), _number(wanted)
    if left is not None and right is not None:
        return (left > right) - (left < right)
    first, second = text_of(current), text_of(wanted)
    return (first > second) - (first < second)


def _equal(current: Any, wanted: Any) -> bool:
    return _compared(current, wanted) == 0


def _key(value: Any) -> Decimal | str:
    """What equal values, and no others, have the same of."""
    number = _number(value)
    return text_of(value) if number is None else number


def _within(current: Any, wanted: Any) -> bool:
    """One of the claims, when it is a list, is one of `wanted`: both may be long."""
    claims = current if isinstance(current, list) else [current]
    keys = set(map(_key, wanted))
    return any(one is not None and _key(one) in keys for one in claims)


def _contains(current: Any, wanted: Any) -> bool:
    if isinstance(current, list):
        return _within(current, [wanted])
    if isinstance(current, Mapping):
        return text_of(wanted) in current
    return current is not None and text_of(wanted) in text_of(current)


def _ordered(*allowed: int) -> Callable[[Any, Any], bool]:
    return lambda current, wanted: _compared(current, wanted) in allowed


OPS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": _equal,
    "ne": lambda current, wanted: not _equal(current, wanted),
    "gt": _ordered(1),
    "gte": _ordered(0, 1),
    "lt": _ordered(-1),
    "lte": _ordered(-1, 0),
    "in": _within,
    "not_in": lambda current, wanted: not _within(current, wanted),
    "contains": _contains,
    "not_contains": lambda current, wanted: not _contains(current, wanted),
    "exists": lambda current, _: current is not None,
    "not_exists": lambda current, _: current is None,
}
"""Operators by name; a claim that is not there is None and equals nothing."""
