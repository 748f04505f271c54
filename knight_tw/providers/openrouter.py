"""OpenRouter (20): OpenAI's API with a `reasoning` object (specification, 7.21)."""

from __future__ import annotations

from typing import Any

from knight_tw.providers.addresses import CHATTING, sent_kind
from knight_tw.providers.openai_family import openai_provider, take_suffix, write_model
from knight_tw.providers.provider import Body, Headers, Target, Wrapping, bearer
from knight_tw.records import Mode
from knight_tw.wire import top

REAL_NAMES = frozenset(
    {
        "baidu/ernie-4.5-21b-a3b-thinking",
        "qwen/qwen3-max-thinking",
        "qwen/qwen3-next-80b-a3b-thinking",
        "qwen/qwen3-vl-8b-thinking",
        "qwen/qwen3-vl-30b-a3b-thinking",
        "qwen/qwen3-vl-235b-a22b-thinking",
        "thudm/glm-4.1v-9b-thinking",
    }
)
"""Models whose own name ends in `-thinking`."""


def authorize(target: Target) -> Headers:
    """The key, and who is asking, as the options say."""
    headers = bearer(target)
    for name, option in (
        ("HTTP-Referer", "openrouter.referer"),
        ("X-OpenRouter-Title", "openrouter.title"),
    ):
        value = target.options.get(option)
        if value:
            headers.append((name, str(value)))
    return headers


def prepare(body: Body, target: Target) -> None:
    """Ask for the usage, and say reasoning in OpenRouter's way."""
    if sent_kind(target) is Mode.CHAT:
        body.setdefault("usage", {"include": True})
        reasoning = _reasoning(body, target)
        if reasoning:
            known = top.read_object(body, "reasoning") or {}
            body["reasoning"] = {**reasoning, **known}
    write_model(body, target)


def _reasoning(body: Body, target: Target) -> dict[str, Any]:
    """The `reasoning` object of the suffix, `reasoning_effort` and `thinking`."""
    effort = top.plain(body, "reasoning_effort")
    body.pop("reasoning_effort", None)
    if target.model not in REAL_NAMES and take_suffix(target, "-thinking"):
        return {"enabled": True, **({"effort": effort} if effort else {})}
    if effort:
        return {"enabled": False} if effort == "none" else {"effort": effort}
    if target.model.startswith("anthropic/") and "thinking" in body:
        thinking = top.read_object(body, "thinking") or {}
        del body["thinking"]
        if thinking.get("type") == "enabled" and thinking.get("budget_tokens"):
            return {"enabled": True, "max_tokens": thinking["budget_tokens"]}
    return {}


def unwrap(target: Target) -> Wrapping | None:
    """Enterprise accounts answer `{success, data}`."""
    return _data if target.channel.settings.get("openrouter_enterprise") else None


def _data(answer: dict[str, Any]) -> dict[str, Any]:
    data = answer.get("data")
    return data if "success" in answer and isinstance(data, dict) else answer


OPENROUTER = openai_provider(
    20,
    "OpenRouter",
    "https://openrouter.ai/api",
    modes=CHATTING
    | {
        Mode.COMPLETIONS,
        Mode.EMBEDDINGS,
        Mode.IMAGES,
        Mode.IMAGE_EDITS,
        Mode.SPEECH,
        Mode.TRANSCRIPTIONS,
        Mode.TRANSLATIONS,
        Mode.RERANK,
    },
    authorize=authorize,
    prepare=prepare,
    unwrap=unwrap,
    models=(),
)
