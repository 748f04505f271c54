"""Zhipu v4, GLM (26): OpenAI's chat with small differences (specification, 7.13)."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from knight_tw.providers.addresses import CHATTING, planned, sent_kind
from knight_tw.providers.credentials import by_dialect
from knight_tw.providers.fields import cached_from, limit_top_p
from knight_tw.providers.openai_family import write_model
from knight_tw.providers.provider import Body, Provider, Target
from knight_tw.records import Dialect, Mode
from knight_tw.wire import top

ADDRESS = "https://open.bigmodel.cn"

_PATHS = {
    Mode.CHAT: "/api/paas/v4/chat/completions",
    Mode.MESSAGES: "/api/anthropic/v1/messages",
    Mode.EMBEDDINGS: "/api/paas/v4/embeddings",
    Mode.IMAGES: "/api/paas/v4/images/generations",
}


def prepare(body: Body, target: Target) -> None:
    """`top_p` below 1, stop words in a list, images as bare base64."""
    if sent_kind(target) is Mode.CHAT:
        limit_top_p(body, 0.99)
        stop = top.plain(body, "stop")
        if isinstance(stop, str):
            body["stop"] = [stop]
        _bare_images(body)
    write_model(body, target)


def _bare_images(body: Body) -> None:
    messages = body.get("messages")
    if isinstance(messages, Raw) and b";base64," not in bytes(messages):
        return
    messages = top.plain(body, "messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            _bare(part.get("image_url") if isinstance(part, dict) else None)
    body["messages"] = messages


def _bare(image: Any) -> None:
    url = image.get("url") if isinstance(image, dict) else None
    if isinstance(url, str) and url.startswith("data:"):
        image["url"] = url.partition(",")[2]


ZHIPU_V4 = Provider(
    type_id=26,
    name="Zhipu v4",
    base_url=ADDRESS,
    url=planned(ADDRESS, _PATHS),
    speaks=(Dialect.CHAT, Dialect.CLAUDE),
    modes=CHATTING | {Mode.EMBEDDINGS, Mode.IMAGES},
    authorize=by_dialect,
    prepare=prepare,
    read_usage=cached_from(
        "input_tokens_details.cached_tokens", "cached_tokens", "prompt_cache_hit_tokens"
    ),
    finish_reasons={"sensitive": "content_filter", "network_error": "error"},
    stream_options=True,
    models_path="/api/paas/v4/models",
    models=(
        "glm-4",
        "glm-4v",
        "glm-3-turbo",
        "glm-4-alltools",
        "glm-4-plus",
        "glm-4-0520",
        "glm-4-air",
        "glm-4-airx",
        "glm-4-long",
        "glm-4-flash",
        "glm-4v-plus",
        "glm-4.6",
        "glm-4.6v",
        "glm-4.7",
        "glm-4.7-flash",
        "glm-5",
    ),
)
