"""DeepSeek (43): OpenAI's chat, Responses and Claude natively (specification, 7.22)."""

from __future__ import annotations

from knight_tw.providers.addresses import CHATTING, addresses
from knight_tw.providers.credentials import by_dialect
from knight_tw.providers.fields import cached_from
from knight_tw.providers.openai_family import (
    set_responses_effort,
    take_suffix,
    write_model,
)
from knight_tw.providers.provider import Body, Provider, Target
from knight_tw.records import Dialect, Mode
from knight_tw.wire import top

ADDRESS = "https://api.deepseek.com"

_PATHS = {
    Mode.CHAT: "/v1/chat/completions",
    Mode.COMPLETIONS: "/beta/completions",
    Mode.RESPONSES: "/responses",
    Mode.MESSAGES: "/anthropic/v1/messages",
}


def prepare(body: Body, target: Target) -> None:
    """`-none` and `-max` behind a v4 name switch thinking off, or fully on."""
    if target.model.startswith("deepseek-v4-"):
        for effort in ("none", "max"):
            if take_suffix(target, f"-{effort}"):
                _think(body, target.dialect, effort)
                break
    write_model(body, target)


def _think(body: Body, dialect: Dialect, effort: str) -> None:
    if dialect is Dialect.RESPONSES:
        set_responses_effort(body, effort)
        return
    body["thinking"] = {"type": "disabled" if effort == "none" else "enabled"}
    if effort == "none":
        body.pop("reasoning_effort", None)
    elif dialect is Dialect.CLAUDE:
        known = top.read_object(body, "output_config") or {}
        body["output_config"] = {**known, "effort": effort}
    else:
        body["reasoning_effort"] = effort


DEEPSEEK = Provider(
    type_id=43,
    name="DeepSeek",
    base_url=ADDRESS,
    url=addresses(ADDRESS, _PATHS),
    speaks=(Dialect.CHAT, Dialect.RESPONSES, Dialect.CLAUDE),
    modes=CHATTING | {Mode.COMPLETIONS},
    authorize=by_dialect,
    prepare=prepare,
    read_usage=cached_from("prompt_cache_hit_tokens"),
    stream_options=True,
    models=(
        "deepseek-chat",
        "deepseek-reasoner",
        "deepseek-v4-flash",
        "deepseek-v4-flash-none",
        "deepseek-v4-flash-max",
        "deepseek-v4-pro",
        "deepseek-v4-pro-none",
        "deepseek-v4-pro-max",
    ),
)
