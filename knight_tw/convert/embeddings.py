"""Embeddings between OpenAI's and Gemini's API (conversion specification, 14).

OpenAI takes a text or a list of texts, Gemini one content (`embedContent`) or a list of
requests (`batchEmbedContents`). A vector is a list of numbers, or for OpenAI's clients
that ask for `base64` its 32 bit floats, little end first.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.errors import EmptyAnswer, InvalidRequest, UnsupportedContent
from knight_tw.wire.answers import EMPTY, objects, refuse_errors, unreadable
from knight_tw.wire.usage import count

Body = dict[str, Any]

UNSAID = ("taskType", "title", "autoTruncate")
"""Fields that OpenAI's embeddings have nothing like."""


def request_to_gemini(body: Mapping[str, Any], context: Context) -> Body:
    """The `batchEmbedContents` request for an OpenAI embeddings request.

    Raises:
        InvalidRequest: `input` cannot be read.
        UnsupportedContent: `input` is token ids, which mean nothing to another model.
    """
    texts = body.get("input")
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, list):
        raise InvalidRequest("input must be a string or a list", param="input")
    if body.get("user"):
        context.drop("user")
    return {
        "requests": [
            _request(text, f"input.{n}", body, context) for n, text in enumerate(texts)
        ]
    }


def _request(text: Any, param: str, body: Mapping[str, Any], context: Context) -> Body:
    if not isinstance(text, str):
        raise UnsupportedContent("this model takes texts, not token ids", param=param)
    request: Body = {"model": f"models/{context.model}"}
    request["content"] = {"parts": [{"text": text}]}
    if body.get("dimensions") is not None:
        request["outputDimensionality"] = body["dimensions"]
    return request


def answer_from_gemini(
    answer: Mapping[str, Any], request: Mapping[str, Any], context: Context
) -> Body:
    """The OpenAI answer for a Gemini one.

    Args:
        request: The client's own request, which says how vectors are written.

    Raises:
        UpstreamRefused: the answer is an error.
        EmptyAnswer: there is no vector in it.
    """
    refuse_errors(answer)
    vectors = [_values(entry) for entry in _embeddings(answer)]
    if not vectors:
        raise EmptyAnswer(EMPTY)
    packed = request.get("encoding_format") == "base64"
    metadata = answer.get("usageMetadata")
    reported = metadata.get("promptTokenCount") if isinstance(metadata, Mapping) else 0
    prompt = count(reported) or context.estimate
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": pack(vector) if packed else vector,
            }
            for index, vector in enumerate(vectors)
        ],
        "model": context.model,
        "usage": {"prompt_tokens": prompt, "total_tokens": prompt},
    }


def _embeddings(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The vectors of a batch, or the one of a single request."""
    single = answer.get("embedding")
    if isinstance(single, dict):
        return [single]
    return objects(answer.get("embeddings"))


def _values(entry: Mapping[str, Any]) -> list[Any]:
    values = entry.get("values")
    return values if isinstance(values, list) else []


def request_from_gemini(body: Mapping[str, Any], context: Context) -> Body:
    """The OpenAI request for a Gemini `embedContent` or `batchEmbedContents` request.

    Raises:
        InvalidRequest: it cannot be read; `param` is the path.
        UnsupportedContent: a part that is no text.
    """
    context.memory.request = body
    if "requests" in body:
        entries = x_parts.read_objects(body["requests"], "requests")
        paths = [f"requests.{n}.content" for n in range(len(entries))]
    else:
        entries, paths = [dict(body)], ["content"]
    texts = [_text(e.get("content"), p) for e, p in zip(entries, paths, strict=True)]
    if not texts:
        raise InvalidRequest("requests is required", param="requests")
    request: Body = {"model": context.model, "input": texts}
    dimensions = _either(entries[0], "outputDimensionality")
    if dimensions is not None:
        request["dimensions"] = dimensions
    for name in UNSAID:
        if any(_either(entry, name) for entry in entries):
            context.drop(name)
    return request


def _either(obj: Mapping[str, Any], name: str) -> Any:
    """A member in either of the spellings that Google takes."""
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    return obj.get(name, obj.get(snake))


def _text(content: Any, param: str) -> str:
    """The texts of a content, a line each."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Mapping):
        raise InvalidRequest(f"{param} must be an object", param=param)
    where = f"{param}.parts"
    lines = []
    for index, part in enumerate(x_parts.read_objects(content.get("parts"), where)):
        if not isinstance(part.get("text"), str):
            raise UnsupportedContent(
                "this model embeds texts alone", param=f"{where}.{index}"
            )
        lines.append(part["text"])
    return "\n".join(lines)


def answer_to_gemini(answer: Mapping[str, Any], context: Context) -> Body:
    """The Gemini answer for an OpenAI one, single or a batch as it was asked for.

    Raises:
        UpstreamRefused: the answer is an error.
        EmptyAnswer: there is no vector in it.
        BadUpstreamBody: a vector cannot be read.
    """
    refuse_errors(answer)
    entries = [
        {"values": unpack(entry.get("embedding"))}
        for entry in sorted(objects(answer.get("data")), key=_index)
    ]
    if not entries:
        raise EmptyAnswer(EMPTY)
    if "requests" in context.memory.request:
        return {"embeddings": entries}
    return {"embedding": entries[0]}


def _index(entry: Mapping[str, Any]) -> int:
    index = entry.get("index")
    return index if isinstance(index, int) else 0


def pack(vector: list[Any]) -> str:
    """A vector as base64 text of its 32 bit floats.

    Raises:
        BadUpstreamBody: it holds what is no such number.
    """
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (struct.error, OverflowError, TypeError):
        raise unreadable(b"a vector that holds no numbers") from None


def unpack(vector: Any) -> list[Any]:
    """A vector as a list, whichever way it is written.

    Raises:
        BadUpstreamBody: it is neither a list nor such text.
    """
    if isinstance(vector, list):
        return vector
    try:
        data = base64.b64decode(vector, validate=True)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    except (struct.error, binascii.Error, TypeError, ValueError):
        raise unreadable(b"a vector that is no list and no base64") from None
