"""OpenAI image generation on Google's Imagen models (conversion specification, 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from knight_tw.convert.context import Context
from knight_tw.errors import UPSTREAM_TYPE, EmptyAnswer, InvalidRequest, UpstreamRefused
from knight_tw.wire.answers import EMPTY, objects, refuse_errors

Body = dict[str, Any]

RATIOS: Mapping[str, str] = {
    "1536x1024": "3:2",
    "1024x1536": "2:3",
    "1024x1792": "9:16",
    "1792x1024": "16:9",
}
"""OpenAI's sizes that are no squares."""

LARGE = frozenset({"hd", "high", "2k"})
"""Qualities that ask for the larger of two sizes."""

MOST_IMAGES = 128

_SIZE = re.compile(r"(\d+)[xX](\d+)")
_RATIO = re.compile(r"\d+:\d+")
_READ = frozenset({"model", "prompt", "n", "size", "quality", "response_format"})


def request_to_imagen(body: Mapping[str, Any], context: Context) -> Body:
    """The `:predict` request for an OpenAI image generation request.

    Raises:
        InvalidRequest: the prompt or the number cannot be read.
    """
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise InvalidRequest("prompt must be a string", param="prompt")
    parameters: Body = {"sampleCount": _number(body.get("n"))}
    ratio = _ratio(body.get("size"), context)
    if ratio:
        parameters["aspectRatio"] = ratio
    large = str(body.get("quality") or "").lower() in LARGE
    parameters["imageSize"] = "2K" if large else "1K"
    parameters["personGeneration"] = "allow_adult"
    if body.get("response_format") == "url":
        context.drop("response_format")
    for name, value in body.items():
        if name not in _READ and value is not None:
            context.drop(name)
    return {"instances": [{"prompt": prompt}], "parameters": parameters}


def _number(value: Any) -> int:
    if value in (None, 0):
        return 1
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest("n must be a whole number", param="n")
    if not 1 <= value <= MOST_IMAGES:
        raise InvalidRequest(f"n must be from 1 to {MOST_IMAGES}", param="n")
    return value


def _ratio(size: Any, context: Context) -> str:
    """The aspect ratio that a size comes to; one that is not known is reported."""
    if not isinstance(size, str) or size in ("", "auto"):
        return ""
    if _RATIO.fullmatch(size):
        return size
    found = _SIZE.fullmatch(size)
    if found is not None and found[1] == found[2]:
        return "1:1"
    ratio = RATIOS.get(size.lower(), "")
    if not ratio:
        context.drop("size")
    return ratio


def answer_from_imagen(answer: Mapping[str, Any], context: Context) -> Body:
    """The OpenAI answer for an Imagen one.

    Raises:
        UpstreamRefused: it is an error, or the filter left no image.
        EmptyAnswer: there is no image in it.
    """
    refuse_errors(answer)
    predictions = objects(answer.get("predictions"))
    images = [
        {"b64_json": image}
        for prediction in predictions
        if isinstance(image := prediction.get("bytesBase64Encoded"), str) and image
    ]
    if images:
        return {"created": context.created, "data": images}
    for prediction in predictions:
        reason = prediction.get("raiFilteredReason")
        if isinstance(reason, str) and reason:
            raise UpstreamRefused(
                f"request blocked by Gemini: {reason}",
                status=400,
                code="prompt_blocked",
                type=UPSTREAM_TYPE,
                upstream=True,
            )
    raise EmptyAnswer(EMPTY)
