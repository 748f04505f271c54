"""Token counts made here, without any network: for answers whose provider reports no
usage, for the caller near the limit, and for `count_tokens`.

Counting costs time in proportion to the text (about 15 million characters a second) and
the first count in a process loads a vocabulary: call it in a thread unless the text is
small. Texts beyond a limit are counted in part, and the rest in proportion.
Source: billing specification, sections 5 and 6; relay specification, section 13.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from knight_tw.counting.audio import heard_for, speech_tokens, spoken_for, timed
from knight_tw.counting.encodings import encoding, name_for
from knight_tw.counting.prompts import read
from knight_tw.records import Dialect, Mode

__all__ = [
    "MAX_COUNTED",
    "estimate",
    "estimate_text",
    "heard_for",
    "load",
    "speech_tokens",
    "spoken_for",
    "timed",
]

MAX_COUNTED = 4_000_000
"""Characters of one prompt or answer that are really counted."""

BYTES_PER_TOKEN = 4
"""Of a body that cannot be read."""


def load(model: str = "") -> None:
    """Makes the vocabulary ready that counts for a model, if it is not yet."""
    encoding(name_for(model))


def estimate_text(text: str, model: str, characters: int | None = None) -> int:
    """Tokens of a text.

    Args:
        characters: Length of the whole of which `text` is the beginning.
    """
    counted = _count((text,), model)
    if characters is None or characters <= len(text) or not text:
        return counted
    return -(-counted * characters // len(text))


def estimate(
    body: Mapping[str, Any],
    mode: Mode,
    dialect: Dialect,
    model: str,
    *,
    media: bool = True,
) -> int:
    """Prompt tokens of a request body, whose members may be `msgspec.Raw`.

    Args:
        dialect: The client's.
        media: Look at pictures; else each counts the same (`GET_MEDIA_TOKEN`).
    """
    try:
        prompt = read(body, mode, dialect, model, media)
    except (msgspec.MsgspecError, RecursionError):
        return len(msgspec.json.encode(body)) // BYTES_PER_TOKEN
    return prompt.tokens + _count(prompt.texts, model)


def _count(texts: Iterable[str], model: str) -> int:
    """Tokens of some texts, each encoded for itself; beyond the limit in proportion."""
    tokenizer = encoding(name_for(model))
    tokens = counted = beyond = 0
    for text in texts:
        part = text[: max(MAX_COUNTED - counted, 0)]
        tokens += len(tokenizer.encode_ordinary(part)) if part else 0
        counted += len(part)
        beyond += len(text) - len(part)
    return tokens if not beyond else -(-tokens * (counted + beyond) // counted)
