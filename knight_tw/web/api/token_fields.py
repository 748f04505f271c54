"""Token columns as the API writes and shows them (management API, section 5)."""

from __future__ import annotations

import ipaddress
import json
import random
import re
import string
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from knight_tw.accounts.callers import AUTO, usable_groups
from knight_tw.options import Options
from knight_tw.records import DISABLED, ENABLED
from knight_tw.web.api.answers import Refusal, flag, integer, invalid, missing, text

Row = dict[str, Any]

KEY_LENGTH = 48
KEY_ALPHABET = string.digits + string.ascii_letters
NEVER = -1
"""`expired_time` of a token that does not expire."""

NAME_LENGTH = 50
LIMITS_LENGTH, IPS_LENGTH = 60_000, 191
"""What the columns hold on every engine."""

_SHOWN = (
    "id",
    "user_id",
    "key",
    "status",
    "name",
    "created_time",
    "accessed_time",
    "expired_time",
    "remain_quota",
    "unlimited_quota",
    "model_limits_enabled",
    "model_limits",
    "allow_ips",
    "used_quota",
    "group",
    "cross_group_retry",
)
_FLAGS = ("unlimited_quota", "model_limits_enabled", "cross_group_retry")
_TEXTS = ("name", "model_limits", "group")


def new_key(chance: random.Random) -> str:
    """A fresh relay key, without `sk-`."""
    return "".join(chance.choices(KEY_ALPHABET, k=KEY_LENGTH))


def masked(key: str) -> str:
    """A key that people can recognise and nobody can use."""
    if len(key) <= 4:
        return "*" * len(key)
    if len(key) <= 8:
        return f"{key[:2]}****{key[-2:]}"
    return f"{key[:4]}{'*' * 10}{key[-4:]}"


def shown(row: Mapping[str, Any], *, full: bool, one_api: bool = False) -> Row:
    """A token as answers carry it.

    Args:
        full: The whole key instead of the masked one.
        one_api: Also the two members that one-api names otherwise.
    """
    told = {name: row[name] for name in _SHOWN}
    for name in _FLAGS:
        told[name] = bool(told[name])
    for name in _TEXTS:
        told[name] = told[name] or ""
    told["key"] = row["key"] if full else masked(row["key"])
    told["DeletedAt"] = None
    told["auto_groups"] = _stored_groups(row["auto_groups"])
    if one_api:
        told["models"], told["subnet"] = told["model_limits"], told["allow_ips"] or ""
    return told


def _stored_groups(column: str | None) -> list[Any] | None:
    try:
        found = json.loads(column or "null")
    except ValueError:
        return None
    return found if isinstance(found, list) and found else None


@frozen
class Rules:
    """What may stand in the tokens of one account today."""

    options: Options
    user_group: str
    now: float

    def new(self, body: Mapping[str, Any]) -> Row:
        """The columns of a new token, without owner and key.

        Raises:
            Refusal: a member is not valid.
        """
        row: Row = {
            "status": ENABLED,
            "name": "",
            "expired_time": NEVER,
            "remain_quota": 0,
            "unlimited_quota": False,
            "allow_ips": "",
            "group": AUTO if self.options.flag("DefaultUseAutoGroup") else "",
            "created_time": int(self.now),
            "accessed_time": int(self.now),
        }
        row |= self._written(body, row)
        return self._settled(row)

    def changes(self, row: Row, body: Mapping[str, Any]) -> Row:
        """The columns of `row` that `body` changes.

        Raises:
            Refusal: what results is not valid.
        """
        after = self._settled({**row, **self._written(body, row)})
        after["status"] = self._status(row, after, body)
        return {
            name: value
            for name, value in after.items()
            if row[name] != value and not (row[name] is None and not value)
        }

    def status(self, row: Row, body: Mapping[str, Any]) -> Row:
        """The status alone, as `status_only` sets it.

        Raises:
            Refusal: not 1 or 2, or the token cannot be enabled.
        """
        if body.get("status") is None:
            raise missing("status")
        return {"status": self._status(row, row, body)}

    def _written(self, body: Mapping[str, Any], row: Row) -> Row:
        """The members of `body` that are there, checked one by one."""
        found: Row = {}
        for name, read in self._readers().items():
            if body.get(name) is not None:
                found[name] = read(body)
        if body.get("models") is not None and "model_limits" not in found:
            found["model_limits"] = _names(body, "models")
            found.setdefault("model_limits_enabled", bool(found["model_limits"]))
        if body.get("subnet") is not None and "allow_ips" not in found:
            found["allow_ips"] = _addresses(body, "subnet")
        if found.get("expired_time", NEVER) not in (NEVER, row["expired_time"]):
            self._check_time(found["expired_time"])
        return found

    def _readers(self) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        most = 1_000_000_000 * self.options.integer("QuotaPerUnit")
        return {
            "name": lambda body: text(body, "name", longest=NAME_LENGTH).strip(),
            "expired_time": lambda body: integer(body, "expired_time", least=NEVER),
            "remain_quota": lambda body: self._quota(body, most),
            "unlimited_quota": lambda body: flag(body, "unlimited_quota"),
            "model_limits_enabled": lambda body: flag(body, "model_limits_enabled"),
            "model_limits": lambda body: _names(body, "model_limits"),
            "allow_ips": lambda body: _addresses(body, "allow_ips"),
            "group": self._group,
            "cross_group_retry": lambda body: flag(body, "cross_group_retry"),
            "auto_groups": self._auto_groups,
        }

    def _quota(self, body: Mapping[str, Any], most: int) -> int:
        if flag(body, "unlimited_quota", False):
            return integer(body, "remain_quota")
        return integer(body, "remain_quota", least=0, most=most)

    def _group(self, body: Mapping[str, Any]) -> str:
        name = text(body, "group", longest=64).strip()
        if name not in ("", AUTO) and name not in self._usable():
            raise not_usable(name)
        return name

    def _auto_groups(self, body: Mapping[str, Any]) -> str:
        given = body["auto_groups"]
        most = self.options.integer("MaxTokenAutoGroups")
        if not isinstance(given, list) or not all(isinstance(g, str) for g in given):
            raise invalid("auto_groups", "a list of groups")
        if len(given) > most or len(set(given)) != len(given):
            raise invalid("auto_groups", f"at most {most} different groups")
        for name in given:
            if name not in self._usable():
                raise not_usable(name)
        return json.dumps(given, ensure_ascii=False) if given else ""

    def _usable(self) -> Mapping[str, str]:
        return usable_groups(self.user_group, self.options)

    def _check_time(self, moment: int) -> None:
        if moment <= self.now:
            raise invalid("expired_time", "-1 or a moment to come")

    def _settled(self, row: Row) -> Row:
        """The row without what only means something with the group `auto`."""
        if row["group"] == AUTO:
            return row
        return {**row, "cross_group_retry": False, "auto_groups": ""}

    def _status(self, row: Row, after: Row, body: Mapping[str, Any]) -> int:
        """The status after a write; enabling needs time and quota left."""
        status = integer(body, "status", row["status"])
        if status == row["status"]:
            return status
        if status not in (ENABLED, DISABLED):
            raise invalid("status", "1 or 2")
        if status == ENABLED:
            if after["expired_time"] != NEVER and after["expired_time"] <= self.now:
                raise Refusal("the token has expired: give it a new time first")
            if not after["unlimited_quota"] and after["remain_quota"] <= 0:
                raise Refusal("the token has no quota left: give it some first")
        return status


def not_usable(group: str) -> Refusal:
    """The refusal of a group that the account may not use."""
    return Refusal(
        f"the group {group} does not exist or you may not use it",
        code="group_not_usable",
        params={"field": "group", "group": group},
    )


def _names(body: Mapping[str, Any], name: str) -> str:
    """A comma-separated list of models, also given as a JSON array."""
    given = body[name]
    if isinstance(given, list) and all(isinstance(one, str) for one in given):
        given = ",".join(given)
    entries = [one.strip() for one in text({name: given}, name).split(",")]
    joined = ",".join(dict.fromkeys(one for one in entries if one))
    if len(joined) > LIMITS_LENGTH:
        raise invalid(name, f"at most {LIMITS_LENGTH} characters")
    return joined


def _addresses(body: Mapping[str, Any], name: str) -> str:
    """Addresses and networks, one per line."""
    entries = re.split(r"[\s,]+", text(body, name).strip())
    lines = "\n".join(dict.fromkeys(one for one in entries if one))
    for entry in lines.splitlines():
        try:
            ipaddress.ip_network(entry, strict=False)
        except ValueError:
            raise invalid(name, "an address or network per line") from None
    if len(lines) > IPS_LENGTH:
        raise invalid(name, f"at most {IPS_LENGTH} characters")
    return lines
