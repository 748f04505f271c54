"""Embeddings of providers that have a form of their own for them.

The request is OpenAI's (`input`, `dimensions`, `encoding_format`); what comes back is
brought into its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from knight_tw.convert import gemini
from knight_tw.errors import InvalidRequest
from knight_tw.providers.provider import Body, Target, context_of
from knight_tw.wire import top

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
    vectors: Sequence[Any], target: Target, prompt_tokens: int = 0
) -> dict[str, Any]:
    """The OpenAI answer with these vectors, written as the client asked for.

    Args:
        prompt_tokens: What the provider counted, 0 when it did not.

    Raises:
        BadUpstreamBody: there is none, or one of them is no list of numbers.
    """
    answer = {
        "embeddings": [{"values": vector} for vector in vectors],
        "usageMetadata": {"promptTokenCount": prompt_tokens},
    }
    return from_gemini(answer, target)


def from_gemini(answer: dict[str, Any], target: Target) -> dict[str, Any]:
    """The OpenAI answer for one of the Gemini API."""
    packed = asks_for_base64(target)
    return gemini.embeddings_from_gemini(answer, context_of(target), as_base64=packed)


def asks_for_base64(target: Target) -> bool:
    """True when the client wants vectors as bytes, as OpenAI's own client does."""
    return bool(top.plain(dict(target.asked), "encoding_format") == "base64")
