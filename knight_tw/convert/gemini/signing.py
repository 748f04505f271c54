"""Signatures in Gemini's fields (conversion specification, 2.1).

`thoughtSignature` is base64 of bytes. Google's own signatures go to Gemini clients as
they are; those of others are wrapped, and the wrapped text is encoded once more,
because Google's SDK decodes the field. It gives it back in the URL-safe alphabet, so
bytes are compared, never texts.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from knight_tw.convert.signatures import GOOGLE, native, owner, unwrap, wrap

PLACEHOLDER: Final = "context_engineering_is_the_way_to_go"
"""What Google documents for calls that another model made."""

DUMMIES: Final = frozenset({PLACEHOLDER, "skip_thought_signature_validator"})

_MARK = b"ko1."
_URL_SAFE = str.maketrans("-_", "+/")


def from_field(value: Any) -> str:
    """The signature in a client's `thoughtSignature`, empty when there is none.

    Returns: a wrapped text that names its provider (`signatures.owner`), else Google's
    own, wrapped now; placeholders are no signatures.
    """
    if not isinstance(value, str) or not value or value in DUMMIES:
        return ""
    if found := wrapped(value):
        return found
    data = _decoded(value)
    if data is None:
        return wrap(GOOGLE, value)
    standard = base64.b64encode(data).decode()
    dummy = standard.translate(_BACK).rstrip("=") in DUMMIES
    return "" if dummy else wrap(GOOGLE, standard)


def wrapped(value: Any) -> str:
    """The wrapped signature in a `thoughtSignature`, empty for Google's own."""
    data = _decoded(value) if isinstance(value, str) else None
    if data is None or not data.startswith(_MARK):
        return ""
    text = data.decode(errors="replace")
    return text if owner(text) else ""


_BACK = str.maketrans("+/", "-_")


def _decoded(value: str) -> bytes | None:
    text = value.translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def to_field(signature: str) -> str:
    """The `thoughtSignature` for a Gemini client; a bare signature is Google's own."""
    letter, original = unwrap(signature)
    if letter in ("", GOOGLE):
        return original
    return base64.b64encode(signature.encode()).decode()


def own(signature: Any) -> str | None:
    """Google's own text for a Gemini channel; None for what others signed."""
    found = native(GOOGLE, signature)
    return None if found in DUMMIES else found
