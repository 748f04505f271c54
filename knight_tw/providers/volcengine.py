"""VolcEngine Ark, Doubao (45): OpenAI bodies on own paths (specification, 7.20)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.providers.addresses import (
    CHATTING,
    CLAUDE_PATHS,
    PLANS,
    Paths,
    planned,
    sent_kind,
)
from knight_tw.providers.credentials import by_dialect
from knight_tw.providers.openai_family import take_suffix, write_model
from knight_tw.providers.provider import Body, Provider, Target
from knight_tw.records import Channel, Dialect, Mode

ADDRESS = "https://ark.cn-beijing.volces.com"

_PATHS: Paths = {
    Mode.CHAT: "/api/v3/chat/completions",
    Mode.RESPONSES: "/api/v3/responses",
    Mode.EMBEDDINGS: "/api/v3/embeddings",
    Mode.IMAGES: "/api/v3/images/generations",
    Mode.IMAGE_EDITS: "/api/v3/images/generations",
    Mode.RERANK: "/api/v3/rerank",
    **CLAUDE_PATHS,
}
_USUAL = planned(ADDRESS, _PATHS)
_BOTS = planned(ADDRESS, {**_PATHS, Mode.CHAT: "/api/v3/bots/chat/completions"})
_VISION = planned(ADDRESS, {**_PATHS, Mode.EMBEDDINGS: "/api/v3/embeddings/multimodal"})


def url(target: Target) -> str:
    """Bots and embeddings of pictures have paths of their own."""
    kind = sent_kind(target)
    if kind is Mode.CHAT and target.model.startswith("bot"):
        return _BOTS(target)
    if kind is Mode.EMBEDDINGS and "vision" in target.model:
        return _VISION(target)
    return _USUAL(target)


def speaks_for(
    channel: Channel, model: str, path: str, options: Mapping[str, Any]
) -> tuple[Dialect, ...]:
    """A coding plan has chat and Claude, the ordinary address chat and Responses."""
    if channel.base_url in PLANS:
        return (Dialect.CHAT, Dialect.CLAUDE)
    return (Dialect.CHAT, Dialect.RESPONSES)


def prepare(body: Body, target: Target) -> None:
    """`-thinking` behind a DeepSeek name switches thinking on."""
    chat = sent_kind(target) is Mode.CHAT
    if (
        chat
        and target.model.startswith("deepseek")
        and take_suffix(target, "-thinking")
    ):
        body["thinking"] = {"type": "enabled"}
    write_model(body, target)


VOLCENGINE = Provider(
    type_id=45,
    name="VolcEngine",
    base_url=ADDRESS,
    url=url,
    speaks=(Dialect.CHAT, Dialect.RESPONSES),
    speaks_for=speaks_for,
    modes=CHATTING | {Mode.EMBEDDINGS, Mode.IMAGES, Mode.IMAGE_EDITS, Mode.RERANK},
    authorize=by_dialect,
    prepare=prepare,
    stream_options=True,
    models_path="/api/v3/models",
    models=(
        "Doubao-pro-128k",
        "Doubao-pro-32k",
        "Doubao-pro-4k",
        "Doubao-lite-128k",
        "Doubao-lite-32k",
        "Doubao-lite-4k",
        "Doubao-embedding",
        "doubao-seedream-4-0-250828",
        "seedream-4-0-250828",
        "doubao-seedance-1-0-pro-250528",
        "seedance-1-0-pro-250528",
        "doubao-seed-1-6-thinking-250715",
        "seed-1-6-thinking-250715",
    ),
)
