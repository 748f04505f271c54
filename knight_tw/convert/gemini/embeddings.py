"""Embeddings between OpenAI's form and Gemini's (conversion specification, 14).

Gemini embeds one content (`embedContent`) or many (`batchEmbedContents`); to Gemini
always goes the batch form, one request for each input.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.convert.gemini.incoming_messages import parts_of
from knight_tw.convert.gemini.names import camel
from knight_tw.errors import (
    BadUpstreamBody,
    InvalidRequest,
    UnsupportedContent,
    UnsupportedParameter,
)
from knight_tw.wire.answers import UNREADABLE, objects, refuse_errors
from knight_tw.wire.usage import count

Body = dict[str, Any]

_UNSAID = ("taskType", "title", "mimeType", "autoTruncate")


def embeddings_to_gemini(body: Mapping[str, Any], context: Context) -> Body:
    """The `batchEmbedContents` request for an OpenAI embeddings request.

    Raises:
        InvalidRequest: `input` is neither a text nor a list of texts.
        UnsupportedParameter: it consists of tokens.
    """
    dimensions = body.get("dimensions")
    named = f"models/{context.model.removeprefix('models/')}"
    if body.get("user"):
        context.drop("user")
    requests = []
    for text in _inputs(body.get("input")):
        request: Body = {"model": named, "content": {"parts": [{"text": text}]}}
        if isinstance(dimensions, int) and not isinstance(dimensions, bool):
            request["outputDimensionality"] = dimensions
        requests.append(request)
    return {"requests": requests}


def _inputs(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise InvalidRequest("input must be a string or a list", param="input")
    for index, entry in enumerate(value):
        if isinstance(entry, int | list):
            raise UnsupportedParameter("Gemini embeds texts, not tokens", param="input")
        if not isinstance(entry, str):
            where = f"input.{index}"
            raise InvalidRequest(f"{where} must be a string", param=where)
    return value


def embeddings_from_gemini(
    answer: Mapping[str, Any], context: Context, *, as_base64: bool = False
) -> Body:
    """The OpenAI embeddings answer for a Gemini batch answer.

    Args:
        as_base64: The client asked for `encoding_format: base64`, which is
            little-endian 32-bit floats.

    Raises:
        UpstreamRefused: it is an error.
        BadUpstreamBody: it holds no embeddings.
    """
    refuse_errors(answer)
    single = answer.get("embedding")
    found = [single] if isinstance(single, Mapping) else answer.get("embeddings")
    rows = [_values(entry) for entry in objects(found)]
    if not rows:
        raise BadUpstreamBody(UNREADABLE)
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _packed(row) if as_base64 else row,
        }
        for index, row in enumerate(rows)
    ]
    metadata = answer.get("usageMetadata")
    reported = metadata if isinstance(metadata, Mapping) else {}
    prompt = count(reported.get("promptTokenCount")) or context.estimate
    used = {"prompt_tokens": prompt, "total_tokens": prompt}
    return {"object": "list", "data": data, "model": context.model, "usage": used}


def _values(entry: Mapping[str, Any]) -> list[float]:
    values = entry.get("values")
    if not isinstance(values, list) or not all(_is_number(v) for v in values):
        raise BadUpstreamBody(UNREADABLE)
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _packed(row: Sequence[float]) -> str:
    try:
        return base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode()
    except (struct.error, OverflowError):
        raise BadUpstreamBody(UNREADABLE) from None


def embeddings_to_openai(body: Mapping[str, Any], context: Context) -> Body:
    """The OpenAI embeddings request for `embedContent` or `batchEmbedContents`.

    Raises:
        InvalidRequest: a content cannot be read, or the requests ask for different
            numbers of dimensions.
        UnsupportedContent: a content holds more than text.
    """
    named = camel(dict(body))
    batch = "requests" in named
    requests = x_parts.read_objects(named["requests"], "requests") if batch else [named]
    texts: list[str] = []
    dimensions: set[int] = set()
    for index, request in enumerate(requests):
        texts.append(
            _text(request, f"requests.{index}.content" if batch else "content")
        )
        size = request.get("outputDimensionality")
        dimensions.add(size if isinstance(size, int) else 0)
        for name in _UNSAID:
            if request.get(name) is not None:
                context.drop(name)
    if len(dimensions) > 1:
        where = "requests.0.outputDimensionality"
        raise InvalidRequest("all outputDimensionality must be equal", param=where)
    openai: Body = {"model": context.model, "input": texts}
    if size := max(dimensions, default=0):
        openai["dimensions"] = size
    return openai


def _text(request: Mapping[str, Any], param: str) -> str:
    """The texts of a content, line by line."""
    content = request.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, Mapping):
        raise InvalidRequest(f"{param} must be an object", param=param)
    texts = []
    for index, part in enumerate(parts_of(content, param)):
        if not isinstance(part.get("text"), str):
            where = f"{param}.parts.{index}"
            raise UnsupportedContent("only texts can be embedded", param=where)
        texts.append(part["text"])
    return "\n".join(texts)


def embeddings_from_openai(answer: Mapping[str, Any], *, batch: bool) -> Body:
    """The Gemini answer for an OpenAI embeddings answer.

    Raises:
        UpstreamRefused: it is an error.
        BadUpstreamBody: it holds no embeddings.
    """
    refuse_errors(answer)
    entries = objects(answer.get("data"))
    entries.sort(key=lambda entry: count(entry.get("index")))
    rows = [{"values": _unpacked(entry.get("embedding"))} for entry in entries]
    if not rows:
        raise BadUpstreamBody(UNREADABLE)
    found: Body = {"embeddings": rows} if batch else {"embedding": rows[0]}
    reported = answer.get("usage")
    prompt = count(reported.get("prompt_tokens")) if isinstance(reported, dict) else 0
    if prompt:
        used = {"promptTokenCount": prompt, "totalTokenCount": prompt}
        found["usageMetadata"] = used
    return found


def _unpacked(value: Any) -> list[float]:
    """The numbers of an embedding, also of one in base64."""
    if isinstance(value, list) and all(map(_is_number, value)):
        return value
    if isinstance(value, str):
        try:
            data = base64.b64decode(value, validate=True)
            return list(struct.unpack(f"<{len(data) // 4}f", data))
        except (ValueError, struct.error):
            pass
    raise BadUpstreamBody(UNREADABLE)
