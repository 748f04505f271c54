"""xAI, Grok (48): OpenAI's API; usage leaves reasoning out (specification, 1.7)."""

from __future__ import annotations

from typing import Any

from knight_tw.providers.addresses import CHATTING, OPENAI_PATHS, addresses, sent_kind
from knight_tw.providers.fields import rename
from knight_tw.providers.openai_family import take_suffix, write_model
from knight_tw.providers.provider import Body, Provider, Target
from knight_tw.records import Dialect, Mode
from knight_tw.wire.usage import count

ADDRESS = "https://api.x.ai"
IMAGE_MEMBERS = frozenset({"model", "prompt", "n", "response_format"})

_OWN = {Mode.COMPLETIONS, Mode.IMAGES}
_PATHS = {mode: OPENAI_PATHS[mode] for mode in {Mode.CHAT, Mode.RESPONSES, *_OWN}}


def prepare(body: Body, target: Target) -> None:
    """Suffixes of the name become fields; images keep the members that xAI takes."""
    kind = sent_kind(target)
    if kind is Mode.CHAT:
        _fit_chat(body, target)
    elif kind is Mode.IMAGES:
        for name in body.keys() - IMAGE_MEMBERS:
            del body[name]
    write_model(body, target)


def _fit_chat(body: Body, target: Target) -> None:
    if take_suffix(target, "-search"):
        body["search_parameters"] = {"mode": "on"}
    if target.model.startswith("grok-3-mini"):
        rename(body, "max_tokens", "max_completion_tokens")
        for effort in ("high", "low"):
            if take_suffix(target, f"-{effort}"):
                body["reasoning_effort"] = effort


def read_usage(usage: dict[str, Any]) -> None:
    """Everything that is not prompt is completion."""
    total, prompt = count(usage.get("total_tokens")), count(usage.get("prompt_tokens"))
    if total > prompt:
        usage["completion_tokens"] = total - prompt


_FAST = ("grok-4-fast", "grok-4-1-fast")

XAI = Provider(
    type_id=48,
    name="xAI",
    base_url=ADDRESS,
    url=addresses(ADDRESS, _PATHS),
    speaks=(Dialect.CHAT, Dialect.RESPONSES),
    modes=CHATTING | _OWN,
    prepare=prepare,
    read_usage=read_usage,
    stream_options=True,
    models=(
        "grok-3",
        "grok-3-mini",
        "grok-3-mini-high",
        "grok-3-mini-low",
        "grok-3-mini-search",
        "grok-3-search",
        "grok-2-vision-1212",
        "grok-2-image-1212",
        "grok-4-0709",
        "grok-4-0709-search",
        *(
            f"{fast}-{kind}{search}"
            for fast in _FAST
            for kind in ("reasoning", "non-reasoning")
            for search in ("", "-search")
        ),
        "grok-code-fast-1",
        "grok-imagine-image",
        "grok-imagine-image-pro",
        "grok-imagine-video",
    ),
)
