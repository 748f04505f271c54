"""The filter for forbidden words in prompts (relay specification, 15).

All words are lower-cased; a prompt hits when its lower-cased text holds one of them.
Most prompts hold none, so a cheap test on the raw JSON body comes first: it may say
"perhaps", never wrongly "no".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ahocorasick_rs import AhoCorasick, BytesAhoCorasick
from attrs import frozen

MASK = "**###**"
_PLAIN = re.compile(r'[^"\\/\x00-\x1f]+\Z')
_ESCAPED = b"\\u"

FEW = 16
"""Words up to which looking for one after the other is faster than the automaton."""


@frozen(eq=False)
class WordFilter:
    """One version of the word list, compiled to automatons.

    Attributes:
        words: Lower-cased, without blanks around, none empty, in the list's order.
    """

    words: tuple[str, ...]
    _found: AhoCorasick
    _raw: tuple[bytes, ...] | BytesAhoCorasick | None
    """The words as bytes; None when the raw test cannot be trusted."""

    @classmethod
    def of(cls, lines: Iterable[str]) -> WordFilter:
        """A filter for the words given one per line."""
        words = tuple(dict.fromkeys(w for line in lines if (w := line.strip().lower())))
        plain = all(_PLAIN.match(word) and _caseless(word) for word in words)
        return cls(words, AhoCorasick(words), _raw(words) if plain else None)

    def may_hit(self, body: bytes) -> bool:
        """False only when no text inside this JSON body can hold a word."""
        raw = self._raw
        if raw is None or _ESCAPED in body:
            return True
        lower = body.lower()
        if isinstance(raw, tuple):
            return any(word in lower for word in raw)
        return bool(raw.find_matches_as_indexes(lower))

    def hits(self, text: str) -> list[str]:
        """The words found in a text, each once, in order of appearance."""
        found = self._found.find_matches_as_strings(text.lower())
        return list(dict.fromkeys(found))

    def masked(self, value: Any) -> Any:
        """A JSON value whose strings have every hit replaced."""
        if isinstance(value, str):
            return self._masked_text(value)
        if isinstance(value, list):
            return [self.masked(item) for item in value]
        if isinstance(value, dict):
            return {key: self.masked(item) for key, item in value.items()}
        return value

    def _masked_text(self, text: str) -> str:
        lower = text.lower()
        if len(lower) != len(text):  # a few letters change their length: then all lower
            text = lower
        kept, position = [], 0
        for _, start, end in self._found.find_matches_as_indexes(lower):
            kept += [text[position:start], MASK]
            position = end
        return "".join([*kept, text[position:]]) if kept else text


def _raw(words: Sequence[str]) -> tuple[bytes, ...] | BytesAhoCorasick:
    encoded = tuple(word.encode() for word in words)
    return encoded if len(encoded) <= FEW else BytesAhoCorasick(encoded)


def _caseless(word: str) -> bool:
    """True when lower-casing the ASCII letters alone lower-cases the whole word."""
    return all(char.isascii() or char.lower() == char.upper() for char in word)


def texts(
    value: Any, skip: Sequence[str] = ("url", "data", "file_data")
) -> Iterator[str]:
    """Every string of a prompt, media left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, skip)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in skip:
                yield from texts(item, skip)
