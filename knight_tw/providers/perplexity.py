"""Perplexity (27): OpenAI's chat without `/v1`; usage on every chunk, cumulative."""

from __future__ import annotations

from knight_tw.providers.addresses import CHATTING, addresses, sent_kind
from knight_tw.providers.fields import limit_top_p
from knight_tw.providers.openai_family import write_model
from knight_tw.providers.provider import Body, Provider, Target
from knight_tw.records import Dialect, Mode

ADDRESS = "https://api.perplexity.ai"

_PATHS = {Mode.CHAT: "/chat/completions", Mode.RESPONSES: "/v1/responses"}


def prepare(body: Body, target: Target) -> None:
    """`top_p` below 1; search fields pass."""
    if sent_kind(target) is Mode.CHAT:
        limit_top_p(body, 0.99)
    write_model(body, target)


PERPLEXITY = Provider(
    type_id=27,
    name="Perplexity",
    base_url=ADDRESS,
    url=addresses(ADDRESS, _PATHS),
    speaks=(Dialect.CHAT, Dialect.RESPONSES),
    modes=CHATTING,
    prepare=prepare,
    models=("sonar", "sonar-pro", "sonar-reasoning"),
)
