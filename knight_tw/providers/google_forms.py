"""Google's own forms of embeddings and pictures (specification, 7.3b and 7.4).

Both of its APIs paint with `:predict`. Embeddings are `:batchEmbedContents` on the
Gemini API and `:predict` on Vertex.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from knight_tw.convert import gemini
from knight_tw.convert.imagen import answer_from_imagen, request_to_imagen
from knight_tw.errors import UnsupportedContent
from knight_tw.providers import embeddings
from knight_tw.providers.gemini_models import takes_dimensions
from knight_tw.providers.provider import Body, Target, Wrapping, context_of
from knight_tw.records import Mode
from knight_tw.wire import top
from knight_tw.wire.answers import objects, unreadable
from knight_tw.wire.usage import count

IMAGE_TOKENS = 258
"""What one picture counts as."""

REWRITTEN = frozenset({Mode.EMBEDDINGS, Mode.IMAGES})


def rewrite(body: Body, target: Target) -> None:
    """The request for pictures, or for embeddings of the Gemini API, in place.

    Raises:
        InvalidRequest: a member cannot be read.
    """
    _replace(body, _batch if target.mode is Mode.EMBEDDINGS else _imagen, target)


def rewrite_vertex(body: Body, target: Target) -> None:
    """The same for Vertex."""
    _replace(body, _instances if target.mode is Mode.EMBEDDINGS else _imagen, target)


def unwrap(target: Target) -> Wrapping | None:
    """What reads the OpenAI answer out of Google's own form, None for chats."""
    if target.mode is Mode.EMBEDDINGS:
        return lambda answer: _vectors(answer, target)
    if target.mode is Mode.IMAGES:
        return lambda answer: _pictures(answer, target)
    return None


def _replace(body: Body, form: Callable[[Body, Target], Body], target: Target) -> None:
    plain = {name: top.plain(body, name) for name in body}
    body.clear()
    body.update(form(plain, target))


def _batch(body: Body, target: Target) -> Body:
    if body.get("dimensions") is not None and not takes_dimensions(target.model):
        del body["dimensions"]
        target.dropped.append("dimensions")
    return gemini.embeddings_to_gemini(body, context_of(target))


def _imagen(body: Body, target: Target) -> Body:
    return request_to_imagen(body, context_of(target))


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


def _vectors(answer: dict[str, Any], target: Target) -> dict[str, Any]:
    """The OpenAI answer for `embeddings`, `embedding` or `predictions`.

    Raises:
        BadUpstreamBody: there is none of them.
    """
    predictions = answer.get("predictions")
    if not isinstance(predictions, list):
        return embeddings.from_gemini(answer, target)
    found = [_object(each, "embeddings") for each in objects(predictions)]
    counts = [count(_object(each, "statistics").get("token_count")) for each in found]
    # A total of which a part is missing is worse than our own count.
    tokens = sum(counts) if all(counts) else 0
    return embeddings.to_answer([each.get("values") for each in found], target, tokens)


def _object(obj: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = obj.get(name)
    return value if isinstance(value, Mapping) else {}


def _pictures(answer: dict[str, Any], target: Target) -> dict[str, Any]:
    """The OpenAI answer for `predictions`.

    Raises:
        UpstreamRefused: all pictures were held back.
        EmptyAnswer: there are none.
        BadUpstreamBody: the answer is something else.
    """
    if not isinstance(answer.get("predictions", []), list):
        raise unreadable(repr(answer)[:200].encode())
    found = answer_from_imagen(answer, context_of(target))
    tokens = IMAGE_TOKENS * len(found["data"])
    usage = {"input_tokens": 0, "output_tokens": tokens, "total_tokens": tokens}
    return {**found, "usage": usage}
