"""Conditions of parameter overrides, and the context that they may ask about.

Source: relay specification, section 9.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import field, frozen

from knight_tw.errors import KnightError
from knight_tw.overrides.headers import joined
from knight_tw.overrides.paths import Document, Steps, parse


@frozen(eq=False)
class Context:
    """What conditions may know beside the body.

    Attributes:
        names: Values by name, nested ones as mappings.
        client: The client's headers, by lower-case name.
        overridden: The headers that the channel's header override sets.
    """

    names: Mapping[str, Any] = field(factory=dict)
    client: Mapping[str, str] = field(factory=dict)
    overridden: Mapping[str, str] = field(factory=dict)

    @classmethod
    def of(
        cls,
        *,
        upstream_model: str = "",
        original_model: str = "",
        path: str = "",
        client: Iterable[tuple[str, str]] = (),
        overridden: Mapping[str, str] | None = None,
        retry: int = 0,
        last_error: KnightError | None = None,
        channel_test: bool = False,
        user_id: int = 0,
        group: str = "",
        channel_id: int = 0,
    ) -> Context:
        """The context of one attempt; `retry` counts the attempts before it."""
        names: dict[str, Any] = {
            "model": upstream_model,
            "upstream_model": upstream_model,
            "original_model": original_model,
            "request_path": path,
            "retry_index": retry,
            "is_retry": retry > 0,
            "retry": {"index": retry, "is_retry": retry > 0},
            "is_channel_test": channel_test,
            "user_id": user_id,
            "group": group,
            "channel_id": channel_id,
        }
        if last_error is not None:
            names |= _told(last_error)
        sent = joined(client)
        names["request_headers"] = sent
        return cls(names, sent, dict(overridden or {}))


def _told(error: KnightError) -> dict[str, Any]:
    told = {
        "status_code": error.status,
        "message": error.message,
        "code": error.code,
        "error_code": error.code,
        "type": error.type,
        "error_type": error.type,
        "skip_retry": error.retryable is False,
    }
    flat = ("status_code", "message", "code", "type")
    return {"last_error": told, **{f"last_error_{name}": told[name] for name in flat}}


def holds(
    operation: Mapping[str, Any],
    document: Document,
    context: Context,
    overridden: Mapping[str, str | None],
) -> bool:
    """True when the operation's conditions allow it; none at all do.

    Args:
        overridden: The headers set so far (`header_override.<name>`).
    """
    conditions = as_list(operation.get("conditions"))
    if not conditions:
        return True
    names = {**context.names, "header_override": overridden}

    def met(condition: Mapping[str, Any]) -> bool:
        steps = parse(condition["path"])
        values = document.read(steps) or _named(names, steps)
        return _met(condition, values)

    every = str(operation.get("logic", "OR")).upper() == "AND"
    return (all if every else any)(met(condition) for condition in conditions)


def as_list(conditions: Any) -> list[Mapping[str, Any]]:
    """Conditions as a list; an object is short for equality with each member.

    Raises:
        ValueError: they are neither.
    """
    if conditions is None:
        return []
    if isinstance(conditions, Mapping):
        return [{"path": path, "value": v} for path, v in conditions.items()]
    if not isinstance(conditions, list):
        raise ValueError("conditions must be a list or an object")
    return conditions


def check_conditions(holder: Mapping[str, Any]) -> None:
    """Passes when the conditions and the logic of an operation can be asked.

    Raises:
        ValueError: what is wrong.
    """
    for condition in as_list(holder.get("conditions")):
        if not isinstance(condition, Mapping) or not isinstance(
            condition.get("path"), str
        ):
            raise ValueError("a condition must be an object with a path")
        parse(condition["path"])
        if condition.get("mode", "full") not in _COMPARE:
            raise ValueError(f"unknown condition mode {condition['mode']!r:.40}")
    if str(holder.get("logic", "OR")).upper() not in ("AND", "OR"):
        raise ValueError("logic must be AND or OR")


def met_by(holder: Mapping[str, Any], value: Any) -> bool:
    """True when an object inside the body meets the conditions of a prune."""
    conditions = as_list(holder.get("conditions"))
    if not conditions:
        return True
    inside = Document({"": value})
    every = str(holder.get("logic", "AND")).upper() == "AND"
    return (all if every else any)(
        _met(condition, inside.read(("", *parse(condition["path"]))))
        for condition in conditions
    )


def _named(names: Mapping[str, Any], steps: Steps) -> list[Any]:
    """The context's value at a path; a name that holds dots is found too."""
    found: Any = names
    for place, step in enumerate(steps):
        if not isinstance(found, Mapping):
            return []
        rest = ".".join(steps[place:]).lower()
        if rest in found:
            return [] if found[rest] is None else [found[rest]]
        found = found.get(step)
    return []


def _met(condition: Mapping[str, Any], values: list[Any]) -> bool:
    if not values:
        return bool(condition.get("pass_missing_key"))
    compare = _COMPARE[str(condition.get("mode", "full"))]
    wanted = condition.get("value")
    met = any(compare(value, wanted) for value in values)
    return met != bool(condition.get("invert"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(compare: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, wanted: (
        isinstance(value, str) and isinstance(wanted, str) and compare(value, wanted)
    )


def _numbers(compare: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, wanted: (
        _is_number(value) and _is_number(wanted) and compare(value, wanted)
    )


def equal(value: Any, wanted: Any) -> bool:
    """Equality of JSON values: a boolean is no number."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return bool(value == wanted)


_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "full": equal,
    "prefix": _texts(lambda value, wanted: value.startswith(wanted)),
    "suffix": _texts(lambda value, wanted: value.endswith(wanted)),
    "contains": _texts(lambda value, wanted: wanted in value),
    "gt": _numbers(lambda value, wanted: value > wanted),
    "gte": _numbers(lambda value, wanted: value >= wanted),
    "lt": _numbers(lambda value, wanted: value < wanted),
    "lte": _numbers(lambda value, wanted: value <= wanted),
}
