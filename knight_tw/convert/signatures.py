"""Signatures of reasoning that pass through a conversion (specification, 2.1).

Signed reasoning belongs to one provider. Handed to a client of another dialect, a
signature is wrapped, `ko1.` + letter + `.` + original, so that it is known again when
it comes back, and is never shown to a provider that did not make it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ANTHROPIC: Final = "a"
GOOGLE: Final = "g"
OPENAI: Final = "o"

FORMATS: Mapping[str, str] = {
    ANTHROPIC: "anthropic-claude-v1",
    GOOGLE: "google-gemini-v1",
    OPENAI: "openai-responses-v1",
}
"""Letter of a provider to the `format` of its `reasoning_details`."""

_LETTERS = {name: letter for letter, name in FORMATS.items()}
_MARK = "ko1."


def wrap(letter: str, signature: str) -> str:
    """The signature as clients of other dialects see it; a wrapped one stays."""
    return signature if owner(signature) else f"{_MARK}{letter}.{signature}"


def owner(signature: str) -> str:
    """The letter of the provider in a wrapped signature, empty when it is bare."""
    if signature.startswith(_MARK) and signature[5:6] == ".":
        letter = signature[4]
        return letter if letter in FORMATS else ""
    return ""


def unwrap(signature: str) -> tuple[str, str]:
    """The letter (empty when the signature is bare) and the provider's own text."""
    letter = owner(signature)
    return (letter, signature[6:]) if letter else ("", signature)


def native(letter: str, signature: Any) -> str | None:
    """The provider's own text if the signature is `letter`'s or bare, else None.

    Texts alone count, empty ones do not.
    """
    if not isinstance(signature, str) or not signature:
        return None
    found, original = unwrap(signature)
    return original if found in ("", letter) else None


def foreign(letter: str, signature: Any) -> bool:
    """True for a signature that is wrapped for another provider than `letter`."""
    return isinstance(signature, str) and owner(signature) not in ("", letter)


def detail_letter(detail: Mapping[str, Any]) -> str:
    """The provider that a `reasoning_details` entry belongs to, empty when unknown.

    A wrapped signature says it, else the `format`, a doubled one included.
    """
    for name in ("signature", "data"):
        value = detail.get(name)
        if isinstance(value, str) and owner(value):
            return owner(value)
    name = str(detail.get("format"))
    return next((letter for f, letter in _LETTERS.items() if name.startswith(f)), "")
