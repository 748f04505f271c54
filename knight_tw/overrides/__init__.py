"""Parameter overrides: what a channel changes in a request before it is sent.

An override is a JSON object. Its members are assigned to the top level of the body as
they are, except `operations`, a list that is worked through in order on the body and on
the headers that the channel sets. Nothing here knows what a field means.
Source: relay specification, sections 8, 9.1 and 9.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from attrs import field, frozen

from knight_tw.errors import ChannelFault, InvalidRequest
from knight_tw.overrides.conditions import Context, holds
from knight_tw.overrides.headers import headers
from knight_tw.overrides.headers import validate as validate_headers
from knight_tw.overrides.operations import check, targets
from knight_tw.overrides.paths import Document
from knight_tw.overrides.work import Work

__all__ = [
    "Applied",
    "Context",
    "apply_params",
    "headers",
    "merge",
    "validate",
    "validate_headers",
]

OPERATIONS = "operations"
MAX_OPERATIONS = 200
MAX_SIZE = 65_536
"""Bytes of an override's JSON; an older schema cannot store more."""

AUDITED = frozenset(
    {
        "model",
        "service_tier",
        "inference_geo",
        "speed",
        "messages",
        "input",
        "instructions",
        "system",
        "contents",
        "systemInstruction",
    }
)
"""Members of a body whose change is noted in the log."""


@frozen(eq=False)
class Applied:
    """What an override did beside changing the body.

    Attributes:
        headers: Every header that the channel sets, lower-case name to value; None
            means that the request must not have it.
        audit: A line for each change of a member that administrators want to know of.
    """

    headers: Mapping[str, str | None] = field(factory=dict)
    audit: tuple[str, ...] = ()


def apply_params(
    body: dict[str, Any], override: Mapping[str, Any] | None, context: Context
) -> Applied:
    """Change a body in place as an override says. Members that no operation touches
    stay as they are, `msgspec.Raw` or not.

    Raises:
        ChannelFault: the override is not valid, or cannot be carried out on this body
            (`channel:param_override_invalid`).
        InvalidRequest: the body is nested too deeply, or has a number out of range.
        KnightError: an operation answers the request with this error.
    """
    work = Work(Document(body), context, dict(context.overridden))
    if not override:
        return Applied(work.headers)
    try:
        audit = _worked_through(work, override)
    except RecursionError:
        raise InvalidRequest("the request body is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the request body cannot be read: {error}") from None
    except (ValueError, OverflowError) as error:
        raise _fault(str(error) or "the result is too large") from None
    return Applied(work.headers, tuple(audit))


def validate(override: Mapping[str, Any]) -> None:
    """Passes when the override can be stored: every operation is complete and every
    pattern compiles.

    Raises:
        ValueError: what is wrong, for the administrator.
    """
    if len(msgspec.json.encode(override)) > MAX_SIZE:
        raise ValueError(f"an override must have at most {MAX_SIZE} bytes")
    for place, operation in enumerate(_operations(override), 1):
        try:
            check(operation)
        except ValueError as error:
            raise ValueError(f"operation {place}: {error}") from None


def merge(
    template: Mapping[str, Any] | None, own: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """A channel's override on top of an affinity rule's template: the template's
    operations come first, its other members only where the channel has none.

    Raises:
        ChannelFault: the operations of one are no list, or are too many.
    """
    if not template or not own:
        return own or template
    merged = {**template, **own}
    try:
        operations = [*_operations(template), *_operations(own)]
    except ValueError as error:
        raise _fault(str(error)) from None
    if operations:
        merged[OPERATIONS] = operations
    return merged


def _worked_through(work: Work, override: Mapping[str, Any]) -> list[str]:
    """Carries everything out; the audit lines."""
    audit = []
    for name, value in override.items():
        if name != OPERATIONS:
            work.document.body[name] = work.document.copied(value)
            if name in AUDITED:
                audit.append(f"set {name}")
    for operation in _operations(override):
        mode = check(operation)
        if not holds(operation, work.document, work.context, work.headers):
            continue
        if mode.apply(work, operation):
            changed = sorted(targets(operation) & {*AUDITED, "*"})
            audit += [f"{operation['mode']} {name}" for name in changed]
    return audit


def _operations(override: Mapping[str, Any]) -> Sequence[Any]:
    operations = override.get(OPERATIONS, [])
    if not isinstance(operations, list | tuple):
        raise ValueError("operations must be a list")
    if len(operations) > MAX_OPERATIONS:
        raise ValueError(f"there may be at most {MAX_OPERATIONS} operations")
    return operations


def _fault(detail: str) -> ChannelFault:
    return ChannelFault(
        "the channel's parameter override cannot be applied",
        code="channel:param_override_invalid",
        detail=detail,
    )
