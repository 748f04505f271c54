"""Google's own forms of embeddings and pictures (specification, 7.3b, 7.4; conversion
specification, 14).

Both APIs paint with `:predict`. Embeddings are `:batchEmbedContents` on the Gemini API
and `:predict` on Vertex.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import gcd
from typing import Any

from knight_tw.errors import (
    UPSTREAM_TYPE,
    InvalidRequest,
    UnsupportedContent,
    UpstreamRefused,
)
from knight_tw.providers import embeddings
from knight_tw.providers.gemini_models import takes_dimensions
from knight_tw.providers.provider import Body, Target, Wrapping
from knight_tw.records import Mode
from knight_tw.wire import top
from knight_tw.wire.answers import objects, unreadable
from knight_tw.wire.usage import first_count

IMAGE_TOKENS = 258
"""What one picture counts as."""

MOST_IMAGES = 8

_RATIOS: Mapping[str, str] = {
    "1536x1024": "3:2",
    "1024x1536": "2:3",
    "1024x1792": "9:16",
    "1792x1024": "16:9",
}
_SIZE = re.compile(r"([1-9]\d{0,5})([x:])([1-9]\d{0,5})")
_FINE = frozenset({"hd", "high", "2K"})
_FILTERED = "the picture was held back by the provider's safety filter"


def rewrite(body: Body, target: Target) -> None:
    """The request for pictures, or for embeddings of the Gemini API, in place.

    Raises:
        InvalidRequest: a member cannot be read.
    """
    own = _imagen(body) if target.mode is Mode.IMAGES else _batch(body, target)
    body.clear()
    body.update(own)


def rewrite_vertex(body: Body, target: Target) -> None:
    """The same for Vertex."""
    own = _imagen(body) if target.mode is Mode.IMAGES else _instances(body, target)
    body.clear()
    body.update(own)


def unwrap(target: Target) -> Wrapping | None:
    """What reads the OpenAI answer out of Google's own form, None for chats."""
    if target.mode is Mode.EMBEDDINGS:
        return lambda answer: _vectors(answer, target)
    if target.mode is Mode.IMAGES:
        return lambda answer: _pictures(answer, target)
    return None


def _batch(body: Body, target: Target) -> Body:
    request: Body = {"model": f"models/{target.model}"}
    dimensions = embeddings.read_dimensions(body)
    if dimensions is not None and takes_dimensions(target.model):
        request["outputDimensionality"] = dimensions
    return {
        "requests": [
            {**request, "content": {"parts": [{"text": text}]}}
            for text in embeddings.read_texts(body)
        ]
    }


def _instances(body: Body, target: Target) -> Body:
    texts = embeddings.read_texts(body)
    if target.model.startswith("gemini-embedding-") and len(texts) > 1:
        raise UnsupportedContent(
            "this model takes one input a call", param="input", retryable=True
        )
    task = top.read_text(body, "task_type")
    more = {"task_type": task} if task else {}
    own: Body = {"instances": [{"content": text, **more} for text in texts]}
    dimensions = embeddings.read_dimensions(body)
    if dimensions is not None:
        own["parameters"] = {"outputDimensionality": dimensions}
    return own


def _vectors(answer: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """The OpenAI answer for `embeddings`, `embedding` or `predictions`."""
    found = answer.get("embeddings")
    if isinstance(found, list):
        usage = answer.get("usageMetadata")
        counts = usage if isinstance(usage, Mapping) else {}
        tokens = first_count(counts, "promptTokenCount")
        return embeddings.to_answer(_values(found), target, tokens)
    if not isinstance(answer.get("predictions"), list):
        raise unreadable(repr(answer)[:200].encode())
    inner = [p.get("embeddings") for p in objects(answer["predictions"])]
    found = [each if isinstance(each, Mapping) else {} for each in inner]
    return embeddings.to_answer(_values(found), target, _counted(found))


def _values(found: Sequence[Any]) -> list[Any]:
    return [each.get("values") for each in found if isinstance(each, Mapping)]


def _counted(found: Sequence[Mapping[str, Any]]) -> int | None:
    """Tokens of all vectors together, None when one of them has no count."""
    counts = []
    for each in found:
        statistics = each.get("statistics")
        known = statistics if isinstance(statistics, Mapping) else {}
        counts.append(first_count(known, "token_count"))
    return None if None in counts else sum(c for c in counts if c)


def _imagen(body: Body) -> Body:
    prompt = top.read_text(body, "prompt")
    if not prompt:
        raise InvalidRequest("prompt is required", param="prompt")
    parameters: Body = {"sampleCount": top.read_whole(body, "n", 1, MOST_IMAGES) or 1}
    ratio = _ratio(top.read_text(body, "size"))
    if ratio:
        parameters["aspectRatio"] = ratio
    fine = top.read_text(body, "quality") in _FINE
    parameters["imageSize"] = "2K" if fine else "1K"
    parameters["personGeneration"] = "allow_adult"
    return {"instances": [{"prompt": prompt}], "parameters": parameters}


def _ratio(size: str | None) -> str:
    """The aspect ratio of a size like `1024x1024` or `16:9`, empty for none."""
    if not size or size == "auto":
        return ""
    found = _SIZE.fullmatch(size)
    if found is None:
        raise InvalidRequest("size must be WIDTHxHEIGHT", param="size")
    if found[2] == ":":
        return size
    width, height = int(found[1]), int(found[3])
    shared = gcd(width, height)
    return _RATIOS.get(size, f"{width // shared}:{height // shared}")


def _pictures(answer: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """The OpenAI answer for `predictions`.

    Raises:
        UpstreamRefused: all pictures were held back.
        BadUpstreamBody: the answer is something else.
    """
    predictions = answer.get("predictions", [])
    if not isinstance(predictions, list):
        raise unreadable(repr(answer)[:200].encode())
    found = objects(predictions)
    data = [
        {"b64_json": picture["bytesBase64Encoded"]}
        for picture in found
        if picture.get("bytesBase64Encoded")
    ]
    if not data:
        reasons = [str(p.get("raiFilteredReason") or "") for p in found]
        raise _held_back("; ".join(reason for reason in reasons if reason))
    tokens = IMAGE_TOKENS * len(data)
    usage = {"input_tokens": 0, "output_tokens": tokens, "total_tokens": tokens}
    return {
        "created": target.created,
        "data": data,
        "model": target.model,
        "usage": usage,
    }


def _held_back(reason: str) -> UpstreamRefused:
    return UpstreamRefused(
        reason or _FILTERED,
        status=400,
        code="content_policy_violation",
        type=UPSTREAM_TYPE,
        upstream=True,
    )
