"""Moonshot, Kimi (25): OpenAI's chat, Claude natively, coding plans as addresses."""

from __future__ import annotations

from knight_tw.providers.addresses import CHATTING, OPENAI_PATHS, planned, sent_kind
from knight_tw.providers.credentials import by_dialect
from knight_tw.providers.fields import cached_from
from knight_tw.providers.openai_family import write_model
from knight_tw.providers.provider import Body, Provider, Target
from knight_tw.records import Dialect, Mode

ADDRESS = "https://api.moonshot.cn"

_OWN = {Mode.COMPLETIONS, Mode.EMBEDDINGS, Mode.RERANK}
_PATHS = {
    Mode.CHAT: OPENAI_PATHS[Mode.CHAT],
    Mode.MESSAGES: "/anthropic/v1/messages",
    **{mode: OPENAI_PATHS[mode] for mode in _OWN},
}


def prepare(body: Body, target: Target) -> None:
    """`kimi-k2.6` takes no temperature but 1."""
    chat = sent_kind(target) is Mode.CHAT
    if chat and target.model.startswith("kimi-k2.6") and "temperature" in body:
        body["temperature"] = 1
    write_model(body, target)


MOONSHOT = Provider(
    type_id=25,
    name="Moonshot",
    base_url=ADDRESS,
    url=planned(ADDRESS, _PATHS),
    speaks=(Dialect.CHAT, Dialect.CLAUDE),
    modes=CHATTING | _OWN,
    authorize=by_dialect,
    prepare=prepare,
    read_usage=cached_from("cached_tokens"),
    stream_options=True,
    models=(
        "kimi-k2.5",
        "kimi-k2-0905-preview",
        "kimi-k2-turbo-preview",
        "kimi-k2-thinking",
        "kimi-k2-thinking-turbo",
    ),
)
