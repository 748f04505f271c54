"""The id of a request: `YYYYMMDDHHMMSS`, nine digits of the second's fraction, eight
random characters (relay specification, 15). Sortable by time, unique per process."""

from __future__ import annotations

import random
import time
from contextvars import ContextVar

from attrs import define, field

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
_MANY = len(_PAIRS)

current: ContextVar[str] = ContextVar("request_id", default="")
"""The request in whose context code runs; the log observers add it to each line."""


@define
class RequestIds:
    """Makes ids; the text of a second is made once."""

    _random: random.Random = field(factory=random.Random)
    _second: int = 0
    _text: str = ""

    def new(self, now: float) -> str:
        """An id for a request that arrived at `now` (epoch seconds)."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y%m%d%H%M%S", time.gmtime(second))
        fraction = int((now - second) * 1e9)
        draw = self._random.random  # an id, no secret
        head = f"{_PAIRS[int(draw() * _MANY)]}{_PAIRS[int(draw() * _MANY)]}"
        tail = f"{_PAIRS[int(draw() * _MANY)]}{_PAIRS[int(draw() * _MANY)]}"
        return f"{self._text}{fraction:09d}{head}{tail}"
