"""One change to many channels, and channels as a file (management API, section 18).

Pure: rows in, columns to set out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from knight_tw.channels.columns import columns, invalid
from knight_tw.channels.drafts import Order as Making
from knight_tw.channels.drafts import changes, new_rows
from knight_tw.channels.keys import KeyRing, stored
from knight_tw.errors import InvalidRequest
from knight_tw.records import DISABLED, ENABLED
from knight_tw.storage.sql import listed

Row = dict[str, Any]

VERSION = 1
"""Of the file format."""

LISTS = ("group", "models")
FIELDS = (*LISTS, "tag", "priority", "weight", "proxy")
"""What a bulk change can set; lists can also be added to and removed from."""

PERMISSIONS: Mapping[str, str] = {
    "enable": "operate",
    "disable": "operate",
    "set": "write",
    "add": "write",
    "remove": "write",
    "delete": "sensitive_write",
}
"""What each operation needs."""

EXPORTED = (
    "id",
    "type",
    "name",
    "status",
    "openai_organization",
    "test_model",
    "weight",
    "base_url",
    "other",
    "models",
    "group",
    "model_mapping",
    "status_code_mapping",
    "priority",
    "auto_ban",
    "tag",
    "setting",
    "param_override",
    "header_override",
    "remark",
    "settings",
)


@frozen
class Change:
    """One change, as it was asked for."""

    op: str
    field: str = ""
    value: Any = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Change:
        """The change in a request's body.

        Raises:
            InvalidRequest: no such operation or field.
        """
        op, name = body.get("op"), body.get("field")
        if not isinstance(op, str) or op not in PERMISSIONS:
            raise invalid("op", ", ".join(PERMISSIONS))
        if op in ("enable", "disable", "delete"):
            return cls(op)
        allowed = FIELDS if op == "set" else LISTS
        if not isinstance(name, str) or name not in allowed:
            raise invalid("field", ", ".join(allowed))
        if body.get("value") is None:
            raise InvalidRequest("value is required", param="value")
        return cls(op, name, body["value"])

    @property
    def permission(self) -> str:
        """What the caller needs for it."""
        return "sensitive_write" if self.field == "proxy" else PERMISSIONS[self.op]

    def applied(self, row: Row) -> Row:
        """The columns that it changes in a row.

        Raises:
            InvalidRequest: the value is not valid.
        """
        if self.op in ("enable", "disable"):
            wanted: Row = {"status": ENABLED if self.op == "enable" else DISABLED}
        elif self.field == "proxy":
            wanted = _with_proxy(row, self.value)
        elif self.op == "set":
            wanted = columns({self.field: self.value})
        else:
            wanted = self._listed(row)
        return {name: value for name, value in wanted.items() if row[name] != value}

    def _listed(self, row: Row) -> Row:
        """A list with entries added or removed; a group is always left."""
        given = listed(columns({self.field: self.value})[self.field])
        held = listed(row[self.field])
        if self.op == "add":
            kept = dict.fromkeys((*held, *given))
        else:
            kept = dict.fromkeys(one for one in held if one not in given)
        return columns({self.field: ",".join(kept)})


def _with_proxy(row: Row, value: Any) -> Row:
    """The column `setting` with another proxy; an empty one is none."""
    setting = stored(row["setting"])
    setting.pop("proxy", None)
    if value != "":
        setting["proxy"] = value
    return columns({"setting": setting}) if setting else {"setting": ""}


def exported(row: Row, *, key: bool) -> Row:
    """A channel as a file has it.

    Args:
        key: With its key, and how its keys stand.
    """
    told = {
        name: row["open_ai_organization" if name == "openai_organization" else name]
        for name in EXPORTED
    }
    if key:
        told["key"] = row["key"]
        ring = KeyRing.read(row["key"] or "", row["channel_info"])
        if ring is not None:
            told["multi_key_mode"] = ring.mode
    return told


@frozen
class Plan:
    """What an import does with one entry of the file.

    Attributes:
        row_id: The channel that is changed; 0 = a new one.
        values: Its columns.
        names: The columns that differ, for people.
    """

    name: str
    row_id: int
    values: Row
    names: Sequence[str]


def planned(entry: Any, rows: Iterable[Row], now: int) -> Plan:
    """How an entry of a file is brought in: an existing channel of the same id and
    name, or else the only one of that name, is changed; others are made.

    Raises:
        InvalidRequest: the entry is no channel, or not a valid one.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise InvalidRequest("not a channel with a name", param="name")
    named = [row for row in rows if row["name"] == entry["name"]]
    same = [row for row in named if row["id"] == entry.get("id")]
    found = same or named
    if len(found) > 1:
        raise InvalidRequest("several channels have that name", param="name")
    if found:
        values = changes(found[0], entry, with_status=True)
        return Plan(entry["name"], found[0]["id"], values, sorted(values))
    several = entry.get("multi_key_mode")
    body = {
        "mode": "multi_to_single" if several else "single",
        "multi_key_mode": several,
        "channel": entry,
    }
    row = new_rows(Making.read(body), now)[0]
    return Plan(entry["name"], 0, row, sorted(row))
