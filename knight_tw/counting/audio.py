"""Tokens of sound, where no provider has counted them.

The reference turns seconds into tokens by price: a minute heard costs what 100 / 0.06
tokens cost, a minute spoken what 200 / 0.24 do.
Source: billing specification, section 6.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

BYTES_PER_SECOND = {
    "wav": 48_000,
    "pcm": 48_000,
    "pcm16": 48_000,
    "audio/pcm": 48_000,
    "g711_ulaw": 8_000,
    "g711_alaw": 8_000,
    "audio/pcmu": 8_000,
    "audio/pcma": 8_000,
}
"""Of recordings whose rate follows from their format (`pcm`: 24 kHz, 16 bit, mono)."""

COMPRESSED = 16_000
"""Bytes of a second of compressed sound, at 128 kbit/s."""


def seconds_of(size: int, kind: str) -> float:
    """How long a recording of some bytes is, by its format."""
    return size / BYTES_PER_SECOND.get(kind, COMPRESSED)


def heard(size: int, kind: str) -> int:
    """Tokens of recorded input of some bytes, rounded up."""
    return heard_for(seconds_of(size, kind))


def heard_for(seconds: float) -> int:
    """Tokens of some seconds of sound that a model hears, rounded up."""
    return math.ceil(seconds / 60 * 100 / 0.06)


def spoken_for(seconds: float) -> int:
    """Tokens of some seconds of sound that a model speaks, rounded up."""
    return math.ceil(seconds / 60 * 200 / 0.24)


def timed(seconds: float) -> int:
    """Tokens of begun seconds at 1000 a minute: speech made, and recordings
    transcribed."""
    exact = Decimal(math.ceil(max(seconds, 0.0))) * 1000 / 60
    return int(exact.to_integral_value(ROUND_HALF_UP))


def speech_tokens(size: int, kind: str, seconds: float | None = None) -> int:
    """Audio tokens of a produced speech file.

    Args:
        size: Its bytes.
        kind: Its format; `pcm` tells its length by its size.
        seconds: Its length, where it could be read.
    """
    if kind == "pcm":
        seconds = size / BYTES_PER_SECOND["pcm"]
    if seconds is None:
        return math.ceil(size / 1000)
    return timed(seconds)
