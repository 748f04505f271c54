"""The credentials of a channel: reading the key column, and the state of each key.

A channel has one key or, with `channel_info.is_multi_key`, several: one per line, or a
JSON array. What is known of the keys stands in the JSON column `channel_info`, by index
(data model, section 4.4): `multi_key_status_list` names the keys that are not enabled
(2 by hand, 3 automatically), `multi_key_disabled_reason` and `multi_key_disabled_time`
say why and when of those disabled automatically.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field

from knight_tw.errors import InvalidRequest
from knight_tw.records import AUTO_DISABLED, DISABLED, ENABLED
from knight_tw.storage.channels import split_keys
from knight_tw.storage.sql import json_object

ALL_DISABLED = "All keys are disabled"
"""`status_reason` of a channel that was disabled because no key is left."""

MODES = ("random", "polling")

PREVIEW_LENGTH = 10
"""Characters of a key that an administrator may see."""


def split_objects(text: str) -> list[str]:
    """The JSON objects in a text, each compact: an array, or one after the other.

    Raises:
        InvalidRequest: something in it is not a JSON object.
    """
    decoder = json.JSONDecoder()
    rest, found = text.strip(), []
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError):
            raise InvalidRequest("the key is not JSON", param="key") from None
        found += value if isinstance(value, list) else [value]
        rest = rest[end:].lstrip(", \t\r\n")
    if not all(isinstance(value, dict) for value in found):
        raise InvalidRequest("the key is not a JSON object", param="key")
    return [compact(value) for value in found]


def compact(value: Any) -> str:
    """JSON without blanks, on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@define
class KeyRing:
    """The keys of one multi-key channel and their state; methods change it in place.

    Attributes:
        status: Index to status of the keys that are not enabled.
        reasons, times: Index to text and unix seconds, of those disabled automatically.
        rest: Members of `channel_info` that nobody here knows.
    """

    keys: list[str]
    mode: str = "random"
    status: dict[int, int] = field(factory=dict)
    reasons: dict[int, str] = field(factory=dict)
    times: dict[int, int] = field(factory=dict)
    polling_index: int = 0
    rest: dict[str, Any] = field(factory=dict)

    @classmethod
    def read(cls, key: str, column: Any) -> KeyRing | None:
        """The keys of a row; None when it is not a multi-key channel."""
        info = stored(column)
        if not info.pop("is_multi_key", False):
            return None
        keys = list(split_keys(key))
        size = len(keys)
        info.pop("multi_key_size", None)
        return cls(
            keys=keys,
            mode=str(info.pop("multi_key_mode", "") or "random"),
            status=_by_index(info.pop("multi_key_status_list", None), size),
            reasons=_by_index(info.pop("multi_key_disabled_reason", None), size),
            times=_by_index(info.pop("multi_key_disabled_time", None), size),
            polling_index=_number(info.pop("multi_key_polling_index", 0)),
            rest=info,
        )

    def column(self) -> dict[str, Any]:
        """What `channel_info` holds."""
        info: dict[str, Any] = {
            **self.rest,
            "is_multi_key": True,
            "multi_key_size": len(self.keys),
            "multi_key_status_list": _as_object(self.status) or None,
            "multi_key_polling_index": self.polling_index,
            "multi_key_mode": self.mode,
        }
        if self.reasons:
            info["multi_key_disabled_reason"] = _as_object(self.reasons)
        if self.times:
            info["multi_key_disabled_time"] = _as_object(self.times)
        return info

    def text(self) -> str:
        """What the key column holds."""
        return "\n".join(self.keys)

    def status_of(self, index: int) -> int:
        """Status of one key."""
        return self.status.get(index, ENABLED)

    @property
    def usable(self) -> bool:
        """True while a key is enabled."""
        return any(self.status_of(index) == ENABLED for index in range(len(self.keys)))

    def find(self, key: str, index: int) -> int | None:
        """Where `key` stands now: at `index`, or wherever it moved; None when gone."""
        if 0 <= index < len(self.keys) and self.keys[index] == key:
            return index
        return self.keys.index(key) if key in self.keys else None

    def enable(self, index: int) -> None:
        """The key may be used again."""
        for known in (self.status, self.reasons, self.times):
            known.pop(index, None)

    def disable(self, index: int) -> None:
        """The key is disabled by hand."""
        self.enable(index)
        self.status[index] = DISABLED

    def fail(self, index: int, reason: str, now: int) -> None:
        """The key is disabled automatically."""
        self.status[index] = AUTO_DISABLED
        self.reasons[index] = reason
        self.times[index] = now

    def keep(self, indices: Iterable[int]) -> None:
        """Only these keys stay, renumbered in the order given.

        Raises:
            InvalidRequest: none would be left.
        """
        order = list(indices)
        if not order:
            raise InvalidRequest("the last key cannot be removed", param="key_index")
        self.keys = [self.keys[index] for index in order]
        self.status = _renumbered(self.status, order)
        self.reasons = _renumbered(self.reasons, order)
        self.times = _renumbered(self.times, order)
        self.polling_index %= len(order)

    def replace(self, keys: Sequence[str]) -> None:
        """Other keys; one that stays keeps its state."""
        known = {
            key: (self.status.get(i), self.reasons.get(i), self.times.get(i))
            for i, key in enumerate(self.keys)
        }
        self.keys = list(dict.fromkeys(keys))
        self.status, self.reasons, self.times = {}, {}, {}
        for index, key in enumerate(self.keys):
            status, reason, at = known.get(key, (None, None, None))
            if status is not None:
                self.status[index] = status
            if reason is not None:
                self.reasons[index] = reason
            if at is not None:
                self.times[index] = at
        self.polling_index = 0


def stored(column: Any) -> dict[str, Any]:
    """The members of a JSON column, read or about to be written; empty when it is null,
    empty or no object."""
    return dict(column) if isinstance(column, Mapping) else json_object(column)


def _by_index(value: Any, size: int) -> dict[int, Any]:
    """A JSON object by index as numbers; indices of keys that are no more are left."""
    if not isinstance(value, Mapping):
        return {}
    return {
        int(index): told
        for index, told in value.items()
        if index.isdecimal() and int(index) < size
    }


def _as_object(known: Mapping[int, Any]) -> dict[str, Any]:
    return {str(index): known[index] for index in sorted(known)}


def _renumbered(known: Mapping[int, Any], order: Sequence[int]) -> dict[int, Any]:
    return {new: known[old] for new, old in enumerate(order) if old in known}


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
