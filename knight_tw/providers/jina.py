"""Jina (38): embeddings and reranking in nearly OpenAI's form (7.17)."""

from __future__ import annotations

from typing import Any

from knight_tw.providers import embeddings
from knight_tw.providers.addresses import OPENAI_PATHS, addresses
from knight_tw.providers.openai_family import write_model
from knight_tw.providers.provider import Body, Provider, Target, Wrapping
from knight_tw.records import Mode
from knight_tw.wire.answers import objects

ADDRESS = "https://api.jina.ai"

_MODES = frozenset({Mode.EMBEDDINGS, Mode.RERANK})
_PATHS = {mode: OPENAI_PATHS[mode] for mode in _MODES}


def prepare(body: Body, target: Target) -> None:
    """Jina writes vectors as it likes; the answer is encoded here."""
    if target.mode is Mode.EMBEDDINGS:
        body.pop("encoding_format", None)
    write_model(body, target)


def unwrap(target: Target) -> Wrapping | None:
    """What encodes the vectors as the client asked for."""
    if target.mode is not Mode.EMBEDDINGS or not embeddings.asks_for_base64(target):
        return None

    def encoded(answer: dict[str, Any]) -> dict[str, Any]:
        rows = objects(answer.get("data"))
        vectors = [row.get("embedding") for row in rows]
        if not all(isinstance(vector, list) for vector in vectors):
            return answer  # the client chose another kind of vectors
        written = embeddings.to_answer(vectors, target)["data"]
        pairs = zip(rows, written, strict=True)
        return {**answer, "data": [{**row, **new} for row, new in pairs]}

    return encoded


def read_usage(usage: dict[str, Any]) -> None:
    """All tokens are the prompt's; only their total is sure to be given."""
    usage.setdefault("prompt_tokens", usage.get("total_tokens"))
    usage.setdefault("completion_tokens", 0)


JINA = Provider(
    type_id=38,
    name="Jina",
    base_url=ADDRESS,
    url=addresses(ADDRESS, _PATHS),
    modes=_MODES,
    prepare=prepare,
    unwrap=unwrap,
    read_usage=read_usage,
    models=(
        "jina-clip-v1",
        "jina-reranker-v2-base-multilingual",
        "jina-reranker-m0",
    ),
)
