"""Cohere (34): chat, embeddings and reranking in a form of its own (7.6).

`settings.cohere_api` chooses the version of the API, 2 unless it says 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert.cohere import v1, v2
from knight_tw.providers import embeddings
from knight_tw.providers.addresses import CHATTING, channel_root, sent_kind, unsupported
from knight_tw.providers.provider import (
    Body,
    Conversion,
    Provider,
    Target,
    Wrapping,
)
from knight_tw.providers.rerank import rewrite_cohere
from knight_tw.records import Channel, Dialect, Mode
from knight_tw.wire.usage import count

ADDRESS = "https://api.cohere.ai"

V1 = Conversion(v1.request_from_x, v1.response_to_x, v1.StreamToX, v1.media_urls)
V2 = Conversion(v2.request_from_x, v2.response_to_x, v2.StreamToX, v2.media_urls)

REWRITTEN = frozenset({Mode.EMBEDDINGS, Mode.RERANK})

INPUT_TYPE = "search_document"
"""What embedded texts are for, when the client does not say."""

_NAMES = {Mode.CHAT: "chat", Mode.EMBEDDINGS: "embed", Mode.RERANK: "rerank"}
_PASSED = ("input_type", "truncate", "images", "inputs", "max_tokens", "priority")


def api(channel: Channel) -> str:
    """The version of the API that a channel uses."""
    return "v1" if channel.settings.get("cohere_api") == "v1" else "v2"


def url(target: Target) -> str:
    """The URL of a kind of work in the channel's version."""
    name = _NAMES.get(sent_kind(target))
    if name is None:
        raise unsupported(target)
    return f"{channel_root(target.channel, ADDRESS)}/{api(target.channel)}/{name}"


def conversion(target: Target) -> Conversion:
    """Cohere's own chat, of the channel's version."""
    return V1 if api(target.channel) == "v1" else V2


def prepare(body: Body, target: Target) -> None:
    """Cohere's own form of what is no chat; the model's name."""
    if target.mode is Mode.RERANK:
        rewrite_cohere(body, target, api(target.channel))
    elif target.mode is Mode.EMBEDDINGS:
        _rewrite_embeddings(body, target)
    else:
        body["model"] = target.model


def _rewrite_embeddings(body: Body, target: Target) -> None:
    own: Body = {"model": target.model, "input_type": INPUT_TYPE}
    own["embedding_types"] = ["float"]
    own |= {name: body[name] for name in _PASSED if name in body}
    if not ("images" in own or "inputs" in own):
        own["texts"] = embeddings.read_texts(body)
    dimensions = embeddings.read_dimensions(body)
    if dimensions is not None and api(target.channel) == "v2":
        own["output_dimension"] = dimensions
    elif dimensions is not None:
        target.dropped.append("dimensions")
    body.clear()
    body.update(own)


def unwrap(target: Target) -> Wrapping | None:
    """What reads the OpenAI answer out of Cohere's embeddings."""
    if target.mode is not Mode.EMBEDDINGS:
        return None

    def to_openai(answer: dict[str, Any]) -> dict[str, Any]:
        found = answer.get("embeddings")
        vectors = found.get("float") if isinstance(found, Mapping) else found
        vectors = vectors if isinstance(vectors, list) else []
        units = _object(_object(answer, "meta"), "billed_units")
        tokens = count(units.get("input_tokens"))
        return embeddings.to_answer(vectors, target, tokens)

    return to_openai


def _object(obj: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = obj.get(name)
    return value if isinstance(value, Mapping) else {}


COHERE = Provider(
    type_id=34,
    name="Cohere",
    base_url=ADDRESS,
    url=url,
    speaks=(Dialect.CHAT,),
    modes=CHATTING | REWRITTEN,
    prepare=prepare,
    unwrap=unwrap,
    conversion=conversion,
    rewrites=REWRITTEN,
    models=(
        "command-a-03-2025",
        "command-r",
        "command-r-plus",
        "command-r-08-2024",
        "command-r-plus-08-2024",
        "c4ai-aya-23-35b",
        "c4ai-aya-23-8b",
        "command-light",
        "command-light-nightly",
        "command",
        "command-nightly",
        "rerank-english-v3.0",
        "rerank-multilingual-v3.0",
        "rerank-english-v2.0",
        "rerank-multilingual-v2.0",
    ),
)
