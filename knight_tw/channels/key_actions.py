"""What an administrator does to single keys of a multi-key channel.

Pure: a row in, the columns to set and the answer's content out (management API, 7.4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

from attrs import field, frozen

from knight_tw.channels.keys import (
    ALL_DISABLED,
    PREVIEW_LENGTH,
    KeyRing,
    compact,
    stored,
)
from knight_tw.errors import InvalidRequest
from knight_tw.records import AUTO_DISABLED, DISABLED, ENABLED

DEFAULT_SIZE, LARGEST_SIZE = 50, 200


class KeyMoved(InvalidRequest):
    """The key at the index is not the one the administrator looked at."""

    status, code = 409, "version_conflict"


@frozen
class Outcome:
    """What an action came to.

    Attributes:
        values: Columns of the channel to set.
        data: The answer's data, when there is any.
    """

    message: str
    values: dict[str, Any] = field(factory=dict)
    data: Any = None


@frozen
class Asked:
    """One action as it was asked for; the index counts from 0, -1 = none given."""

    action: str
    index: int = -1
    preview: str = ""
    page: int = 1
    size: int = DEFAULT_SIZE
    status: int = 0


def act(row: Mapping[str, Any], asked: Asked, now: int, *, reasons: bool) -> Outcome:
    """Carry out one action on a channel's row.

    Args:
        reasons: Whether the caller may see why keys were disabled.

    Raises:
        InvalidRequest: not a multi-key channel, no such action or key.
        KeyMoved: the preview is another key's.
    """
    ring = KeyRing.read(row["key"] or "", row["channel_info"])
    if ring is None:
        raise InvalidRequest("this channel does not have several keys")
    if asked.action == "get_key_status":
        return Outcome("", data=_listed(ring, asked, reasons))
    change = _ACTIONS.get(asked.action)
    if change is None:
        raise InvalidRequest("there is no such action", param="action")
    message, data = change(ring, asked)
    return Outcome(message, _written(row, ring, now), data)


def _chosen(ring: KeyRing, asked: Asked) -> int:
    """The index asked for, after checking that it still means the same key."""
    if not 0 <= asked.index < len(ring.keys):
        raise InvalidRequest("there is no key with that index", param="key_index")
    if asked.preview and ring.keys[asked.index][:PREVIEW_LENGTH] != asked.preview:
        raise KeyMoved("the keys have changed, load them again", param="key_preview")
    return asked.index


def _disable(ring: KeyRing, asked: Asked) -> tuple[str, Any]:
    ring.disable(_chosen(ring, asked))
    return "the key is disabled", None


def _enable(ring: KeyRing, asked: Asked) -> tuple[str, Any]:
    ring.enable(_chosen(ring, asked))
    return "the key is enabled", None


def _delete(ring: KeyRing, asked: Asked) -> tuple[str, Any]:
    gone = _chosen(ring, asked)
    ring.keep(index for index in range(len(ring.keys)) if index != gone)
    return "the key is deleted", None


def _delete_disabled(ring: KeyRing, _: Asked) -> tuple[str, Any]:
    kept = [i for i in range(len(ring.keys)) if ring.status_of(i) != AUTO_DISABLED]
    gone = len(ring.keys) - len(kept)
    if not gone:
        raise InvalidRequest("no key was disabled automatically")
    ring.keep(kept)
    return f"{gone} keys are deleted", gone


def _enable_all(ring: KeyRing, _: Asked) -> tuple[str, Any]:
    changed = len(ring.status)
    for index in list(ring.status):
        ring.enable(index)
    return f"{changed} keys are enabled", None


def _disable_all(ring: KeyRing, _: Asked) -> tuple[str, Any]:
    enabled = [i for i in range(len(ring.keys)) if ring.status_of(i) == ENABLED]
    for index in enabled:
        ring.disable(index)
    return f"{len(enabled)} keys are disabled", None


_ACTIONS: Mapping[str, Callable[[KeyRing, Asked], tuple[str, Any]]] = {
    "disable_key": _disable,
    "enable_key": _enable,
    "delete_key": _delete,
    "delete_disabled_keys": _delete_disabled,
    "enable_all_keys": _enable_all,
    "disable_all_keys": _disable_all,
}


def _written(row: Mapping[str, Any], ring: KeyRing, now: int) -> dict[str, Any]:
    """The columns after an action; a channel without a usable key goes out of service
    and comes back when it has one again."""
    values: dict[str, Any] = {"key": ring.text(), "channel_info": ring.column()}
    told = stored(row["other_info"])
    if row["status"] == ENABLED and not ring.usable:
        told |= {"status_reason": ALL_DISABLED, "status_time": now}
        values |= {"status": AUTO_DISABLED, "other_info": compact(told)}
    elif (
        row["status"] == AUTO_DISABLED
        and ring.usable
        and told.get("status_reason") == ALL_DISABLED
    ):
        values["status"] = ENABLED
    return values


def _listed(ring: KeyRing, asked: Asked, reasons: bool) -> dict[str, Any]:
    """One page of keys and how many there are of each status."""
    every = range(len(ring.keys))
    status = [ring.status_of(index) for index in every]
    shown = [i for i in every if not asked.status or status[i] == asked.status]
    size = min(max(asked.size, 1), LARGEST_SIZE)
    page = max(asked.page, 1)
    first = (page - 1) * size
    return {
        "keys": [_one(ring, i, reasons) for i in shown[first : first + size]],
        "total": len(shown),
        "page": page,
        "page_size": size,
        "total_pages": ceil(len(shown) / size),
        "enabled_count": status.count(ENABLED),
        "manual_disabled_count": status.count(DISABLED),
        "auto_disabled_count": status.count(AUTO_DISABLED),
    }


def _one(ring: KeyRing, index: int, reasons: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"index": index, "status": ring.status_of(index)}
    if reasons and index in ring.times:
        told["disabled_time"] = ring.times[index]
    if reasons and index in ring.reasons:
        told["reason"] = ring.reasons[index]
    told["key_preview"] = ring.keys[index][:PREVIEW_LENGTH]
    return told
