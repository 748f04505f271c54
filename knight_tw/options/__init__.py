"""The administrator's options: the database's option table as one typed snapshot.

A snapshot never changes; whoever needs current values holds a reference that is
replaced. What the table lacks stands at its default; a row that cannot be read is
listed in `problems` and its key stands at the default too; unknown keys are kept.
Saving is stricter than reading: see `Options.write`.
Source: options specification, sections 1 to 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec
from attrs import frozen

from knight_tw.options.kinds import MAX_TEXT, Kind, Option
from knight_tw.options.table import OPTIONS

HIDDEN_ENDINGS = ("Token", "Secret", "Key", "secret", "api_key")
"""A key that ends so is never shown, whoever made it."""

MIRRORS: Mapping[str, str] = {
    "group_ratio_setting.group_ratio": "GroupRatio",
    "group_ratio_setting.group_group_ratio": "GroupGroupRatio",
}
"""Structured keys that are another name of a flat one."""

IGNORED = frozenset({"theme.frontend"})
"""Retired keys: a write succeeds and stores nothing."""

MAX_KEY = 255

_NOTHING: Mapping[str, str] = MappingProxyType({})
_BLANK_IS_DEFAULT = frozenset({Kind.WHOLE, Kind.NUMBER, Kind.CHOICE, Kind.JSON})
_DEFAULT_TEXTS = {key: option.default for key, option in OPTIONS.items()}
_DEFAULT_VALUES = {key: option.read(option.default) for key, option in OPTIONS.items()}

_encode = msgspec.json.Encoder(decimal_format="number").encode


class OptionRefused(Exception):
    """A write that stores nothing; the message is for the administrator.

    Args:
        code: `missing_field` without a key or value, else `invalid_field`.
    """

    def __init__(self, key: str, message: str, code: str = "invalid_field") -> None:
        super().__init__(message)
        self.key = key
        self.message = message
        self.code = code


def hidden(key: str) -> bool:
    """True when the value must not be shown to anybody."""
    option = OPTIONS.get(key)
    return key.endswith(HIDDEN_ENDINGS) or (option is not None and option.secret)


@frozen(eq=False)
class Options:
    """One reading of the option table. Values of `json` are shared: never change them.

    Attributes:
        problems: Key to what is wrong with its row.
        stored: The rows as they were read.
    """

    stored: Mapping[str, str]
    problems: Mapping[str, str]
    _texts: Mapping[str, str]
    _values: Mapping[str, Any]
    _defaults: Mapping[str, str]
    _forced: Mapping[str, str]

    @classmethod
    def from_rows(
        cls,
        rows: Mapping[str, str],
        *,
        defaults: Mapping[str, str] = _NOTHING,
        forced: Mapping[str, str] = _NOTHING,
    ) -> Options:
        """The snapshot of some rows.

        Args:
            defaults: Texts that stand for absent rows instead of the built-in ones.
            forced: Texts that win over rows (both come from the environment).
        """
        texts, values = dict(_DEFAULT_TEXTS), dict(_DEFAULT_VALUES)
        problems: dict[str, str] = {}
        for source in (defaults, _mirrored(rows), forced):
            for key, text in source.items():
                try:
                    texts[key], values[key] = _reading(key, text)
                except ValueError as error:
                    problems[key] = str(error)
        return cls(dict(rows), problems, texts, values, defaults, forced)

    def changed(self, changes: Mapping[str, str | None]) -> Options:
        """The snapshot after some rows were stored, or deleted (None)."""
        rows = {**self.stored, **changes}
        kept = {key: text for key, text in rows.items() if text is not None}
        return Options.from_rows(kept, defaults=self._defaults, forced=self._forced)

    def flag(self, key: str) -> bool:
        """The value of a boolean option; KeyError when there is no such key."""
        value: bool = self._values[key]
        return value

    def integer(self, key: str) -> int:
        """The value of a whole number, within its bounds."""
        value: int = self._values[key]
        return value

    def decimal(self, key: str) -> Decimal:
        """The value of a number option."""
        return Decimal(self._values[key])

    def text(self, key: str) -> str:
        """The text of an option of any kind, an empty one when the key is unknown."""
        return self._texts.get(key, "")

    def lines(self, key: str) -> tuple[str, ...]:
        """The entries of a list of lines or of comma-separated words, none blank."""
        value: tuple[str, ...] = self._values[key]
        return value

    def json(self, key: str) -> Any:
        """What a JSON option holds, fractions as Decimal; None when it is blank."""
        return self._values[key]

    def value(self, key: str) -> Any:
        """The typed value of an option of any kind (`Option.read` says which)."""
        return self._values[key]

    def get(self, key: str) -> str | None:
        """The text in force, or None when the key is unknown."""
        return self._texts.get(key)

    def rows(self) -> dict[str, str]:
        """Every key and its text in force: defaults and unknown keys too, secrets too.

        Keys that the reference lists only once they are stored are left out till then.
        """
        return {
            key: text
            for key, text in self._texts.items()
            if key in self.stored or key not in OPTIONS or not OPTIONS[key].unlisted
        }

    def check(self, key: str, value: Any) -> str:
        """The text to store for a new value.

        Args:
            value: A bool, a number, a text, or for JSON options the structure itself.

        Raises:
            OptionRefused: the value is not valid, or another option must be set first.
        """
        text = _checked(key, value)
        self._check_needs(key, text)
        return text

    def write(self, key: str, value: Any) -> dict[str, str]:
        """The rows to store for one write: mostly one, two where keys go together, none
        for retired keys.

        Raises:
            OptionRefused: as `check`.
        """
        if key in IGNORED:
            return {}
        return _with_companions(key, self.check(key, value))

    def write_all(
        self, changes: Mapping[str, Any]
    ) -> tuple[dict[str, str | None], dict[str, OptionRefused]]:
        """The rows to store for a batch (None = delete), and what was refused.

        The batch is judged as a whole: a switch and what it needs may come together.
        Store nothing unless the second part is empty.
        """
        rows: dict[str, str | None] = {}
        refused: dict[str, OptionRefused] = {}
        for key, value in changes.items():
            try:
                if value is None:
                    rows[key] = None
                elif key not in IGNORED:
                    rows |= _with_companions(key, _checked(key, value))
            except OptionRefused as error:
                refused[key] = error
        after = self.changed(rows)
        for key, text in rows.items():
            try:
                after._check_needs(key, text or "")
            except OptionRefused as error:
                refused[key] = error
        return rows, refused

    def _check_needs(self, key: str, text: str) -> None:
        option = OPTIONS.get(key)
        if option is None or not option.needs or text != "true":
            return
        if not self.text(option.needs).strip():
            raise OptionRefused(key, f"{option.needs} must be set first")


def _mirrored(rows: Mapping[str, str]) -> dict[str, str]:
    """The rows, flat keys and their structured names made equal (the flat one wins)."""
    both = dict(rows)
    for structured, flat in MIRRORS.items():
        if (text := rows.get(flat, rows.get(structured))) is not None:
            both[flat] = both[structured] = text
    return both


def _reading(key: str, text: str) -> tuple[str, Any]:
    option = OPTIONS.get(key)
    if option is None:
        return text, text
    if option.kind in _BLANK_IS_DEFAULT and not text.strip():
        return _DEFAULT_TEXTS[key], _DEFAULT_VALUES[key]
    value = option.bounded(option.read(text))
    return text, value


def _with_companions(key: str, text: str) -> dict[str, str]:
    rows = {key: text}
    for structured, flat in MIRRORS.items():
        if key in (structured, flat):
            rows = {flat: text, structured: text}
    if key == "DisplayInCurrencyEnabled":
        shown = "USD" if text == "true" else "TOKENS"
        rows["general_setting.quota_display_type"] = shown
    return rows


def _checked(key: str, value: Any) -> str:
    if not key.strip() or value is None:
        raise OptionRefused(key, "key or value is missing", "missing_field")
    text = _as_text(value)
    if len(key) > MAX_KEY or len(text) > MAX_TEXT or "\0" in key + text:
        raise OptionRefused(key, "key or value is too long or not a text")
    option = OPTIONS.get(key)
    if option is None:
        return text
    if option.refused:
        raise OptionRefused(key, option.refused)
    try:
        return _stored_form(option, text)
    except ValueError as error:
        raise OptionRefused(key, str(error)) from None


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return _encode(value).decode()
    return str(value)


def _stored_form(option: Option, text: str) -> str:
    if option.kind in _BLANK_IS_DEFAULT and not text.strip():
        return ""
    value = option.read(text)
    if option.kind in (Kind.WHOLE, Kind.NUMBER):
        if option.bounded(value) != value:
            raise ValueError(f"must be at most {option.most}")
        return f"{value:f}" if option.kind is Kind.NUMBER else str(value)
    if option.check is not None:
        option.check(value)
    if option.kind is Kind.FLAG:
        return "true" if value else "false"
    if option.kind in (Kind.URL, Kind.CHOICE, Kind.CODES):
        return str(value)
    return text
