"""SiliconFlow (40): OpenAI's API with other names for images (specification, 7.22)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.providers.addresses import CHATTING, OPENAI_PATHS, addresses, sent_kind
from knight_tw.providers.fields import rename
from knight_tw.providers.openai_family import write_model
from knight_tw.providers.provider import Body, Provider, Target
from knight_tw.records import Mode
from knight_tw.wire import top

ADDRESS = "https://api.siliconflow.cn"
FINE = 20000
"""The `code` of an answer without error."""

_OWN = {
    Mode.COMPLETIONS,
    Mode.EMBEDDINGS,
    Mode.IMAGES,
    Mode.SPEECH,
    Mode.TRANSCRIPTIONS,
    Mode.RERANK,
}
_PATHS = {mode: OPENAI_PATHS[mode] for mode in {Mode.CHAT, *_OWN}}


def prepare(body: Body, target: Target) -> None:
    """Image sizes and numbers renamed; fill-in-the-middle needs a `messages`."""
    kind = sent_kind(target)
    if kind is Mode.IMAGES:
        rename(body, "size", "image_size")
        rename(body, "n", "batch_size")
    elif kind is Mode.CHAT and not top.filled(body, "messages"):
        body["messages"] = []
    write_model(body, target)


def raised_error(answer: Mapping[str, Any]) -> tuple[int, str] | None:
    """`{code, message, data}` with another code than success."""
    code, message = answer.get("code"), answer.get("message")
    if not isinstance(code, int) or code in (0, FINE) or not message:
        return None
    return 502, str(message)


def read_usage(usage: dict[str, Any]) -> None:
    """Rerank reports `tokens.input_tokens`, given as its `meta`."""
    tokens = usage.get("tokens")
    if isinstance(tokens, Mapping) and "prompt_tokens" not in usage:
        usage["prompt_tokens"] = tokens.get("input_tokens")


SILICONFLOW = Provider(
    type_id=40,
    name="SiliconFlow",
    base_url=ADDRESS,
    url=addresses(ADDRESS, _PATHS),
    modes=CHATTING | _OWN,
    prepare=prepare,
    raised_error=raised_error,
    read_usage=read_usage,
    stream_options=True,
    models=(
        "BAAI/bge-m3",
        "BAAI/bge-reranker-v2-m3",
        "black-forest-labs/FLUX.1-schnell",
        "FunAudioLLM/SenseVoiceSmall",
    ),
)
