"""MokaAI (44): embeddings only."""

from __future__ import annotations

from typing import Any

from knight_tw.providers.addresses import addresses
from knight_tw.providers.openai_family import write_model
from knight_tw.providers.provider import Provider
from knight_tw.records import Mode

ADDRESS = "https://api.moka.ai"


def read_usage(usage: dict[str, Any]) -> None:
    """All tokens of an embedding are prompt tokens; only their total is given."""
    usage.setdefault("prompt_tokens", usage.get("total_tokens"))
    usage.setdefault("completion_tokens", 0)


MOKA = Provider(
    type_id=44,
    name="MokaAI",
    base_url=ADDRESS,
    url=addresses(ADDRESS, {Mode.EMBEDDINGS: "/embeddings"}),
    modes=frozenset({Mode.EMBEDDINGS}),
    prepare=write_model,
    read_usage=read_usage,
    models_path="",
    models=("m3e-large", "m3e-base", "m3e-small"),
)
