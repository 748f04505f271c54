"""Tokenizers, built from rank files that ship with the package: nothing is fetched.

`o200k_base` and `cl100k_base` are OpenAI's published vocabularies (tiktoken, MIT
license), checked against the hashes that tiktoken expects. Other providers keep theirs
to themselves; the newest of OpenAI's stands for them.
Building one takes some tenths of a second and 45 MB: it is done when first needed, and
belongs in a thread. So does loading tiktoken, which most processes never need.
"""

from __future__ import annotations

import gzip
from base64 import b64decode
from functools import cache, lru_cache
from hashlib import sha256
from importlib.resources import files
from threading import Lock
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from tiktoken import Encoding

NEWEST = "o200k_base"


@frozen
class _Vocabulary:
    sha256: str
    pattern: str


_VOCABULARIES = {
    "o200k_base": _Vocabulary(
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        "|".join(
            (
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*"
                r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
                r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"\p{N}{1,3}",
                r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
                r"\s*[\r\n]+",
                r"\s+(?!\S)",
                r"\s+",
            )
        ),
    ),
    "cl100k_base": _Vocabulary(
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    ),
}


class RanksDamaged(Exception):
    """A rank file of the package is not what was shipped."""


_building = Lock()


def encoding(name: str) -> Encoding:
    """The tokenizer of a name; special tokens count as the text that they are.

    It counts only: what tiktoken keeps for decoding is dropped.

    Raises:
        KeyError: there is none of that name.
        RanksDamaged: its file was changed.
    """
    # Threads that ask at once would each build one, and the memory stays taken.
    with _building:
        return _built(name)


@cache
def _built(name: str) -> Encoding:
    from tiktoken import Encoding

    vocabulary = _VOCABULARIES[name]
    packed = files(__package__).joinpath(f"{name}.tiktoken.gz").read_bytes()
    text = gzip.decompress(packed)
    if sha256(text).hexdigest() != vocabulary.sha256:
        raise RanksDamaged(f"{name}.tiktoken.gz is damaged")
    ranks = dict(_rank(line) for line in text.splitlines())
    made = Encoding(
        name, pat_str=vocabulary.pattern, mergeable_ranks=ranks, special_tokens={}
    )
    # The core has its own copy; this one, of 30 MB, serves pickling and decoding.
    made._mergeable_ranks = {}
    return made


@lru_cache(maxsize=4096)
def name_for(model: str) -> str:
    """Which tokenizer a model has, or comes nearest to it."""
    from tiktoken import encoding_name_for_model

    try:
        name = encoding_name_for_model(model)
    except KeyError:
        return NEWEST
    if name in _VOCABULARIES:
        return name
    return NEWEST if name.startswith("o200k") else "cl100k_base"


def _rank(line: bytes) -> tuple[bytes, int]:
    token, rank = line.split()
    return b64decode(token), int(rank)
