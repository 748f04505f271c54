"""Embeddings of providers that have a form of their own for them.

The request is OpenAI's (`input`, `dimensions`, `encoding_format`); what comes back is
brought into its answer.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any

from knight_tw.errors import InvalidRequest
from knight_tw.providers.provider import Body, Target
from knight_tw.wire import top
from knight_tw.wire.answers import unreadable

DIMENSIONS_MOST = 100_000


def read_texts(body: Body) -> list[str]:
    """The texts of `input`.

    Raises:
        InvalidRequest: it holds something else; only OpenAI reads token numbers.
    """
    value = top.plain(body, "input")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise InvalidRequest("input must be a string or a list", param="input")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidRequest(
                "the provider of this model takes texts only", param=f"input.{index}"
            )
    return texts


def read_dimensions(body: Body) -> int | None:
    """The length of vector asked for, None for the model's own."""
    return top.read_whole(body, "dimensions", 1, DIMENSIONS_MOST)


def to_answer(
    vectors: Sequence[Any], target: Target, prompt_tokens: int | None
) -> dict[str, Any]:
    """The OpenAI answer with these vectors, encoded as the client asked for.

    Args:
        prompt_tokens: What the provider counted, None when it did not.

    Raises:
        BadUpstreamBody: one of them is no list of numbers.
    """
    encoded = asks_for_base64(target)
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(vector, encoded)}
        for index, vector in enumerate(vectors)
    ]
    answer: dict[str, Any] = {"object": "list", "data": data, "model": target.model}
    if prompt_tokens is not None:
        tokens = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
        answer["usage"] = tokens
    return answer


def asks_for_base64(target: Target) -> bool:
    """True when the client wants vectors as bytes, as OpenAI's own client does."""
    return top.plain(dict(target.asked), "encoding_format") == "base64"


def encode(vector: Sequence[float]) -> str:
    """The vector as base64 of little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _vector(vector: Any, encoded: bool) -> Any:
    if not isinstance(vector, list):
        raise unreadable(repr(vector)[:200].encode())
    if not encoded:
        return vector
    try:
        return encode(vector)
    except (struct.error, OverflowError):
        raise unreadable(repr(vector)[:200].encode()) from None
